"""What one station has lately done, for the page and the demo; the account itself is the ledger's."""

from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.recent import Recent
from dashboard.source import Agreement, LastVerdict
from inspection import clock
from inspection.frame import Crops, Missed
from inspection.part import Label
from inspection.verdict import Outcome, Verdict


@dataclass(frozen=True, slots=True)
class _Last:
    verdict: Verdict
    source: str
    label: Label | None


class Tally:
    """Recent latencies, late verdicts, each camera's last verdict, and how verdicts fit the known labels."""

    def __init__(self) -> None:
        self.recent = Recent()
        self.late = 0
        self._last: dict[str, _Last] = {}
        self._judged = {Label.OK: 0, Label.NG: 0}
        self._escapes = 0
        self._overkill = 0

    def closed(self, verdict: Verdict, captures: Sequence[Crops | Missed], *, seconds: float, said: bool) -> None:
        """A part was closed after `seconds`; `said` tells whether its verdict went out."""
        self.recent.add(clock.monotonic(), seconds)
        self.late += not said
        label: Label | None = None
        for capture in captures:
            shown = capture.label if isinstance(capture, Crops) else None
            self._last[capture.camera] = _Last(verdict, capture.source, shown)
            # A part is as bad as the worst picture of it.
            label = Label.NG if Label.NG in (label, shown) else shown or label
        if label is not None and verdict.outcome is not Outcome.NO_VERDICT:
            self._judged[label] += 1
            self._escapes += label is Label.NG and verdict.outcome is Outcome.PASS
            self._overkill += label is Label.OK and verdict.outcome is Outcome.FAIL

    def last(self, camera: str) -> LastVerdict | None:
        last = self._last.get(camera)
        if last is None:
            return None
        verdict = last.verdict
        age = clock.monotonic() - verdict.decided
        return LastVerdict(
            verdict.outcome, verdict.reason, verdict.score, verdict.part.id, age, last.source, last.label
        )

    @property
    def agreement(self) -> Agreement | None:
        """None while no labelled picture was judged."""
        ok, ng = self._judged[Label.OK], self._judged[Label.NG]
        return Agreement(ok, ng, self._escapes, self._overkill) if ok + ng else None
