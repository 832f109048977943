"""Which backend runs, and why not another.

That a machine with a GPU takes CUDA has not been run.
"""

import json
import logging
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inspection.errors import BackendError, BundleError
from inspection.frame import CropPixels
from vision.backends.choose import BACKEND_CHOICES, open_backend, parity
from vision.backends.openvino import OpenvinoBackend
from vision.backends.simulated import Simulated
from vision.backends.torch import torch_cpu
from vision.bundle import Bundle, load_bundle
from vision.cache import graph_bytes
from vision.classifier import Backend
from vision.content import with_content_hash
from vision.cpu import has_bf16
from vision.recipe import Recipe, Tiles

CPU = ["openvino-fp32", "openvino", "onnx-cpu", "torch-cpu", *(["openvino-bf16"] if has_bf16() else [])]

Hide = Callable[..., None]
Measured = Callable[[], int]


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vision.backends.choose._has_nvidia_device", lambda: False)


@pytest.fixture
def hide(monkeypatch: pytest.MonkeyPatch) -> Hide:
    """Makes packages look as if they were not installed: that is how Python itself marks a blocked import."""

    def hide(*packages: str) -> None:
        for package in packages:
            monkeypatch.setitem(sys.modules, package, None)

    return hide


@pytest.fixture
def measured(caplog: pytest.LogCaptureFixture) -> Measured:
    """How many backends were measured since it was asked last."""
    caplog.set_level(logging.INFO)

    def measured() -> int:
        told = [record for record in caplog.records if "crops/s" in record.getMessage()]
        caplog.clear()
        return len(told)

    return measured


