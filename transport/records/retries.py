"""When records that were set aside are tried again, and which record a broker cannot bear."""

from collections import Counter
from collections.abc import Sequence

from inspection import clock
from transport.records.entry import Row

RETRY_S = 60.0
LONGEST_RETRY_S = 3600.0
_MOST_REFUSALS = 3  # of one topic in one round
_MOST_LOSSES = 3
_ENOUGH_BLAMED = 2


class Suspects:
    """Finds the record upon which the broker ends the connection: each time it is among those under way."""

    def __init__(self) -> None:
        self._losses: Counter[int] = Counter()

    @property
    def alone(self) -> bool:
        """Whether rows have to be sent one by one, to find out."""
        return any(losses > 1 for losses in self._losses.values())

    def lost(self, under_way: Sequence[Row]) -> list[Row]:
        """The connection ended. Answers the row that is certainly to blame, if there is one."""
        for row in under_way:
            self._losses[row.n] += 1
        blamed = [row for row in under_way if len(under_way) == 1 and self._losses[row.n] >= _MOST_LOSSES]
        self.cleared(blamed)
        return blamed

    def cleared(self, rows: Sequence[Row]) -> None:
        """The broker has answered these."""
        for row in rows:
            self._losses.pop(row.n, None)


class LethalSizes:
    """Of each topic, from which size on its records end the connection: known by two that certainly did.

    Each costs three connections to find. The next ones are set aside unsent, so that other topics go on.
    """

    def __init__(self) -> None:
        self._found: dict[str, list[int]] = {}

    def blamed(self, row: Row) -> None:
        """The connection ended for the sake of this row."""
        self._found.setdefault(row.entry.topic, []).append(len(row.entry.body))

    def arrived(self, rows: Sequence[Row]) -> None:
        """The broker took these rows: where one is so large, the limit is gone."""
        for row in rows:
            if self.holds(row):
                del self._found[row.entry.topic]

    def holds(self, row: Row) -> bool:
        """Whether this row would end the connection, too."""
        sizes = self._found.get(row.entry.topic, ())
        return len(sizes) >= _ENOUGH_BLAMED and len(row.entry.body) >= min(sizes)


class Retries:
    """Rounds through the rows that are set aside, one row under way at a time.

    A round comes every minute. It tries the rows in their order, and leaves out a topic that refuses three of them; the
    next round goes on behind these. While rows arrive, the others follow at once.
    """

    def __init__(self) -> None:
        self._due = clock.monotonic() + RETRY_S
        self._refusals: Counter[str] = Counter()
        self._tried: set[str] = set()
        self._behind: dict[str, int] = {}
        self._pauses: dict[int, tuple[float, float]] = {}  # seconds, and until when, of rows that ended a connection
        self.under_way: Row | None = None
        self.cursor = 0

    def wanted(self) -> bool:
        """Whether a row may be tried now."""
        return self.under_way is None and clock.monotonic() >= self._due

    def choose(self, rows: Sequence[Row]) -> Row | None:
        """The first to try of the next rows behind `cursor`, which moves on to it; without rows the round is over."""
        if not rows:
            self._end_round()
        for row in rows:
            self.cursor = row.n
            if self._may_try(row):
                self._tried.add(row.entry.topic)
                self.under_way = row
                return row
        return None

    def arrived(self, rows: Sequence[Row]) -> None:
        """These have arrived; others may be among them."""
        if self.under_way is not None and self.under_way in rows:
            self.under_way = None

    def refused(self, row: Row) -> None:
        """Somebody does not take it still."""
        if row == self.under_way:
            self.under_way = None
            self._refusals[row.entry.topic] += 1
            self._behind[row.entry.topic] = row.n

    def lost(self) -> None:
        """The connection ended."""
        if self.under_way is not None:
            pause = min(2 * self._pauses.get(self.under_way.n, (RETRY_S / 2, 0.0))[0], LONGEST_RETRY_S)
            self._pauses[self.under_way.n] = pause, clock.monotonic() + pause
            self.under_way = None

    def _may_try(self, row: Row) -> bool:
        topic, n = row.entry.topic, row.n
        if self._pauses.get(n, (0.0, 0.0))[1] > clock.monotonic() or self._refusals[topic] >= _MOST_REFUSALS:
            return False
        return topic in self._tried or n < self._behind.get(topic, 0)

    def _end_round(self) -> None:
        # A topic of which nothing was left to try begins anew with its oldest row.
        self._behind = {topic: n for topic, n in self._behind.items() if topic in self._tried}
        self._refusals.clear()
        self._tried.clear()
        self.cursor = 0
        self._due = clock.monotonic() + RETRY_S
