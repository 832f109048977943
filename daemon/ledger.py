"""The account: every part that is opened is closed by exactly one verdict."""

import asyncio

from inspection import clock
from inspection.part import Part, PartId, Trigger
from inspection.probe import Probe
from inspection.verdict import Verdict


class Ledger:
    """The open parts of one station. The probe counts what is opened and closed: captured = verdicts + open."""

    def __init__(self, station: str, *, max_open: int, margin: float, probe: Probe) -> None:
        self.station = station
        self.max_open = max_open
        self.margin = margin
        self.captured = 0
        self._open: dict[int, Part] = {}
        self._closed = asyncio.Event()
        self._probe = probe

    @property
    def open_parts(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        return len(self._open) >= self.max_open

    def open(self, deadline: float, trigger: Trigger | None) -> Part:
        """Take a part into the account; `deadline` is monotonic seconds.

        Without a trigger the part is named by its number in this session. A part is opened even when the
        station is `full`, because whoever asked is owed an answer: ask `full` first and answer at once.
        """
        self.captured += 1
        name = trigger.part if trigger else PartId(str(self.captured))
        part = Part(self.station, name, self.captured, clock.monotonic(), deadline, trigger)
        self._open[part.seq] = part
        self._probe.part_opened(self.station)
        return part

    def close(self, verdict: Verdict) -> None:
        """Enter the one verdict of an open part. Raises KeyError for a part that is not open."""
        del self._open[verdict.part.seq]
        self._closed.set()
        self._probe.part_closed(self.station, verdict.outcome, verdict.reason)

    async def closed_until(self, seq: int) -> None:
        """Return when no part with this number or a lower one is open."""
        while next(iter(self._open), seq + 1) <= seq:
            self._closed.clear()
            await self._closed.wait()

    def last_moment(self, part: Part) -> float:
        """Until when a picture or a score is awaited: a margin before the deadline, so that the answer is in time.

        The margin is never more than a fifth of the part's window.
        """
        return part.deadline - self._margin(part)

    def latest_answer(self, part: Part) -> float:
        """When the part is answered even if whoever was asked did not keep to `last_moment`."""
        return part.deadline - self._margin(part) / 2

    def _margin(self, part: Part) -> float:
        return min(self.margin, max(part.deadline - part.opened, 0.0) / 5)

    def overdue(self, grace: float) -> Part | None:
        """The oldest part still open `grace` seconds past its deadline: a sign that the loop is broken."""
        now = clock.monotonic()
        return next((part for part in self._open.values() if part.deadline + grace < now), None)
