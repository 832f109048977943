"""The network is torchvision's ResNet18, and the weights that come along fit it."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torchvision import models, transforms

from inspection.errors import BundleError
from vision.recipe import IMAGENET_MEAN, IMAGENET_STD
from vision.resnet import ResNet18, build_resnet18, load_backbone, normalise
from vision.weights import as_stored, resnet18_shapes

IMAGENET = Path(__file__).parents[2] / "models" / "imagenet-resnet18"
WEIGHTS = IMAGENET / "resnet18-imagenet.safetensors"

Arrays = dict[str, NDArray[np.generic]]


@pytest.fixture(scope="module")
def imagenet() -> Arrays:
    return dict(load_file(WEIGHTS))


def test_names_and_shapes_are_torchvisions() -> None:
    theirs = {name: tuple(tensor.shape) for name, tensor in models.resnet18(num_classes=2).state_dict().items()}
    counters = {name for name in theirs if name.endswith("num_batches_tracked")}
    assert {name: shape for name, shape in theirs.items() if name not in counters} == resnet18_shapes()
    assert {name: tuple(tensor.shape) for name, tensor in ResNet18().state_dict().items()} == theirs


@pytest.mark.parametrize("side", [64, 224, 225])
def test_the_same_weights_give_torchvisions_logits(imagenet: Arrays, side: int) -> None:
    theirs = models.resnet18(num_classes=2).eval()
    state = {name: torch.from_numpy(array.astype(np.float32)) for name, array in imagenet.items()}
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert not unexpected
    assert {name for name in missing if not name.endswith("num_batches_tracked")} == {"fc.weight", "fc.bias"}
    ours = build_resnet18({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    pictures = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (2, 3, side, side)).astype(np.float32))
    with torch.inference_mode():
        expected = theirs(pictures)
        assert expected.std() > 0.01
        assert torch.allclose(ours(pictures), expected, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_normalised_as_torchvision_does(channels: int) -> None:
    crops = np.random.default_rng(1).integers(0, 256, (2, channels, 8, 8), np.uint8)
    theirs = transforms.Compose([transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)])
    seen = np.repeat(crops, 3, axis=1) if channels == 1 else crops[:, ::-1]  # ours is BGR, theirs RGB
    expected = torch.stack([theirs(np.ascontiguousarray(picture.transpose(1, 2, 0))) for picture in seen])
    assert torch.allclose(normalise(torch.from_numpy(crops), IMAGENET_MEAN, IMAGENET_STD), expected, atol=1e-6)


def test_the_weights_that_come_along_are_what_their_page_says(imagenet: Arrays) -> None:
    page = (IMAGENET / "README.md").read_text()
    raw = WEIGHTS.read_bytes()
    assert hashlib.sha256(raw).hexdigest() in page
    assert f"{len(raw):,} bytes" in page
    assert hashlib.sha256((IMAGENET / "LICENSE").read_bytes()).hexdigest() in page
    assert len(imagenet) == int(re.findall(r"(\d+) tensors", page)[0])
    assert {array.dtype for array in imagenet.values() if array.ndim == 4} == {np.dtype(np.float16)}
    assert {array.dtype for array in imagenet.values() if array.ndim != 4} == {np.dtype(np.float32)}


def test_the_backbone_is_filled_and_the_classifier_left_alone(imagenet: Arrays) -> None:
    model = ResNet18()
    kept = model.fc.weight.detach().clone()
    load_backbone(model, WEIGHTS)
    stored = as_stored({**{name: tensor.numpy() for name, tensor in model.state_dict().items()}})
    assert all(np.array_equal(stored[name], array) for name, array in imagenet.items())
    assert torch.equal(model.fc.weight, kept)


def without(name: str) -> Callable[[Arrays], Arrays]:
    return lambda tensors: {key: array for key, array in tensors.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("layer3.0.bn1.running_mean"), r"missing \['layer3.0.bn1.running_mean'\]"),
        (lambda tensors: {**tensors, "layer4.2.conv1.weight": tensors["fc"]}, r"unknown \['layer4.2.conv1.weight'\]"),
        (lambda tensors: {**tensors, "bn1.weight": np.zeros(65, np.float32)}, "size mismatch for bn1.weight"),
    ],
)
def test_weights_of_another_network_are_refused(
    imagenet: Arrays, tmp_path: Path, change: Callable[[Arrays], Arrays], message: str
) -> None:
    file = tmp_path / "other.safetensors"
    save_file(without("fc")(change({**imagenet, "fc": np.zeros((2, 2), np.float32)})), file)
    with pytest.raises(BundleError, match=message) as caught:
        load_backbone(ResNet18(), file)
    assert str(caught.value).startswith(f"{file}: the weights are not ResNet18's: ")


BF16 = b'{"conv1.weight":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 a zip file of torch's", b"\xff" * 100, len(BF16).to_bytes(8, "little") + BF16 + bytes(2)],
)
def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(content)
    with pytest.raises(BundleError, match="not a readable safetensors file"):
        load_backbone(ResNet18(), file)
