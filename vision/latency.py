"""How long a batch takes, by its size: measured at warm-up, kept up to date."""

from collections.abc import Sequence

OWN_WEIGHT = 0.2
OTHERS_WEIGHT = 0.02
RELAX = 0.95


class LatencyCurve:
    """Seconds by batch size, each an exponentially weighted mean (EWMA) of what was seen.

    A size that is seen also pulls the others a little, so that a device that has become slower or faster
    moves the whole curve. One outlier counts at most as twice or half the estimate.
    """

    def __init__(self, measured: Sequence[float]) -> None:
        """`measured`: seconds, index 0 is batch 1."""
        if not measured or min(measured) < 0:
            raise ValueError("a latency curve needs one non-negative time for each batch size")
        self._seconds = [max(seconds, 1e-6) for seconds in measured]

    @property
    def seconds_by_batch(self) -> list[float]:
        return list(self._seconds)

    def seconds(self, crops: int) -> float:
        """Seconds for this many crops, in as many full batches as they need and a last smaller one."""
        full, rest = divmod(crops, len(self._seconds))
        return full * self._seconds[-1] + (self._seconds[rest - 1] if rest else 0.0)

    def observe(self, size: int, seconds: float) -> None:
        ratio = min(max(seconds / self._seconds[size - 1], 0.5), 2.0)
        for index in range(len(self._seconds)):
            weight = OWN_WEIGHT if index == size - 1 else OTHERS_WEIGHT
            self._seconds[index] *= 1 + weight * (ratio - 1)

    def relax(self) -> None:
        """Lower the curve a little. Called when work was refused on an idle device because of the estimate.

        Without it an estimate that is too high (a warm-up on a busy machine) would refuse every part and
        never be corrected: now and then a part is let through, and what it takes is learned.
        """
        self._seconds = [seconds * RELAX for seconds in self._seconds]
