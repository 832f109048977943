"""Thresholds where no defective part has been seen: by the good ones alone."""

from math import ceil, exp

import numpy as np
from numpy.typing import NDArray

from inspection.errors import DataError
from training.decide import Decision, decided, logit
from training.targets import ScoredSplit, Targets
from vision.bundle import Thresholds

EXPECTED_OVERKILL = 0.01
"""Of good parts like those of val, on average over what val might have been, where no bound is asked for."""
ENOUGH = 10
"""Defective pictures in val from which on they have a say in the thresholds. A few may all be of one kind."""
BANK_TRAINED = "onnx fp32"
"""Who scores while a bank is made: `Decision.scored_by`."""

Scores = NDArray[np.float64]


def decide_by_good(
    targets: Targets, val: ScoredSplit, test: ScoredSplit | None = None, *, scored_by: str, chosen_on: str = "val"
) -> Decision:
    """One threshold for both, so that no good part is uncertain, chosen on the good pictures of `val`.

    Raises DataError for targets about defective parts. See `require_provable` for too few pictures.
    """
    if targets.costs or targets.max_escape is not None:
        option = "--cost-escape" if targets.costs else "--max-escape"
        raise DataError(
            f"{option}: nothing is known of escapes before defective parts were seen: add some to val, or give"
            " --max-overkill alone"
        )
    good = val.good(targets.count)
    if good[-1] >= 1:
        raise DataError("a good picture of val scores 1: no threshold lets it pass; is its label right?")
    cut = 1 / (1 + exp(-cut_above(logit(good), rejected_of(good.size, targets))))
    return decided(targets, Thresholds(cut, cut), val, test, scored_by=scored_by, chosen_on=chosen_on)


def rejected_of(trials: int, targets: Targets) -> int:
    """How many of so many good ones the threshold rejects: what the bound allows, or what is expected to keep to 1 %.

    A new good one is rejected with probability (rejected + 1) / (trials + 1) at most, whatever the distribution: its
    rank among the others is as likely to be any. Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, 2005.
    """
    if targets.max_overkill is not None:
        return targets.allowed_overkill(trials)
    return trials - min(ceil((trials + 1) * (1 - EXPECTED_OVERKILL) - 1e-9), trials)


def expected_overkill(trials: int, rejected: int) -> float:
    """The probability that a new good one is rejected, at most, before `trials` good ones were drawn."""
    return (rejected + 1) / (trials + 1)


def cut_above(good: Scores, rejected: int) -> float:
    """A threshold that no more than `rejected` of the sorted scores reach: in the middle of the gap there.

    Above the highest it lies half as far as that is from the next lower one.
    """
    last = good[good.size - 1 - rejected]
    higher, lower = good[good > last], good[good < last]
    if higher.size:
        return float((last + higher[0]) / 2)
    return float(last + max((last - lower[-1]) / 2 if lower.size else 0.0, np.spacing(abs(last)) * 4))
