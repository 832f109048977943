"""A record's score is reproduced from its archived picture, or the difference is said."""

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from camera.picture import read_picture, write_png
from daemon.cli import main
from daemon.replay import read_record, replay
from inspection.frame import digest
from vision.backends.choose import open_backend
from vision.bundle import Bundle, load_bundle
from vision.certificate import Agreement, Certificate, Certified

BUNDLE = Path(__file__).parents[2] / "models" / "bsdata"
Say = Callable[..., int]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(BUNDLE)


@pytest.fixture(scope="module")
def score(bundle: Bundle) -> float:
    """Of the archived picture, as the line had it: among other crops."""
    crops = np.concatenate([bundle.golden_crops()[number] for number in (20, 3, 20)])
    return float(open_backend(BUNDLE, choice="onnx-cpu").score(crops)[2])


@pytest.fixture
def record(tmp_path: Path, bundle: Bundle, score: float) -> dict[str, Any]:
    pixels, depth = read_picture(BUNDLE / "golden" / "020-ng.jpg")
    picture = {"file": "press/2026-11-25/top.png", "sha256": digest(pixels), "bit_depth": depth}
    (tmp_path / "archive" / "press" / "2026-11-25").mkdir(parents=True)
    write_png(tmp_path / "archive" / str(picture["file"]), pixels)
    return {
        "v": 1,
        "id": "0123abcd-press-7",
        "verdict": "FAIL",
        "reason": "score",
        "score": score,
        "model_hash": bundle.hash,
        "backend": "onnx-cpu",
        "archive": str(tmp_path / "archive"),
        "frames": [{"camera": "top", "number": 1, "missed": "", "picture": picture}],
    }


@pytest.fixture
def say(tmp_path: Path, record: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> Say:
    def say(*words: str, bundle: Path = BUNDLE) -> int:
        file = tmp_path / "record.json"
        file.write_text(json.dumps(record))
        return main(["replay", str(file), "--bundle", str(bundle), *words])

    return say


def test_the_score_is_reproduced_bit_for_bit(say: Say, score: float, capsys: pytest.CaptureFixture[str]) -> None:
    assert say("--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["again"] == told["score"] == score
    assert (told["backend"], told["again_on"], told["bound"]) == ("onnx-cpu", "onnx-cpu", 0)


def test_the_last_bit_counts(say: Say, record: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    record["score"] = other = float(np.nextafter(np.float32(record["score"]), np.float32(1)))
    assert say() == 1
    told = capsys.readouterr().out
    assert "not reproduced" in told
    assert repr(other) in told


def test_a_record_is_found_by_its_id_and_a_bundle_by_its_hash(
    tmp_path: Path, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library"
    shutil.copytree(BUNDLE, library / "live", ignore=shutil.ignore_patterns("demo"))
    (library / "other").mkdir()
    (library / "other" / "bundle.json").write_text("{}")
    lines = [json.dumps({**record, "id": f"0123abcd-press-{seq}", "model_hash": "0" * 64}) for seq in (70, 71)]
    monkeypatch.setattr(
        "sys.stdin", io.StringIO("\n".join(["press/record not json", "[" * 100_000, *lines, json.dumps(record)]))
    )
    assert main(["replay", record["id"], "--records", "-", "--bundle", str(library)]) == 0


def test_another_backend_is_not_measured_without_a_certificate(
    say: Say, record: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    record["backend"] = "openvino-bf16"
    assert say("--backend", "onnx-cpu") == 1
    assert "no certificate in the bundle" in capsys.readouterr().out


@pytest.mark.parametrize(("off", "reproduced"), [(0.004, True), (0.02, False)])
def test_another_backend_is_held_to_the_certificate(
    record: dict[str, Any], bundle: Bundle, off: float, reproduced: bool
) -> None:
    seen = Agreement(parts=100, largest=0.01, mean=0.001, other_verdicts=0, auroc_change=0.0)
    certified = Certified(backend="openvino-int8", golden=seen.model_copy(update={"largest": 0.005}), val=seen)
    certificate = Certificate(
        reference="onnx-cpu", cpu="any", clipping="none", thresholds=(0.4, 0.6), backends=(certified,)
    )
    record.update(backend="openvino-int8", score=record["score"] - off)
    found = replay(
        read_record(json.dumps(record), "record"),
        replace(bundle, certificate=certificate),
        archive=None,
        backend="onnx-cpu",
        threads=1,
    )
    assert found.bound == 0.01
    assert found.difference == pytest.approx(off)
    assert found.reproduced is reproduced


def _no_picture(record: dict[str, Any]) -> None:
    record["frames"][0]["picture"] = None


def _changed_picture(record: dict[str, Any]) -> None:
    file = Path(record["archive"]) / record["frames"][0]["picture"]["file"]
    pixels = read_picture(file)[0].copy()
    pixels[0, 0] ^= 1
    write_png(file, pixels)


def _way_out(record: dict[str, Any]) -> None:
    record["frames"][0]["picture"]["file"] = "../../etc/picture.png"


def _unscored(record: dict[str, Any]) -> None:
    record.update(score=None, verdict="NO_VERDICT", reason="deadline")


def _other_model(record: dict[str, Any]) -> None:
    record["model_hash"] = "0" * 64


def _unknown_backend(record: dict[str, Any]) -> None:
    record["backend"] = "simulated"


def _damaged(record: dict[str, Any]) -> None:
    del record["frames"]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_no_picture, "records.archive"),
        (_changed_picture, "not the picture that was judged"),
        (_way_out, "leads out of the archive"),
        (_unscored, "no model gave it a score"),
        (_other_model, "the record's model is 000000000000; there is"),
        (_unknown_backend, "--backend"),
        (_damaged, "frames: Field required"),
    ],
)
def test_what_cannot_be_replayed_is_named(
    say: Say,
    record: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[dict[str, Any]], None],
    told: str,
) -> None:
    spoil(record)
    assert say() == 2
    assert told in capsys.readouterr().err


def test_an_archive_may_have_moved(say: Say, record: dict[str, Any], tmp_path: Path) -> None:
    shutil.move(record["archive"], tmp_path / "moved")
    assert say() == 2
    assert say("--archive", str(tmp_path / "moved")) == 0
