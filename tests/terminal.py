"""A terminal that a program is started in, and that can be closed."""

import os
import pty
import select
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

_LEAD = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """`words` run in a terminal of their own, as the leader of its session. What they write is in `said`."""

    def __init__(self, words: Sequence[str], cwd: Path) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LEAD, *words], cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        self._closing, self._told = os.pipe()
        self.said = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # A thread that waits in `read` would keep the terminal open.
        while self._closing not in select.select([self._ours, self._closing], [], [])[0]:
            try:
                self.said += os.read(self._ours, 4096).decode(errors="replace")
            except OSError:  # nobody writes any more
                return

    def close(self) -> None:
        """As by a click on the window's corner: the kernel sends SIGHUP."""
        os.close(self._told)
        self._reader.join()
        os.close(self._closing)
        os.close(self._ours)
