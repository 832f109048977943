"""A data set: pictures with labels, from a manifest or from the folders ok/ and ng/.

A manifest is a CSV file with a header: `path,label[,defect_type][,split][,group]`; other columns are ignored.
Paths are relative to the manifest. Pictures of one group (one part under several lights, one position, one
batch) never lie in two splits.
"""

import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TextIO, get_args

from camera.picture import SUFFIXES
from inspection.errors import DataError
from inspection.part import Label
from training.split import group_split

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
MANIFEST = "manifest.csv"
WRITTEN_SPLIT = "linegate-split.csv"
COLUMNS = ("path", "label", "defect_type", "split", "group")


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture. `name` is its path as the manifest gives it; `split` is empty where none was made yet.

    `bit_depth` is that of its values where the file has 16 bits: 10 or 12 for a camera of so many.
    """

    path: Path
    name: str
    label: Label
    defect_type: str = ""
    split: str = ""
    group: str = ""
    bit_depth: int = 16


@dataclass(frozen=True, slots=True)
class Dataset:
    """`source` is the manifest or the folder; `samples` are in its order."""

    source: Path
    samples: tuple[Sample, ...]

    def of(self, split: str) -> tuple[Sample, ...]:
        """The pictures of one split, or all of them for `all`."""
        return tuple(s for s in self.samples if split in ("all", s.split))

    def digest(self) -> str:
        """sha256, hex, over names, labels, splits and bytes of all pictures. Raises DataError."""
        total = hashlib.sha256()
        for sample in sorted(self.samples, key=lambda s: s.name):
            try:
                content = hashlib.sha256(sample.path.read_bytes()).hexdigest()
            except OSError as error:
                raise DataError(f"{sample.path}: {error.strerror}") from error
            total.update(f"{sample.name}\0{sample.label}\0{sample.split}\0{content}\n".encode())
        return total.hexdigest()


def load_dataset(data: Path, bit_depth: int = 16) -> Dataset:
    """Read a manifest, or a folder with manifest.csv or with ok/ and ng/; `bit_depth` as in `Sample`, for all.

    A split that `split_dataset` wrote earlier is taken up. Raises DataError with file, line and remedy.
    """
    dataset = _load(data)
    return Dataset(dataset.source, tuple(replace(sample, bit_depth=bit_depth) for sample in dataset.samples))


def _load(data: Path) -> Dataset:
    if data.is_file():
        manifest = data
    elif (data / MANIFEST).is_file():
        manifest = data / MANIFEST
    elif (data / "ok").is_dir() or (data / "ng").is_dir():
        return _with_written_split(_read_folders(data))
    elif not data.exists():
        raise DataError(f"{data}: no such file or folder")
    else:
        raise DataError(f"{data}: neither {MANIFEST} nor the folders ok/ and ng/ in it")
    dataset = _read_manifest(manifest)
    return dataset if dataset.samples[0].split else _with_written_split(dataset)


def split_dataset(dataset: Dataset, seed: int) -> Dataset:
    """`dataset` itself where it has a split; else a group-aware one, written beside the manifest.

    Raises DataError when there are too few groups, or the split cannot be written.
    """
    if dataset.samples[0].split:
        return dataset
    splits = group_split([(s.group, s.label is Label.NG) for s in dataset.samples], seed)
    samples = tuple(replace(s, split=split) for s, split in zip(dataset.samples, splits, strict=True))
    target = _written_split_path(dataset.source)
    try:
        with target.open("w", newline="", encoding="utf-8") as file:
            write_manifest(file, samples)
    except OSError as error:
        raise DataError(
            f"{target}: the new split cannot be written ({error.strerror});"
            " make the folder writable, or add a column 'split' to the manifest"
        ) from error
    return Dataset(dataset.source, samples)


def write_manifest(file: TextIO, samples: Sequence[Sample]) -> None:
    """Write `samples` to an open text file in the manifest's format."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((s.name, s.label.value, s.defect_type, s.split, s.group) for s in samples)


