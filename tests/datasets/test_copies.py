"""A picture counts once, whatever its files are called: in two splits it would test what was learnt."""

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from inspection.errors import DataError
from tests.datasets.conftest import picture, save
from training.data.alike import alike_lines
from training.dataset import load_dataset, split_dataset


def manifest(root: Path, *rows: str) -> Path:
    file = root / "manifest.csv"
    file.write_text("\n".join(["path,label,split,group", *rows]) + "\n")
    return file


def pair(root: Path, how: str) -> None:
    """root/b.png shows what root/a.png does."""
    a, b = save(root / "a.png", 1), root / "b.png"
    pixels = cv2.imread(str(a), cv2.IMREAD_UNCHANGED)
    if how == "copy":
        shutil.copy(a, b)
    elif how == "hard link":
        os.link(a, b)
    elif how == "link":
        b.symlink_to(a)
    elif how == "bmp":
        b.write_bytes(cv2.imencode(".bmp", pixels)[1].tobytes())
    elif how == "16 bits":
        b.write_bytes(cv2.imencode(".png", picture(1).astype(np.uint16) * 257)[1].tobytes())
    elif how == "tiff":
        b.write_bytes(cv2.imencode(".tiff", pixels)[1].tobytes())
    else:
        b.write_bytes(cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR))[1].tobytes())


HOW = ["copy", "hard link", "link", "bmp", "tiff", "colour", "16 bits"]


@pytest.mark.parametrize("how", HOW)
def test_one_picture_in_two_splits_is_refused_and_both_files_are_named(tmp_path: Path, how: str) -> None:
    pair(tmp_path, how)
    file = manifest(tmp_path, "a.png,ok,train,", "b.png,ok,test,")

    with pytest.raises(DataError, match=r"'a\.png' of split train and 'b\.png' of split test are the same picture"):
        load_dataset(file)


@pytest.mark.parametrize("how", HOW)
def test_one_picture_with_two_labels_is_refused_and_both_files_are_named(tmp_path: Path, how: str) -> None:
    pair(tmp_path, how)
    file = manifest(tmp_path, "a.png,ok,train,", "b.png,ng,train,")

    with pytest.raises(DataError, match=r"'a\.png' is labelled ok and 'b\.png' is labelled ng"):
        load_dataset(file)


@pytest.mark.parametrize("how", HOW)
def test_a_copy_in_the_same_split_counts_once_and_joins_the_groups(tmp_path: Path, how: str) -> None:
    pair(tmp_path, how)
    save(tmp_path / "c.png", 3)
    save(tmp_path / "d.png", 4)
    file = manifest(tmp_path, "a.png,ok,test,g1", "c.png,ok,test,g1", "b.png,ok,test,g2", "d.png,ng,test,g2")

    dataset = load_dataset(file)

    assert [sample.name for sample in dataset.samples] == ["a.png", "c.png", "d.png"]
    assert {sample.group for sample in dataset.samples} == {"g1"}
    assert "left out: 1 copies of pictures that are there under another name: b.png" in dataset.notes


def test_copies_in_folders_never_lie_in_two_splits(parts: Path) -> None:
    for number in range(12):
        shutil.copy(parts / f"ok/{number:02d}.png", parts / f"ok/again-{number:02d}.png")

    dataset = split_dataset(load_dataset(parts), seed=0)

    contents = [sample.content for sample in dataset.samples]
    assert len(contents) == len(set(contents)) == 20


def jpeg(pixels: np.ndarray) -> np.ndarray:
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


@pytest.mark.parametrize(
    "change",
    [
        jpeg,
        lambda pixels: cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
        lambda pixels: np.clip(pixels * 1.1 + 4, 0, 255).astype(np.uint8),
        lambda pixels: np.roll(pixels, 1, axis=1),
    ],
)
def test_near_duplicates_across_splits_are_told_with_a_count_and_examples(tmp_path: Path, change: object) -> None:
    rows = []
    for number in range(12):
        pixels = cv2.resize(picture(number, 12), (96, 96), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / f"{number}.png"), pixels)
        rows.append(f"{number}.png,{'ng' if number % 3 else 'ok'},train,")
        if number < 3:
            cv2.imwrite(str(tmp_path / f"again-{number}.png"), change(pixels))  # type: ignore[operator]
            rows.append(f"again-{number}.png,{'ng' if number % 3 else 'ok'},test,")

    dataset = load_dataset(manifest(tmp_path, *rows))
    (line,) = alike_lines(dataset)

    assert len(dataset.samples) == 15
    assert line.startswith("3 pictures of test look like one of train: ")
    for number in range(3):
        assert f"again-{number}.png ~ {number}.png" in line


def test_pictures_of_one_kind_of_part_are_no_near_duplicates(tmp_path: Path) -> None:
    part = cv2.resize(picture(99, 8), (96, 96), interpolation=cv2.INTER_CUBIC)
    rows = []
    for number in range(40):
        own = cv2.resize(picture(number, 16), (96, 96), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / f"{number}.png"), (0.85 * part + 0.15 * own).astype(np.uint8))
        rows.append(f"{number}.png,{'ng' if number % 3 else 'ok'},{('train', 'val', 'test')[number % 3]},")

    assert alike_lines(load_dataset(manifest(tmp_path, *rows))) == []


def test_pictures_of_one_group_in_train_and_val_are_not_told_for_folds(tmp_path: Path) -> None:
    rows = []
    for number in range(12):
        pixels = cv2.resize(picture(number, 12), (96, 96), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / f"{number}.png"), pixels)
        cv2.imwrite(str(tmp_path / f"again-{number}.png"), jpeg(pixels))
        other = f"g{number}" if number else "alone"
        rows += [f"{number}.png,ok,train,g{number}", f"again-{number}.png,ok,train,{other}"]

    (line,) = alike_lines(load_dataset(manifest(tmp_path, *rows)), folds=True)

    assert line.startswith("2 pictures of train and val look like one of another group there: ")


def test_damaged_files_are_told_and_are_no_copies_of_each_other(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    save(tmp_path / "c.png", 3)

    dataset = load_dataset(manifest(tmp_path, "a.png,ok,train,", "b.png,ng,test,", "c.png,ok,train,"))

    assert len(dataset.samples) == 3
    assert dataset.notes[-1].startswith("2 files that are no readable picture")
