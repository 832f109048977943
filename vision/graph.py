"""The ONNX graph of a bundle, built from its weights without torch.

Everything that can be computed beforehand is: the batch norms go into the convolutions, the normalisation
and the copying of gray into three channels into the first one, the two classes and the temperature into one
weighted sum. What remains is uint8 crops in, a margin out. Its sigmoid, P(defect), is left to
`vision.classifier.probability`, because the runtimes' own makes 0 of an overflow to minus infinity.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.checker import check_model

from vision.bundle import Bundle
from vision.fold import Layer, Layers, folded_layers, seen_of_ones
from vision.recipe import Recipe
from vision.weights import LAYERS

OPSET = 17
IR_VERSION = 8


class GraphWriter:
    """Writes the network in float32. Another arithmetic is a subclass with other ways to `stem` and so on.

    `nodes` and `constants` are what was written; `activations` the names of all results that were `kept`, in order.
    """

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.activations: list[str] = []

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, inputs: list[str], name: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def stem(self, crops: str, layer: Layer, size: int) -> str:
        """conv1 of uint8 pixels, `size` square. The picture of ones is computed beforehand: it becomes a map."""
        pixels = self.node("Cast", [crops], "pixels", to=TensorProto.FLOAT)
        weight, ones = layer.weight[:, :-1], seen_of_ones(layer.weight[:, -1], size)
        added = (ones + layer.bias[:, None, None])[None].astype(np.float32)
        inputs = [pixels, self.constant("conv1.weight", weight.astype(np.float32))]
        data = self.node("Conv", inputs, "conv1", **square(weight, 2))
        return self.node("Add", [data, self.constant("conv1.map", added)], "conv1.sum")

    def conv(self, data: str, name: str, layer: Layer, stride: int) -> str:
        """A square convolution that keeps the size but for its stride."""
        weight = self.constant(f"{name}.weight", layer.weight.astype(np.float32))
        bias = self.constant(f"{name}.bias", layer.bias.astype(np.float32))
        return self.node("Conv", [data, weight, bias], name, **square(layer.weight, stride))

    def kept(self, data: str) -> str:
        """A result that is written to memory for later nodes to read: what they are to read."""
        self.activations.append(data)
        return data

    def added(self, first: str, second: str, block: str) -> str:
        """The sum at the end of a block, of two results that were kept."""
        return self.node("Add", [first, second], f"{block}.sum")

    def pooled(self, data: str) -> str:
        """The mean over all places of a result that was kept."""
        return self.node("GlobalAveragePool", [data], "pool")


def square(weight: NDArray[Any], stride: int) -> dict[str, list[int]]:
    """Attributes of a convolution that keeps the size but for its stride; `weight` is [out, in, side, side]."""
    side = weight.shape[2]
    return {"kernel_shape": [side, side], "strides": [stride, stride], "pads": [side // 2] * 4}


def build_graph(bundle: Bundle) -> Any:
    """The onnx.ModelProto in float32: input `crops` uint8 [N, C, size, size], output `margin` float32 [N].

    C is 1 for a gray recipe, 3 for one with three channels.
    """
    return write_graph(GraphWriter(), folded_layers(bundle.tensors(), bundle.recipe, bundle.temperature), bundle.recipe)


def write_graph(writer: GraphWriter, layers: Layers, recipe: Recipe) -> Any:
    """The onnx.ModelProto of `layers` as `writer` writes it; input and output as of `build_graph`."""
    data = write_trunk(writer, layers, recipe)[-1]
    data = writer.node("Flatten", [writer.pooled(data)], "features")
    operands = [
        data,
        writer.constant("fc.weight", layers["fc"].weight.astype(np.float32)),
        writer.constant("fc.bias", layers["fc"].bias.astype(np.float32)),
    ]
    data = writer.node("Gemm", operands, "fc", transB=1)
    writer.node("Reshape", [data, writer.constant("flat", np.asarray([-1], np.int64))], "margin")
    return written_model(writer, recipe, {"margin": ["N"]})


def write_trunk(writer: GraphWriter, layers: Layers, recipe: Recipe) -> list[str]:
    """From `crops` on all convolutions that are among `layers`; what layer1, layer2 ... give."""
    data = writer.kept(writer.node("Relu", [writer.stem("crops", layers["conv1"], recipe.size)], "relu1"))
    pool = writer.node("MaxPool", [data], "maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    data = writer.kept(pool)
    given = []
    for number, stride in LAYERS:
        if f"layer{number}.0.conv1" in layers:
            for block in (0, 1):
                data = _block(writer, layers, f"layer{number}.{block}", data, stride if block == 0 else 1)
            given.append(data)
    return given


def written_model(writer: GraphWriter, recipe: Recipe, outputs: Mapping[str, Sequence[str | int]]) -> Any:
    """The onnx.ModelProto of what was written, from `crops` to float32 `outputs`, given by their shapes."""
    shape = ["N", *recipe.crop_shape[1:]]
    model = helper.make_model(
        helper.make_graph(
            writer.nodes,
            "linegate-resnet18",
            [helper.make_tensor_value_info("crops", TensorProto.UINT8, shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name, sides in outputs.items()],
            writer.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="linegate",
    )
    check_model(model)
    return model


def _block(writer: GraphWriter, layers: Layers, name: str, data: str, stride: int) -> str:
    first = writer.conv(data, f"{name}.conv1", layers[f"{name}.conv1"], stride)
    first = writer.kept(writer.node("Relu", [first], f"{name}.relu1"))
    second = writer.kept(writer.conv(first, f"{name}.conv2", layers[f"{name}.conv2"], 1))
    shortcut = f"{name}.downsample.0"
    if shortcut in layers:
        data = writer.kept(writer.conv(data, shortcut, layers[shortcut], stride))
    return writer.kept(writer.node("Relu", [writer.added(second, data, name)], f"{name}.relu2"))
