"""What a set of scores is worth. Scores are P(defect); labels are True for ng. numpy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.intervals import Interval, average_precision, clopper_pearson, mann_whitney
from vision.bundle import Thresholds

Scores = NDArray[np.float64]
Truth = NDArray[np.bool_]

OVERKILL_BUDGET = 0.01
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Confusion:
    """`uncertain_*` lie between the thresholds: rejected, so that caught or overkill counts them too."""

    ok_passed: int
    overkill: int
    escaped: int
    caught: int
    uncertain_ok: int
    uncertain_ng: int


@dataclass(frozen=True, slots=True)
class Measure:
    """A number with its 95 % interval; None where the pictures cannot tell (one class is missing)."""

    value: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Report:
    n_ok: int
    n_ng: int
    confusion: Confusion
    accuracy: Measure
    auroc: Measure
    average_precision: Measure
    recall_at_1pct_overkill: Measure
    escape: Measure
    overkill: Measure

    def measure(self, name: str) -> Measure:
        """One of MEASURES."""
        measure: Measure = getattr(self, name)
        return measure

    def to_json(self) -> dict[str, object]:
        """`n_ok`, `n_ng`, `confusion`, and each measure as NAME and NAME_ci: [low, high]."""
        result: dict[str, object] = {"n_ok": self.n_ok, "n_ng": self.n_ng}
        for name in MEASURES:
            measure = self.measure(name)
            result[name] = measure.value
            result[f"{name}_ci"] = list(measure.interval) if measure.interval else None
        result["confusion"] = {name: getattr(self.confusion, name) for name in Confusion.__slots__}
        return result


MEASURES = ("accuracy", "auroc", "average_precision", "recall_at_1pct_overkill", "escape", "overkill")
_UNKNOWN = Measure(None, None)


def report(scores: Scores, truth: Truth, thresholds: Thresholds) -> Report:
    """All measures of float64 [n] scores with bool [n] truth at the given thresholds.

    Below `pass_below` a part passes; all others are rejected, the uncertain ones among them.
    """
    ok, ng = scores[~truth], scores[truth]
    confusion = Confusion(
        ok_passed=int((ok < thresholds.pass_below).sum()),
        overkill=int((ok >= thresholds.pass_below).sum()),
        escaped=int((ng < thresholds.pass_below).sum()),
        caught=int((ng >= thresholds.pass_below).sum()),
        uncertain_ok=int(((ok >= thresholds.pass_below) & (ok < thresholds.fail_above)).sum()),
        uncertain_ng=int(((ng >= thresholds.pass_below) & (ng < thresholds.fail_above)).sum()),
    )
    both = bool(ok.size and ng.size)
    return Report(
        n_ok=int(ok.size),
        n_ng=int(ng.size),
        confusion=confusion,
        accuracy=_rate(confusion.ok_passed + confusion.caught, int(scores.size)),
        auroc=_auroc(ok, ng) if both else _UNKNOWN,
        average_precision=_average_precision(scores, truth) if both else _UNKNOWN,
        recall_at_1pct_overkill=_recall_at_budget(ok, ng) if both else _UNKNOWN,
        escape=_rate(confusion.escaped, int(ng.size)),
        overkill=_rate(confusion.overkill, int(ok.size)),
    )


def auroc(ok: Scores, ng: Scores) -> float:
    """Probability that a bad picture scores above a good one, ties counting half (Mann-Whitney)."""
    below, upto = np.searchsorted(np.sort(ok), ng, "left"), np.searchsorted(np.sort(ok), ng, "right")
    return float((below + upto).sum() / (2 * ok.size * ng.size))


def precision_average(scores: Scores, truth: Truth) -> float:
    """Sum over thresholds of (recall step) x precision; equal scores are one threshold."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    last_of_ties = np.r_[np.diff(scores[order]) != 0, True]
    hits = hits[last_of_ties]
    taken = np.arange(1, scores.size + 1)[last_of_ties]
    return float((np.diff(hits, prepend=0) * hits / taken).sum() / truth.sum())


def recall_at_budget(ok: Scores, ng: Scores, budget: float = OVERKILL_BUDGET) -> float:
    """Share of bad ones caught by the lowest threshold that rejects at most `budget` of the good ones."""
    allowed = int(np.floor(budget * ok.size + 1e-9))
    highest_passed = np.sort(ok)[ok.size - 1 - allowed]
    return float((ng > highest_passed).mean())


def _rate(count: int, total: int) -> Measure:
    return Measure(count / total, clopper_pearson(count, total)) if total else _UNKNOWN


def _auroc(ok: Scores, ng: Scores) -> Measure:
    value = auroc(ok, ng)
    return Measure(value, mann_whitney(value, int(ok.size), int(ng.size)))


def _average_precision(scores: Scores, truth: Truth) -> Measure:
    value = precision_average(scores, truth)
    return Measure(value, average_precision(value, int(truth.sum())))


def _recall_at_budget(ok: Scores, ng: Scores) -> Measure:
    """The interval holds the bootstrap's (its threshold varies too) and the binomial's (not [1, 1] at 1)."""
    value = recall_at_budget(ok, ng)
    random = np.random.default_rng(0)
    draws = [recall_at_budget(random.choice(ok, ok.size), random.choice(ng, ng.size)) for _ in range(_RESAMPLES)]
    low, high = np.quantile(draws, (0.025, 0.975))
    exact_low, exact_high = clopper_pearson(value * ng.size, int(ng.size))
    return Measure(value, (min(float(low), exact_low), max(float(high), exact_high)))
