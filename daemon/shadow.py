"""A candidate that scores what the live model has judged, without a say."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np

from daemon.journal import Journal
from daemon.model import Model
from inspection import clock
from inspection.errors import NotScored
from inspection.frame import CropPixels, Crops, Missed
from inspection.record import record_id
from inspection.verdict import Outcome, Verdict
from vision.judge import judge

LOG = logging.getLogger(__name__)

FILE = "shadow.jsonl"
Result = Literal["same", "candidate_passes", "candidate_fails", "dropped", "unscored"]
_MOST_AT_ONCE = 8
_PATIENCE_S = 10.0


class Counting(Protocol):
    """Who counts."""

    def shadowed(self, station: str, result: str) -> None: ...
    def set_shadow(self, bundle_hash: str) -> None: ...


class Shadow:
    """Hears of every verdict. While there is a candidate, it gets the same crops when nothing else wants the time.

    The live model does not wait for it: what the candidate has no time for is dropped, and counted.
    """

    def __init__(self, state_dir: Path, session: str, metrics: Counting) -> None:
        self.journal = Journal(state_dir / FILE)
        self._session = session
        self._metrics = metrics
        self._candidate: Model | None = None
        self._counts: Counter[Result] = Counter()
        self._comparing: set[asyncio.Task[None]] = set()

    @property
    def candidate(self) -> Model | None:
        return self._candidate

    @property
    def counts(self) -> dict[str, int]:
        """Parts by what came of the comparison, since the candidate began."""
        return {result: self._counts[result] for result in get_args(Result)}

    def begin(self, candidate: Model) -> None:
        """`candidate` has the live model's recipe, and runs."""
        self._candidate = candidate
        self._counts.clear()
        self._metrics.set_shadow(candidate.bundle.model_id)
        LOG.info("model %s scores in the shadow", candidate.bundle.model_id)

    def end(self) -> Model | None:
        """The candidate, which is asked no more; the caller ends it."""
        candidate, self._candidate = self._candidate, None
        if candidate is not None:
            self._metrics.set_shadow("")
        return candidate

    def judged(self, verdict: Verdict, captures: Sequence[Crops | Missed]) -> None:
        candidate = self._candidate
        if candidate is None or verdict.outcome is Outcome.NO_VERDICT:
            return
        crops = [capture.pixels.get(candidate.recipe) for capture in captures if isinstance(capture, Crops)]
        pictures = [picture for picture in crops if picture is not None]
        if len(pictures) < len(captures):
            self._count(verdict, "unscored")
        elif len(self._comparing) >= _MOST_AT_ONCE:
            self._count(verdict, "dropped")
        else:
            comparing = asyncio.create_task(self._compare(candidate, verdict, pictures, captures), name="shadow")
            self._comparing.add(comparing)
            comparing.add_done_callback(self._comparing.discard)

    async def _compare(
        self, candidate: Model, verdict: Verdict, pictures: list[CropPixels], captures: Sequence[Crops | Missed]
    ) -> None:
        try:
            scored = await candidate.score(np.concatenate(pictures), clock.monotonic() + _PATIENCE_S)
        except NotScored as unscored:
            LOG.debug("the candidate did not score part %s: %s", verdict.part.id, unscored)
            self._count(verdict, "unscored")
            return
        # The deadline was the live model's.
        other = judge(verdict.part, scored.scores, candidate.thresholds, now=verdict.decided, model=scored.model)
        if other.outcome is Outcome.NO_VERDICT:
            self._count(verdict, "unscored")
        elif other.outcome is verdict.outcome:
            self._count(verdict, "same")
        else:
            self._count(verdict, "candidate_passes" if other.outcome is Outcome.PASS else "candidate_fails")
            self.journal.note(self._row(verdict, other, captures))

    def _row(self, verdict: Verdict, other: Verdict, captures: Sequence[Crops | Missed]) -> dict[str, Any]:
        part = verdict.part
        return {
            "t": round(clock.utc(), 3),
            "station": part.station,
            "part": part.id,
            "record": record_id(self._session, part),
            "live": _told(verdict),
            "candidate": _told(other),
            "frames": [{"camera": c.camera, "number": c.number, "source": c.source} for c in captures],
        }

    def _count(self, verdict: Verdict, result: Result) -> None:
        self._counts[result] += 1
        self._metrics.shadowed(verdict.part.station, result)

    async def run(self) -> None:
        """Until cancelled; writes down what was found."""
        try:
            await self.journal.run()
        finally:
            for comparing in self._comparing:
                comparing.cancel()
            if self._comparing:
                await asyncio.wait(self._comparing)


def _told(verdict: Verdict) -> dict[str, Any]:
    score = None if verdict.score is None else round(verdict.score, 6)
    return {"model": verdict.model, "verdict": verdict.outcome, "reason": verdict.reason, "score": score}
