"""A ResNet18 with fewer channels runs where the whole one does, and is checked as strictly."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inspection.errors import BundleError
from vision.backends.choose import open_backend
from vision.bundle import MANIFEST, Bundle, load_bundle
from vision.content import with_content_hash
from vision.explain import Explainer
from vision.recipe import Recipe
from vision.weights import FULL, Tensors, Widths, resnet18_shapes, weights_bytes

Draw = Callable[..., Bundle]
Margins = Callable[[Tensors, Recipe, NDArray[np.uint8]], NDArray[np.float32]]

UNEVEN: Widths = (8, 24, 24, 40)
"""layer2 and layer3 equally wide: nothing may tell layers apart by their channels."""


@pytest.fixture(scope="module")
def narrow(draw_bundle: Draw, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return draw_bundle(tmp_path_factory.mktemp("narrow") / "bundle", Recipe(resize=64, size=64), widths=UNEVEN)


def test_a_narrow_network_is_a_bundle_of_its_own_arch(narrow: Bundle) -> None:
    assert narrow.arch == "resnet18-narrow"
    assert narrow.tensors()["layer4.1.conv2.weight"].shape == (40, 40, 3, 3)
    assert narrow.tensors()["fc.weight"].shape == (2, 40)


@pytest.mark.parametrize("choice", ["torch-cpu", "onnx-cpu", "openvino-fp32", "auto"])
def test_every_backend_gives_a_narrow_network_the_margins_of_torch(
    narrow: Bundle, choice: str, torch_margins: Margins
) -> None:
    crops = np.concatenate(narrow.golden_crops())
    expected = 1 / (1 + np.exp(-torch_margins(narrow.tensors(), narrow.recipe, crops) / narrow.temperature))
    found = open_backend(narrow.path, choice=choice, threads=1).score(crops)
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_a_narrow_network_explains_itself(narrow: Bundle) -> None:
    picture = np.asarray(cv2.imread(str(narrow.golden[3].path)), np.uint8)
    found = Explainer(narrow, 1).explain(picture)
    assert found.score == pytest.approx(narrow.golden[3].score, abs=1e-4)
    assert found.heat.shape == picture.shape[:2]


def drawn(widths: Widths = UNEVEN) -> dict[str, NDArray[np.generic]]:
    return {name: np.ones(shape, np.float32) for name, shape in resnet18_shapes(widths).items()}


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("layer2.1.conv2.weight", (24, 32, 3, 3), r"layer2.1.conv2.weight has the shape \[24, 32, 3, 3\], expected"),
        ("layer3.0.conv1.weight", (1 << 20, 1, 1, 1), "a layer3 of 1048576 channels: not between 1 and 256"),
        ("layer3.0.conv1.weight", (0, 24, 3, 3), "a layer3 of 0 channels: not between 1 and 256"),
        ("layer1.0.conv1.weight", (), "a layer1 of 0 channels: not between 1 and 64"),
        ("layer4.0.conv1.weight", (48, 24, 3, 3), r"the tensor layer4.0.conv1.weight has|the tensor layer4.0.conv2"),
        ("conv1.weight", (16, 3, 7, 7), r"conv1.weight has the shape \[16, 3, 7, 7\], expected \[8, 3, 7, 7\]"),
        ("fc.weight", (3, 40), r"fc.weight has the shape \[3, 40\], expected \[2, 40\]"),
    ],
)
def test_tensors_that_do_not_fit_each_other_are_refused(name: str, shape: tuple[int, ...], message: str) -> None:
    tensors = drawn()
    tensors[name] = np.ones(shape, np.float32)
    with pytest.raises(BundleError, match=message):
        weights_bytes(tensors, "resnet18-narrow")


def test_a_narrow_network_with_a_tensor_missing_or_not_finite_is_refused() -> None:
    tensors = drawn()
    tensors["layer4.0.bn1.bias"][3] = np.nan
    with pytest.raises(BundleError, match=r"layer4.0.bn1.bias holds values that are not finite"):
        weights_bytes(tensors, "resnet18-narrow")
    del tensors["layer2.0.conv1.weight"]
    with pytest.raises(BundleError, match=r"the tensor layer2.0.conv1.weight is missing"):
        weights_bytes(tensors, "resnet18-narrow")


def test_a_narrow_network_does_not_pass_for_a_whole_one() -> None:
    with pytest.raises(BundleError, match="expected"):
        weights_bytes(drawn(), "resnet18")
    assert weights_bytes(drawn(FULL), "resnet18") == weights_bytes(drawn(FULL), "resnet18-narrow")


def test_a_narrow_bundle_whose_weights_are_those_of_another_network_is_refused(
    tmp_path: Path, draw_bundle: Draw
) -> None:
    """The manifest's arch decides what is expected of the tensors, not the tensors themselves."""
    other = draw_bundle(tmp_path / "other", Recipe(resize=64, size=64), golden=0, widths=(8, 16, 16, 16))
    manifest = json.loads((other.path / MANIFEST).read_text())
    (other.path / MANIFEST).write_text(json.dumps(with_content_hash({**manifest, "arch": "resnet18"})))
    with pytest.raises(BundleError, match=r"weights.safetensors: the tensor conv1.weight has the shape"):
        load_bundle(other.path).tensors()
