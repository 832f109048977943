"""The network of a bundle that has only seen good parts: how far a crop is from the nearest of what they look like.

The first layers of an ImageNet ResNet18 describe each place of a crop. A bank holds such descriptions of good parts,
few enough to be quick and far enough from each other to cover them all. A place is as strange as the entry nearest to
it is far, and a crop about as strange as its strangest places. The distance to all entries is a convolution of 1 x 1,
so that the whole is plain ONNX for every runtime.

Roth et al.: Towards Total Recall in Industrial Anomaly Detection, CVPR 2022 (arXiv:2106.08265), which takes the
strangest place alone.
"""

from typing import Any

import numpy as np

from vision.bundle import Bundle
from vision.fold import Layer, folded_trunk
from vision.graph import GraphWriter, write_trunk, written_model
from vision.recipe import Recipe
from vision.weights import Tensors

_POOL = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1, 1, 1, 1], "count_include_pad": 1}
_HALVE = {"kernel_shape": [2, 2], "strides": [2, 2]}
_SHARPNESS = 16.0
"""Of the softened maximum over places, log(mean(exp(s d))) / s. Seen on val of two materials: the maximum alone is no
better where defects are small, and worse where they are spread; the plain mean is far worse where they are small."""


def build_bank_graph(bundle: Bundle) -> Any:
    """The onnx.ModelProto in float32: crops as of `vision.graph.build_graph`; outputs `margin` and `map`.

    `margin`, float32 [N], is (distance - bank.limit) / temperature. `map`, float32 [N, 1, rows, columns], is the same
    of each place alone.
    """
    return write_bank_graph(bundle.tensors(), bundle.recipe, bundle.temperature)


def write_bank_graph(tensors: Tensors, recipe: Recipe, temperature: float) -> Any:
    """As `build_bank_graph`."""
    writer = GraphWriter()
    squares = _squared_distances(writer, write_places(writer, tensors, recipe), tensors)
    places = writer.node("Sqrt", [squares], "places")
    distance = _softened_maximum(writer, places)
    limit = writer.constant("limit", tensors["bank.limit"].astype(np.float32))
    unit = writer.constant("temperature", np.asarray([temperature], np.float32))
    writer.node("Div", [writer.node("Sub", [distance, limit], "above"), unit], "margin")
    writer.node("Div", [writer.node("Sub", [places, limit], "places.above"), unit], "map")
    return written_model(writer, recipe, {"margin": ["N"], "map": ["N", 1, "rows", "columns"]})


def build_places_graph(tensors: Tensors, recipe: Recipe) -> Any:
    """The onnx.ModelProto up to the descriptions that a bank is made of: `places` [N, BANK_WIDTH, rows, columns]."""
    writer = GraphWriter()
    places = writer.node("Identity", [write_places(writer, tensors, recipe)], "places")
    return written_model(writer, recipe, {places: ["N", tensors["bank.shift"].size, "rows", "columns"]})


def write_places(writer: GraphWriter, tensors: Tensors, recipe: Recipe) -> str:
    """Each place of layer3 described by its neighbourhood in layer2 and layer3, projected."""
    _, layer2, layer3 = write_trunk(writer, folded_trunk(tensors, recipe), recipe)
    shift = -tensors["bank.shift"].astype(np.float64)
    fine = _projected(writer, layer2, "bank.layer2", tensors, np.zeros_like(shift))
    fine = writer.node("AveragePool", [fine], "bank.layer2.halved", **_HALVE)
    coarse = _projected(writer, layer3, "bank.layer3", tensors, np.zeros_like(shift))
    both = writer.node("Add", [fine, coarse], "bank.both")
    return writer.node("Add", [both, writer.constant("bank.shift", shift.astype(np.float32)[:, None, None])], "bank.at")


def _projected(writer: GraphWriter, data: str, name: str, tensors: Tensors, bias: Any) -> str:
    """The mean of 3 x 3 places; outside the crop there is nothing, as in training."""
    data = writer.conv(data, name, Layer(tensors[f"{name}.weight"].astype(np.float64), bias), 1)
    return writer.node("AveragePool", [data], f"{name}.pooled", **_POOL)


def _squared_distances(writer: GraphWriter, places: str, tensors: Tensors) -> str:
    """To the nearest entry: |x|^2 + |e|^2 - 2 x.e, which rounding may put below 0."""
    entries = tensors["bank.entries"].astype(np.float64)
    layer = Layer(-2 * entries, np.square(entries).sum(axis=(1, 2, 3)))
    others = writer.conv(places, "bank.entries", layer, 1)
    nearest = writer.node("ReduceMin", [others], "bank.nearest", axes=[1], keepdims=1)
    own = writer.node("ReduceSumSquare", [places], "bank.own", axes=[1], keepdims=1)
    # Relu would make 0, the surest PASS, of what is no number.
    return writer.node("Abs", [writer.node("Add", [own, nearest], "bank.sum")], "bank.squared")


def _softened_maximum(writer: GraphWriter, places: str) -> str:
    """Of [N, 1, rows, columns]: [N]. The maximum is taken out first, so that nothing overflows, in float16 neither."""
    sharpness = writer.constant("sharpness", np.asarray([_SHARPNESS], np.float32))
    highest = writer.node("ReduceMax", [places], "highest", axes=[1, 2, 3], keepdims=1)
    below = writer.node("Mul", [writer.node("Sub", [places, highest], "below"), sharpness], "below.sharp")
    mean = writer.node("ReduceMean", [writer.node("Exp", [below], "shares")], "share", axes=[1, 2, 3], keepdims=1)
    softening = writer.node("Div", [writer.node("Log", [mean], "share.log"), sharpness], "softening")
    softened = writer.node("Add", [highest, softening], "softened")
    return writer.node("Reshape", [softened, writer.constant("flat", np.asarray([-1], np.int64))], "distance")
