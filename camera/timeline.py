"""When a stream's picture was exposed, told from the stream's own time stamps.

After a pause of ours, or of the network, pictures that were held back arrive all at once: the moment of arrival
says nothing of their age, their stamps do.
"""

from math import inf

_WINDOW_S = 10.0
_DRIFT = 0.01


class Timeline:
    """Puts a stream's stamps on our monotonic clock: the quickest way that a picture took lately counts as no delay.

    Stamps that do not keep pace with our clock (a camera that numbers its pictures by a nominal rate, or whose
    clock was set) are not believed until they do; arrival counts meanwhile. Keeping pace is seen over 10 s.
    """

    def __init__(self) -> None:
        self._since = -inf
        self._lead = inf
        self._lead_before = inf
        self._stamp = -inf
        self._trusted = True

    def left(self, arrived: float, stamp: float) -> float:
        """The monotonic second at which the picture set out that is stamped `stamp` seconds and came at `arrived`."""
        lead = arrived - stamp
        if arrived - self._since > _WINDOW_S:
            self._begin(arrived)
        if stamp < self._stamp:
            self._lead = self._lead_before = inf
        self._lead = min(self._lead, lead)
        advanced, self._stamp = stamp > self._stamp, stamp
        if not advanced or not self._trusted:
            return arrived
        return stamp + min(self._lead, self._lead_before)

    def _begin(self, arrived: float) -> None:
        """A new window: the one before is remembered, and compared with the one before that."""
        if self._lead_before < inf:
            self._trusted = abs(self._lead - self._lead_before) < _DRIFT * _WINDOW_S
        self._lead_before, self._lead, self._since = self._lead, inf, arrived
