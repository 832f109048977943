"""Pictures laid out so that a person can say of each what it shows, and the next training can read it."""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

from inspection.errors import DataError
from inspection.part import Label
from training.suggest import Suggestion

LIST = ".csv"


def lay_out(out: Path, suggestions: Sequence[Suggestion]) -> None:
    """Write a list where `out` ends in .csv, else a folder. Raises DataError, also where something is there already."""
    try:
        if out.suffix.lower() == LIST:
            _write_list(out, suggestions)
        else:
            _write_folder(out, suggestions)
    except OSError as error:
        raise DataError(f"{error.filename or out}: {error.strerror}") from error


def require_new(out: Path) -> None:
    """Raises DataError where `out` holds something: labels may have been written there."""
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists():
        raise DataError(f"{out}: there already, and may hold labels; name a new one")


def _write_list(out: Path, suggestions: Sequence[Suggestion]) -> None:
    """A manifest without labels: `label` is to be filled in, its other columns are for people."""
    root = out.parent.resolve()
    rows = []
    for suggestion in suggestions:
        path = suggestion.picture.path.resolve()
        if not path.is_relative_to(root):
            raise DataError(f"{out}: a list must lie above its pictures: name one in the folder of the pictures")
        rows.append((path.relative_to(root).as_posix(), "", "", "", f"{suggestion.score:.6f}", suggestion.why))
    with out.open("x", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "label", "defect_type", "group", "score", "why"))
        writer.writerows(rows)


def _write_folder(out: Path, suggestions: Sequence[Suggestion]) -> None:
    """Copies, as an archive forgets its pictures, beside the empty folders ok/ and ng/ to be moved into."""
    for label in Label:
        (out / label.value).mkdir(parents=True)
    digits = len(str(len(suggestions)))
    for rank, suggestion in enumerate(suggestions, 1):
        path = suggestion.picture.path
        shutil.copyfile(path, out / f"{rank:0{digits}}-{path.name}")
