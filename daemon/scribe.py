"""Writes the log, so that nobody waits for whoever reads it."""

import logging
import os
import queue
import threading
from contextlib import suppress

MOST_LINES = 4096
_AT_THE_END_S = 1.0


class Scribe(logging.Handler):
    """A thread writes to `fd`; what is more than it can hold is lost, and a line tells how much that was.

    A pipe whose reader has stopped, or a journal that is stuck, holds up whoever writes to it: here that is nobody but
    the thread. Not logging's QueueListener: at the end of the process that waits for such a pipe without limit, and of
    lines that did not fit nobody can tell how many they were.
    """

    def __init__(self, fd: int, *, most_lines: int = MOST_LINES) -> None:
        super().__init__()
        self._fd = fd
        self._lines: queue.Queue[str] = queue.Queue(most_lines)
        self._lost = 0
        self._counting = threading.Lock()  # the handler's own is held while it flushes
        threading.Thread(target=self._write, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            with self._counting:
                self._lost += 1
        except (TypeError, ValueError):  # the text and its arguments do not fit together
            self.handleError(record)

    def flush(self) -> None:
        """Called by logging at the end of the process: what was told is written, unless nobody reads it."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, _AT_THE_END_S)

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            self._written(line)
            with self._counting:
                lost, self._lost = self._lost, 0
            if lost:
                text = f"{lost} lines of the log are lost: whoever reads it was too slow"
                row = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": text}
                self._written(self.format(logging.makeLogRecord(row)))
            self._lines.task_done()

    def _written(self, line: str) -> None:
        left = (line + "\n").encode(errors="backslashreplace")
        with suppress(OSError):  # nobody reads any more
            while left:
                left = left[os.write(self._fd, left) :]
