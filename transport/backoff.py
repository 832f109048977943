"""How long to wait before the broker is tried again."""

import random

from inspection import clock


class Backoff:
    """Waits between attempts: 0.5 s, doubled to 15 s; a connection that held 10 s starts over.

    Each wait is shortened by chance, so that a line's stations do not all come back at once.
    """

    def __init__(self, floor_s: float = 0.5, cap_s: float = 15.0) -> None:
        self._floor, self._cap, self._next = floor_s, cap_s, floor_s
        self._began = clock.monotonic()

    def attempt(self) -> None:
        """Call at the start of each attempt."""
        self._began = clock.monotonic()

    def wait_s(self) -> float:
        """Call when an attempt or its connection has ended."""
        if clock.monotonic() - self._began > 10.0:
            self._next = self._floor
        wait = max(self._floor, self._next * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, no secret
        self._next = min(self._cap, self._next * 2)
        return wait
