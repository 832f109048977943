"""Records on their way to whoever keeps them: a SQLite file that survives power cuts. The only file that knows it.

WAL with synchronous=FULL: with NORMAL a power cut loses what was committed last. One connection writes and
checkpoints, in one thread: SQLite before 3.51.3 can damage a WAL that two connections reset. Every row has a CRC,
because SQLite's own checks find few flipped bytes. The size is capped well below the volume's, because on a full
disk not even DELETE works.
"""

import contextlib
import logging
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from inspection import clock
from inspection.errors import StoreError

log = logging.getLogger(__name__)

_PAGE = 4096
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  topic TEXT NOT NULL,
  body BLOB NOT NULL,
  utc REAL NOT NULL,
  crc INTEGER NOT NULL
)
"""
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}


@dataclass(frozen=True, slots=True)
class Entry:
    """A record to keep: `id` is its idempotency key, `utc` when its verdict was decided (Unix seconds)."""

    id: str
    topic: str
    body: bytes
    utc: float


@dataclass(frozen=True, slots=True)
class Row:
    """A kept record. `n` grows in the order in which records were committed."""

    n: int
    entry: Entry


def _crc(entry: Entry) -> int:
    head = f"{entry.id}\0{entry.topic}\0{entry.utc!r}\0".encode()
    return zlib.crc32(entry.body, zlib.crc32(head))


def _check(db: sqlite3.Connection) -> None:
    answer = db.execute("PRAGMA quick_check(1)").fetchone()
    if answer[0] != "ok":
        damaged = sqlite3.DatabaseError(f"quick_check: {answer[0]}")
        damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damaged


class Outbox:
    """Blocking; all calls from one thread, the first one opens the file. Raises StoreError when the disk says no.

    A file that SQLite calls damaged is moved aside (`NAME.damaged-UNIXTIME`) and a new one is started: the line
    does not stop for it. `damaged` counts files and rows put aside so.
    """

    def __init__(self, path: Path, *, max_bytes: int = 256 * 2**20) -> None:
        self._path, self._max_pages = path, max(16, max_bytes // _PAGE)
        self._db: sqlite3.Connection | None = None
        self.depth = 0
        """Records waiting."""
        self.damaged = 0
        self.held: set[str] = set()
        """Ids of rows that `after` does not give yet, nor what comes behind them. Any thread may change it."""

    def add(self, entries: Sequence[Entry], *, without: Sequence[str] = ()) -> None:
        """Commit all of them, or raise StoreError and none is kept. One known by its id is not added again.

        Rows whose ids are in `without` are deleted first, in the same transaction.
        """
        with self._transaction() as db:
            before = db.total_changes
            db.executemany("DELETE FROM records WHERE id = ?", [(identity,) for identity in without])
            deleted = db.total_changes - before
            db.executemany(
                "INSERT OR IGNORE INTO records (id, topic, body, utc, crc) VALUES (?, ?, ?, ?, ?)",
                [(entry.id, entry.topic, entry.body, entry.utc, _crc(entry)) for entry in entries],
            )
            added = db.total_changes - before - deleted
        self.depth += added - deleted

    def after(self, n: int, limit: int) -> list[Row]:
        """The next rows in their order. Rows whose CRC is wrong are put aside: logged, counted, removed."""
        with self._checked() as db:
            found = db.execute(
                "SELECT n, id, topic, body, utc, crc FROM records WHERE n > ? ORDER BY n LIMIT ?", (n, limit)
            ).fetchall()
        rows, bad = [], []
        for number, identity, topic, body, utc, crc in found:
            try:
                row = Row(number, Entry(identity, topic, bytes(body), utc))
                sound = _crc(row.entry) == crc
            except (TypeError, ValueError, AttributeError):  # flipped bytes can change a value's type too
                sound = False
            if sound and identity in self.held:
                break
            if sound:
                rows.append(row)
            else:
                bad.append(number)
        if bad:
            log.error("%s: %d damaged rows removed: %s", self._path, len(bad), bad[:10])
            self.damaged += len(bad)
            self.remove(bad)
        return rows

    def remove(self, numbers: Sequence[int]) -> None:
        """Delete rows that have arrived."""
        with self._transaction() as db:
            before = db.total_changes
            db.executemany("DELETE FROM records WHERE n = ?", [(n,) for n in numbers])
            removed = db.total_changes - before
        self.depth -= removed

    def oldest_utc(self) -> float | None:
        """When the verdict of the first waiting record was decided."""
        with self._checked() as db:
            row = db.execute("SELECT utc FROM records ORDER BY n LIMIT 1").fetchone()
        return float(row[0]) if row else None

    def used(self) -> float:
        """How full the file is, 0..1 of its cap. Pages that deleted rows have left count as room."""
        with self._checked() as db:
            pages, free = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
        return float(pages - free) / self._max_pages

    def close(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        # `db` itself ends in COMMIT, or in ROLLBACK where SQLite has not rolled back by itself (disk full, I/O error).
        with self._checked() as db, db:
            db.execute("BEGIN IMMEDIATE")
            yield db

    @contextlib.contextmanager
    def _checked(self) -> Iterator[sqlite3.Connection]:
        """The open database; turns SQLite's errors into StoreError, and moves a damaged file aside."""
        try:
            yield self._open()
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            self.close()  # after an I/O error the connection's own view of the file is not to be trusted
            if code in _DAMAGED:
                self._quarantine(error)
            raise StoreError(f"{self._path}: {error}") from error
        except OSError as error:
            raise StoreError(f"{self._path}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = self._opened()
        return self._db

    def _opened(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                raise
            self._quarantine(error)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as undo:
            db = undo.enter_context(contextlib.closing(sqlite3.connect(self._path, isolation_level=None, timeout=5.0)))
            db.execute(f"PRAGMA page_size={_PAGE}")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute(f"PRAGMA max_page_count={self._max_pages}")
            _check(db)
            db.execute(_SCHEMA)
            self.depth = int(db.execute("SELECT count(*) FROM records").fetchone()[0])
            undo.pop_all()
        return db

    def _quarantine(self, error: sqlite3.Error) -> None:
        self.damaged += 1
        aside = f"damaged-{clock.utc():.3f}"
        log.error("%s is damaged (%s): moved aside as *.%s", self._path, error, aside)
        for suffix in ("", "-wal", "-shm"):
            part = Path(f"{self._path}{suffix}")
            if part.exists():
                part.rename(f"{part}.{aside}")
        self.depth = 0
