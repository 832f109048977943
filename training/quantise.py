"""The network in 8-bit integers, as an ONNX graph that ONNX Runtime and OpenVINO both run in their own INT8 kernels.

Every convolution takes uint8 and has int8 weights with a step for each output channel; its sums are int32. Between
them stand pairs of QuantizeLinear and DequantizeLinear, which the runtimes melt into the convolutions. Pooling at the
end and the last weighted sum, 512 multiplications, stay in float32.

Convolutions compute with counts of steps: how large a step is in each channel of what they read and what they make is
in their weights. So it costs nothing there that channels have steps of their own.
Jacob et al.: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.ranges import LEVELS, STEM, Step
from vision.fold import Layer
from vision.graph import GraphWriter, square

_WEIGHT_LEVELS = 127


@dataclass(frozen=True, slots=True)
class _Kept:
    """`counts` is the uint8 result, `means` what its channels are in the mean, in float."""

    counts: str
    step: Step
    means: NDArray[np.float64]


class QuantisedWriter(GraphWriter):
    """Writes the network in INT8. `steps` holds one for every result that is kept, `means` those of its channels.

    A weight's rounding shifts all results of its output channel by what the input is in the mean, which after a ReLU is
    far from 0: the bias takes it back.
    Nagel et al.: Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.2.
    """

    def __init__(self, steps: Mapping[str, Step], means: Mapping[str, NDArray[np.float64]]) -> None:
        super().__init__()
        self._means = means
        # Pooling takes the maximum: with one step before and after, it runs on the integers as they are.
        self._steps = {**steps, "relu1": steps[STEM]}
        self._read: dict[str, _Kept] = {}

    def stem(self, crops: str, layer: Layer, size: int) -> str:  # noqa: ARG002 - the padding itself is told apart
        """Pixels are integers already, and need no rounding. The picture of ones becomes one of a brighter pixel.

        So bright that its weights are about as large as the others: they share their steps.
        """
        pixels, ones = layer.weight[:, :-1], layer.weight[:, -1:]
        bright = int(np.clip(np.rint(np.abs(ones).max() / max(np.abs(pixels).max(), 1e-12)), 1, LEVELS))
        weight = np.concatenate([pixels, ones / bright], axis=1)
        beside = [0, 0, 0, 0, 0, 1, 0, 0]  # before and after each axis: one channel more
        operands = [
            crops,
            self.constant("ones.beside", np.asarray(beside, np.int64)),
            self.constant("ones.bright", np.asarray(bright, np.uint8)),
        ]
        means = np.append(self._means["crops"], bright)
        whole = self.node("Pad", operands, "ones")
        step = Step(np.ones(len(means)), np.zeros(len(means), np.uint8))
        data = self._counted("pixels", _Kept(whole, step, means))
        return self.conv(data, "conv1", Layer(weight, layer.bias), 2)

    def conv(self, data: str, name: str, layer: Layer, stride: int) -> str:
        """From counts to counts."""
        read, into = self._read[data], self._steps[_kept_as(name)]
        exact = layer.weight * read.step.size[None, :, None, None] / into.size[:, None, None, None]
        weight, sizes = rounded_weight(exact)
        lost = exact - weight * sizes[:, None, None, None]
        bias = layer.bias / into.size + into.zero + lost.sum(axis=(2, 3)) @ (read.means / read.step.size)
        weight_name = self._constant_in_steps(f"{name}.weight", weight, sizes)
        count = np.clip(np.rint(bias / sizes), -(2**31), 2**31 - 1).astype(np.int32)
        bias_name = self._constant_in_steps(f"{name}.bias", count, sizes)
        return self.node("Conv", [data, weight_name, bias_name], name, **square(layer.weight, stride))

    def kept(self, data: str) -> str:
        super().kept(data)
        whole = self.node("QuantizeLinear", [data, *self._unit(data)], f"{data}.q")
        return self._counted(data, _Kept(whole, self._steps[data], self._means[data]))

    def added(self, first: str, second: str, block: str) -> str:
        """In steps of the sum."""
        size = self._steps[f"{block}.relu2"].size
        return super().added(self._in_steps(first, size, block), self._in_steps(second, size, block), block)

    def pooled(self, data: str) -> str:
        return super().pooled(self._in_steps(data, np.ones(1), "pool"))

    def _in_steps(self, data: str, size: NDArray[np.float64], reader: str) -> str:
        """The counts `data` in steps of `size`, for `reader`."""
        kept, name = self._read[data], f"{data}.{reader}"
        sizes, zeros = kept.step.size / size, kept.step.zero
        same = bool(np.ptp(sizes) <= 1e-9 * sizes.max() and np.ptp(zeros) == 0)
        operands = [
            kept.counts,
            self.constant(f"{name}.size", np.asarray(sizes[0] if same else sizes, np.float32)),
            self.constant(f"{name}.zero", np.asarray(zeros[0] if same else zeros, np.uint8)),
        ]
        # One step for all channels is computed faster.
        return self.node("DequantizeLinear", operands, name, **({} if same else {"axis": 1}))

    def _counted(self, name: str, kept: _Kept) -> str:
        read = self.node("DequantizeLinear", [kept.counts, *self._unit(f"{name}.read")], f"{name}.read")
        self._read[read] = kept
        return read

    def _unit(self, name: str) -> list[str]:
        return [
            self.constant(f"{name}.unit", np.asarray(1, np.float32)),
            self.constant(f"{name}.none", np.asarray(0, np.uint8)),
        ]

    def _constant_in_steps(self, name: str, value: NDArray[np.signedinteger], sizes: NDArray[np.float64]) -> str:
        size = self.constant(f"{name}.size", sizes.astype(np.float32))
        zero = self.constant(f"{name}.zero", np.zeros(len(sizes), value.dtype))
        whole = self.constant(f"{name}.whole", value)
        return self.node("DequantizeLinear", [whole, size, zero], name, axis=0)


def _kept_as(conv: str) -> str:
    """The result whose steps a convolution makes."""
    if conv == "conv1":
        return STEM
    return conv.removesuffix("conv1") + "relu1" if conv.endswith("conv1") else conv


def rounded_weight(weight: NDArray[np.float64]) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """int8 [out, in, side, side] within -127..127 and the step of each output channel, float64 [out]."""
    sizes = np.maximum(np.abs(weight).max(axis=(1, 2, 3)), 1e-12) / _WEIGHT_LEVELS
    return np.rint(weight / sizes[:, None, None, None]).astype(np.int8), sizes
