"""Which pictures a data set has and what they show: from a manifest, or from folders called ok and ng.

What is left out is told; what is labelled and cannot be used is refused.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath

from camera.files import MANIFEST, Found, counted, find_pictures, folder_label, label_of
from camera.manifest import COLUMNS, Manifest, Row, read_manifest
from camera.names import shown
from camera.picture import SUFFIXES
from inspection.errors import DataError
from inspection.part import Label
from training.data.sample import SPLITS, Dataset, Sample

# Of linegate's own lists: they are for people, or for the split.
_OURS = frozenset({"score", "why", "sha256", "pixels", "gone"})


def listed(data: Path) -> Dataset:
    """The pictures of a manifest, or of a folder with manifest.csv or with folders ok and ng; none is read.

    Raises DataError with file, line and remedy.
    """
    _resolved.cache_clear()
    if data.is_dir():
        manifests = sorted(path for path in _inside_of(data) if path.name.casefold() == MANIFEST and path.is_file())
        if len(manifests) > 1:
            raise DataError(
                f"{shown(data)}: has {' and '.join(shown(p.name) for p in manifests)}: name the one to read"
            )
        return _from_manifest(manifests[0]) if manifests else _from_folders(data)
    if not data.exists():
        raise DataError(f"{shown(data)}: no such file or folder")
    return _from_manifest(data)


def _inside_of(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise DataError(f"{shown(folder)}: cannot be read ({error.strerror}); make it readable") from error


def _from_manifest(file: Path) -> Dataset:
    manifest = read_manifest(file, ("path", "label"))
    samples = tuple(_samples(file, manifest))
    if not samples:
        raise DataError(f"{shown(file)}: no picture in it")
    notes = _not_listed(manifest)
    if ignored := tuple(name for name in manifest.ignored if name not in _OURS):
        notes.append(f"columns that are not read: {', '.join(ignored)} (known are {', '.join(COLUMNS)})")
    return Dataset(file, samples, tuple(notes), fixed="split" in manifest.columns)


def _samples(file: Path, manifest: Manifest) -> Iterator[Sample]:
    seen: dict[str, str] = {}
    split_of_group: dict[str, str] = {}
    has_split = "split" in manifest.columns
    for row in manifest.rows:
        if row.name in seen:
            line = seen[row.name].rpartition(":")[2]
            raise DataError(f"{row.where}: '{shown(row.name)}' is listed already in line {line}; keep one of them")
        seen[row.name] = row.where
        _require_inside(file.parent, row)
        if row.label is None:
            raise DataError(f"{row.where}: label '' is neither ok nor ng; write one, or take the line out")
        if has_split and row.split not in SPLITS:
            raise DataError(
                f"{row.where}: split '{shown(row.split)}' is none of {', '.join(SPLITS)};"
                " name one, or leave the whole column out to have a split made"
            )
        group = row.group or row.name
        if split_of_group.setdefault(group, row.split) != row.split:
            raise DataError(
                f"{row.where}: group '{shown(group)}' lies in '{split_of_group[group]}' and in '{row.split}';"
                " a group must stay whole, or the test measures what was learnt by heart"
            )
        yield Sample(row.path, row.name, row.label, row.defect_type, row.split, group)


def _require_inside(root: Path, row: Row) -> None:
    _require_in(root, row.path, row.where, row.name)
    if not row.path.exists():
        raise DataError(f"{row.where}: no such picture: {shown(row.path)}; paths are relative to the manifest")
    if not row.path.is_file():
        raise DataError(f"{row.where}: '{shown(row.name)}' is not a file")


def _require_in(root: Path, path: Path, where: str, name: str) -> None:
    """`path` is proven to lie in `root` with every link followed."""
    try:
        real = path.resolve() if path.is_symlink() or ".." in path.parts else _resolved(path.parent) / path.name
        inside = real.is_relative_to(_resolved(root))
    except (OSError, RuntimeError, ValueError) as error:  # too long, links in a circle, or not to be encoded
        raise DataError(f"{where}: no such picture: {shown(path)} ({error})") from error
    if not inside:
        raise DataError(f"{where}: '{shown(name)}' leads out of {shown(root)}; move the picture into it")


@lru_cache(maxsize=4096)
def _resolved(folder: Path) -> Path:
    return folder.resolve()


def _not_listed(manifest: Manifest) -> list[str]:
    """Pictures in the folders of listed ones that the manifest does not name."""
    known = {row.path for row in manifest.rows}
    beside = []
    for folder in sorted({path.parent for path in known}):
        beside += [
            path.name
            for path in _inside_of(folder)
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path not in known
        ]
    what = "pictures that lie beside listed ones and are not in the manifest"
    return [f"left out: {counted(what, sorted(beside))}"] if beside else []


def _from_folders(data: Path) -> Dataset:
    found = find_pictures(data)
    by_label: dict[Label | None, list[Path]] = {None: [], **{label: [] for label in Label}}
    for path in found.pictures:
        by_label[label_of(path, data)].append(path)
    folders = {label: _folders(data, label) for label in Label}
    if not by_label[Label.OK]:
        _refuse_without_good(data, folders, found)
    samples = []
    for label in Label:
        for path in by_label[label]:
            name = path.relative_to(data).as_posix()
            _require_in(data, path, shown(data), name)
            samples.append(Sample(path, name, label, group=name))
    notes = [f"left out: {note}" for note in found.notes()]
    split_folders = sorted({part for s in samples for part in PurePosixPath(s.name).parts[:-1] if _names_split(part)})
    if split_folders:
        named = ", ".join(map(shown, split_folders))
        notes.append(
            f"folders that are called like a split and give none: {named} (a manifest with a column split does)"
        )
    if by_label[None]:
        names = [path.relative_to(data).as_posix() for path in by_label[None]]
        notes.append(f"left out: {counted('pictures in no folder called ok or ng', names)}")
    for label in Label:
        if len(folders[label]) > 1:
            named = ", ".join(shown(path.relative_to(data)) for path in folders[label])
            notes.append(f"labelled {label}: the pictures of {named}")
    return Dataset(data, tuple(samples), tuple(notes))


def _names_split(folder: str) -> bool:
    return folder.strip().casefold() in {*SPLITS, "valid", "validation", "training", "testing"}


def _folders(data: Path, label: Label) -> list[Path]:
    """Folders in `data` itself that give this label; deeper ones need no word."""
    return sorted(path for path in _inside_of(data) if folder_label(path.name) is label and path.is_dir())


def _refuse_without_good(data: Path, folders: dict[Label, list[Path]], found: Found) -> None:
    beside = "".join(f"; {note} left out" for note in found.notes())
    if folders[Label.OK]:
        endings = ", ".join(sorted(SUFFIXES))
        raise DataError(f"{shown(folders[Label.OK][0])}: no picture in it ({endings}){beside}")
    if folders[Label.NG]:
        raise DataError(f"{shown(data)}: no folder ok/ in it; a model needs good pictures{beside}")
    raise DataError(f"{shown(data)}: neither {MANIFEST} nor the folders ok/ and ng/ in it{beside}")
