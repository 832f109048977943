"""What every backend does alike, the simulated one included.

CUDA and TensorRT are backends too, and have not been run: they need a GPU.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inspection.errors import BackendError
from vision.backends.onnx import OnnxBackend
from vision.backends.openvino import OpenvinoBackend
from vision.backends.simulated import Simulated
from vision.backends.torch import Scorer, TorchBackend, torch_cpu
from vision.bundle import Bundle
from vision.cache import graph_bytes
from vision.classifier import Backend, probability
from vision.cpu import has_bf16
from vision.recipe import Recipe
from vision.weights import Tensors

Opener = Callable[[Bundle], Backend]
Margins = Callable[[Tensors, Recipe, NDArray[np.uint8]], NDArray[np.float32]]


def graph(bundle: Bundle) -> bytes:
    return graph_bytes(bundle, bundle.path.parent / "cache")


def in_float16(bundle: Bundle) -> TorchBackend:
    return TorchBackend("torch-fp16", bundle.recipe.crop_shape[1:], Scorer(bundle, torch.float16).eval())


OPENERS: dict[str, Opener] = {
    "simulated": lambda _: Simulated(faults={7: "nan"}),
    "onnx-cpu": lambda bundle: OnnxBackend(graph(bundle), "cpu", threads=1),
    "openvino-fp32": lambda bundle: OpenvinoBackend(graph(bundle), "fp32", threads=1),
    "torch-cpu": lambda bundle: torch_cpu(bundle, reduced=False, threads=1),
    # bf16 is emulated where the CPU has none: the same numbers, slowly.
    "torch-cpu-bf16": lambda bundle: torch_cpu(bundle, reduced=True, threads=1),
    "torch-fp16": in_float16,  # as on CUDA, computed on the CPU
}
if has_bf16():  # OpenVINO emulates it on some CPUs and refuses it on others
    OPENERS["openvino-bf16"] = lambda bundle: OpenvinoBackend(graph(bundle), "bf16", threads=1)
# Of P(defect). bf16 has eight bits, and a drawn network is harder on them than a trained one.
CLOSE = {"openvino-bf16": 0.05, "torch-cpu-bf16": 0.05, "torch-fp16": 0.01}
COLOUR = Recipe(resize=64, size=64, enhance="none", color=True, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))


@dataclass(frozen=True)
class Opened:
    backend: Backend
    bundle: Bundle
    close: float


@pytest.fixture(scope="module", params=OPENERS)
def opened(request: pytest.FixtureRequest, drawn: Bundle) -> Opened:
    return Opened(OPENERS[request.param](drawn), drawn, CLOSE.get(request.param, 1e-4))


@pytest.fixture
def crops(drawn: Bundle) -> NDArray[np.uint8]:
    """Eight that are scored apart."""
    return drawn.golden_crops()[:8, 0].copy()


def reference(backend: Backend, bundle: Bundle, crops: NDArray[np.uint8], margins: Margins) -> NDArray[np.float32]:
    if isinstance(backend, Simulated):
        return np.array([crop.mean() / 255 for crop in crops], np.float32)
    return probability(margins(bundle.tensors(), bundle.recipe, crops) / bundle.temperature)


def test_scores_are_those_of_torch_in_float32(opened: Opened, crops: NDArray[np.uint8], torch_margins: Margins) -> None:
    expected = reference(opened.backend, opened.bundle, crops, torch_margins)
    scores = opened.backend.score(crops)
    assert np.ptp(expected) > 0.1
    assert scores == pytest.approx(expected, abs=opened.close)


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory, draw_bundle: Callable[..., Bundle]) -> Bundle:
    return draw_bundle(tmp_path_factory.mktemp("colour") / "bundle", COLOUR)


@pytest.mark.parametrize("kind", OPENERS)
def test_blue_green_and_red_are_not_confused(kind: str, coloured: Bundle, torch_margins: Margins) -> None:
    backend, crops = OPENERS[kind](coloured), coloured.golden_crops()[:6, 0]
    expected = reference(backend, coloured, crops, torch_margins)
    assert backend.score(crops) == pytest.approx(expected, abs=CLOSE.get(kind, 1e-4))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory, draw_bundle: Callable[..., Bundle]) -> Bundle:
    """A batch norm whose variances are beyond float16: ImageNet's own weights have some."""
    norm = {"bn1.running_var": np.full(64, 1e6, np.float32), "bn1.weight": np.full(64, 900, np.float32)}
    return draw_bundle(tmp_path_factory.mktemp("wide") / "bundle", Recipe(resize=64, size=64), backbone=norm)


