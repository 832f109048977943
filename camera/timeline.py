"""When a stream's picture was exposed, told from the stream's own time stamps.

After a pause of ours, or of the network, pictures that were held back arrive all at once: the moment of arrival
says nothing of their age, their stamps do.
"""

from collections import deque
from math import inf
from statistics import median

_WINDOW_S = 10.0
_DRIFT = 0.01
_JUMP_S = 0.25
_SETTLE_S = 0.5
_SAME_S = 0.01
_NEAR_S = 0.05
_MAX_START_S = 2.0
_INTERVALS = 16


class Timeline:
    """Puts a stream's stamps on our monotonic clock: the shortest delay of recent pictures counts as no delay.

    Stamps that do not keep pace with our clock (a camera that numbers its pictures by a nominal rate) are not believed
    until they do; arrival counts meanwhile. Keeping pace is seen over 10 s.

    Stamps may jump: the camera restarted, or its clock was set. The shortest delay is unknown then, and the picture at
    the jump may have been held back like any other. Until the delay is known anew, the pictures are assumed to go on
    from the one before the jump at the usual interval. If pictures were lost at the jump, this makes them older than
    they are, which costs parts; it never makes an old picture look new. One case is left: stamps that jump forth by
    just the length of a pause look like a pause whose pictures were lost.
    """

    def __init__(self) -> None:
        self._since = -inf
        self._began = inf
        self._lead = inf
        self._lead_before = inf
        self._lead_found = -inf
        self._assumed: float | None = None
        self._arrived = -inf
        self._stamp = -inf
        self._told = -inf
        self._intervals: deque[float] = deque(maxlen=_INTERVALS)
        self._trusted = True
        self._started = False

    @property
    def started(self) -> bool:
        """Whether the age of pictures can be told.

        False at first: a source may begin with pictures that it has kept, and nothing shows how old they are. True
        once the shortest delay is known, and after 2 s in any case.
        """
        return self._started or self._arrived - self._began > _MAX_START_S

    def left(self, arrived: float, stamp: float) -> float:
        """The monotonic second at which the picture set out that is stamped `stamp` seconds and came at `arrived`."""
        self._began = min(self._began, arrived)
        if arrived - self._since > _WINDOW_S:
            self._begin(arrived)
        advanced = stamp > self._stamp
        if self._jumped(arrived, stamp):
            self._begin_again(stamp)
        elif advanced and self._stamp > -inf:
            self._intervals.append(stamp - self._stamp)
        self._see(arrived, arrived - stamp)
        self._arrived, self._stamp = arrived, stamp
        self._told = self._of(stamp) if advanced or self._assumed is not None else arrived
        if not self._trusted:
            self._told = arrived
        return self._told

    def _of(self, stamp: float) -> float:
        shortest = min(self._lead, self._lead_before)
        return stamp + (shortest if self._assumed is None else min(self._assumed, shortest))

    def _jumped(self, arrived: float, stamp: float) -> bool:
        if stamp < self._stamp:
            return True
        usual = 2 * median(self._intervals) if self._intervals else 0.0
        passed = arrived - self._arrived
        return self._stamp > -inf and stamp - self._stamp > passed + max(_JUMP_S, usual)

    def _begin_again(self, stamp: float) -> None:
        interval = median(self._intervals) if self._intervals else 0.0
        self._assumed = self._told + interval - stamp
        self._lead = self._lead_before = inf

    def _see(self, arrived: float, lead: float) -> None:
        """Take the delay of one picture into account."""
        if lead < self._lead - _SAME_S:
            self._lead_found = arrived
        elif arrived - self._lead_found >= _SETTLE_S and lead <= self._lead + _NEAR_S:
            self._started, self._assumed = True, None
        self._lead = min(self._lead, lead)

    def _begin(self, arrived: float) -> None:
        """A new window: the one before is remembered, and compared with the one before that."""
        if self._lead_before < inf:
            self._trusted = abs(self._lead - self._lead_before) < _DRIFT * _WINDOW_S
        self._lead_before, self._lead, self._since = self._lead, inf, arrived
