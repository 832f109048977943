"""The split that linegate made and keeps beside the data: pictures keep their side, whatever is done to the folder.

A picture is known by its pixels, else by its bytes, else by its name: moved, renamed, relabelled or saved again, it
stays on its side. A picture that was taken out keeps its line, marked `gone`, and gets its old side when it returns.
Where a group has come to lie on several sides, it goes to that which is furthest from learning: test before val before
train. So no picture that tested a model ever teaches one.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from camera.files import WRITTEN_SPLIT
from camera.manifest import COLUMNS, Row, manifest_bytes, read_manifest
from camera.names import shown
from inspection.errors import DataError
from inspection.part import Label
from inspection.whole import commit_file
from training.data.sample import SPLITS, Sample, Split, furthest
from training.split import group_split

_CONTENT = ("sha256", "pixels", "gone")


@dataclass(frozen=True, slots=True)
class Followed:
    """`samples` with the sides of the kept split, empty for new ones; `rows` has the line of each, None for new ones.

    `gone` are lines of what is not there, some of them gone before.
    """

    samples: tuple[Sample, ...]
    rows: tuple[Row | None, ...]
    gone: tuple[Row, ...]


def kept_split_path(source: Path) -> Path:
    """Where the split of a folder, or of a manifest, is kept."""
    return (source if source.is_dir() else source.parent) / WRITTEN_SPLIT


def read_kept(file: Path) -> tuple[Row, ...]:
    """The lines of a kept split; none where there is no such file. Raises DataError with the remedy."""
    if not file.is_file():
        return ()
    try:
        rows = read_manifest(file, ("path", "label", "split")).rows
    except DataError as error:
        raise DataError(
            f"{error}: linegate keeps the split of your pictures in it: restore it from a copy, or delete it to have"
            " a new split made, whose figures cannot be compared with those before"
        ) from error
    # Of a word that somebody mistyped nobody knows which side was meant: the picture must not be learnt from.
    return tuple(row if row.split in SPLITS else replace(row, split="test") for row in rows if row.split)


def follow(samples: Sequence[Sample], rows: Sequence[Row]) -> Followed:
    """Find for each picture the line that is its own, and with it its side."""
    matched = _matched(samples, rows)
    here = {id(row) for own, sample in zip(matched, samples, strict=True) for row in own if _may_be(row, sample)}
    gone = tuple(row for row in rows if id(row) not in here)
    sides = [furthest(row.split for row in own) for own in matched]
    followed = [replace(sample, split=side) for sample, side in zip(samples, sides, strict=True)]
    # A group by the name of its picture is none.
    groups = [(row.group, row.split) for row in gone if row.group != row.name]
    return Followed(whole_groups(followed, groups), tuple(own[0] if own else None for own in matched), gone)


def whole_groups(samples: Sequence[Sample], more: Sequence[tuple[str, str]] = ()) -> tuple[Sample, ...]:
    """The samples, each group on one side; `more` are groups and sides of pictures that are not there."""
    sides: dict[str, set[str]] = defaultdict(set)
    for group, split in (*((sample.group, sample.split) for sample in samples), *more):
        sides[group].add(split)
    return tuple(replace(sample, split=furthest(sides[sample.group])) for sample in samples)


def assigned(samples: Sequence[Sample], seed: int, new_to: Split | None = None) -> tuple[Sample, ...]:
    """The samples with a side for those that have none: `new_to`, or by group as `group_split` does.

    What decides is the content of the pictures, not their names. Raises DataError as `group_split` does.
    """
    new = [sample for sample in samples if not sample.split]
    if not new:
        return tuple(samples)
    if new_to and len(new) < len(samples):
        return tuple(sample if sample.split else replace(sample, split=new_to) for sample in samples)
    key: dict[str, str] = {}
    for sample in new:
        key[sample.group] = min(sample.content, key.get(sample.group, sample.content))
    have = [(sample.split, sample.label is Label.NG) for sample in samples if sample.split]
    splits = iter(group_split([(key[s.group], s.label is Label.NG) for s in new], seed, have))
    return tuple(sample if sample.split else replace(sample, split=next(splits)) for sample in samples)


def write_kept(file: Path, samples: Sequence[Sample], gone: Sequence[Row]) -> None:
    """Whole or not at all, and only where it says something else than before. Raises OSError."""
    there = ((s.name, s.label, s.defect_type, s.split, s.group, s.sha256, s.pixels, "") for s in samples)
    away = ((row.name, row.label or "", row.defect_type, row.split, row.group, *_content(row), "gone") for row in gone)
    data = manifest_bytes([(*COLUMNS, *_CONTENT), *there, *away])
    if not file.is_file() or file.read_bytes() != data:
        commit_file(file, data)


def changes(followed: Followed, samples: Sequence[Sample], before: Sequence[Row]) -> dict[str, int]:
    """What became of the split `before`, as counts; those of `test` tell how far its figures can be compared.

    Empty where nothing changed.
    """
    counts = dict.fromkeys(
        ("kept", "renamed", "relabelled", "changed", "returned", "new", "removed", "to_other_split",
         "test_added", "test_removed", "test_relabelled", "test_changed"), 0,
    )  # fmt: skip
    for row, sample in zip(followed.rows, samples, strict=True):
        in_test = sample.split == "test"
        if row is None or row.more.get("gone"):
            counts["returned" if row else "new"] += 1
            counts["test_added"] += in_test
            continue
        changed = not _may_be(row, sample)
        counts["kept"] += 1
        counts["renamed"] += row.name != sample.name
        counts["relabelled"] += row.label is not sample.label
        counts["changed"] += changed
        counts["to_other_split"] += row.split != sample.split
        counts["test_added"] += in_test and row.split != "test"
        counts["test_relabelled"] += in_test and row.label is not sample.label
        counts["test_changed"] += in_test and changed
    used = {id(row) for row in followed.rows}
    for row in before:
        if id(row) not in used and not row.more.get("gone"):
            counts["removed"] += 1
            counts["test_removed"] += row.split == "test"
    return counts if any(count for name, count in counts.items() if name != "kept") else {}


def told(counts: Mapping[str, int], file: Path) -> list[str]:
    """The changes in words; nothing where there are none."""
    words = {
        "renamed": "moved or renamed", "relabelled": "relabelled", "changed": "with other pixels than before",
        "returned": "there again", "new": "new", "removed": "removed",
        "to_other_split": "in another split than before, with their group",
    }  # fmt: skip
    said = [f"{counts[key]} {text}" for key, text in words.items() if counts.get(key)]
    return [f"{shown(file.name)}: {counts['kept']} pictures kept their split; {', '.join(said)}"] if said else []


def test_lines(counts: Mapping[str, int]) -> list[str]:
    """How the pictures of test differ from those of the training before; nothing where they do not."""
    words = {
        "test_added": "added", "test_removed": "removed", "test_relabelled": "relabelled", "test_changed": "changed",
    }  # fmt: skip
    said = [f"{counts[key]} {text}" for key, text in words.items() if counts.get(key)]
    return [f"  other test pictures than in the training before ({', '.join(said)}): compare with care"] if said else []


def _matched(samples: Sequence[Sample], rows: Sequence[Row]) -> list[list[Row]]:
    """The lines of each picture, its best one first: by content, then of those that are left by name."""
    matched: list[list[Row]] = [[] for _ in samples]
    taken: set[int] = set()

    def match(key_of_row: Callable[[Row], str], key_of_sample: Callable[[Sample], str]) -> None:
        by_key: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            if id(row) not in taken and (key := key_of_row(row)):
                by_key[key].append(row)
        for number, sample in enumerate(samples):
            if not matched[number]:
                found = by_key.get(key_of_sample(sample), [])
                # The line that was in use counts before one that is gone, and its own name before another.
                matched[number] = sorted(found, key=lambda row: (bool(row.more.get("gone")), row.name != sample.name))
        taken.update(id(row) for own in matched for row in own)

    match(lambda row: row.more.get("pixels", ""), lambda sample: sample.pixels)
    match(lambda row: row.more.get("sha256", ""), lambda sample: sample.sha256)
    match(lambda row: row.name, lambda sample: sample.name)
    match(lambda row: _stem(row.name), lambda sample: _stem(sample.name))
    # Lines of a split that was made before linegate kept contents there: the picture may have been moved since.
    match(lambda row: "" if _known(row) else PurePosixPath(row.name).name, lambda s: PurePosixPath(s.name).name)
    return matched


def _stem(name: str) -> str:
    """A picture that was saved in another format has another ending."""
    return str(PurePosixPath(name).with_suffix(""))


def _content(row: Row) -> tuple[str, str]:
    return row.more.get("sha256", ""), row.more.get("pixels", "")


def _known(row: Row) -> bool:
    return any(_content(row))


def _may_be(row: Row, sample: Sample) -> bool:
    """The line is of this very picture, or of an earlier time when lines did not tell."""
    if not _known(row):
        return True
    same_pixels = bool(sample.pixels) and sample.pixels == row.more.get("pixels")
    return same_pixels or sample.sha256 == row.more.get("sha256")
