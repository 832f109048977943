"""Records on their way to whoever keeps them: a SQLite file that survives power cuts and damage.

WAL with synchronous=FULL: with NORMAL a power cut loses what was committed last. One connection writes and
checkpoints, in one thread: SQLite before 3.51.3 can damage a WAL that two connections reset. Every row has a CRC,
because SQLite's own checks find few flipped bytes. The size is capped well below the volume's, because on a full
disk not even DELETE works.

A row that is set aside gets the negative of its number: it leaves the queue and keeps its order.
"""

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from inspection import clock
from inspection.errors import StoreError
from transport.records import repair
from transport.records.entry import Entry, Row, sound
from transport.records.salvage import PAGE, rows_behind_damage
from transport.records.schema import SPARE_PAGES, DamagedError, connect, insert, is_damage, is_full, last_number

log = logging.getLogger(__name__)

_REPAIR_PAUSE_S = 10.0
_SELECT = "SELECT n, CAST(id AS BLOB), CAST(topic AS BLOB), CAST(body AS BLOB), utc, crc FROM records"


class Outbox:
    """Blocking; all calls from one thread, the first one opens the file. Raises StoreError when the disk says no.

    A damaged file is moved aside (`NAME.damaged-UNIXTIME`), and its sound rows go on in a new one: the line does not
    stop for it. `damaged` counts files and rows put aside so.
    """

    def __init__(self, path: Path, *, max_bytes: int = 256 * 2**20) -> None:
        self._path, self._max_pages = path, max(16, max_bytes // PAGE)
        self._file = path
        self._db: sqlite3.Connection | None = None
        self._last_n = 0
        self._repair_after = 0.0
        self.depth = 0
        """Records waiting, without those set aside."""
        self.aside = 0
        """Records set aside."""
        self.given_up = 0
        """Records set aside that had to make room for new ones."""
        self.damaged = 0
        self.held: set[str] = set()
        """Ids of rows that `after` does not give yet, nor what comes behind them. Any thread may change it."""
        self.earlier_n = 0
        """Rows up to this number were committed by an earlier process, or come from a damaged file."""

    def add(self, entries: Sequence[Entry], *, without: Sequence[str] = ()) -> None:
        """Commit all of them, or raise StoreError and none is kept. One known by its id is not added again.

        Rows whose ids are in `without` are deleted first, in the same transaction. Where the file is full, the oldest
        records that are set aside make room.
        """
        wanted = sum(len(entry.body) + 512 for entry in entries)
        with self._checked() as db:
            self._with_room(db, wanted, lambda: self._add(db, entries, without))

    def after(self, n: int, limit: int) -> list[Row]:
        """The next waiting rows in their order. Rows whose CRC is wrong are put aside: logged, counted, removed."""
        with self._checked() as db:
            found = db.execute(f"{_SELECT} WHERE n > ? ORDER BY n LIMIT ?", (max(n, 0), limit)).fetchall()
        rows = self._sound(found)
        ready = next((at for at, row in enumerate(rows) if row.entry.id in self.held), len(rows))
        return rows[:ready]

    def aside_after(self, n: int, limit: int) -> list[Row]:
        """The next rows that are set aside, in their order: begin with 0, go on with the `n` of the last one."""
        with self._checked() as db:
            found = db.execute(f"{_SELECT} WHERE n < ? ORDER BY n DESC LIMIT ?", (min(n, 0), limit)).fetchall()
        return self._sound(found)

    def remove(self, rows: Sequence[Row]) -> None:
        """Delete rows that have arrived."""
        # By the id too: where a damaged file was replaced, a number may belong to another record now.
        self._delete("n = ? AND id = ?", [(row.n, row.entry.id) for row in rows])

    def set_aside(self, rows: Sequence[Row]) -> None:
        """Take waiting rows out of the queue, and keep them."""
        with self._checked() as db:
            self._with_room(db, len(rows) * PAGE, lambda: self._move(db, rows))

    def oldest_utc(self) -> float | None:
        """When the verdict of the first waiting record was decided."""
        rows = self.after(0, 1)
        return rows[0].entry.utc if rows else None

    def used(self) -> float:
        """How full the file is, 0..1 of its cap. Pages that deleted rows have left count as room."""
        with self._checked() as db:
            return min(1.0, self._used_pages(db) / self._max_pages)

    def close(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error, UnicodeDecodeError):
                self._db.close()
            self._db = None

    def _add(self, db: sqlite3.Connection, entries: Sequence[Entry], without: Sequence[str]) -> None:
        db.execute(f"PRAGMA max_page_count={self._max_pages}")
        try:
            with db:
                db.execute("BEGIN IMMEDIATE")
                before = db.total_changes
                db.executemany("DELETE FROM records WHERE id = ?", [(identity,) for identity in without])
                deleted = db.total_changes - before
                added = insert(db, [Row(0, entry) for entry in entries])
                last = last_number(db)
        finally:
            db.execute(f"PRAGMA max_page_count={self._max_pages + SPARE_PAGES}")
        self.depth += added - deleted
        self._last_n = last

    def _move(self, db: sqlite3.Connection, rows: Sequence[Row]) -> None:
        with db:
            db.execute("BEGIN IMMEDIATE")
            before = db.total_changes
            db.executemany("UPDATE records SET n = -n WHERE n = ? AND id = ?", [(row.n, row.entry.id) for row in rows])
            moved = db.total_changes - before
        self.depth -= moved
        self.aside += moved

    def _with_room(self, db: sqlite3.Connection, wanted: int, work: Callable[[], None]) -> None:
        """Do it, once more with room for so many bytes where the file was full."""
        try:
            work()
        except sqlite3.OperationalError as error:
            if not is_full(error) or not self._make_room(db, 2 * wanted + 8 * PAGE):
                raise
            work()

    def _make_room(self, db: sqlite3.Connection, wanted: int) -> bool:
        """Give up records that are set aside; False where there are none, or the disk is full and not the file."""
        if not self.aside or self._used_pages(db) * PAGE + wanted < self._max_pages * PAGE:
            return False
        numbers, freed = [], 0
        for n, size in db.execute("SELECT n, length(body) FROM records WHERE n < 0 ORDER BY n DESC"):
            numbers.append((n,))
            freed += size
            if freed > wanted:
                break
        self._delete("n = ?", numbers)
        self.given_up += len(numbers)
        log.error("%s is full: the oldest %d records that are set aside are given up", self._file, len(numbers))
        return True

    def _used_pages(self, db: sqlite3.Connection) -> int:
        pages, free = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
        return int(pages - free)

    def _sound(self, found: list[tuple[Any, ...]]) -> list[Row]:
        rows, bad = [], []
        for n, *values in found:
            entry = sound(*values)
            if entry is None:
                bad.append((n,))
            else:
                rows.append(Row(n, entry))
        if bad:
            log.error("%s: %d damaged rows removed: %s", self._file, len(bad), [n for (n,) in bad[:10]])
            self.damaged += len(bad)
            self._delete("n = ?", bad)
        return rows

    def _delete(self, which: str, values: Sequence[tuple[Any, ...]]) -> None:
        statement = f"DELETE FROM records WHERE {which}"  # noqa: S608  # nosec B608 - our own words
        with self._transaction() as db:
            gone = [value[0] for value in values if db.execute(statement, value).rowcount]
        self.depth -= sum(n > 0 for n in gone)
        self.aside -= sum(n < 0 for n in gone)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        # `db` itself ends in COMMIT, or in ROLLBACK where SQLite has not rolled back by itself (disk full, I/O error).
        with self._checked() as db, db:
            db.execute("BEGIN IMMEDIATE")
            yield db

    @contextlib.contextmanager
    def _checked(self) -> Iterator[sqlite3.Connection]:
        """The open database; turns SQLite's errors into StoreError, and replaces a damaged file."""
        try:
            if self._db is None:
                self._open()
            assert self._db is not None
            yield self._db
        except (sqlite3.Error, UnicodeDecodeError, DamagedError) as error:
            self.close()  # after an I/O error the connection's own view of the file is not to be trusted
            if is_damage(error):
                self._repair(error)
            raise StoreError(f"{self._file}: {error}") from error
        except OSError as error:
            raise StoreError(f"{self._file}: {error.strerror or error}") from error

    def _open(self) -> None:
        """Open the file with what an earlier process could not put into it."""
        found = repair.left_over(self._path) if self._file == self._path else []
        found += rows_behind_damage(self._file)
        try:
            db = connect(self._file, self._max_pages)
        except (sqlite3.Error, UnicodeDecodeError, DamagedError) as error:
            if not is_damage(error):
                raise
            self._repair(error)
            db = connect(self._file, self._max_pages)
        self._db = db
        if self._taken_over(db, found) and self._file == self._path:
            repair.forget_left_over(self._path)
        self._last_n = self.earlier_n = last_number(db)
        count, aside = db.execute("SELECT count(*), count(*) FILTER (WHERE n < 0) FROM records").fetchone()
        self.depth, self.aside = count - aside, aside

    def _taken_over(self, db: sqlite3.Connection, found: list[Row]) -> bool:
        """Whether all of them are in the file now."""
        try:
            with db:
                db.execute("BEGIN IMMEDIATE")
                added = insert(db, found)
        except sqlite3.OperationalError as error:
            if not is_full(error):
                raise
            log.error("%s: no room for %d records of an earlier file: they stay beside it", self._file, len(found))  # noqa: TRY400
            return False
        if added:
            log.error("%s: %d records were found behind damage, or in a file beside it", self._file, added)
        return True

    def _repair(self, error: Exception) -> None:
        if clock.monotonic() < self._repair_after:
            return
        self._repair_after = clock.monotonic() + _REPAIR_PAUSE_S
        self.damaged += 1
        log.error("%s is damaged: %s", self._file, error)
        try:
            self._file, rows = repair.replace(self._path, self._max_pages, self._last_n)
        except (sqlite3.Error, OSError, UnicodeDecodeError, DamagedError) as failure:
            raise StoreError(f"{self._file} is damaged, and cannot be replaced yet: {failure}") from error
        log.error("%s: %d sound records of the damaged file go on", self._file, rows)
