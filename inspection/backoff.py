"""How long to wait before something that failed is tried again: a camera, a broker."""

import random

FLOOR_S = 0.5
HEALTHY_AFTER_S = 10.0


class Backoff:
    """0.5 s, then doubled up to `longest_s`; from the beginning again after a life of more than 10 s.

    Chance shortens each wait by a share of up to `spread`, so that a line's stations do not all come back at once.
    """

    def __init__(self, longest_s: float, *, spread: float = 0.0) -> None:
        self._longest_s = longest_s
        self._spread = spread
        self._next_s = FLOOR_S

    def after(self, lived_s: float) -> float:
        """Seconds to wait after a life of `lived_s`; 0 for one that never began."""
        if lived_s > HEALTHY_AFTER_S:
            self._next_s = FLOOR_S
        wait = min(self._next_s, self._longest_s)
        self._next_s = 2 * wait
        return max(FLOOR_S, wait * random.uniform(1 - self._spread, 1.0))  # noqa: S311 - no secret
