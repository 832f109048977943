"""The network with a bank of good parts: what its graph computes, and what of it is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch.nn.functional import avg_pool2d, conv2d

from inspection.errors import BundleError
from vision.backends.choose import open_backend
from vision.bank import build_bank_graph, build_places_graph
from vision.bundle import Bundle, Thresholds, load_bundle
from vision.recipe import Recipe
from vision.resnet import build_resnet18, normalise
from vision.weights import Tensors
from vision.write import write_bundle

SMALL = Recipe(resize=64, size=64)
ENTRIES = 30


@pytest.fixture
def tensors(drawn: Bundle) -> Tensors:
    """A drawn trunk, and a bank of drawn entries about as far away as its places are from each other."""
    random = np.random.default_rng(1)
    trunk = {name: array for name, array in drawn.tensors().items() if not name.startswith(("layer4.", "fc."))}
    levels = {
        f"bank.layer{number}.weight": random.normal(0, 0.02, (128, channels, 1, 1))
        for number, channels in ((2, 128), (3, 256))
    }
    bank = {
        "bank.shift": random.normal(0, 0.1, 128),
        "bank.entries": random.normal(0, 0.5, (ENTRIES, 128, 1, 1)),
        "bank.limit": np.array([0.7]),
    }
    return {**trunk, **{name: array.astype(np.float32) for name, array in {**levels, **bank}.items()}}


def written(path: Path, tensors: Tensors) -> Bundle:
    return write_bundle(
        path,
        arch="resnet18-bank",
        recipe=SMALL,
        thresholds=Thresholds(0.5, 0.5),
        temperature=1.3,
        tensors=tensors,
        metrics={},
        data_hash="0" * 64,
        golden=[],
        golden_crops=[],
    )


def test_the_graph_gives_the_distance_to_the_nearest_entry_softened_over_places(
    tmp_path: Path, drawn: Bundle, tensors: Tensors
) -> None:
    bundle = written(tmp_path / "bundle", tensors)
    crops = np.random.default_rng(3).integers(0, 256, (5, 1, 64, 64), np.uint8)
    session = onnxruntime.InferenceSession(
        build_bank_graph(bundle).SerializeToString(), providers=["CPUExecutionProvider"]
    )

    margin, places = session.run(["margin", "map"], {"crops": crops})

    stored = {name: torch.from_numpy(array) for name, array in bundle.tensors().items()}
    with torch.inference_mode():
        network = build_resnet18(drawn.tensors())
        fine = network.short_trunk(normalise(torch.from_numpy(crops), SMALL.mean, SMALL.std))
        near = [avg_pool2d(fine, 3, 1, 1), avg_pool2d(network.layer3(fine), 3, 1, 1)]
        described = conv2d(avg_pool2d(near[0], 2), stored["bank.layer2.weight"]) + conv2d(
            near[1], stored["bank.layer3.weight"]
        )
        flat = (described - stored["bank.shift"][:, None, None]).permute(0, 2, 3, 1).reshape(5, 16, 128)
        distance = torch.cdist(flat, stored["bank.entries"][:, :, 0, 0][None]).amin(dim=2)
        expected = (torch.logsumexp(16 * distance, dim=1) - np.log(16)) / 16
    assert margin == pytest.approx(((expected - 0.7) / 1.3).numpy(), rel=1e-3, abs=1e-3)
    assert places.reshape(5, 16) == pytest.approx(((distance - 0.7) / 1.3).numpy(), rel=1e-3, abs=1e-3)


def test_places_of_good_parts_that_are_the_entries_are_no_distance_away(tmp_path: Path, tensors: Tensors) -> None:
    crops = np.random.default_rng(3).integers(0, 256, (1, 1, 64, 64), np.uint8)
    graph = build_places_graph(tensors, SMALL).SerializeToString()
    (places,) = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, {"crops": crops})
    entries = places.transpose(0, 2, 3, 1).reshape(16, 128, 1, 1)
    bundle = written(tmp_path / "bundle", {**tensors, "bank.entries": entries})

    score = open_backend(bundle.path, choice="onnx-cpu", threads=1).score(crops)

    assert score == pytest.approx(1 / (1 + np.exp(0.7 / 1.3)), abs=0.02)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("bank.limit"), "the tensor bank.limit is missing"),
        (lambda t: t.pop("bank.entries"), "a bank of 0 entries"),
        (lambda t: t.update({"bank.entries": np.zeros((3, 64, 1, 1), np.float32)}), "has the shape"),
        (lambda t: t.update({"bank.entries": np.zeros((20_000, 128, 1, 1), np.float32)}), "a bank of 20000 entries"),
        (lambda t: t.update({"bank.shift": np.full(128, np.nan, np.float32)}), "not finite"),
    ],
)
def test_what_is_no_bank_is_refused(
    tmp_path: Path, tensors: Tensors, change: Callable[[Tensors], object], said: str
) -> None:
    change(tensors)

    with pytest.raises(BundleError, match=said):
        written(tmp_path / "bundle", tensors)


def test_an_overflow_in_the_bank_is_no_number_and_not_the_surest_pass(tmp_path: Path, tensors: Tensors) -> None:
    huge = {name: tensors[name] * np.float32(60_000 / np.abs(tensors[name]).max()) for name in ("bank.entries",)}
    deep = {name: np.full_like(array, 1e30) for name, array in tensors.items() if name.endswith("bn1.weight")}
    bundle = written(tmp_path / "bundle", {**tensors, **huge, **deep})

    crops = np.full((1, 1, 64, 64), 200, np.uint8)

    assert np.isnan(open_backend(load_bundle(bundle.path).path, choice="onnx-cpu", threads=1).score(crops)).all()