@pytest.mark.parametrize("kind", [kind for kind in OPENERS if kind in CLOSE])
def test_variances_beyond_float16_are_no_harm(kind: str, wide: Bundle, torch_margins: Margins) -> None:
    backend, crops = OPENERS[kind](wide), wide.golden_crops()[:4, 0]
    expected = reference(backend, wide, crops, torch_margins)
    assert np.ptp(expected) > 0.02
    assert backend.score(crops) == pytest.approx(expected, abs=CLOSE[kind])


def test_a_crop_has_the_same_score_in_a_batch_of_any_size(opened: Opened, crops: NDArray[np.uint8]) -> None:
    alone = np.concatenate([opened.backend.score(crops[at : at + 1]) for at in range(8)])
    for size in range(1, 9):
        scores = opened.backend.score(crops[:size])
        assert scores.shape == (size,)
        assert scores.dtype == np.float32
        assert scores == pytest.approx(alone[:size], abs=opened.close)


def test_a_score_belongs_to_its_crop_whatever_the_order(opened: Opened, crops: NDArray[np.uint8]) -> None:
    scores = opened.backend.score(crops)
    order = np.random.default_rng(4).permutation(8)
    assert opened.backend.score(crops[order]) == pytest.approx(scores[order], abs=opened.close)


def test_scores_stay_when_the_next_batch_is_scored(opened: Opened, crops: NDArray[np.uint8]) -> None:
    scores = opened.backend.score(crops[:4])
    kept = scores.copy()
    opened.backend.score(crops[4:])
    assert np.array_equal(scores, kept)


def test_crops_are_only_read_and_may_lie_anywhere_in_memory(opened: Opened, crops: NDArray[np.uint8]) -> None:
    expected = opened.backend.score(crops.copy())
    kept = crops.copy()
    crops.flags.writeable = False
    for given in (crops, np.asfortranarray(crops), np.repeat(crops, 2, axis=0)[::2]):
        assert opened.backend.score(given) == pytest.approx(expected, abs=opened.close)
    assert np.array_equal(crops, kept)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 64, 64), np.uint8),
        np.zeros((0, 1, 64, 64), np.uint8),
        np.zeros((2, 1, 64, 64), np.float32),
        np.zeros((2, 1, 64, 64), np.int8),
    ],
    ids=["no batch", "empty batch", "float32", "int8"],
)
def test_what_are_no_crops_is_refused(opened: Opened, wrong: NDArray[np.uint8]) -> None:
    with pytest.raises(BackendError, match=rf"{opened.backend.name}: .* crops of shape \[.*\], expected uint8 \[n, "):
        opened.backend.score(wrong)


@pytest.mark.parametrize("shape", [(2, 1, 32, 32), (2, 1, 224, 224), (2, 3, 64, 64), (2, 2, 64, 64), (2, 1, 64, 65)])
def test_crops_of_another_network_are_refused(opened: Opened, shape: tuple[int, ...]) -> None:
    crops = np.zeros(shape, np.uint8)
    if isinstance(opened.backend, Simulated):  # it has no network: brightness is there in any size
        assert opened.backend.score(crops).tolist() == [0, 0]
        return
    with pytest.raises(BackendError, match=r"expected uint8 \[n, 1, 64, 64\]"):
        opened.backend.score(crops)


HUGE = np.float32(3e38)
OVERFLOWS = {
    "to minus infinity": np.full(512, -HUGE, np.float32),
    "to both": np.where(np.arange(512) % 2, HUGE, -HUGE).astype(np.float32),
}