@pytest.fixture(scope="module")
def kept(drawn: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Caches of two machines: `graph` holds the graph, `all` what `auto` remembers too; it ran with one thread."""
    folder = tmp_path_factory.mktemp("kept")
    graph_bytes(drawn, folder / "graph")
    shutil.copytree(folder / "graph", folder / "all", copy_function=os.link)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vision.backends.choose._has_nvidia_device", lambda: False)
        open_backend(drawn.path, threads=1, cache_dir=folder / "all")
    return folder


@pytest.fixture
def cache(kept: Path, tmp_path: Path) -> Path:
    """A cache with the graph alone: also that of every copy of `drawn`, whatever its thresholds."""
    return Path(shutil.copytree(kept / "graph", tmp_path / "cache", copy_function=os.link))


@pytest.fixture
def memory(kept: Path, tmp_path: Path) -> Path:
    """A cache with the graph and the choice of `auto`."""
    return Path(shutil.copytree(kept / "all", tmp_path / "memory", copy_function=os.link))


def rewrite(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((bundle / "bundle.json").read_text())
    change(manifest)
    (bundle / "bundle.json").unlink()
    (bundle / "bundle.json").write_text(json.dumps(with_content_hash(manifest)))


def scores(backend: Backend, bundle: Bundle) -> list[float]:
    return [float(score) for score in backend.score(bundle.golden_crops()[:, 0])]


@pytest.mark.parametrize("choice", [*CPU, "auto"])
def test_a_backend_that_was_named_scores_the_golden_parts_as_the_bundle_says(
    drawn: Bundle, cache: Path, choice: str
) -> None:
    backend = open_backend(drawn.path, choice=choice, threads=1, cache_dir=cache)
    assert backend.name in BACKEND_CHOICES
    assert choice == "auto" or backend.name.startswith(choice)
    assert scores(backend, drawn) == pytest.approx([part.score for part in drawn.golden], abs=0.05)


def test_a_name_that_is_none_is_answered_with_those_that_are(drawn: Bundle) -> None:
    with pytest.raises(BackendError, match=r"backend 'tensorflow': not one of auto, openvino, .*, torch-cuda"):
        open_backend(drawn.path, choice="tensorflow")


@pytest.mark.parametrize(
    ("choice", "package"),
    [("onnx-cpu", "onnxruntime"), ("openvino-fp32", "openvino"), ("openvino", "openvino"), ("torch-cpu", "torch")],
)
def test_a_backend_that_is_not_installed_is_named_with_the_remedy(
    drawn: Bundle, hide: Hide, choice: str, package: str
) -> None:
    hide(package)
    remedy = rf"{choice}.*: {package} is not installed: .* -m pip install .*({package}|\[cuda\])"
    with pytest.raises(BackendError, match=remedy):
        open_backend(drawn.path, choice=choice)


@pytest.mark.parametrize(
    ("choice", "package"), [("onnx-cpu", "onnxruntime"), ("openvino-fp32", "openvino"), ("torch-cpu", "torch")]
)
def test_a_runtime_that_is_there_but_does_not_load_is_named(
    drawn: Bundle, hide: Hide, choice: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"vision.backends.{choice.partition('-')[0]}"
    hide(module)
    monkeypatch.delattr(module, raising=False)
    with pytest.raises(BackendError, match=f"{choice}: {package} is installed but cannot be loaded: "):
        open_backend(drawn.path, choice=choice)


@pytest.mark.parametrize("choice", ["onnx-cuda", "onnx-tensorrt"])
def test_a_gpu_that_onnxruntime_cannot_use_is_told(drawn: Bundle, choice: str) -> None:
    with pytest.raises(BackendError, match=f"{choice}: .*(install onnxruntime-gpu|did not start)"):
        open_backend(drawn.path, choice=choice)


@pytest.mark.parametrize("choice", CPU)
def test_a_backend_that_disagrees_with_a_golden_part_is_refused(copied: Path, cache: Path, choice: str) -> None:
    rewrite(copied, lambda manifest: manifest["golden"][3].update(score=0.001))
    with pytest.raises(BackendError) as caught:
        open_backend(copied, choice=choice, threads=1, cache_dir=cache)
    told = str(caught.value)
    assert choice in told
    assert f"disagrees with the golden parts of {copied}: largest difference of a score 0." in told
    assert "(allowed 0.05), another verdict for 003-" in told


def test_where_every_backend_disagrees_auto_names_them_all(copied: Path, cache: Path) -> None:
    rewrite(copied, lambda manifest: manifest["golden"][3].update(score=0.001))
    with pytest.raises(BackendError) as caught:
        open_backend(copied, threads=1, cache_dir=cache)
    assert str(caught.value).startswith("no backend can be used: ")
    for name in ("openvino-fp32", "onnx-cpu", "torch-cpu"):
        assert f"{name} disagrees" in str(caught.value)


@dataclass
class Leaning:
    """A backend that puts one score beyond the threshold, as another CPU's rounding might."""

    backend: Backend
    by: float
    name: str = field(init=False)
    callers: int = 1

    def __post_init__(self) -> None:
        self.name = self.backend.name

    def score(self, crops: CropPixels) -> NDArray[np.float32]:
        return np.asarray(self.backend.score(crops) + np.float32(self.by), np.float32)


@pytest.fixture
def edge(copied: Path) -> int:
    """Moves the threshold of `copied` to just above the highest score of a good golden part; that part's number."""
    golden = load_bundle(copied).golden
    most = max((n for n in range(len(golden)) if golden[n].label == "ok"), key=lambda n: golden[n].score)
    between = golden[most].score + 0.01
    assert between < min(part.score for part in golden if part.label == "ng") - 0.05
    rewrite(copied, lambda manifest: manifest["thresholds"].update(pass_below=between, fail_above=between))
    return most


@pytest.fixture
def rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """bf16 on a CPU that has it, with scores 0.02 above those of float32, whatever this machine computes."""
    monkeypatch.setattr("vision.backends.choose.has_bf16", lambda: True)

    def in_openvino(graph: bytes, precision: str, threads: int = 0) -> Backend:
        backend = OpenvinoBackend(graph, "fp32", threads)
        backend.name = f"openvino-{precision}"
        return Leaning(backend, 0.02) if precision == "bf16" else backend

    def in_torch(bundle: Bundle, *, reduced: bool, threads: int = 0) -> Backend:
        backend = torch_cpu(bundle, reduced=False, threads=threads)
        return Leaning(backend, 0.02) if reduced else backend

    monkeypatch.setattr("vision.backends.openvino.OpenvinoBackend", in_openvino)
    monkeypatch.setattr("vision.backends.torch.torch_cpu", in_torch)


@pytest.mark.usefixtures("rounding")
def test_a_small_difference_that_changes_a_verdict_is_too_large(copied: Path, cache: Path, edge: int) -> None:
    """The threshold lies between a score of bf16 and the reference: fp32 is taken in its place."""
    with pytest.raises(BackendError, match=f"openvino-bf16 disagrees .* another verdict for .*{edge:03d}-"):
        open_backend(copied, choice="openvino-bf16", threads=1, cache_dir=cache)
    assert open_backend(copied, choice="openvino", threads=1, cache_dir=cache).name == "openvino-fp32"
    assert "bf16" not in open_backend(copied, threads=1, cache_dir=cache).name


@pytest.mark.usefixtures("rounding")
def test_torch_computes_in_float32_where_bf16_would_change_a_verdict(drawn: Bundle, copied: Path, edge: int) -> None:
    in_bf16 = scores(open_backend(drawn.path, choice="torch-cpu", threads=1), drawn)
    assert in_bf16[edge] == pytest.approx(drawn.golden[edge].score + 0.02, abs=1e-4)

    in_fp32 = scores(open_backend(copied, choice="torch-cpu", threads=1), drawn)
    assert in_fp32 == pytest.approx([part.score for part in drawn.golden], abs=1e-4)


@pytest.mark.usefixtures("rounding")
@pytest.mark.parametrize("label", ["ok", "ng"])
def test_an_excused_part_may_get_another_verdict(copied: Path, cache: Path, edge: int, label: str) -> None:
    def excuse(manifest: dict[str, Any]) -> None:
        manifest["golden"][edge].update(label=label, expected="excused")

    rewrite(copied, excuse)
    assert open_backend(copied, choice="openvino-bf16", threads=1, cache_dir=cache).name == "openvino-bf16"


def test_scores_that_are_not_finite_never_agree(drawn: Bundle) -> None:
    class Broken(Simulated):
        def score(self, crops: Any) -> Any:
            return np.full(len(crops), np.nan, np.float32)

    found = parity(Broken(), drawn)
    assert not found.agrees
    assert str(found).startswith("largest difference of a score inf (allowed 0.05)")


def test_a_part_of_many_tiles_is_compared_by_its_highest(tmp_path: Path, draw_bundle: Callable[..., Bundle]) -> None:
    recipe = Recipe(resize=64, size=64, enhance="none", tiles=Tiles(columns=2, rows=2))
    bundle = draw_bundle(tmp_path / "bundle", recipe)
    assert bundle.golden_crops().shape == (12, 4, 1, 64, 64)
    backend = open_backend(bundle.path, choice="onnx-cpu", threads=1)
    assert parity(backend, bundle).largest < 1e-4


def test_a_bundle_without_golden_parts_is_taken_at_its_word(tmp_path: Path, draw_bundle: Callable[..., Bundle]) -> None:
    bundle = draw_bundle(tmp_path / "bundle", Recipe(resize=64, size=64), golden=0)
    assert open_backend(bundle.path, choice="onnx-cpu", threads=1).name == "onnx-cpu"


def test_auto_does_without_what_is_not_installed(
    drawn: Bundle, cache: Path, hide: Hide, caplog: pytest.LogCaptureFixture
) -> None:
    hide("openvino")
    assert open_backend(drawn.path, threads=1, cache_dir=cache).name == "onnx-cpu"
    assert "openvino is not installed" in caplog.text
    hide("onnxruntime")
    assert open_backend(drawn.path, threads=1, cache_dir=cache).name == "torch-cpu"
    hide("torch")
    with pytest.raises(BackendError, match=r"no backend can be used: openvino-fp32: .*; onnx-cpu: .*; torch-cpu: "):
        open_backend(drawn.path, threads=1, cache_dir=cache)


def test_a_gpu_that_cannot_be_used_is_told_and_done_without(
    drawn: Bundle, cache: Path, hide: Hide, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vision.backends.choose._has_nvidia_device", lambda: True)
    hide("torch", "onnxruntime")
    assert open_backend(drawn.path, threads=1, cache_dir=cache).name.startswith("openvino-")
    assert "a GPU is there but not used: no backend can be used: torch-cuda: torch is not installed" in caplog.text
    assert "onnx-cuda: onnxruntime is not installed" in caplog.text


def test_auto_measures_once_and_remembers_what_was_fastest(drawn: Bundle, cache: Path, measured: Measured) -> None:
    first = open_backend(drawn.path, threads=1, cache_dir=cache).name
    assert measured() == 2
    assert open_backend(drawn.path, threads=1, cache_dir=cache).name == first
    assert measured() == 0


def test_without_a_cache_nothing_is_remembered(drawn: Bundle, memory: Path, measured: Measured) -> None:
    open_backend(drawn.path, threads=1, cache_dir=memory)
    assert measured() == 0
    open_backend(drawn.path, threads=1)
    assert measured() == 2


@pytest.mark.parametrize(
    "changed",
    [("cpu_model", "another CPU"), ("_version", "another version"), ("os.cpu_count", 99)],
    ids=lambda c: c[0],
)
def test_auto_measures_again_on_another_machine_or_after_an_upgrade(
    drawn: Bundle, memory: Path, measured: Measured, monkeypatch: pytest.MonkeyPatch, changed: tuple[str, object]
) -> None:
    name, value = changed
    monkeypatch.setattr(f"vision.backends.choose.{name}", lambda *_: value)
    open_backend(drawn.path, threads=1, cache_dir=memory)
    assert measured() == 2


def test_auto_measures_again_with_other_threads(drawn: Bundle, memory: Path, measured: Measured) -> None:
    open_backend(drawn.path, threads=2, cache_dir=memory)
    assert measured() == 2


def test_auto_measures_again_when_its_memory_is_damaged(drawn: Bundle, memory: Path, measured: Measured) -> None:
    (choice,) = memory.glob("backend-*")
    content = choice.read_bytes()
    choice.unlink()
    choice.write_bytes(content[:-1] + b"?")
    open_backend(drawn.path, threads=1, cache_dir=memory)
    assert measured() == 2


def test_a_remembered_backend_that_is_gone_is_told_and_another_taken(
    drawn: Bundle, memory: Path, hide: Hide, caplog: pytest.LogCaptureFixture
) -> None:
    first = open_backend(drawn.path, threads=1, cache_dir=memory).name
    hide("openvino" if first.startswith("openvino") else "onnxruntime")
    assert open_backend(drawn.path, threads=1, cache_dir=memory).name != first
    assert "the backend of the last start cannot be used" in caplog.text


def test_a_worker_that_starts_again_does_not_take_another_model(drawn: Bundle, copied: Path, cache: Path) -> None:
    same = open_backend(copied, choice="onnx-cpu", threads=1, cache_dir=cache, model=drawn.model_id)
    assert same.name == "onnx-cpu"
    rewrite(copied, lambda manifest: manifest["metrics"].update(drawn="anew"))
    new = load_bundle(copied).model_id
    with pytest.raises(BundleError, match=f"holds the model {new}, no longer {drawn.model_id}: restart linegate"):
        open_backend(copied, choice="onnx-cpu", threads=1, model=drawn.model_id)
