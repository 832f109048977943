"""A data folder may be edited after its first training: pictures keep their sides, by what they show."""

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from inspection.errors import DataError
from inspection.part import Label
from tests.datasets.conftest import save
from training.dataset import WRITTEN_SPLIT, Dataset, load_dataset, require_classes, split_dataset


def trained(parts: Path, seed: int = 0, new_to: str | None = None) -> Dataset:
    return split_dataset(load_dataset(parts), seed, new_to)  # type: ignore[arg-type]


def sides(dataset: Dataset) -> dict[str, str]:
    return {sample.content: sample.split for sample in dataset.samples}


def relabel(parts: Path) -> None:
    (parts / "ok/00.png").rename(parts / "ng/00.png")


def rename(parts: Path) -> None:
    for file in sorted((parts / "ok").iterdir()):
        file.rename(file.with_name(f"day1-{file.name}"))


def nest(parts: Path) -> None:
    (parts / "line").mkdir()
    for name in ("ok", "ng"):
        (parts / name).rename(parts / "line" / name)


def delete(parts: Path) -> None:
    for number in (1, 2, 3, 14):
        next(parts.rglob(f"{number:02d}.png")).unlink()


def add(parts: Path) -> None:
    for number in range(100, 110):
        save(parts / f"{'ok' if number % 2 else 'ng'}/{number}.png", number)


def swap(parts: Path) -> None:
    (parts / "ok/01.png").rename(parts / "x")
    (parts / "ok/02.png").rename(parts / "ok/01.png")
    (parts / "x").rename(parts / "ok/02.png")


def save_as_bmp(parts: Path) -> None:
    for file in sorted((parts / "ok").iterdir()):
        cv2.imwrite(str(file.with_suffix(".bmp")), cv2.imread(str(file), cv2.IMREAD_UNCHANGED))
        file.unlink()


def move_to_a_manifest(parts: Path) -> None:
    rows = [f"{path.relative_to(parts)},{path.parent.name}" for path in sorted(parts.rglob("*.png"))]
    (parts / "manifest.csv").write_text("path,label\n" + "\n".join(rows) + "\n")


EDITS = [relabel, rename, nest, delete, add, swap, save_as_bmp, move_to_a_manifest]


@pytest.mark.parametrize("edit", EDITS)
def test_every_picture_that_is_still_there_keeps_its_side(parts: Path, edit: Callable[[Path], None]) -> None:
    before = sides(trained(parts))

    edit(parts)
    after = trained(parts, seed=7)

    assert all(side == before[content] for content, side in sides(after).items() if content in before)
    assert all(sample.split for sample in after.samples)
    assert sides(load_dataset(parts)) == sides(after)
    assert not trained(parts).changes


def test_what_was_done_is_counted_and_said(parts: Path) -> None:
    trained(parts)
    relabel(parts)
    delete(parts)
    add(parts)
    (parts / "ok/05.png").rename(parts / "ok/five.png")

    made = trained(parts)

    counts = {name: count for name, count in made.changes.items() if count and not name.startswith("test")}
    assert counts == {"kept": 16, "renamed": 2, "relabelled": 1, "new": 10, "removed": 4}
    assert made.notes[-1] == (
        f"{WRITTEN_SPLIT}: 16 pictures kept their split; 2 moved or renamed, 1 relabelled, 10 new, 4 removed"
    )


def test_the_changes_of_test_are_counted(parts: Path) -> None:
    first = trained(parts)
    removed, relabelled = [sample for sample in first.of("test") if sample.label is Label.OK][:2]
    removed.path.unlink()
    relabelled.path.rename(parts / "ng" / relabelled.path.name)

    made = trained(parts)

    assert {name: made.changes[name] for name in made.changes if name.startswith("test")} == {
        "test_added": 0, "test_removed": 1, "test_relabelled": 1, "test_changed": 0,
    }  # fmt: skip


def test_a_picture_that_returns_under_another_name_gets_its_old_side(parts: Path, tmp_path: Path) -> None:
    (taken, *_) = trained(parts).of("test")
    shutil.move(taken.path, tmp_path / "away.png")
    trained(parts)
    add(parts)
    trained(parts)
    shutil.move(tmp_path / "away.png", parts / "ok/returned.png")

    made = trained(parts)

    assert sides(made)[taken.content] == "test"
    assert made.changes["returned"] == 1


