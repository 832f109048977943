"""From scores to an outcome."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inspection.part import Part
from inspection.verdict import Outcome, Reason, Verdict

ROUNDING = 1e-3
"""How far beyond 0..1 a probability of a half-precision softmax may lie."""


class Limits(Protocol):
    """Between the two the part is rejected and goes to review."""

    @property
    def pass_below(self) -> float: ...
    @property
    def fail_above(self) -> float: ...


def judge(
    part: Part, scores: Sequence[float] | NDArray[np.floating], thresholds: Limits, *, now: float, model: str
) -> Verdict:
    """Judge a part by the highest of its crops' scores, P(defect) in 0..1.

    PASS only when the score is below `pass_below`; FAIL `score` when it is `fail_above` or more; FAIL
    `uncertain` from `pass_below` up to there. Both limits belong to the stricter side. No score, one that is
    no probability or one that comes at the deadline (`now`, monotonic seconds) or later is NO_VERDICT.
    """
    values = np.asarray(scores, np.float64)

    def verdict(outcome: Outcome, reason: Reason, score: float | None = None, detail: str = "") -> Verdict:
        return Verdict(part, outcome, reason, score, now, model, detail)

    if values.size == 0:
        return verdict(Outcome.NO_VERDICT, Reason.WORKER_FAILED, detail="the model gave no score")
    if not np.isfinite(values).all():
        return verdict(Outcome.NO_VERDICT, Reason.NON_FINITE)
    if values.min() < -ROUNDING or values.max() > 1 + ROUNDING:
        worst = values[np.abs(values - 0.5).argmax()]
        detail = f"the model gave {worst:g}, which is no probability"
        return verdict(Outcome.NO_VERDICT, Reason.WORKER_FAILED, detail=detail)
    score = float(np.clip(values.max(), 0, 1))
    if now >= part.deadline:
        return verdict(Outcome.NO_VERDICT, Reason.DEADLINE, score)
    return verdict(*outcome_of(score, thresholds), score)


def outcome_of(score: float, thresholds: Limits) -> tuple[Outcome, Reason]:
    """What a finite score, P(defect), means."""
    if score >= thresholds.fail_above:
        return Outcome.FAIL, Reason.SCORE
    if score < thresholds.pass_below:
        return Outcome.PASS, Reason.SCORE
    return Outcome.FAIL, Reason.UNCERTAIN
