"""Which files in a folder are pictures, what label their folders give, and what is left out.

One rule for training, suggesting and replaying:

- Folders in folders are read, to any depth. Names that begin with a dot and those of the system (`Thumbs.db`,
  `@eaDir`, `__MACOSX`, `lost+found` and the like) are left out with all that is in them.
- A picture is a regular file, or a link to one, whose name ends in one of `SUFFIXES`, in any case. Links to folders
  are left out, but for `ok` and `ng` in the folder itself: they may lead in a circle, or to the same pictures again.
- A folder that cannot be read raises DataError: nobody could say what is missing.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from camera.names import shown
from camera.picture import SUFFIXES
from inspection.errors import DataError
from inspection.part import Label

MANIFEST = "manifest.csv"
WRITTEN_SPLIT = "linegate-split.csv"

_SYSTEM = frozenset(
    {
        "$recycle.bin", "#recycle", "#snapshot", "@eadir", "@tmp", "__macosx", "__pycache__", "desktop.ini",
        "ehthumbs.db", "ehthumbs_vista.db", "found.000", "icon\r", "lost+found", "recycler",
        "system volume information", "thumbs.db",
    }
)  # fmt: skip
_OTHER_PICTURES = frozenset(
    {
        ".avif", ".cr2", ".dng", ".exr", ".gif", ".heic", ".heif", ".j2k", ".jp2", ".jxl",
        ".nef", ".psd", ".ras", ".raw", ".sr", ".svg", ".tga", ".webp",
    }
)  # fmt: skip
_HIDDEN = "hidden or system files and folders"
_EXAMPLES = 3
_COUNTED = 100_000
"""Files at most that are looked at to count the pictures in a folder that is left out."""


@dataclass(frozen=True, slots=True)
class Found:
    """`pictures` are in the order of their names. `left_out` has the reason and the names of what is not read."""

    pictures: tuple[Path, ...]
    left_out: Mapping[str, tuple[str, ...]]

    def notes(self) -> tuple[str, ...]:
        """One line for each reason, with a count and examples."""
        return tuple(counted(reason, names) for reason, names in sorted(self.left_out.items()))


def counted(what: str, names: tuple[str, ...] | list[str]) -> str:
    """`3 what: a, b, c`, and no more names than fit on a line."""
    some = ", ".join(shown(name) for name in names[:_EXAMPLES])
    return f"{len(names)} {what}: {some}{', ...' if len(names) > _EXAMPLES else ''}"


def find_pictures(folder: Path) -> Found:
    """All pictures in `folder` and the folders in it. Raises DataError where one of them cannot be read."""
    pictures: list[Path] = []
    left_out: dict[str, list[str]] = {}
    for path, reason in _entries(folder):
        if reason:
            left_out.setdefault(reason, []).append(_told(path, folder))
        else:
            pictures.append(path)
    return Found(tuple(sorted(pictures)), {reason: tuple(sorted(names)) for reason, names in left_out.items()})


def label_of(path: Path, folder: Path, *, named: bool = False) -> Label | None:
    """The label that the folders between `folder` and `path` give, in any case (`NG` is `ng`); None without one.

    With `named`, the name of `folder` itself gives one too. Raises DataError where they contradict each other.
    """
    above = path.relative_to(folder).parts[:-1]
    labels = {label for part in ((folder.name, *above) if named else above) if (label := folder_label(part))}
    if len(labels) > 1:
        raise DataError(f"{shown(path)}: lies in a folder ok and in a folder ng: move it to where it belongs")
    return labels.pop() if labels else None


def folder_label(name: str) -> Label | None:
    """The label that a folder of this name gives to the pictures in it."""
    try:
        return Label(name.strip().casefold())
    except ValueError:
        return None


def is_hidden(name: str) -> bool:
    """A name that begins with a dot, or is one of the system's own."""
    return name.startswith(".") or name.casefold() in _SYSTEM


def _entries(folder: Path) -> Iterator[tuple[Path, str]]:
    """Each file that is a picture with an empty reason, and what is left out with its reason."""
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(here) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
                for entry in found:
                    path = here / entry.name
                    if is_hidden(entry.name):
                        yield path, _HIDDEN
                    elif entry.is_dir(follow_symlinks=False) or (here == folder and _is_labelled_link(entry)):
                        waiting.append(path)
                    elif entry.name.casefold() in (MANIFEST, WRITTEN_SPLIT) and _is_file(entry):
                        continue
                    else:
                        yield path, _reason(entry)
        except OSError as error:
            raise DataError(
                f"{shown(here)}: cannot be read ({error.strerror}); make it readable, or move it out of {shown(folder)}"
            ) from error


def _told(path: Path, folder: Path) -> str:
    """The name of what is left out, of a folder with the number of pictures in it."""
    name = path.relative_to(folder).as_posix()
    if path.is_symlink() or not path.is_dir():
        return name
    inside = _pictures_in(path)
    return f"{name} ({inside} pictures)" if inside else name


def _pictures_in(folder: Path) -> int:
    """How many pictures would be read in a folder that is left out."""
    pictures = looked = 0
    for _, _, files in os.walk(folder):
        looked += len(files)
        pictures += sum(_suffix(name) in SUFFIXES for name in files)
        if looked > _COUNTED:
            break
    return pictures


def _is_labelled_link(entry: "os.DirEntry[str]") -> bool:
    """A link called ok or ng in the folder itself: that one is meant."""
    return folder_label(entry.name) is not None and entry.is_symlink() and Path(entry.path).is_dir()


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:  # links in a circle
        return False


def _reason(entry: "os.DirEntry[str]") -> str:
    """Why a file is no picture; empty where it is one."""
    suffix = _suffix(entry.name)
    if suffix not in SUFFIXES:
        if entry.is_symlink() and Path(entry.path).is_dir():
            return "links to folders"
        if suffix in _OTHER_PICTURES:
            return f"pictures that end in {suffix}, which linegate does not read (save them as PNG)"
        ending = f"that end in {shown(suffix)}" if suffix else "without an ending"
        return f"files {ending} (pictures end in {', '.join(sorted(SUFFIXES))})"
    if _is_file(entry):
        return ""
    if entry.is_symlink():
        return "links to folders" if Path(entry.path).is_dir() else "links that lead nowhere"
    return "pipes, sockets or devices"


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - of hundreds of thousands of names
