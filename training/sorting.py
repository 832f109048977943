"""Pictures laid out so that a person can say of each what it shows, and the next training can read it."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from camera.manifest import manifest_bytes
from camera.names import shown
from inspection.errors import DataError
from inspection.part import Label
from inspection.whole import commit_file
from training.suggest import Suggestion

LIST = ".csv"

_LONGEST = 255  # bytes of a name, in most file systems


def lay_out(out: Path, suggestions: Sequence[Suggestion]) -> None:
    """Write a list where `out` ends in .csv, else a folder. Raises DataError, also where something is there already."""
    require_new(out)
    try:
        if out.suffix.lower() == LIST:
            _write_list(out, suggestions)
        else:
            _write_folder(out, suggestions)
    except OSError as error:
        raise DataError(f"{shown(error.filename or out)}: {error.strerror}") from error


def require_new(out: Path) -> None:
    """Raises DataError where `out` holds something: labels may have been written there."""
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists():
        raise DataError(f"{shown(out)}: there already, and may hold labels; name a new one")


def _write_list(out: Path, suggestions: Sequence[Suggestion]) -> None:
    """A manifest without labels: `label` is to be filled in, its other columns are for people."""
    root = out.parent.resolve()
    rows = [("path", "label", "defect_type", "group", "score", "why")]
    for suggestion in suggestions:
        path = suggestion.picture.path.resolve()
        if not path.is_relative_to(root):
            raise DataError(f"{shown(out)}: a list must lie above its pictures: name one in the folder of the pictures")
        rows.append((path.relative_to(root).as_posix(), "", "", "", f"{suggestion.score:.6f}", suggestion.why))
    commit_file(out, manifest_bytes(rows))


def _write_folder(out: Path, suggestions: Sequence[Suggestion]) -> None:
    """Copies, as an archive forgets its pictures, beside the empty folders ok/ and ng/; all of it or nothing."""
    digits = len(str(len(suggestions)))
    staged = out.with_name(f".{out.name}.{os.getpid()}.part")
    staged.mkdir(parents=True)
    try:
        for label in Label:
            (staged / label.value).mkdir()
        for rank, suggestion in enumerate(suggestions, 1):
            path = suggestion.picture.path
            shutil.copyfile(path, staged / _short(f"{rank:0{digits}}-", path))
        if out.is_dir():
            out.rmdir()
        staged.rename(out)
    except OSError:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def _short(before: str, path: Path) -> str:
    """`before` and the name of `path`, whose middle is left out where a file system would refuse it."""
    stem, room = os.fsencode(path.stem), _LONGEST - len(before) - len(os.fsencode(path.suffix))
    return before + (path.stem if len(stem) <= room else os.fsdecode(stem[: room // 2])) + path.suffix
