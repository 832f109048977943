"""Thresholds on val, and what they achieve.

Why the bound holds although the threshold is chosen on the pictures that it is computed from: how many defective
pictures may pass follows from their number and the target alone. The threshold is then at most the next higher of
their scores, and the share of all defective parts below the (k+1)-th lowest of n independent scores has the
distribution Beta(k + 1, n - k), whatever that of the scores (Wilks: Annals of Mathematical Statistics 12, 1941). Its
95 % point is Clopper and Pearson's upper bound for k of n. A lower threshold only lets fewer pass.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspection.errors import DataError
from training.intervals import upper_bound
from training.targets import Costs, Count, ScoredSplit, Targets, percent
from vision.bundle import Thresholds

# A threshold nearer to 0 or 1 would rest on val's rarest scores alone.
_BOUNDS = (0.05, 0.95)
SURE_OVERKILL = 0.01
TRAINED = "torch fp32"
HELD_OUT = "train and val, by models that had not seen the picture"
TAUGHT = "val, from which its teacher has learnt"
# In logits, where rounding is alike for all scores: 0.05 of P(defect) at 0.5, less towards 0 and 1.
_CLEAR = 0.2

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Share:
    """`upper` is the one-sided 95 % Clopper-Pearson bound of the rate behind `count` of `of`."""

    count: int
    of: int

    @property
    def rate(self) -> float | None:
        return self.count / self.of if self.of else None

    @property
    def upper(self) -> float:
        return upper_bound(self.count, self.of)

    def to_json(self) -> dict[str, Any]:
        return {"count": self.count, "of": self.of, "rate": self.rate, "upper": self.upper}


@dataclass(frozen=True, slots=True)
class Achieved:
    """What thresholds do to the pictures of one split.

    `escape` counts defective ones below `pass_below`. `sure_overkill` counts good ones at or above `fail_above`, and
    `uncertain_*` those between the thresholds: overkill is `sure_overkill` plus `uncertain_ok`. `*_groups` count groups
    of which any picture does so: the bound that holds where the pictures of a group are not independent. `cost` is
    that of the mean part of the line; None without costs.
    """

    escape: Share
    sure_overkill: Share
    uncertain_ok: Share
    uncertain_ng: Share
    escape_groups: Share
    sure_overkill_groups: Share
    cost: float | None

    @property
    def passes_nothing(self) -> bool:
        """Every good one is rejected: the bounds hold, and the thresholds are of no use."""
        return self.sure_overkill.count + self.uncertain_ok.count == self.sure_overkill.of

    def to_json(self) -> dict[str, Any]:
        shares = {name: getattr(self, name).to_json() for name in Achieved.__slots__ if name != "cost"}
        return {**shares, "cost": self.cost}


@dataclass(frozen=True, slots=True)
class Decision:
    """Chosen thresholds with the `targets` that they keep on val. `test` is None where there is no test split.

    `scored_by` is the backend that gave the scores: the bounds are about it. `chosen_on` tells of which pictures:
    "val", HELD_OUT or TAUGHT.
    """

    targets: Targets
    scored_by: str
    chosen_on: str
    thresholds: Thresholds
    defect_rate: float
    val: Achieved
    test: Achieved | None

    def to_json(self) -> dict[str, Any]:
        return {
            **self.targets.to_json(),
            "scored_by": self.scored_by,
            "chosen_on": self.chosen_on,
            "defect_rate": self.defect_rate,
            "val": self.val.to_json(),
            "test": self.test.to_json() if self.test else None,
        }


def decide(
    targets: Targets, val: ScoredSplit, test: ScoredSplit | None = None, *, scored_by: str, chosen_on: str = "val"
) -> Decision:
    """Choose thresholds on `val`, which holds both classes, and measure them on both.

    Raises DataError where no thresholds keep the targets; see `require_provable` for too few pictures.
    """
    rate = _rate(val, targets)
    thresholds = choose_thresholds(val, targets, rate)
    return decided(targets, thresholds, val, test, scored_by=scored_by, chosen_on=chosen_on)


def decided(
    targets: Targets,
    thresholds: Thresholds,
    val: ScoredSplit,
    test: ScoredSplit | None,
    *,
    scored_by: str,
    chosen_on: str,
) -> Decision:
    """What thresholds that were chosen on `val` achieve on both."""
    rate = _rate(val, targets)
    return Decision(
        targets,
        scored_by,
        chosen_on,
        thresholds,
        rate,
        achieved(val, thresholds, targets.costs, rate),
        achieved(test, thresholds, targets.costs, rate) if test else None,
    )


def _rate(val: ScoredSplit, targets: Targets) -> float:
    return float(val.truth.mean()) if targets.defect_rate is None else targets.defect_rate


def choose_thresholds(val: ScoredSplit, targets: Targets, defect_rate: float) -> Thresholds:
    """Thresholds on calibrated scores, among those that keep the bounds of `targets`.

    With costs, the least cost of the mean part. Without, `pass_below` has the least escape + overkill (both as
    rates, all that does not pass counted as overkill) and `fail_above` is the lowest that may be, or where no
    overkill is bounded, that above which at most 1 % of the good ones score. Among equal ones, the middle of the widest
    gap between scores, which transfers best.
    """
    edges = np.unique(np.concatenate([[0.0], val.scores, [1.0]]))
    cuts = np.concatenate([[0.0], (edges[:-1] + edges[1:]) / 2, [1.0]])
    gaps = np.concatenate([[0.0], np.diff(edges), [0.0]])
    good, bad = val.good(targets.count), val.bad(targets.count)
    may_pass = np.searchsorted(bad, cuts) <= targets.allowed_escapes(bad.size)
    may_fail = good.size - np.searchsorted(good, cuts) <= targets.allowed_overkill(good.size)
    if not may_fail.any():
        raise DataError(f"--max-overkill {percent(targets.max_overkill or 0)}: too many good pictures score 1")
    if targets.costs:
        passing, failing = _costs(val, cuts, targets.costs, defect_rate)
        passing[~may_pass], failing[~may_fail] = np.inf, np.inf
        if targets.costs.review is None:  # then nothing is gained between the thresholds
            at = _widest(passing, gaps)
            return Thresholds(float(cuts[at]), float(cuts[max(at, int(np.argmax(may_fail)))]))
        fail_at = _widest(np.minimum.accumulate(passing) + failing, gaps)
        pass_at = _widest(passing[: fail_at + 1], gaps)
        return Thresholds(float(cuts[pass_at]), float(cuts[fail_at]))
    ok, ng = val.good("pictures"), val.bad("pictures")
    errors = np.searchsorted(ng, cuts) / ng.size + (ok.size - np.searchsorted(ok, cuts)) / ok.size
    pass_below = min(float(cuts[_widest(np.where(may_pass, errors, np.inf), gaps)]), _BOUNDS[1])
    if targets.max_escape is None:
        pass_below = max(pass_below, _BOUNDS[0])
    if targets.max_overkill is not None:
        return Thresholds(pass_below, max(pass_below, float(cuts[np.argmax(may_fail)])))
    last_passed = ok[ok.size - 1 - int(SURE_OVERKILL * ok.size)]
    sure = float(cuts[np.searchsorted(cuts, last_passed, "right")]) if last_passed < 1 else _BOUNDS[1]
    return Thresholds(pass_below, max(pass_below, min(sure, _BOUNDS[1])))


def achieved(scored: ScoredSplit, thresholds: Thresholds, costs: Costs | None, defect_rate: float) -> Achieved:
    """What the thresholds do to `scored`, as the judge would."""
    pass_below, fail_above = thresholds.pass_below, thresholds.fail_above

    def passed(count: Count) -> Share:
        bad = scored.bad(count)
        return Share(int((bad < pass_below).sum()), bad.size)

    def failed(count: Count) -> Share:
        good = scored.good(count)
        return Share(int((good >= fail_above).sum()), good.size)

    uncertain = (scored.scores >= pass_below) & (scored.scores < fail_above)
    cost = None
    if costs and scored.truth.any() and not scored.truth.all():
        passing, failing = _costs(scored, np.array([pass_below, fail_above]), costs, defect_rate)
        cost = float(passing[0] + failing[1])
    return Achieved(
        escape=passed("pictures"),
        sure_overkill=failed("pictures"),
        uncertain_ok=Share(int((uncertain & ~scored.truth).sum()), int((~scored.truth).sum())),
        uncertain_ng=Share(int((uncertain & scored.truth).sum()), int(scored.truth.sum())),
        escape_groups=passed("groups"),
        sure_overkill_groups=failed("groups"),
        cost=cost,
    )


def clear_of(scores: Numbers, thresholds: Thresholds, least: float = _CLEAR) -> NDArray[np.bool_]:
    """Which scores lie so far from both thresholds that a backend's rounding does not change the verdict: bool [n].

    That is at `least` so far in logits. A golden part gates backends: its verdict must not hang on rounding.
    """
    edges = logit(np.array([thresholds.pass_below, thresholds.fail_above]))
    return np.asarray(np.abs(logit(scores)[:, None] - edges).min(axis=1) > least)


def logit(probability: Numbers) -> Numbers:
    """Finite also at 0 and 1."""
    inside = np.clip(probability, 1e-12, 1 - 1e-12)
    return np.log(inside) - np.log1p(-inside)


def _widest(values: Numbers, gaps: Numbers) -> int:
    """Where `values` is least; among equal ones, in the widest gap."""
    best = np.flatnonzero(values <= values.min() + 1e-12)
    return int(best[np.argmax(gaps[best])])


def _costs(scored: ScoredSplit, cuts: Numbers, costs: Costs, defect_rate: float) -> tuple[Numbers, Numbers]:
    """The cost of the mean part as a sum: of one term for `pass_below`, and one for `fail_above`, at each of `cuts`.

    What lies between costs what is below `fail_above` less what is below `pass_below`.
    """
    ok, ng = scored.good("pictures"), scored.bad("pictures")
    good = (1 - defect_rate) * np.searchsorted(ok, cuts) / max(ok.size, 1)
    bad = defect_rate * np.searchsorted(ng, cuts) / max(ng.size, 1)
    review_good, review_bad = (costs.overkill, 0.0) if costs.review is None else (costs.review, costs.review)
    between = good * review_good + bad * review_bad
    return bad * costs.escape - between, (1 - defect_rate - good) * costs.overkill + between
