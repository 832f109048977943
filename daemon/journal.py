"""Rows of JSON for people to review: bounded on disk and in memory, and nobody waits for the disk."""

import asyncio
import json
import logging
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from inspection.files import STATE, make_file

LOG = logging.getLogger(__name__)

MOST_BYTES = 4 << 20
"""Of one file. When it is full it becomes the older one, in the place of the one before."""

_MOST_WAITING = 1000
_EVERY_S = 1.0


class Journal:
    """A file of JSON lines, and an older one beside it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._waiting: deque[str] = deque(maxlen=_MOST_WAITING)  # the oldest is given up
        self._flushing = threading.Lock()

    def note(self, row: Mapping[str, Any]) -> None:
        """Written within about a second, while `run` runs."""
        self._waiting.append(json.dumps(row) + "\n")

    async def run(self) -> None:
        """Until cancelled; what waits then is still written."""
        try:
            while True:
                await asyncio.sleep(_EVERY_S)
                if self._waiting:
                    await asyncio.to_thread(self.flush)
        finally:
            self.flush()

    def flush(self) -> None:
        """Write what waits. A disk that refuses costs these rows, with a word in the log."""
        with self._flushing:  # `run` and whoever wants to read the file may flush in two threads at once
            rows = [self._waiting.popleft() for _ in range(len(self._waiting))]
            if rows:
                self._append(rows)

    def _append(self, rows: list[str]) -> None:
        try:
            if self.file.exists() and self.file.stat().st_size >= MOST_BYTES:
                self.file.replace(older(self.file))
            make_file(self.file, STATE)
            with self.file.open("a", encoding="utf-8") as file:
                file.writelines(rows)
        except OSError as error:
            LOG.warning("%s: %d rows were not written: %s", self.file, len(rows), error.strerror)


def older(file: Path) -> Path:
    return file.with_name(f"{file.name}.1")


def read(file: Path) -> Iterator[dict[str, Any]]:
    """The rows, the oldest first. A row that is damaged, or was left half, is passed over. Raises OSError."""
    for part in (older(file), file):
        if part.exists():
            for line in part.read_bytes().splitlines():
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(row, dict):
                    yield row
