"""`linegate explain`, as a person at a terminal and a script meet it."""

import json
from pathlib import Path

import numpy as np
import pytest

from camera.picture import read_picture, write_png
from daemon.cli import main
from inspection.frame import digest
from vision.bundle import load_bundle

BUNDLE = Path(__file__).parents[2] / "models" / "bsdata"
BAD, GOOD = BUNDLE / "golden" / "020-ng.jpg", BUNDLE / "golden" / "000-ok.jpg"


def test_one_picture_becomes_one_png_with_a_caption_below_the_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "map.png"
    assert main(["explain", str(BUNDLE), str(BAD), "--out", str(out), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["pictures"]
    golden = {part["file"]: part for part in json.loads((BUNDLE / "bundle.json").read_text())["golden"]}
    assert found["model"] == load_bundle(BUNDLE).model_id
    assert found["score"] == pytest.approx(golden["golden/020-ng.jpg"]["score"], abs=1e-3)
    assert (found["verdict"], found["reason"], found["out"]) == ("FAIL", "score", str(out))
    frame, shown = read_picture(BAD)[0], read_picture(out)[0]
    assert shown.shape[1] == max(frame.shape[1], 560)
    caption = shown[frame.shape[0] :]
    assert (caption == 0).any(), "the caption has black letters"
    assert np.median(caption) == 255, "on white"
    x, y, width, height = found["box"]
    assert 0 <= x < x + width <= frame.shape[1]
    assert 0 <= y < y + height <= frame.shape[0]
    assert x <= found["hottest"][0] < x + width
    assert y <= found["hottest"][1] < y + height


def test_several_pictures_go_into_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep = tmp_path / "deep.png"
    write_png(deep, read_picture(GOOD)[0].astype(np.uint16) * np.uint16(16))
    out = tmp_path / "maps"
    assert main(["explain", str(BUNDLE), str(BAD), str(deep), "--out", str(out), "--bit-depth", "12"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["FAIL", "PASS"]
    assert sorted(path.name for path in out.iterdir()) == ["020-ng.png", "deep.png"]


def test_two_pictures_of_one_name_do_not_overwrite_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(BUNDLE), str(BAD), str(BAD), "--out", str(tmp_path / "maps")]) == 1
    assert "same name" in capsys.readouterr().err
    assert not (tmp_path / "maps").exists()


def test_a_records_archived_picture_is_explained_by_the_model_that_judged_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = (read_picture(BAD)[0][:, :, 0].astype(np.uint16)) * np.uint16(4)
    write_png(tmp_path / "top.png", pixels)
    picture = {"file": "top.png", "sha256": digest(pixels), "bit_depth": 10}
    record = {
        "id": "0123abcd-press-7",
        "verdict": "FAIL",
        "reason": "score",
        "score": 0.9,
        "model_hash": load_bundle(BUNDLE).hash,
        "backend": "openvino-bf16",
        "archive": str(tmp_path),
        "frames": [{"camera": "top", "missed": "", "picture": picture}],
    }
    file, out = tmp_path / "record.json", tmp_path / "maps"
    file.write_text(json.dumps(record))
    out.mkdir()
    assert main(["explain", str(BUNDLE.parent), str(file), "--out", str(out), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["pictures"]
    assert found["verdict"] == "FAIL"
    assert Path(found["out"]) == out / "0123abcd-press-7-top.png"
    shown = read_picture(Path(found["out"]))[0]
    assert shown.shape[0] > pixels.shape[0]
    assert shown.shape[1:] == (pixels.shape[1], 3)