@pytest.fixture(scope="module", params=OVERFLOWS)
def overflowing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, draw_bundle: Callable[..., Bundle]
) -> Bundle:
    """A network whose margin is no number for any picture."""
    weight = np.stack([np.zeros(512, np.float32), OVERFLOWS[request.param]])
    folder = tmp_path_factory.mktemp("overflow") / "bundle"
    return draw_bundle(folder, Recipe(resize=32, size=32), golden=4, fc_weight=weight)


@pytest.mark.parametrize("kind", OPENERS)
def test_what_is_not_finite_stays_so_and_reads_as_no_score(overflowing: Bundle, kind: str) -> None:
    backend = OPENERS[kind](overflowing)
    crops = overflowing.golden_crops()[:3, 0].copy()
    crops[:, 0, 0, 0] = 7  # what the simulated backend takes as its cue
    assert np.isnan(backend.score(crops)).all()


def test_a_probability_is_the_sigmoid_of_the_margin() -> None:
    margins = np.array([-200, -20, -1, 0, 1, 20, 200], np.float32)
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp(-margins.astype(np.float64)))
    assert probability(margins) == pytest.approx(expected, abs=1e-7)
    assert np.isnan(probability(np.array([np.inf, -np.inf, np.nan], np.float32))).all()


def out_of_memory_above(most: int) -> tuple[list[int], Callable[[torch.Tensor], torch.Tensor]]:
    tried: list[int] = []

    def run(crops: torch.Tensor) -> torch.Tensor:
        tried.append(len(crops))
        if len(crops) > most:
            raise torch.OutOfMemoryError("out of memory")
        return crops.float().mean(dim=(1, 2, 3))

    return tried, run


def test_out_of_memory_halves_the_batch_and_it_stays_so(crops: NDArray[np.uint8]) -> None:
    tried, run = out_of_memory_above(2)
    backend = TorchBackend("small", (1, 64, 64), run)
    expected = probability(crops.mean(axis=(1, 2, 3), dtype=np.float32))

    assert backend.score(crops) == pytest.approx(expected)
    assert tried == [8, 4, 2, 2, 2, 2]
    assert backend.score(crops[:3]) == pytest.approx(expected[:3])
    assert tried[6:] == [2, 1]
    assert backend.name == "small"


def test_a_device_without_memory_for_one_crop_gives_way_to_the_spare(crops: NDArray[np.uint8]) -> None:
    tried, run = out_of_memory_above(0)
    _, on_cpu = out_of_memory_above(8)
    backend = TorchBackend("none", (1, 64, 64), run, lambda: TorchBackend("spare", (1, 64, 64), on_cpu))

    scores = backend.score(crops)

    assert scores == pytest.approx(probability(crops.mean(axis=(1, 2, 3), dtype=np.float32)))
    assert tried == [8, 4, 2, 1]
    assert backend.name == "spare"
    assert np.array_equal(backend.score(crops), scores)
    assert len(tried) == 4


def test_without_a_spare_it_is_told(crops: NDArray[np.uint8]) -> None:
    backend = TorchBackend("none", (1, 64, 64), out_of_memory_above(0)[1])
    with pytest.raises(BackendError, match="none: out of memory with one crop"):
        backend.score(crops)


@pytest.mark.parametrize(
    "open_it", [lambda: OnnxBackend(b"no graph", "cpu"), lambda: OpenvinoBackend(b"no graph", "fp32")]
)
def test_what_is_no_graph_is_refused(open_it: Callable[[], Backend]) -> None:
    with pytest.raises(BackendError, match="the graph cannot be"):
        open_it()


def test_a_provider_that_this_onnxruntime_lacks_is_named_with_the_remedy(drawn: Bundle, tmp_path: Path) -> None:
    with pytest.raises(
        BackendError, match=r"onnx-tensorrt: this onnxruntime has no Tensorrt.*: install onnxruntime-gpu"
    ):
        OnnxBackend(graph(drawn), "tensorrt", cache_dir=tmp_path)
