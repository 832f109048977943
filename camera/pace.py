"""Waiting for the next due moment, in a camera's child only."""

import threading

from inspection import clock

_NEVER = threading.Event()


class Pace:
    """Every `interval` seconds, without catching up on what was missed."""

    def __init__(self, interval: float, interrupted: threading.Event = _NEVER) -> None:
        self._interval = interval
        self._interrupted = interrupted
        self._due = clock.monotonic()

    def wait(self) -> None:
        """Block until the next moment is due, or until interrupted."""
        now = clock.monotonic()
        self._due = max(self._due, now - self._interval)
        self._interrupted.wait(max(self._due - now, 0))
        self._due += self._interval


def sleep(seconds: float) -> None:
    if seconds > 0:
        _NEVER.wait(seconds)
