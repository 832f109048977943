"""The outbox as SQLite sees it: how a file is opened, and when it counts as damaged."""

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from inspection.files import STATE, make_file, make_folder
from transport.records.entry import Row, checksum
from transport.records.salvage import LARGEST_N, PAGE, header_is_sound

SPARE_PAGES = 16
"""Beyond the cap, for all but new records: without room, rows cannot be set aside or deleted either."""

PARTS = ("-wal", "-shm", "")
"""What SQLite adds to the file's name. The write-ahead log first: it must never stand beside another file."""

_SCHEMA = """
CREATE TABLE records (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  topic TEXT NOT NULL,
  body BLOB NOT NULL,
  utc REAL NOT NULL,
  crc INTEGER NOT NULL
)
"""
# What the machine answers while the file itself is well. Every other error means damage.
_MACHINE = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_PROTOCOL,
}  # fmt: skip
_UNREADABLE = {
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
}


class DamagedError(Exception):
    """The file is no outbox any more."""


def is_damage(error: Exception) -> bool:
    """Whether the file is to blame, not the machine."""
    if not isinstance(error, sqlite3.Error):
        return isinstance(error, DamagedError | UnicodeDecodeError)  # SQLite's own texts quote the damaged file
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code in _UNREADABLE or code & 0xFF not in _MACHINE


def is_full(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def connect(path: Path, max_pages: int, *, journal: str = "WAL") -> sqlite3.Connection:
    """Open or make the file and check all of it. Raises OSError, DamagedError, or what SQLite raises."""
    make_folder(path.parent, STATE)
    for one in (Path(f"{path}{part}") for part in PARTS):
        if one.exists() and not one.is_file():
            raise DamagedError(f"{one.name} is no file")
        if one.exists():
            make_file(one, STATE)  # one of an earlier version may be open to all
    if _size(path) == 0 and _size(Path(f"{path}-wal")) > 0:
        raise DamagedError("it is empty, and its log is not")  # which SQLite would delete
    make_file(path, STATE)  # SQLite gives the log beside it the same mode
    if not header_is_sound(path):
        raise DamagedError("its header is wrong")
    with contextlib.ExitStack() as undo:
        db = undo.enter_context(contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=5.0)))
        db.execute(f"PRAGMA page_size={PAGE}")
        db.execute(f"PRAGMA journal_mode={journal}")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA secure_delete=ON")  # a delivered row must not be found again by a salvage
        db.execute(f"PRAGMA max_page_count={max_pages + SPARE_PAGES}")
        if not _tables(db):
            db.execute(_SCHEMA)
        _check(db)
        undo.pop_all()
    return db


def insert(db: sqlite3.Connection, rows: Sequence[Row]) -> int:
    """Add rows with their numbers, or with new ones where `n` is 0 or taken; how many had an unknown id."""
    before = db.total_changes
    for row in rows:
        entry = row.entry
        values = (entry.id, entry.topic, entry.body, entry.utc, checksum(entry))
        known = (
            row.n
            and db.execute(
                "INSERT OR IGNORE INTO records (n, id, topic, body, utc, crc) VALUES (?, ?, ?, ?, ?, ?)",
                (row.n, *values),
            ).rowcount
        )
        if not known:
            db.execute("INSERT OR IGNORE INTO records (id, topic, body, utc, crc) VALUES (?, ?, ?, ?, ?)", values)
    return db.total_changes - before


def last_number(db: sqlite3.Connection) -> int:
    """The largest number that a row has had."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'records'").fetchone()
    return int(row[0]) if row else 0


def skip_numbers(db: sqlite3.Connection, last: int) -> None:
    """The next row gets a number above `last`."""
    if last > last_number(db):
        db.execute("DELETE FROM sqlite_sequence")
        db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('records', ?)", (last,))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _tables(db: sqlite3.Connection) -> set[tuple[object, ...]]:
    found = db.execute(
        "SELECT CAST(type AS BLOB), CAST(name AS BLOB), CAST(tbl_name AS BLOB), rootpage, CAST(sql AS BLOB) "
        "FROM sqlite_master"
    )
    return set(found.fetchall())


def _expected() -> set[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.execute(_SCHEMA)
        return _tables(db)


_TABLES = _expected()


def _check(db: sqlite3.Connection) -> None:
    if _tables(db) != _TABLES:
        raise DamagedError("its tables are not those of an outbox")
    (answer,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    if answer != "ok":
        raise DamagedError(str(answer))
    least, most = db.execute("SELECT min(n), max(n) FROM records").fetchone()
    sequence = db.execute("SELECT CAST(name AS BLOB), seq FROM sqlite_sequence").fetchall()
    numbers = [number for number in (least, most, *(seq for _, seq in sequence)) if number is not None]
    if any(not isinstance(number, int) or abs(number) > LARGEST_N for number in numbers):
        raise DamagedError("a number is out of range")
    if any(name != b"records" for name, _ in sequence) or len(sequence) > 1:
        raise DamagedError("the sequence of numbers is damaged")
