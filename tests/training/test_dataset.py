from collections.abc import Callable
from pathlib import Path

import pytest

from inspection.errors import DataError
from inspection.part import Label
from training.dataset import WRITTEN_SPLIT, load_dataset, require_classes, split_dataset
from training.split import group_split

Rows = list[dict[str, str]]
Manifest = Callable[..., Path]
NO_SPLIT = ("path", "label", "group")


def test_a_manifest_gives_its_pictures_in_order_and_other_columns_are_ignored(rows: Rows, manifest: Manifest) -> None:
    file = manifest(rows, (*rows[0],))

    dataset = load_dataset(file)

    assert [s.name for s in dataset.samples] == [r["path"] for r in rows]
    assert dataset.samples[7].label is Label.NG
    assert dataset.samples[7].defect_type == "square"
    assert len(dataset.of("val")) == 8
    assert len(dataset.of("all")) == 24
    assert load_dataset(file.parent) == dataset


def test_a_manifest_saved_by_a_spreadsheet_with_a_byte_order_mark_is_read(rows: Rows, manifest: Manifest) -> None:
    file = manifest(rows)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))

    assert len(load_dataset(file).samples) == 24


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"path": "gone.png"}, "no such picture"),
        ({"path": ""}, "path is empty"),
        ({"path": "../../etc/passwd"}, "leads out of"),
        ({"path": "/etc/passwd"}, "leads out of"),
        ({"path": "00.png"}, "listed already in line 2"),
        ({"label": "good"}, "label 'good' is neither ok nor ng"),
        ({"label": ""}, "neither ok nor ng"),
        ({"split": "training"}, "none of train, val, test"),
        ({"split": ""}, "none of train, val, test"),
        ({"group": "g11"}, "lies in"),
    ],
)
def test_a_wrong_row_is_named_by_file_and_line(
    rows: Rows, manifest: Manifest, change: dict[str, str], said: str
) -> None:
    rows[3] = {**rows[3], **change}
    file = manifest(rows)

    with pytest.raises(DataError, match=said) as caught:
        load_dataset(file)

    line = 24 if "group" in change else 5  # the group's second split is met at its later picture
    assert str(caught.value).startswith(f"{file}:{line}:")


def test_a_link_out_of_the_data_folder_is_refused(rows: Rows, manifest: Manifest, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    (tmp_path / "data" / "00.png").rename(outside)
    (tmp_path / "data" / "00.png").symlink_to(outside)

    with pytest.raises(DataError, match="leads out of"):
        load_dataset(manifest(rows))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no column 'path'"),
        (b"path,class\na.png,ok\n", "no column 'label'"),
        (b"path,label\n", "no picture in it"),
        (b"\xff\xfe\x00path", "not readable as utf-16"),
        (b'path,label\n"a.png,ok\n', "not CSV"),
    ],
)
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "manifest.csv"
    file.write_bytes(content)

    with pytest.raises(DataError, match=said):
        load_dataset(file)


def test_folders_ok_and_ng_are_a_data_set_without_a_split(rows: Rows, tmp_path: Path) -> None:
    for row in rows:
        target = tmp_path / "folders" / row["label"] / row["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / row["path"]).rename(target)

    dataset = load_dataset(tmp_path / "folders")

    assert [s.label for s in dataset.samples].count(Label.NG) == 9
    assert {s.split for s in dataset.samples} == {""}


@pytest.mark.parametrize(
    ("folders", "said"),
    [((), "neither manifest.csv nor the folders"), (("ng",), "no folder ok/"), (("ok", "ng"), "no picture in it")],
)
def test_folders_without_pictures_are_refused(tmp_path: Path, folders: tuple[str, ...], said: str) -> None:
    for name in folders:
        (tmp_path / name).mkdir()

    with pytest.raises(DataError, match=said):
        load_dataset(tmp_path)


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        load_dataset(tmp_path / "nothing")


def test_without_a_split_one_is_made_written_and_found_again(rows: Rows, manifest: Manifest) -> None:
    file = manifest(rows, NO_SPLIT)

    made = split_dataset(load_dataset(file), seed=1)

    assert (file.parent / WRITTEN_SPLIT).is_file()
    assert load_dataset(file) == made
    assert split_dataset(made, seed=2) == made
    for split in ("train", "val"):
        require_classes(made, split)


def test_a_split_that_cannot_be_written_is_named(rows: Rows, manifest: Manifest) -> None:
    file = manifest(rows, NO_SPLIT)
    (file.parent / WRITTEN_SPLIT).mkdir()

    with pytest.raises(DataError, match="cannot be written"):
        split_dataset(load_dataset(file), seed=1)


def test_a_split_never_divides_a_group_and_keeps_the_shares() -> None:
    samples = [(f"g{number // 4}", number % 5 == 0) for number in range(400)]

    splits = group_split(samples, seed=3)

    assert splits == group_split(samples, seed=3)
    assert splits != group_split(samples, seed=4)
    of_group = {group: {s for (g, _), s in zip(samples, splits, strict=True) if g == group} for group, _ in samples}
    assert all(len(found) == 1 for found in of_group.values())
    for is_ng, total in ((False, 320), (True, 80)):
        chosen = [s for (_, ng), s in zip(samples, splits, strict=True) if ng is is_ng]
        assert 0.5 < chosen.count("train") / total < 0.7
        assert 0.1 < chosen.count("val") / total < 0.3


def test_ten_pictures_give_both_classes_to_train_and_val() -> None:
    samples = [(str(number), number < 2) for number in range(10)]

    splits = group_split(samples, seed=0)

    assert {splits[0], splits[1]} == {"train", "val"}
    assert {"train", "val"} <= set(splits[2:])


def test_bad_pictures_of_one_group_alone_cannot_be_split() -> None:
    with pytest.raises(DataError, match="labelled ng lie in fewer than two groups"):
        group_split([("a", True), ("a", True), ("b", False), ("c", False)], seed=0)


@pytest.mark.parametrize(("split", "label"), [("train", "ok"), ("val", "ng")])
def test_a_class_missing_from_a_split_is_named(rows: Rows, manifest: Manifest, split: str, label: str) -> None:
    kept = [r for r in rows if not (r["split"] == split and r["label"] == label)]

    with pytest.raises(DataError, match=f"split '{split}' holds no picture labelled {label}"):
        require_classes(load_dataset(manifest(kept)), split)  # type: ignore[arg-type]


def test_the_digest_follows_bytes_labels_and_splits_but_not_the_order(rows: Rows, manifest: Manifest) -> None:
    first = load_dataset(manifest(rows)).digest()

    assert load_dataset(manifest(rows[::-1])).digest() == first
    rows[0]["label"] = "ng"
    assert load_dataset(manifest(rows)).digest() != first
