"""The ONNX graph of a bundle, built from its weights without torch.

Everything that can be computed beforehand is: the batch norms go into the convolutions, the normalisation
and the copying of gray into three channels into the first one, the two classes and the temperature into one
weighted sum. What remains is uint8 crops in, a margin out. Its sigmoid, P(defect), is left to
`vision.classifier.probability`, because the runtimes' own makes 0 of an overflow to minus infinity.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.checker import check_model

from vision.bundle import Bundle
from vision.fold import folded_norm, folded_stem
from vision.recipe import Recipe
from vision.weights import LAYERS, Tensors

OPSET = 17
IR_VERSION = 8


class _Builder:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, inputs: list[str], name: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def conv(self, data: str, name: str, weight: NDArray[Any], bias: NDArray[Any] | None, stride: int) -> str:
        """A square convolution that keeps the size but for its stride."""
        inputs = [data, self.constant(f"{name}.weight", weight.astype(np.float32))]
        if bias is not None:
            inputs.append(self.constant(f"{name}.bias", bias.astype(np.float32)))
        side = weight.shape[2]
        return self.node(
            "Conv", inputs, name, kernel_shape=[side, side], strides=[stride, stride], pads=[side // 2] * 4
        )


def build_graph(bundle: Bundle) -> Any:
    """The onnx.ModelProto: input `crops` uint8 [N, C, size, size], output `margin` float32 [N].

    C is 1 for a gray recipe, 3 (blue, green, red) for one in colour.
    """
    tensors, recipe = bundle.tensors(), bundle.recipe
    graph = _Builder()
    data = _stem(graph, tensors, recipe)
    for number, _, stride in LAYERS:
        for block in (0, 1):
            data = _block(graph, tensors, f"layer{number}.{block}", data, stride if block == 0 else 1)
    data = graph.node("Flatten", [graph.node("GlobalAveragePool", [data], "pool")], "features")
    # softmax(z / T)[1] of two classes = sigmoid((z1 - z0) / T)
    weight = (tensors["fc.weight"][1] - tensors["fc.weight"][0]) / bundle.temperature
    bias = (tensors["fc.bias"][1] - tensors["fc.bias"][0]) / bundle.temperature
    operands = [
        data,
        graph.constant("fc.weight", weight.astype(np.float32)[None, :]),
        graph.constant("fc.bias", np.asarray([bias], np.float32)),
    ]
    data = graph.node("Gemm", operands, "fc", transB=1)
    graph.node("Reshape", [data, graph.constant("flat", np.asarray([-1], np.int64))], "margin")
    channels = recipe.crop_shape[1]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "linegate-resnet18",
            [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["N", channels, *(recipe.size,) * 2])],
            [helper.make_tensor_value_info("margin", TensorProto.FLOAT, ["N"])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="linegate",
    )
    check_model(model)
    return model


def _stem(graph: _Builder, tensors: Tensors, recipe: Recipe) -> str:
    weight, bias = folded_stem(tensors, recipe)
    data = graph.node("Cast", ["crops"], "pixels", to=TensorProto.FLOAT)
    data = graph.conv(data, "conv1", weight, None, stride=2)
    data = graph.node("Add", [data, graph.constant("conv1.map", bias.astype(np.float32)[None])], "conv1.shifted")
    data = graph.node("Relu", [data], "relu1")
    return graph.node("MaxPool", [data], "maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])


def _block(graph: _Builder, tensors: Tensors, name: str, data: str, stride: int) -> str:
    def conv(source: str, conv_name: str, norm_name: str, by: int) -> str:
        scale, shift = folded_norm(tensors, norm_name)
        weight = tensors[f"{conv_name}.weight"] * scale[:, None, None, None]
        return graph.conv(source, conv_name, weight, shift, by)

    first = graph.node("Relu", [conv(data, f"{name}.conv1", f"{name}.bn1", stride)], f"{name}.relu1")
    second = conv(first, f"{name}.conv2", f"{name}.bn2", 1)
    if f"{name}.downsample.0.weight" in tensors:
        data = conv(data, f"{name}.downsample.0", f"{name}.downsample.1", stride)
    return graph.node("Relu", [graph.node("Add", [second, data], f"{name}.sum")], f"{name}.relu2")
