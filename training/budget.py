"""How long a search may take, and what its steps will take, told by those that it has done."""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from itertools import accumulate
from math import ceil

from tqdm import tqdm  # type: ignore[import-untyped]

from inspection import clock

# Last steps whose pace tells that of the next ones. A middle one is taken: a machine may stand still for a while.
_RECENT = 24
# Of the time. Writing the bundle comes last, and a shared machine may become slower than it was.
_PLANNED = 0.95
# From here on it is too late: what was planned has become slower by more than chance.
_LATE = 0.975
# Times as fast: lessons are cut to no less than a quarter, however late it is.
_MOST_HURRY = 4.0


class Budget:
    """Work is counted in looks: one 224 x 224 crop through the whole network. What a look takes is measured."""

    def __init__(self, seconds: float, *, quiet: bool = False, now: Callable[[], float] = clock.monotonic) -> None:
        self._late = seconds * _LATE
        self._seconds = seconds * _PLANNED
        self._now = now
        self._began = now()
        self._looks = 0.0
        self._rest = 0.0
        self._steps: deque[tuple[float, float]] = deque(maxlen=_RECENT)
        self._since = self._began
        self._bar = tqdm(total=1, desc="auto", unit="look", disable=quiet)

    def expect(self, looks: float) -> None:
        """So much is still to come, as far as one can tell now: the bar's end."""
        self._rest = looks
        self._bar.total = ceil(self._looks + looks)
        self._bar.refresh()

    def did(self, looks: float, *, instead_of: float | None = None) -> None:
        """`instead_of` is what was expected, where it was more."""
        now = self._now()
        self._steps.append(((now - self._since) / looks, looks))
        self._since = now
        self._looks += looks
        self._rest -= looks if instead_of is None else instead_of
        self._bar.total = ceil(self._looks + max(self._rest, 0))
        self._bar.update(int(self._looks) - self._bar.n)

    def doing(self, what: str) -> None:
        self._bar.set_postfix_str(what)

    def seconds_for(self, looks: float) -> float:
        """At the pace of the middle one of the last looks; 0 before the first."""
        if not self._steps:
            return 0.0
        paces, weights = zip(*sorted(self._steps), strict=True)
        middle = bisect_left(list(accumulate(weights)), sum(weights) / 2)
        return float(looks * paces[middle])

    @property
    def spent(self) -> float:
        return self._now() - self._began

    def allows(self, looks: float) -> bool:
        """Whether so many more looks would end in time."""
        return self.spent + self.seconds_for(looks) <= self._seconds

    def hurry(self) -> float:
        """How many times faster what is expected has to go on, to end in time; 1 where it does by itself.

        What was allowed ends in time unless the machine has become slower since.
        """
        needed = self.seconds_for(self._rest)
        if self.spent + needed <= self._late:
            return 1.0
        left = self._seconds - self.spent
        return min(needed / left, _MOST_HURRY) if left > 0 else _MOST_HURRY

    def close(self) -> None:
        self._bar.close()
