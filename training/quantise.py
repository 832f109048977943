"""The network in 8-bit integers, as an ONNX graph that ONNX Runtime and OpenVINO both run in their own INT8 kernels.

Every convolution takes uint8 and has int8 weights with a step for each output channel; its sums are int32. Between
them stand pairs of QuantizeLinear and DequantizeLinear, which the runtimes melt into the convolutions. Pooling at the
end and the last weighted sum, 512 multiplications, stay in float32.
Jacob et al.: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from training.ranges import LEVELS, Step
from vision.fold import Layer
from vision.graph import GraphWriter, square

_WEIGHT_LEVELS = 127


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
        self._steps = {**steps, "relu1": steps["maxpool"]}
        self._read: dict[str, tuple[Step, NDArray[np.float64]]] = {}

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
        data = self._dequantised(self.node("Pad", operands, "ones"), "pixels", Step(1.0, 0), means)
        return self.conv(data, "conv1", Layer(weight, layer.bias), 2)

    def conv(self, data: str, name: str, layer: Layer, stride: int) -> str:
        weight, sizes = rounded_weight(layer.weight)
        step, means = self._read[data]
        lost = layer.weight - weight * sizes[:, None, None, None]
        weight_name = self._constant_in_steps(f"{name}.weight", weight, sizes)
        sums = step.size * sizes  # the step of an int32 sum of products
        bias = np.clip(np.rint((layer.bias + lost.sum(axis=(2, 3)) @ means) / sums), -(2**31), 2**31 - 1).astype(
            np.int32
        )
        bias_name = self._constant_in_steps(f"{name}.bias", bias, sums)
        return self.node("Conv", [data, weight_name, bias_name], name, **square(layer.weight, stride))

    def kept(self, data: str) -> str:
        super().kept(data)
        step = self._steps[data]
        whole = self.node("QuantizeLinear", [data, *self._step(data, step)], f"{data}.q")
        return self._dequantised(whole, data, step, self._means[data])

    def _dequantised(self, data: str, name: str, step: Step, means: NDArray[np.float64]) -> str:
        read = self.node("DequantizeLinear", [data, *self._step(f"{name}.read", step)], f"{name}.read")
        self._read[read] = step, means
        return read

    def _step(self, name: str, step: Step) -> list[str]:
        size = self.constant(f"{name}.size", np.asarray(step.size, np.float32))
        return [size, self.constant(f"{name}.zero", np.asarray(step.zero, np.uint8))]

    def _constant_in_steps(self, name: str, value: NDArray[np.signedinteger], sizes: NDArray[np.float64]) -> str:
        size = self.constant(f"{name}.size", sizes.astype(np.float32))
        zero = self.constant(f"{name}.zero", np.zeros(len(sizes), value.dtype))
        whole = self.constant(f"{name}.whole", value)
        return self.node("DequantizeLinear", [whole, size, zero], name, axis=0)


def rounded_weight(weight: NDArray[np.float64]) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """int8 [out, in, side, side] within -127..127 and the step of each output channel, float64 [out]."""
    sizes = np.maximum(np.abs(weight).max(axis=(1, 2, 3)), 1e-12) / _WEIGHT_LEVELS
    return np.rint(weight / sizes[:, None, None, None]).astype(np.int8), sizes
