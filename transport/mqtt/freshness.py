"""How long a message takes to the broker and back, and how old a message may be that arrives now."""

from collections import deque

from inspection import clock

PROBE_S = 0.25
"""Between two pings."""
LEAST_LIMIT_S = 0.25
_LONGEST_DOUBT_S = 3.0
_LATEST = 40  # ten seconds of pings


class RoundTrip:
    """The smoothed time to the broker and back, as in RFC 6298."""

    def __init__(self) -> None:
        self._smoothed: float | None = None
        self._variation = 0.0
        self._latest: deque[float] = deque(maxlen=_LATEST)

    def measured(self, seconds: float) -> None:
        self._latest.append(seconds)
        if self._smoothed is None:
            self._smoothed, self._variation = seconds, seconds / 2
            return
        self._variation += (abs(self._smoothed - seconds) - self._variation) / 4
        self._smoothed += (seconds - self._smoothed) / 8

    @property
    def known(self) -> bool:
        return self._smoothed is not None

    @property
    def smoothed(self) -> float:
        return self._smoothed or 0.0

    @property
    def one_way(self) -> float:
        """Seconds that a message needs at least to the broker, or from it: half of the shortest lately."""
        return min(self._latest, default=0.0) / 2

    @property
    def limit(self) -> float:
        """An answer that takes longer is late: the broker or the network has stopped, or has become slower."""
        return self.smoothed + max(LEAST_LIMIT_S, 4 * self._variation)


class Freshness:
    """Tells how old what arrives now may be.

    The broker handles one connection's packets in order. When it answers what we sent at one moment, then what comes
    behind that answer was sent by the broker later than that moment. A silence that is too long means that the
    broker, the network or this process has stood still. What waited meanwhile arrives in a burst behind it, also after
    the first answers, because the broker has other connections to read and sends few messages at once. So a doubt
    stays for as long as the silence has lasted.
    """

    def __init__(self) -> None:
        self.trip = RoundTrip()
        self._proof = clock.monotonic()
        self._doubted = self._proof
        self._doubt_until = float("-inf")

    def doubt_for(self, seconds: float) -> None:
        """From now on for so long, whatever arrives may be of any age."""
        self._doubted, self._doubt_until = float("-inf"), clock.monotonic() + seconds

    def answered(self, sent: float) -> None:
        """The broker has answered what we sent at that moment."""
        now = clock.monotonic()
        silence = now - self._proof
        if self.trip.known and silence > self._usual:
            if now >= self._doubt_until:
                self._doubted = self._proof
            self._doubt_until = max(self._doubt_until, now + min(silence, _LONGEST_DOUBT_S))
        self.trip.measured(now - sent)
        self._proof = max(self._proof, sent)

    def earliest(self) -> float:
        """The broker did not send what arrives now before this moment."""
        now = clock.monotonic()
        if now < self._doubt_until:
            return self._doubted
        return self._proof if now - self._proof > self._usual else now - self.trip.one_way

    @property
    def _usual(self) -> float:
        """The longest silence that pings leave on a healthy connection."""
        return PROBE_S + self.trip.smoothed + self.trip.limit
