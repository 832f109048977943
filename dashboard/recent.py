"""Rate and latency over the last seconds, for people; Prometheus computes its own from the histograms."""

from collections import deque
from math import ceil


class Recent:
    """The verdicts of a sliding window.

    At most `most` are kept: a fast line is measured over its last `most` verdicts only.
    """

    def __init__(self, window_s: float = 30.0, most: int = 2048) -> None:
        self._window = window_s
        self._kept: deque[tuple[float, float]] = deque(maxlen=most)
        self._began: float | None = None

    def add(self, now: float, seconds: float) -> None:
        """A verdict came at `now` (monotonic seconds, never going back) after `seconds`."""
        if self._began is None:
            self._began = now
        self._kept.append((now, seconds))

    def rate(self, now: float) -> float:
        """Verdicts per second. Before the first window has passed it counts from the first verdict."""
        self._forget(now)
        if self._began is None or not self._kept:
            return 0.0
        full = len(self._kept) == self._kept.maxlen
        since = self._kept[0][0] if full else max(self._began, now - self._window)
        return len(self._kept) / max(now - since, 1.0)

    def quantile(self, now: float, share: float) -> float | None:
        """Seconds that `share` (0..1) of the window's verdicts did not exceed (nearest rank)."""
        self._forget(now)
        if not self._kept:
            return None
        ranked = sorted(seconds for _, seconds in self._kept)
        return ranked[max(ceil(share * len(ranked)), 1) - 1]

    def _forget(self, now: float) -> None:
        while self._kept and self._kept[0][0] < now - self._window:
            self._kept.popleft()
