"""The INT8 network of a bundle: what is refused, and when `auto` takes it."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from inspection.errors import BackendError, BundleError
from inspection.frame import CropPixels
from training.quantise import QuantisedWriter
from training.ranges import sampled, steps
from vision.backends.choose import open_backend, parity
from vision.backends.onnx import OnnxBackend
from vision.backends.openvino import OpenvinoBackend
from vision.backends.simulated import Simulated
from vision.bundle import INT8, Bundle, Thresholds, load_bundle
from vision.certificate import Agreement, Certificate, Certified
from vision.classifier import Backend
from vision.content import with_content_hash
from vision.fold import folded_layers
from vision.graph import write_graph
from vision.int8 import int8_graph
from vision.write import add_int8, revise_bundle

BACKENDS = ("onnx-int8", "openvino-int8")
PERFECT = Agreement(parts=10, largest=0.0, mean=0.0, other_verdicts=0, auroc_change=0.0)
# A drawn network takes rounding worse than one that has learnt, and each CPU in its own way.
ROUGH = PERFECT.model_copy(update={"largest": 0.9})


def certificate(golden: Agreement = ROUGH, **val: Any) -> Certificate:
    told = PERFECT.model_copy(update=val)
    found = tuple(Certified(backend=name, golden=golden, val=told) for name in BACKENDS)
    return Certificate(reference="onnx-cpu", cpu="any", clipping="none", thresholds=(0.4, 0.6), backends=found)


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vision.backends.choose._has_nvidia_device", lambda: False)


@pytest.fixture(scope="module")
def wide(drawn: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """`drawn` with thresholds that no golden part's score is near."""
    path = tmp_path_factory.mktemp("wide") / "bundle"
    golden = range(len(drawn.golden))
    return revise_bundle(drawn, path, thresholds=Thresholds(0.01, 0.99), metrics={}, golden=golden)


@pytest.fixture(scope="module")
def graph(drawn: Bundle) -> bytes:
    """`drawn` in INT8, with ranges of its golden crops."""
    layers = folded_layers(drawn.tensors(), drawn.recipe, drawn.temperature)
    found = sampled(layers, drawn.recipe, drawn.golden_crops()[:, 0], threads=1, quiet=True)
    writer = QuantisedWriter(steps(found, "none"), found.means)
    return bytes(write_graph(writer, layers, drawn.recipe).SerializeToString())


@pytest.fixture
def whole(wide: Bundle, graph: bytes, tmp_path: Path) -> Bundle:
    """`wide` with INT8 and a good certificate."""
    return add_int8(wide, tmp_path / "whole", graph, certificate())


def scores(bundle: Bundle, choice: str) -> list[float]:
    backend = open_backend(bundle.path, choice=choice, threads=1)
    assert backend.name == choice
    return [float(score) for score in backend.score(bundle.golden_crops()[:, 0])]


@pytest.mark.parametrize("choice", BACKENDS)
def test_int8_scores_the_golden_parts_nearly_as_float32_does(whole: Bundle, choice: str) -> None:
    found = scores(whole, choice)
    assert found == pytest.approx([part.score for part in whole.golden], abs=0.15)
    assert np.ptp(found) > 0.3


@pytest.mark.parametrize("choice", BACKENDS)
def test_a_bundle_without_int8_names_the_command_that_makes_it(drawn: Bundle, choice: str) -> None:
    with pytest.raises(BundleError, match=f"holds no {INT8}: linegate export"):
        open_backend(drawn.path, choice=choice, threads=1)


def test_a_bundle_with_int8_is_another_model_with_the_same_rest(wide: Bundle, whole: Bundle, graph: bytes) -> None:
    assert whole.model_id != wide.model_id
    assert whole.int8() == graph
    assert whole.weights_hash == wide.weights_hash
    assert [part.score for part in whole.golden] == [part.score for part in wide.golden]
    assert whole.certificate == certificate()


def test_int8_and_its_certificate_survive_other_thresholds(whole: Bundle, tmp_path: Path) -> None:
    new = revise_bundle(
        whole, tmp_path / "new", thresholds=whole.thresholds, metrics={}, golden=range(len(whole.golden) - 1)
    )
    assert new.int8() == whole.int8()
    assert new.certificate == whole.certificate


def test_one_changed_byte_is_refused(whole: Bundle) -> None:
    raw = bytearray(whole.int8())
    raw[len(raw) // 2] ^= 1
    (whole.path / INT8).write_bytes(raw)
    with pytest.raises(BundleError, match=f"{INT8}: changed since the bundle was loaded"):
        int8_graph(whole)
    with pytest.raises(BundleError, match=f"{INT8}: changed since the bundle was written"):
        load_bundle(whole.path)


def _strange_node(model: Any) -> None:
    model.graph.node[0].op_type = "Loop"


def _foreign_domain(model: Any) -> None:
    model.graph.node[0].domain = "com.example"


def _outside(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def _other_size(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 96


def _other_end(model: Any) -> None:
    model.graph.output.append(helper.make_tensor_value_info("relu1", TensorProto.FLOAT, None))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_strange_node, "holds the node Loop"),
        (_foreign_domain, "holds the node Pad"),
        (_outside, "keeps tensors outside of itself"),
        (_other_size, r"takes crops of \[1, 64, 96\], not uint8 \[1, 64, 64\]"),
        (_other_end, "does not go from crops to a margin"),
    ],
    ids=lambda found: getattr(found, "__name__", ""),
)
def test_a_graph_that_is_no_such_network_is_refused(
    whole: Bundle, tmp_path: Path, change: Callable[[Any], None], said: str
) -> None:
    model = onnx.load_model_from_string(whole.int8())
    change(model)
    bundle = add_int8(whole, tmp_path / "other", model.SerializeToString(), certificate())
    for choice in BACKENDS:
        with pytest.raises(BundleError, match=f"{INT8}: {said}"):
            open_backend(bundle.path, choice=choice, threads=1)


