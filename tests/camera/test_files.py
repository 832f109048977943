"""Which files of a folder are read, and that whatever is left out is told."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from camera.files import find_pictures, label_of
from camera.folder import FolderCamera, FolderConfig, left_out
from camera.names import shown
from inspection.errors import CameraError, DataError
from inspection.frame import Frame
from inspection.part import Label

HIDDEN = "hidden or system files and folders"


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


@pytest.mark.parametrize(
    "folder",
    [".ipynb_checkpoints", ".git", ".Trash-1000", "@eaDir", "__MACOSX", "lost+found", "$RECYCLE.BIN",
     "System Volume Information"],
)  # fmt: skip
def test_folders_of_the_system_are_left_out_with_their_pictures_counted(tmp_path: Path, folder: str) -> None:
    found = find_pictures(tree(tmp_path, "ok/1.png", f"ok/{folder}/deep/1.png", f"ok/{folder}/2.png"))

    assert [path.name for path in found.pictures] == ["1.png"]
    assert found.notes() == (f"1 {HIDDEN}: ok/{folder} (2 pictures)",)


def test_every_name_of_a_kind_that_is_read_is_one_of_a_picture(tmp_path: Path) -> None:
    names = ["1.bmp", "1.dib", "1.jfif", "1.jpe", "1.JPEG", "1.jpg", "1.pgm", "1.png", "1.ppm", "1.tif", "1.tiff"]
    found = find_pictures(tree(tmp_path, *names))
    assert (sorted(path.name for path in found.pictures), found.notes()) == (sorted(names), ())


def test_files_of_the_system_other_files_and_other_pictures_are_counted_apart(tmp_path: Path) -> None:
    tree(tmp_path, "ok/1.PNG", "ok/._1.PNG", "Thumbs.db", "ok/desktop.ini", "notes.txt", "manifest.csv", "ok/2.xyz")
    tree(tmp_path, "linegate-split.csv", *(f"ng/{number}.pgmx" for number in range(5)))

    notes = "\n".join(find_pictures(tmp_path).notes())

    assert f"3 {HIDDEN}: Thumbs.db, ok/._1.PNG, ok/desktop.ini" in notes
    assert "5 files that end in .pgmx" in notes
    assert "ng/0.pgmx, ng/1.pgmx, ng/2.pgmx, ..." in notes
    assert "1 files that end in .txt" in notes
    assert "linegate-split" not in notes


def test_links_and_pipes_are_no_pictures_and_no_circle_is_walked(tmp_path: Path) -> None:
    tree(tmp_path, "ok/1.png")
    (tmp_path / "ok/again").symlink_to(tmp_path / "ok")
    (tmp_path / "ok/loop.png").symlink_to("loop.png")
    (tmp_path / "ok/gone.png").symlink_to("nothing.png")
    (tmp_path / "ok/folder.png").symlink_to(tmp_path / "ok")
    (tmp_path / "ok/link.png").symlink_to("1.png")
    os.mkfifo(tmp_path / "ok/pipe.png")

    found = find_pictures(tmp_path)

    assert [path.name for path in found.pictures] == ["1.png", "link.png"]
    assert found.left_out == {
        "links to folders": ("ok/again", "ok/folder.png"),
        "links that lead nowhere": ("ok/gone.png", "ok/loop.png"),
        "pipes, sockets or devices": ("ok/pipe.png",),
    }


def test_a_link_called_ok_in_the_folder_itself_is_followed_and_its_own_links_are_not(tmp_path: Path) -> None:
    tree(tmp_path, "good/1.png")
    (tmp_path / "ok").symlink_to("good")
    (tmp_path / "good/ok").symlink_to("../good")
    (tmp_path / "ng").symlink_to("ng")
    os.mkfifo(tmp_path / "manifest.csv")

    found = find_pictures(tmp_path)

    assert [str(path.relative_to(tmp_path)) for path in found.pictures] == ["good/1.png", "ok/1.png"]
    assert found.left_out["links to folders"] == ("good/ok", "ok/ok")
    assert ("manifest.csv",) in found.left_out.values()
    assert ("ng",) in found.left_out.values()


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "ok/1.png", "ok/closed/2.png")
    scandir = os.scandir

    def refused(path: str) -> object:  # root reads everything
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(DataError, match=r"closed: cannot be read \(Permission denied\); make it readable"):
        find_pictures(tmp_path)
    with pytest.raises(CameraError, match="cannot be read"):
        FolderCamera("top", FolderConfig(kind="folder", path=tmp_path))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("ok/1.png", Label.OK), ("NG/1.png", Label.NG), ("Ok /1.png", Label.OK), ("day/1/ng/1.png", Label.NG),
        ("ng/day/deep/1.png", Label.NG), ("ok/ok/1.png", Label.OK), ("good/1.png", None), ("1.png", None),
        ("ok.png", None),
    ],
)  # fmt: skip
def test_a_label_is_that_of_a_folder_above_in_any_case_and_depth(
    tmp_path: Path, name: str, label: Label | None
) -> None:
    assert label_of(tmp_path / name, tmp_path) is label


def test_a_picture_under_ok_and_under_ng_has_no_label(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lies in a folder ok and in a folder ng"):
        label_of(tmp_path / "ok/ng/1.png", tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [("plain \u00fc.png", "plain \u00fc.png"), ("a\nb", "a\\nb"), ("Pr\udcfcf", "Pr\\xfcf"), ("a\u202eb", "a\\u202eb")],
)
def test_a_name_is_shown_on_one_line_that_any_terminal_takes(name: str, text: str) -> None:
    assert shown(name) == text
    shown(name).encode()


def test_a_replay_tells_what_it_does_not_play(tmp_path: Path) -> None:
    tree(tmp_path, "ok/1.png", "ok/._1.png")
    (tmp_path / "list.csv").write_text("path, label, inspector\nok/1.png, OK, me\n")

    hidden, other = sorted(left_out(tmp_path), reverse=True)
    assert hidden == f"1 {HIDDEN}: ok/._1.png"
    assert other.startswith("1 files that end in .csv")
    assert left_out(tmp_path / "list.csv") == ("columns that are not read: inspector",)
    assert left_out(tmp_path / "nothing") == ()

    (tmp_path / "Manifest.csv").write_text("path,label\nok/1.png,ok\nok/2.png,ok\n")
    assert left_out(tmp_path)[-1].startswith("what Manifest.csv says")
    assert left_out(tmp_path / "Manifest.csv") == ("1 pictures that are not there: ok/2.png",)


def test_a_manifest_with_a_space_behind_each_comma_is_played_with_its_labels(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((9, 9), np.uint8))
    (tmp_path / "list.csv").write_text("path, label\n1.png, ng\n")

    capture = next(FolderCamera("top", FolderConfig(kind="folder", path=tmp_path / "list.csv")).captures())

    assert isinstance(capture, Frame)
    assert capture.label is Label.NG