def require_classes(dataset: Dataset, split: Split) -> tuple[Sample, ...]:
    """The pictures of `split`. Raises DataError unless it holds good and bad ones."""
    samples = dataset.of(split)
    for label in Label:
        if not any(s.label is label for s in samples):
            raise DataError(
                f"{dataset.source}: split '{split}' holds no picture labelled {label.value};"
                " add some, or leave the column 'split' out to have one made; where there are good ones alone,"
                " train --recipe ok-only"
            )
    return samples


def _read_manifest(manifest: Path) -> Dataset:
    try:
        text = manifest.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{manifest}: not readable as UTF-8 text ({error})") from error
    reader = csv.DictReader(text.splitlines(), strict=True)
    try:
        header = reader.fieldnames or []
        for column in ("path", "label"):
            if column not in header:
                raise DataError(f"{manifest}:1: no column '{column}' in the header; path,label are needed")
        samples = tuple(_read_rows(manifest, reader))
    except csv.Error as error:
        raise DataError(f"{manifest}:{reader.line_num}: not CSV ({error})") from error
    if not samples:
        raise DataError(f"{manifest}: no picture in it")
    return Dataset(manifest, samples)


def _read_rows(manifest: Path, reader: "csv.DictReader[str]") -> Iterator[Sample]:
    root = manifest.parent
    seen: dict[str, int] = {}
    split_of_group: dict[str, str] = {}
    has_split = "split" in (reader.fieldnames or [])
    for row in reader:
        where = f"{manifest}:{reader.line_num}"
        name = _text(row, "path")
        if name in seen:
            raise DataError(f"{where}: '{name}' is listed already in line {seen[name]}; keep one of them")
        seen[name] = reader.line_num
        path = _inside(root, name, where)
        label = _label(_text(row, "label"), where)
        split = _text(row, "split")
        if has_split and split not in SPLITS:
            raise DataError(
                f"{where}: split '{split}' is none of {', '.join(SPLITS)};"
                " name one, or leave the whole column out to have a split made"
            )
        group = _text(row, "group") or name
        if split_of_group.setdefault(group, split) != split:
            raise DataError(
                f"{where}: group '{group}' lies in '{split_of_group[group]}' and in '{split}';"
                " a group must stay whole, or the test measures what was learnt by heart"
            )
        yield Sample(path, name, label, _text(row, "defect_type"), split, group)


def _text(row: Mapping[str, str | None], column: str) -> str:
    return (row.get(column) or "").strip()


def _label(text: str, where: str) -> Label:
    try:
        return Label(text)
    except ValueError as error:
        raise DataError(f"{where}: label '{text}' is neither ok nor ng") from error


def _inside(root: Path, name: str, where: str) -> Path:
    """The picture's path, proven to lie in `root` with every link followed, and to exist."""
    if not name:
        raise DataError(f"{where}: the path is empty")
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{where}: '{name}' leads out of {root}; move the picture into it")
    if not path.is_file():
        raise DataError(f"{where}: no such picture: {path}")
    return path


def _read_folders(data: Path) -> Dataset:
    samples: list[Sample] = []
    for label in Label:
        folder = data / label.value
        if not folder.is_dir() and label is Label.NG:
            continue
        if not folder.is_dir():
            raise DataError(f"{data}: no folder {label.value}/ in it; a model needs good pictures")
        names = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not names:
            raise DataError(f"{folder}: no picture in it ({', '.join(sorted(SUFFIXES))})")
        for path in names:
            name = path.relative_to(data).as_posix()
            samples.append(Sample(_inside(data, name, str(data)), name, label, group=name))
    return Dataset(data, tuple(samples))


def _written_split_path(source: Path) -> Path:
    return (source if source.is_dir() else source.parent) / WRITTEN_SPLIT


def _with_written_split(dataset: Dataset) -> Dataset:
    written = _written_split_path(dataset.source)
    if not written.is_file():
        return dataset
    split = {(s.name, s.label): s.split for s in _read_manifest(written).samples}
    if set(split) != {(s.name, s.label) for s in dataset.samples}:
        raise DataError(
            f"{written}: made for other pictures than {dataset.source} has; delete it to have a new split made"
        )
    return Dataset(dataset.source, tuple(replace(s, split=split[s.name, s.label]) for s in dataset.samples))