def test_a_file_that_is_no_onnx_is_refused(whole: Bundle, tmp_path: Path) -> None:
    bundle = add_int8(whole, tmp_path / "other", b"\xff" * 100, certificate())
    with pytest.raises(BundleError, match=f"{INT8}: not a readable ONNX file"):
        int8_graph(bundle)


@pytest.mark.parametrize("choice", BACKENDS)
def test_int8_with_another_verdict_for_a_golden_part_is_refused(whole: Bundle, choice: str) -> None:
    """Its reference is 0.1 away from what this machine makes of whole numbers, and the threshold lies between."""
    first = next(number for number, part in enumerate(whole.golden) if not part.excused)
    found = scores(whole, choice)[first]
    away = 0.1 if found < 0.5 else -0.1

    def change(manifest: dict[str, Any]) -> None:
        manifest["golden"][first].update(score=found + away)
        manifest["thresholds"].update(pass_below=found + away / 2, fail_above=found + away / 2)

    rewrite(whole.path, change)
    with pytest.raises(BackendError, match=f"{choice} disagrees .* another verdict for {first:03d}-"):
        open_backend(whole.path, choice=choice, threads=1)


class Told(Simulated):
    """Scores the golden parts of `bundle` as its reference does, but one `by` nearer to the middle."""

    def __init__(self, name: str, bundle: Bundle, by: float) -> None:
        super().__init__()
        self.name = name
        scores = [part.score for part in bundle.golden]
        far = int(np.argmax(np.abs(np.array(scores) - 0.5)))
        scores[far] -= by if scores[far] > 0.5 else -by
        self._left = iter(scores)

    def score(self, crops: CropPixels) -> NDArray[np.float32]:
        return np.array([next(self._left) for _ in crops], np.float32)


def test_a_score_may_differ_by_what_was_certified_and_no_more(wide: Bundle, graph: bytes, tmp_path: Path) -> None:
    rough = PERFECT.model_copy(update={"largest": 0.25})
    plain = add_int8(wide, tmp_path / "plain", graph, certificate(PERFECT))
    known = add_int8(wide, tmp_path / "known", graph, certificate(rough))

    refused = parity(Told("onnx-int8", plain, 0.2), plain)
    assert str(refused) == "largest difference of a score 0.2000 (allowed 0.05)"
    assert not refused.agrees
    assert parity(Told("onnx-int8", known, 0.2), known).agrees
    assert not parity(Told("onnx-int8", known, 0.31), known).agrees
    assert not parity(Told("onnx-cpu", known, 0.2), known).agrees


@pytest.mark.parametrize(
    ("val", "tried"),
    [
        ({"auroc_change": -0.002}, True),
        ({"auroc_change": -0.0021}, False),
        ({"auroc_change": None}, False),
    ],
)
def test_auto_tries_int8_only_where_the_certificate_says_that_auroc_holds(
    *,
    wide: Bundle,
    graph: bytes,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    val: dict[str, Any],
    tried: bool,
) -> None:
    caplog.set_level(logging.INFO)
    bundle = add_int8(wide, tmp_path / "other", graph, certificate(**val))
    open_backend(bundle.path, threads=1)
    measured = {name for name in BACKENDS if f"backend {name}: " in caplog.text}
    assert measured == (set(BACKENDS) if tried else set())


class Saturated:
    """A backend in INT8 on a CPU whose sums overflow: its scores are those of other pictures."""

    callers = 1

    def __init__(self, backend: Backend) -> None:
        self.name = backend.name
        self._backend = backend

    def score(self, crops: CropPixels) -> NDArray[np.float32]:
        return np.asarray(1 - self._backend.score(crops), np.float32)


def test_the_golden_parts_decide_on_this_cpu_whatever_the_certificate_says_of_another(
    drawn: Bundle, graph: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_onnx(raw: bytes, kind: str, threads: int, cache_dir: Path | None) -> Backend:
        backend = OnnxBackend(raw, kind, threads, cache_dir)
        return Saturated(backend) if kind == "int8" else backend

    def in_openvino(raw: bytes, kind: str, threads: int) -> Backend:
        backend = OpenvinoBackend(raw, kind, threads)
        return Saturated(backend) if kind == "int8" else backend

    monkeypatch.setattr("vision.backends.onnx.OnnxBackend", in_onnx)
    monkeypatch.setattr("vision.backends.openvino.OpenvinoBackend", in_openvino)
    bundle = add_int8(drawn, tmp_path / "other", graph, certificate())
    assert open_backend(bundle.path, threads=1).name not in BACKENDS
    for name in BACKENDS:
        assert f"{name} disagrees with the golden parts" in caplog.text


def test_auto_does_not_try_int8_where_a_golden_verdict_differed() -> None:
    differed = PERFECT.model_copy(update={"other_verdicts": 1})
    assert Certified(backend="onnx-int8", golden=PERFECT, val=differed).good_enough
    assert not Certified(backend="onnx-int8", golden=differed, val=PERFECT).good_enough


def rewrite(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((bundle / "bundle.json").read_text())
    change(manifest)
    (bundle / "bundle.json").write_text(json.dumps(with_content_hash(manifest)))
