"""The INT8 graph that a bundle may hold: read, and proven to be nothing but such a network."""

from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto

from inspection.errors import BundleError
from vision.bundle import INT8, Bundle

# What `training.quantise` writes. None of these reads a file, loops or calls another graph.
_NODES = frozenset({
    "Add", "Conv", "DequantizeLinear", "Flatten", "Gemm", "GlobalAveragePool", "MaxPool", "Pad", "QuantizeLinear",
    "Relu", "Reshape",
})  # fmt: skip
_MOST_NODES = 1000


def int8_graph(bundle: Bundle) -> bytes:
    """The serialised graph: input `crops` uint8 [N, C, size, size], output `margin` float32 [N].

    Raises BundleError where the bundle has none, or it is anything else than that.
    """
    raw = bundle.int8()
    file = bundle.path / INT8
    try:
        model = onnx.load_model_from_string(raw)
    except DecodeError as error:
        raise BundleError(f"{file}: not a readable ONNX file: {error}: export the bundle again") from error
    fault = _fault(model, list(bundle.recipe.crop_shape[1:]))
    if fault:
        raise BundleError(f"{file}: {fault}: this is not a network of linegate's; export the bundle again")
    return raw


def _fault(model: Any, shape: list[int]) -> str:
    graph = model.graph
    strange = [node.op_type for node in graph.node if node.domain or node.op_type not in _NODES]
    if strange or len(graph.node) > _MOST_NODES or model.functions or graph.sparse_initializer:
        return f"holds the node {strange[0]}" if strange else "holds more than a network's nodes"
    if any(tensor.external_data or tensor.data_location == TensorProto.EXTERNAL for tensor in graph.initializer):
        return "keeps tensors outside of itself"
    given = [(side.name, side.type.tensor_type) for side in (*graph.input, *graph.output)]
    if [name for name, _ in given] != ["crops", "margin"]:
        return "does not go from crops to a margin"
    sides = [side.dim_value for side in given[0][1].shape.dim][1:]
    if sides != shape or [kind.elem_type for _, kind in given] != [TensorProto.UINT8, TensorProto.FLOAT]:
        return f"takes crops of {sides}, not uint8 {shape}"
    return ""