def test_a_test_picture_that_is_saved_again_with_other_pixels_does_not_reach_train(parts: Path) -> None:
    for sample in trained(parts).of("test"):
        cv2.imwrite(str(sample.path.with_suffix(".jpg")), cv2.imread(str(sample.path), cv2.IMREAD_UNCHANGED))
        sample.path.unlink()

    made = trained(parts)

    assert {sample.split for sample in made.samples if sample.path.suffix == ".jpg"} == {"test"}


def test_a_copy_of_a_test_picture_does_not_reach_train(parts: Path) -> None:
    (tested, *_) = trained(parts).of("test")
    shutil.copy(tested.path, tested.path.parent / "000-copy.png")

    made = trained(parts)

    assert [sample.split for sample in made.samples if sample.content == tested.content] == ["test"]


def test_new_pictures_go_to_all_splits_or_to_train_alone(parts: Path) -> None:
    trained(parts)
    add(parts)
    before = load_dataset(parts)
    assert sum(not sample.split for sample in before.samples) == 10
    assert any(note.startswith("10 pictures that have no split yet") for note in before.notes)

    assert {sample.split for sample in trained(parts).samples if sample.name.count("/1")} >= {"train", "val"}


def test_new_pictures_may_go_to_train_alone(parts: Path) -> None:
    first = trained(parts)
    add(parts)

    made = trained(parts, new_to="train")

    known = {sample.content for sample in first.samples}
    assert {sample.split for sample in made.samples if sample.content not in known} == {"train"}
    assert [s.name for s in made.of("test")] == [s.name for s in first.of("test")]


def test_a_first_split_is_made_whatever_new_pictures_are_for(parts: Path) -> None:
    assert {sample.split for sample in trained(parts, new_to="train").samples} == {"train", "val", "test"}


def test_the_side_of_a_picture_hangs_on_its_content_not_on_its_name(parts: Path) -> None:
    before = sides(trained(parts))
    (parts / WRITTEN_SPLIT).unlink()
    rename(parts)

    assert sides(trained(parts)) == before


def test_groups_that_were_joined_go_to_the_side_that_is_furthest_from_learning(parts: Path) -> None:
    move_to_a_manifest(parts)
    first = trained(parts)
    taught, tested = first.of("train")[0], first.of("test")[0]
    file = parts / "manifest.csv"
    lines = [line + ("," if line.split(",")[0] not in (taught.name, tested.name) else ",one") for line in
             file.read_text().splitlines()[1:]]  # fmt: skip
    file.write_text("path,label,group\n" + "\n".join(lines) + "\n")

    made = trained(parts)

    assert {sample.split for sample in made.samples if sample.group == "one"} == {"test"}
    assert made.changes["to_other_split"] == made.changes["test_added"] == 1


def test_a_new_picture_of_a_known_group_goes_where_the_group_is_also_when_the_group_has_gone(parts: Path) -> None:
    move_to_a_manifest(parts)
    file = parts / "manifest.csv"
    rows = [line.split(",") for line in file.read_text().splitlines()[1:]]
    table = [[path, label, f"g{number}"] for number, (path, label) in enumerate(rows)]
    text = "path,label,group\n" + "\n".join(map(",".join, table)) + "\n"
    file.write_text(text)
    (tested, *_) = trained(parts).of("test")
    tested.path.unlink()
    save(parts / "ok/another.png", 500)
    kept = [line for line in text.splitlines() if not line.startswith(tested.name)]
    file.write_text("\n".join([*kept, f"ok/another.png,ok,{tested.group}"]) + "\n")

    made = trained(parts)

    assert [sample.split for sample in made.samples if sample.name == "ok/another.png"] == ["test"]


def old_format(parts: Path, made: Dataset) -> None:
    """What linegate wrote before it kept contents."""
    with (parts / WRITTEN_SPLIT).open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("path", "label", "defect_type", "split", "group"))
        table.writerows((s.name, s.label, "", s.split, s.group) for s in made.samples)


@pytest.mark.parametrize("edit", [relabel, nest, delete, add, swap])
def test_a_split_of_an_earlier_version_is_taken_up_and_brought_up_to_date(
    parts: Path, edit: Callable[[Path], None]
) -> None:
    made = trained(parts)
    old_format(parts, made)
    if edit is not swap:  # without contents nobody can know of it
        edit(parts)

    after = trained(parts)

    before = sides(made)
    assert all(side == before[content] for content, side in sides(after).items() if content in before)
    assert (parts / WRITTEN_SPLIT).read_text().startswith("path,label,defect_type,split,group,sha256,pixels,gone\n")


