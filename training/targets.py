"""What the thresholds of a bundle are to keep: a bound on escapes, one on overkill, the least cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from inspection.errors import DataError
from inspection.part import Label
from training.dataset import Sample
from training.intervals import CONFIDENCE, most_successes, trials_needed, upper_bound

Scores = NDArray[np.float64]
Truth = NDArray[np.bool_]
Count = Literal["pictures", "groups"]


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one part, in any one currency. Without `review` nobody looks at uncertain parts: a good one is overkill."""

    escape: float
    overkill: float
    review: float | None = None


@dataclass(frozen=True, slots=True)
class Targets:
    """`max_escape` and `max_overkill` are shares in 0..1 that the 95 % upper bounds on val must not exceed.

    `overkill` here is what fails by its score: a good part between the thresholds goes to review instead. With
    `count` "groups" a group is one trial, which escapes with any of its pictures. `defect_rate` is the share of
    defective parts on the line, by which costs are weighed; that of val where it is None.
    """

    max_escape: float | None = None
    max_overkill: float | None = None
    costs: Costs | None = None
    defect_rate: float | None = None
    count: Count = "pictures"

    def allowed_escapes(self, trials: int) -> int:
        """How many of `trials` defective ones may pass."""
        return trials if self.max_escape is None else most_successes(self.max_escape, trials)

    def allowed_overkill(self, trials: int) -> int:
        """How many of `trials` good ones may fail by their score."""
        return trials if self.max_overkill is None else most_successes(self.max_overkill, trials)

    def to_json(self) -> dict[str, Any]:
        costs = self.costs
        return {
            "max_escape": self.max_escape,
            "max_overkill": self.max_overkill,
            "costs": {"escape": costs.escape, "overkill": costs.overkill, "review": costs.review} if costs else None,
            "count": self.count,
            "confidence": CONFIDENCE,
        }


@dataclass(frozen=True, slots=True)
class ScoredSplit:
    """Pictures of one split: float64 scores, bool truth (True for ng) and int64 numbers of their groups, all [n]."""

    scores: Scores
    truth: Truth
    groups: NDArray[np.int64]

    def stored(self, name: str) -> dict[str, NDArray[np.generic]]:
        """As a bundle holds it, under `name`."""
        return {f"{name}.scores": self.scores, f"{name}.truth": self.truth, f"{name}.groups": self.groups}

    def good(self, count: Count) -> Scores:
        """One score for each good trial, sorted: of a group the highest, with which it would fail."""
        return np.sort(self._trials(~self.truth, count, np.maximum, 0.0))

    def bad(self, count: Count) -> Scores:
        """One score for each defective trial, sorted: of a group the lowest, with which it would pass."""
        return np.sort(self._trials(self.truth, count, np.minimum, 1.0))

    def _trials(self, chosen: Truth, count: Count, worse: np.ufunc, start: float) -> Scores:
        if count == "pictures":
            return self.scores[chosen]
        _, numbers = np.unique(self.groups[chosen], return_inverse=True)
        worst = np.full(int(numbers.max(initial=-1)) + 1, start)
        worse.at(worst, numbers, self.scores[chosen])
        return worst


def restored(arrays: Mapping[str, NDArray[np.generic]], name: str) -> ScoredSplit | None:
    """What `ScoredSplit.stored` gave; None where nothing is there under `name`. Raises DataError."""
    found = [arrays.get(f"{name}.{part}") for part in ("scores", "truth", "groups")]
    if all(array is None for array in found):
        return None
    scores, truth, groups = (np.empty(0) if array is None else array for array in found)
    if [a.dtype.str for a in (scores, truth, groups)] != ["<f8", "|b1", "<i8"] or not (
        scores.ndim == 1 and scores.shape == truth.shape == groups.shape
    ):
        raise DataError(f"the bundle's scores of {name} are not what training writes: name the data set")
    probabilities = scores.astype(np.float64)
    if not ((probabilities >= 0) & (probabilities <= 1)).all():  # false for NaN too
        raise DataError(f"the bundle's scores of {name} are no probabilities: name the data set")
    return ScoredSplit(probabilities, truth.astype(np.bool_), groups.astype(np.int64))


def group_numbers(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """int64 [pictures]: equal where pictures belong to one group."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(sample.group or sample.name, len(numbers)) for sample in samples], np.int64)


def require_provable(targets: Targets, samples: Sequence[Sample], split: str) -> None:
    """Raises DataError where `samples` are too few for a target whatever the scores, and says how many are needed."""
    truth = np.array([sample.label is Label.NG for sample in samples], np.bool_)
    require_trials(targets, truth, group_numbers(samples), split)


def require_trials(targets: Targets, truth: Truth, groups: NDArray[np.int64], split: str) -> None:
    """As `require_provable`, of bool truth (True for ng) and the numbers of the groups, both [pictures]."""
    for mine, option, target, word, fault in (
        (truth, "--max-escape", targets.max_escape, "defective", "passed"),
        (~truth, "--max-overkill", targets.max_overkill, "good", "failed"),
    ):
        trials = len(np.unique(groups[mine])) if targets.count == "groups" else int(mine.sum())
        if target is None or most_successes(target, trials) >= 0:
            continue
        needed, best = trials_needed(target), upper_bound(0, trials)
        what = f"{word} {targets.count}" if targets.count == "pictures" else f"groups with {word} pictures"
        remedy = f"or ask for no less than {option} {percent(_rounded_up(best))}" if trials > 1 else ""
        raise DataError(
            f"{option} {percent(target)} cannot be proven: with none of {needed} {what} {fault} in {split}, the rate "
            f"is at most that with {CONFIDENCE:.0%} confidence, and there are {trials}. Add {needed - trials} {what} "
            f"to {split}" + (f", {remedy}" if remedy else "")
        )


def percent(share: float) -> str:
    """Three digits at most: 0.5%, 7.22%, 12%."""
    return f"{share * 100:.3g}%"


def _rounded_up(share: float) -> float:
    """To two digits, so that what a person types is provable."""
    step = 10.0 ** (floor(log10(share)) - 1)
    return min(ceil(share / step - 1e-9) * step, 1.0)


def told_targets(decision: Mapping[str, Any]) -> Targets:
    """What `Targets.to_json` told to a bundle's `decision`; none where it tells of none."""
    costs = decision.get("costs")
    return Targets(
        decision.get("max_escape"),
        decision.get("max_overkill"),
        Costs(**costs) if costs else None,
        decision.get("defect_rate") if costs else None,
        decision.get("count", "pictures"),
    )
