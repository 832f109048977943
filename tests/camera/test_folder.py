"""Replays: what is in a manifest or a folder, in order, with its labels."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from camera.folder import FolderCamera, FolderConfig
from inspection.errors import CameraError
from inspection.frame import Frame, Missed
from inspection.part import Label
from inspection.verdict import Reason
from tests.camera.conftest import RECIPE, StartCamera, reason, shot
from tests.camera.peers import write_folder


def replay(path: Path, **settings: object) -> Iterator[Frame | Missed]:
    config = FolderConfig.model_validate({"kind": "folder", "path": path, "loop": False, **settings})
    with closing(FolderCamera("top", config)) as camera:
        yield from camera.captures()


def test_a_folders_pictures_come_by_name_with_the_label_of_their_subfolder(tmp_path: Path) -> None:
    for subfolder in ("ok", "ng", "new"):
        write_folder(tmp_path / subfolder, 1)
    (tmp_path / "notes.txt").write_text("not a picture")
    found = [(capture.source, capture.label) for capture in replay(tmp_path) if isinstance(capture, Frame)]
    assert found == [("new/01.png", None), ("ng/01.png", Label.NG), ("ok/01.png", Label.OK)]


def test_a_manifest_gives_its_order_labels_and_split(tmp_path: Path) -> None:
    write_folder(tmp_path / "p", 3)
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("\ufeffpath,label,split,more\np/03.png,ng,test,x\np/01.png,,train,\np/02.png,ok,test,y\n")
    found = [(c.source, c.label) for c in replay(manifest, split="test") if isinstance(c, Frame)]
    assert found == [("p/03.png", Label.NG), ("p/02.png", Label.OK)]
    assert [capture.source for capture in replay(manifest)] == ["p/03.png", "p/01.png", "p/02.png"]


def test_a_picture_that_is_gone_or_broken_is_a_decode_error_and_the_next_one_comes(tmp_path: Path) -> None:
    write_folder(tmp_path / "p", 2)
    (tmp_path / "p" / "01.png").write_bytes(b"broken")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path\np/01.png\np/09.png\np/02.png\n")
    captures = list(replay(manifest))
    assert [reason(c) if isinstance(c, Missed) else None for c in captures] == [
        Reason.DECODE_ERROR,
        Reason.DECODE_ERROR,
        None,
    ]
    assert [capture.number for capture in captures] == [1, 2, 3]
    assert [capture.source for capture in captures] == ["p/01.png", "p/09.png", "p/02.png"]


@pytest.mark.parametrize(
    ("text", "split", "expected"),
    [
        ("file,label\na.png,ok\n", None, "no column 'path'"),
        ("path,label\na.png,ok\n", "test", "no column 'split'"),
        ("path,label\na.png,ok\nb.png,bad\n", None, "manifest.csv:3: label 'bad' is neither ok nor ng"),
        ("label,path\nok,a.png\nok\n", None, "manifest.csv:3: the path is empty"),
        ("path,split\na.png,train\n", "test", "has no pictures of split test"),
        ("", None, "no column 'path'"),
        ("\xff\xfe\x00path", None, "not readable as utf-16"),
    ],
)
def test_a_wrong_manifest_is_a_camera_error_that_names_the_place(
    tmp_path: Path, text: str, split: str | None, expected: str
) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(text, encoding="latin-1")
    with pytest.raises(CameraError, match=expected):
        FolderCamera("top", FolderConfig(kind="folder", path=manifest, split=split))


def test_an_empty_folder_is_a_camera_error(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="has no pictures"):
        FolderCamera("top", FolderConfig(kind="folder", path=tmp_path))


async def test_16_bit_files_may_hold_12_bit_values_and_nothing_above_them(
    tmp_path: Path, start_camera: StartCamera
) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.full((40, 40), 2048, np.uint16))
    cv2.imwrite(str(tmp_path / "2.png"), np.full((40, 40), 4096, np.uint16))
    async with start_camera(FolderConfig(kind="folder", path=tmp_path, bit_depth=12)) as rig:
        await rig.until_up()
        good, bad = await shot(rig), await shot(rig)
    assert reason(good) is None
    assert not isinstance(good, Missed)
    assert int(good.pixels[RECIPE].max()) == 128
    assert isinstance(bad, Missed)
    assert (bad.reason, bad.detail) == (Reason.DECODE_ERROR, "values above 12 bits")


async def test_a_picture_above_the_cameras_limit_is_refused_before_it_is_decoded(
    tmp_path: Path, start_camera: StartCamera
) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((2000, 2000), np.uint8))
    async with start_camera(FolderConfig(kind="folder", path=tmp_path, max_frame_mb=1)) as rig:
        await rig.until_up()
        capture = await shot(rig)
    assert isinstance(capture, Missed)
    assert capture.reason is Reason.DECODE_ERROR
    assert "2000x2000 takes 4000000 bytes, more than 1048576" in capture.detail
