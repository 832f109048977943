"""The graph built from a bundle's weights is the network that torch runs.

Differences are of margins, (logit of ng - logit of ok) / temperature, from torch's in float32.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto
from safetensors.numpy import load_file

from vision.bundle import Bundle
from vision.graph import IR_VERSION, OPSET, build_graph
from vision.recipe import Recipe, Tiles
from vision.weights import Tensors

IMAGENET = Path(__file__).parents[2] / "models" / "imagenet-resnet18" / "resnet18-imagenet.safetensors"
LARGEST = 1e-4

Draw = Callable[..., Bundle]
Margins = Callable[[Tensors, Recipe, NDArray[np.uint8]], NDArray[np.float32]]


def from_graph(graph: ModelProto, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    margins: NDArray[np.float32] = session.run(["margin"], {"crops": crops})[0]
    return margins


def noise(*shape: int) -> NDArray[np.uint8]:
    """Crops with strong rims, where the padding shows, and the two extremes."""
    crops = np.random.default_rng(3).integers(0, 256, shape, np.uint8)
    crops[0], crops[1] = 0, 255
    return crops


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(resize=64, size=64),
        Recipe(resize=96, size=96, mean=(0.1, 0.2, 0.9), std=(0.3, 0.1, 0.7)),
        Recipe(resize=64, size=64, enhance="none", color=True, mean=(0.1, 0.2, 0.9), std=(0.3, 0.1, 0.7)),
        Recipe(resize=64, size=64, enhance="stack", mean=(0.1, 0.2, 0.9), std=(0.3, 0.1, 0.7)),
        Recipe(resize=64, size=64, tiles=Tiles(columns=2, rows=1, overlap=0.0), enhance="none"),
        Recipe(),
    ],
    ids=["gray", "gray, three means", "colour", "stack", "tiles", "reference"],
)
def test_the_graph_gives_torchs_margins(
    recipe: Recipe, tmp_path: Path, draw_bundle: Draw, torch_margins: Margins
) -> None:
    bundle = draw_bundle(tmp_path / "bundle", recipe, golden=0)
    crops = noise(6, *recipe.crop_shape[1:])
    torchs = torch_margins(bundle.tensors(), recipe, crops) / bundle.temperature

    found = from_graph(build_graph(bundle), crops)

    assert found.shape == (6,)
    assert found.dtype == np.float32
    assert torchs.std() > 0.05
    assert np.abs(found - torchs).max() < LARGEST


def test_imagenets_weights_give_torchs_margins(tmp_path: Path, draw_bundle: Draw, torch_margins: Margins) -> None:
    recipe = Recipe()
    bundle = draw_bundle(tmp_path / "bundle", recipe, backbone=load_file(IMAGENET), golden=0)
    crops = noise(4, 1, 224, 224)
    torchs = torch_margins(bundle.tensors(), recipe, crops) / bundle.temperature

    found = from_graph(build_graph(bundle), crops)

    assert torchs.std() > 0.05
    assert np.abs(found - torchs).max() < LARGEST


def test_the_graph_is_pinned_small_and_one_channel_in(drawn: Bundle) -> None:
    model = build_graph(drawn)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)] == [("", OPSET)]
    assert model.ir_version == IR_VERSION == 8
    assert len(model.graph.node) < 70
    kinds = {node.op_type for node in model.graph.node}
    assert "BatchNormalization" not in kinds
    (crops,), (margin,) = model.graph.input, model.graph.output
    assert [side.dim_value or side.dim_param for side in crops.type.tensor_type.shape.dim] == ["N", 1, 64, 64]
    assert crops.type.tensor_type.elem_type == TensorProto.UINT8
    assert [side.dim_param for side in margin.type.tensor_type.shape.dim] == ["N"]
    assert all(not constant.external_data for constant in model.graph.initializer)


def test_the_same_bundle_gives_the_same_graph(drawn: Bundle) -> None:
    assert build_graph(drawn).SerializeToString() == build_graph(drawn).SerializeToString()
