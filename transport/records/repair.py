"""Replaces a damaged outbox file by a new one with the rows that are still sound.

At every moment each of these rows is in the damaged file or in a complete new one, so that a kill loses none. Where
the damaged file can be neither moved nor copied away, the new one stays beside it and is used there.
"""

import contextlib
import logging
import shutil
from pathlib import Path

from inspection import clock
from inspection.files import STATE, make_file
from transport.records.entry import Row
from transport.records.salvage import all_rows, in_order
from transport.records.schema import PARTS, connect, insert, skip_numbers

log = logging.getLogger(__name__)

_MOST_KEPT = 5  # damaged files, for whoever looks into the cause


def beside(path: Path) -> Path:
    """Where the outbox is when its own place is taken."""
    return Path(f"{path}.new")


def left_over(path: Path) -> list[Row]:
    """Rows of files that an earlier process left beside `path`."""
    return in_order([row for file in (beside(path), _building(path)) if file.exists() for row in all_rows(file)])


def forget_left_over(path: Path) -> None:
    """Delete them. Raises OSError."""
    for file in (beside(path), _building(path)):
        _unlink(file)


def replace(path: Path, max_pages: int, last_n: int) -> tuple[Path, int]:
    """Put a new file in the place of the damaged `path`; where it is now, and how many rows it has.

    Raises OSError, DamagedError or what SQLite raises; then nothing is lost, and it may be tried again.
    """
    rows = in_order([*all_rows(path), *left_over(path)])
    building = _building(path)
    _unlink(building)
    with contextlib.closing(connect(building, 2 * max_pages, journal="DELETE")) as db, db:
        db.execute("BEGIN IMMEDIATE")
        insert(db, rows)
        skip_numbers(db, max([last_n, *(row.n for row in rows)]))
    place = path if _moved_aside(path) else beside(path)
    _unlink(beside(path))
    building.replace(place)
    return place, len(rows)


def _building(path: Path) -> Path:
    return Path(f"{path}.part")


def _moved_aside(path: Path) -> bool:
    """Whether the place of `path` is free now."""
    aside = f"damaged-{clock.utc():.3f}"
    try:
        for part in PARTS:
            file = Path(f"{path}{part}")
            if file.exists():
                _move(file, Path(f"{file}.{aside}"))
    except OSError as error:
        log.error("%s cannot be moved aside (%s): the outbox goes on as %s", path, error, beside(path).name)  # noqa: TRY400
        return False
    log.error("%s was moved aside as %s.%s", path, path.name, aside)
    with contextlib.suppress(OSError):
        for part in PARTS:
            kept = sorted(path.parent.glob(f"{path.name}{part}.damaged-*"), key=lambda file: file.stat().st_mtime_ns)
            for file in kept[:-_MOST_KEPT]:
                file.unlink()
    return True


def _move(file: Path, to: Path) -> None:
    try:
        file.rename(to)
    except OSError:
        make_file(to, STATE)
        shutil.copyfile(file, to)
        file.unlink()


def _unlink(file: Path) -> None:
    for part in PARTS:
        Path(f"{file}{part}").unlink(missing_ok=True)