def test_an_old_split_with_copies_on_both_sides_keeps_the_picture_out_of_train(parts: Path) -> None:
    made = trained(parts)
    (taught, *_) = made.of("train")
    shutil.copy(taught.path, taught.path.parent / "zz-copy.png")
    old_format(parts, made)
    with (parts / WRITTEN_SPLIT).open("a") as file:
        file.write("ok/zz-copy.png,ok,,test,ok/zz-copy.png\n")

    assert sides(trained(parts))[taught.content] == "test"


def test_a_damaged_split_is_named_with_what_to_do_and_a_torn_line_is_no_picture(parts: Path) -> None:
    made = trained(parts)
    file = parts / WRITTEN_SPLIT
    text = file.read_text()
    file.write_text("nothing\n")
    with pytest.raises(DataError, match=f"{WRITTEN_SPLIT}:1: .*restore it from a copy, or delete it"):
        load_dataset(parts)

    file.write_text("\n".join(text.splitlines()[:-5]) + "\nok/0")
    again = trained(parts)
    assert len(again.samples) == len(made.samples)


def test_a_split_is_whole_or_as_before_when_writing_it_fails(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(parts)
    before = (parts / WRITTEN_SPLIT).read_bytes()
    add(parts)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"cannot be written \(No space left"):
        trained(parts)

    assert (parts / WRITTEN_SPLIT).read_bytes() == before
    assert sorted(path.name for path in parts.iterdir()) == [WRITTEN_SPLIT, "ng", "ok"]


def test_a_folder_that_cannot_be_written_to_serves_while_nothing_is_new(
    parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sides(trained(parts))
    relabel(parts)

    def refused(_: int) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "fsync", refused)
    made = trained(parts)

    assert sides(made) == before
    assert made.notes[-1].endswith("cannot be brought up to date (Read-only file system)")


@pytest.mark.parametrize(
    "name",
    [
        b"Pr\xfcfling.png", b"a\nb\rc.png", b'q"u,o;te.png', b" lead.png", "\u202enfc \u00fc.png".encode(),
        b"-x.png", b"n" * 250 + b".png",
    ],
)  # fmt: skip
def test_any_name_that_a_file_system_holds_is_split_kept_and_found_again(parts: Path, name: bytes) -> None:
    os.rename(parts / "ok/00.png", os.fsencode(parts / "ok") + b"/" + name)  # noqa: PTH104 - bytes

    made = trained(parts)

    assert load_dataset(parts) == made
    assert not trained(parts).changes
    assert len(made.digest()) == 64


def test_an_error_about_a_missing_class_tells_where_new_pictures_go(parts: Path) -> None:
    for sample in trained(parts).of("val"):
        if sample.label is Label.NG:
            sample.path.unlink()
    with pytest.raises(DataError, match="split 'val' holds no picture labelled ng; add some: new ones go to the split"):
        require_classes(load_dataset(parts), "val")

    save(parts / "ng/new.png", 700)

    require_classes(trained(parts), "val")


def test_a_line_whose_split_is_mistyped_or_torn_teaches_nothing(parts: Path) -> None:
    trained(parts)
    file = parts / WRITTEN_SPLIT
    file.write_text(file.read_text().replace(",val,", ",vla,"))
    assert {sample.split for sample in trained(parts).samples} == {"train", "test"}


def test_a_manifest_that_learns_from_earlier_test_pictures_is_told_of(parts: Path) -> None:
    tested = trained(parts).of("test")
    rows = [(s.name, s.label, "train" if s in tested[1:] else s.split) for s in trained(parts).samples]
    (parts / "manifest.csv").write_text("path,label,split\n" + "".join(f"{n},{lab},{sp}\n" for n, lab, sp in rows))
    dataset = load_dataset(parts)
    assert any(note.startswith(f"{len(tested) - 1} pictures of train in the manifest") for note in dataset.notes)
    assert dataset.of("train")[0].split == "train"


def test_folders_called_like_a_split_are_told_of(parts: Path) -> None:
    assert not any("like a split" in note for note in load_dataset(parts).notes)
    for split in ("Train", "test"):
        shutil.copytree(parts / "ok", parts.parent / "other" / split / "ok")
    save(parts.parent / "other/test/ng/1.png", 99)
    assert any("like a split and give none: Train, test" in note for note in load_dataset(parts.parent / "other").notes)
