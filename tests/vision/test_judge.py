import math
from dataclasses import dataclass

import numpy as np
import pytest

from inspection.part import Part, PartId
from inspection.verdict import Outcome, Reason, Verdict
from vision.judge import judge

PART = Part("raceway", PartId("p-1"), 1, opened=10.0, deadline=10.5)


@dataclass(frozen=True)
class Thresholds:
    pass_below: float = 0.25
    fail_above: float = 0.75


def judged(*scores: float, now: float = 10.2, thresholds: Thresholds | None = None) -> Verdict:
    limits = thresholds or Thresholds()
    return judge(PART, np.array(scores, np.float32), limits, now=now, model="0123456789ab")


@pytest.mark.parametrize(
    ("score", "outcome", "reason"),
    [
        (0.0, Outcome.PASS, Reason.SCORE),
        (0.2499, Outcome.PASS, Reason.SCORE),
        (0.25, Outcome.FAIL, Reason.UNCERTAIN),
        (0.7499, Outcome.FAIL, Reason.UNCERTAIN),
        (0.75, Outcome.FAIL, Reason.SCORE),
        (1.0, Outcome.FAIL, Reason.SCORE),
    ],
)
def test_both_limits_belong_to_the_stricter_side(score: float, outcome: Outcome, reason: Reason) -> None:
    verdict = judged(score)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    assert verdict.score == pytest.approx(score)
    assert (verdict.part, verdict.decided, verdict.model) == (PART, 10.2, "0123456789ab")


def test_the_worst_crop_decides() -> None:
    assert judged(0.1, 0.9, 0.2).outcome is Outcome.FAIL
    assert judged(0.1, 0.9, 0.2).score == pytest.approx(0.9)
    assert judged(0.1, 0.2).outcome is Outcome.PASS


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_non_finite_score_among_good_ones_is_no_verdict(bad: float) -> None:
    verdict = judged(0.1, bad, 0.1)
    assert (verdict.outcome, verdict.reason, verdict.score) == (Outcome.NO_VERDICT, Reason.NON_FINITE, None)


@pytest.mark.parametrize("bad", [-0.5, 1.5, -1e30])
def test_a_score_that_is_no_probability_is_no_verdict(bad: float) -> None:
    verdict = judged(0.1, bad)
    assert (verdict.outcome, verdict.reason) == (Outcome.NO_VERDICT, Reason.WORKER_FAILED)


def test_the_rounding_of_a_half_precision_softmax_is_forgiven() -> None:
    assert judged(1.0005).score == 1.0
    assert judged(-0.0005).outcome is Outcome.PASS


def test_no_score_at_all_is_no_verdict() -> None:
    assert judged().outcome is Outcome.NO_VERDICT


@pytest.mark.parametrize("now", [10.5, 11.0])
def test_a_good_score_at_its_deadline_or_later_does_not_pass(now: float) -> None:
    verdict = judged(0.0, now=now)
    assert (verdict.outcome, verdict.reason) == (Outcome.NO_VERDICT, Reason.DEADLINE)


def test_crossed_or_unset_limits_never_pass_what_either_would_reject() -> None:
    assert judged(0.5, thresholds=Thresholds(0.9, 0.4)).outcome is Outcome.FAIL
    assert judged(0.5, thresholds=Thresholds(math.nan, math.nan)).outcome is Outcome.FAIL
