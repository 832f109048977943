"""How long to wait before a camera is tried again."""

FLOOR_S = 0.5
HEALTHY_AFTER_S = 10.0


class Backoff:
    """0.5 s, then doubled up to `longest_s`; from the beginning again once a camera was up for 10 s."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._next_s = FLOOR_S

    def after(self, up_s: float) -> float:
        """Seconds to wait after a life that was open for `up_s`; 0 when it never opened."""
        if up_s > HEALTHY_AFTER_S:
            self._next_s = FLOOR_S
        pause = min(self._next_s, self._longest_s)
        self._next_s = 2 * pause
        return pause
