"""`linegate suggest`, as a person at a terminal and a script meet it, with the model and pictures of the demo."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from camera.picture import read_picture, write_png
from daemon.cli import main
from training.dataset import load_dataset

BUNDLE = Path(__file__).parents[2] / "models" / "bsdata"
PICTURES = [sample.path for sample in load_dataset(BUNDLE / "demo").samples]
UNCERTAIN = BUNDLE / "demo" / "01_200905161634_490000_180_crop_2.jpg"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve pictures as an archive keeps them."""
    day = tmp_path / "archive" / "raceway" / "2026-11-25"
    day.mkdir(parents=True)
    for path in {*PICTURES[:11], UNCERTAIN}:
        shutil.copyfile(path, day / path.name)
    return tmp_path / "archive"


def suggested(capsys: pytest.CaptureFixture[str], folder: Path, *options: object) -> dict[str, Any]:
    capsys.readouterr()
    words = ["suggest", BUNDLE, folder, "--threads", 1, "--json", *options]
    assert main([str(word) for word in words]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_dozen_likenesses_of_an_uncertain_picture_do_not_fill_the_list(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = read_picture(UNCERTAIN)[0]
    noise = np.random.default_rng(0)
    for number in range(6):
        grain = noise.integers(0, 2, pixels.shape, np.uint8)
        write_png(folder / f"alike-{number}.png", np.minimum(pixels, 254) + grain)
    write_png(folder / "the-same.png", pixels)

    found = suggested(capsys, folder, "--count", 5)

    alike = [row for row in found["suggested"] if "alike" in row["path"] or row["path"].endswith(UNCERTAIN.name)]
    assert (found["twice"], found["pictures"]) == (1, 18)
    assert len(alike) <= 2
    assert found["suggested"][0] in alike
    assert (alike[0]["verdict"], alike[0]["reason"], alike[0]["why"]) == ("FAIL", "uncertain", "uncertain")
    assert suggested(capsys, folder, "--count", 5) == found, "the same pictures give the same list"


def test_what_is_labelled_already_is_left_out_and_what_cannot_be_read_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "known" / "ok").mkdir(parents=True)
    write_png(tmp_path / "known" / "ok" / "a.png", read_picture(UNCERTAIN)[0])
    (folder / "half.jpg").write_bytes(PICTURES[0].read_bytes()[:9000])

    found = suggested(capsys, folder, "--known", tmp_path / "known")

    assert (found["pictures"], found["labelled"], list(found["broken"])) == (11, 1, ["half.jpg"])
    assert not [row for row in found["suggested"] if row["path"].endswith(UNCERTAIN.name)]
    assert main(["suggest", str(BUNDLE), str(folder), "--count", "1"]) == 0
    assert "not readable: half.jpg: the JPEG is truncated" in capsys.readouterr().out


def test_pictures_of_more_than_8_bits_score_as_the_line_scores_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = read_picture(UNCERTAIN)[0]
    for bits, name in ((8, "a"), (12, "b")):
        (tmp_path / name).mkdir()
        write_png(tmp_path / name / "picture.png", pixels if bits == 8 else pixels.astype(np.uint16) * np.uint16(16))
    (deep,) = suggested(capsys, tmp_path / "b", "--bit-depth", 12)["suggested"]
    (shallow,) = suggested(capsys, tmp_path / "a")["suggested"]
    assert deep["score"] == shallow["score"]


@pytest.mark.parametrize("name", ["sorted", "list.csv"])
def test_labels_that_may_be_there_are_not_overwritten(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = tmp_path / name
    if name == "sorted":
        (out / "ok").mkdir(parents=True)
    else:
        out.write_text("path,label\n")
    assert main(["suggest", str(BUNDLE), str(folder), "--out", str(out)]) == 1
    assert "may hold labels; name a new one" in capsys.readouterr().err


def test_a_folder_without_pictures_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suggest", str(BUNDLE), str(tmp_path)]) == 1
    assert "no picture in it (.bmp" in capsys.readouterr().err


def test_it_runs_where_torch_is_not_installed(folder: Path, tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "for name in ('torch', 'matplotlib'): sys.modules[name] = None\n"
        "from daemon.cli import main\n"
        "sys.exit(main())\n"
    )
    out = tmp_path / "next"
    words = ["suggest", BUNDLE, folder, "--count", 3, "--threads", 1, "--out", out]

    ended = subprocess.run(  # noqa: PLW1510 - the exit code is what is tested
        [sys.executable, "-c", script, *map(str, words)], capture_output=True, text=True, timeout=100
    )

    assert ended.returncode == 0, ended.stderr
    assert "move each picture into ok/ or ng/" in ended.stdout
    assert sorted(path.name[:2] for path in out.iterdir()) == ["1-", "2-", "3-", "ng", "ok"]
