"""Waiting for the next due moment, in a camera's child only."""

import threading

from inspection import clock

_NEVER = threading.Event()


class Pace:
    """Every `interval` seconds, without catching up on what was missed."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._due = clock.monotonic()

    def wait(self) -> None:
        """Block until the next moment is due."""
        now = clock.monotonic()
        self._due = max(self._due, now - self._interval)
        sleep(self._due - now)
        self._due += self._interval


def sleep(seconds: float) -> None:
    if seconds > 0:
        _NEVER.wait(seconds)
