"""What a candidate was worth on the folds, and which one is taken."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.metrics import auroc, recall_at_budget

Numbers = NDArray[np.float64]
Truth = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class FoldScores:
    """One fold's pictures, scored by a model that saw none of them nor of their groups.

    `errors` is escape + overkill at the best threshold of the fold: optimistic, and alike for all candidates.
    """

    auroc: float
    recall: float
    errors: float


MEASURES = FoldScores.__slots__
_FAR = 2 / 3


@dataclass(frozen=True, slots=True)
class Trial:
    """`cost` is what one part takes on the line, in crops of 224 x 224; `folds` are the same for all trials.

    `seconds` is what the trial itself took. `margins`, float64 [pictures], are each of the fold model that did not see
    the picture. `changed`, where it was measured, is the AUROC of each fold on one view of each picture (see
    `training.views`): what is left when a part lies a little elsewhere in another light. It is told, and has no say.
    `cut` are the passes that the lesson had on each fold, where time ran short and they were fewer than its epochs.
    """

    name: str
    cost: float
    seconds: float
    folds: tuple[FoldScores, ...]
    margins: Numbers = field(repr=False, compare=False)
    changed: tuple[float, ...] = ()
    cut: tuple[int, ...] = ()

    def mean(self, measure: str) -> float:
        """Over the folds; `measure` is one of FoldScores's."""
        return float(np.mean([getattr(fold, measure) for fold in self.folds]))

    @property
    def mean_changed(self) -> float:
        """Over the folds of `changed`, where it was measured."""
        return float(np.mean(self.changed))

    def spread(self, measure: str) -> float:
        """Standard deviation over the folds."""
        return float(np.std([getattr(fold, measure) for fold in self.folds], ddof=1))

    def behind(self, other: "Trial") -> tuple[float, float]:
        """By how much its AUROC lies below that of `other`, fold by fold: mean and standard error of the mean."""
        gaps = [b.auroc - a.auroc for a, b in zip(self.folds, other.folds, strict=True)]
        return float(np.mean(gaps)), float(np.std(gaps, ddof=1) / np.sqrt(len(gaps)))

    def to_json(self) -> dict[str, Any]:
        measures = {
            name: {
                "mean": self.mean(name),
                "spread": self.spread(name),
                "folds": [getattr(f, name) for f in self.folds],
            }
            for name in FoldScores.__slots__
        }
        views = {"changed": {"mean": self.mean_changed, "folds": list(self.changed)}} if self.changed else {}
        cut = {"cut_to": list(self.cut)} if self.cut else {}
        return {"name": self.name, "cost": self.cost, **measures, **views, **cut}


@dataclass(frozen=True, slots=True)
class Choice:
    """The trial that is taken, and why in one sentence."""

    trial: Trial
    why: str


def scored_folds(margins: Numbers, truth: Truth, folds: NDArray[np.int64]) -> tuple[FoldScores, ...]:
    """float64 [n] margins from models that did not see them, each fold by itself: margins of two models differ."""
    return tuple(scored_fold(margins[folds == fold], truth[folds == fold]) for fold in range(int(folds.max()) + 1))


def scored_fold(margins: Numbers, truth: Truth) -> FoldScores:
    """float64 [n] margins of one model, bool [n] truth with both classes in it."""
    ok, ng = np.sort(margins[~truth]), np.sort(margins[truth])
    cuts = np.r_[-np.inf, np.unique(margins), np.inf]
    errors = np.searchsorted(ng, cuts) / ng.size + (ok.size - np.searchsorted(ok, cuts)) / ok.size
    return FoldScores(auroc(ok, ng), recall_at_budget(ok, ng), float(errors.min()))


def choose(trials: Sequence[Trial]) -> Choice:
    """The cheapest of those that the best one does not beat by more than a standard error; the better of equal cost.

    The rule of one standard error: Breiman, Friedman, Olshen, Stone: Classification and Regression Trees, 1984,
    chapter 3.4. The error is that of the difference fold by fold: a fold that is hard is hard for both.
    """
    best = max(trials, key=lambda trial: trial.mean("auroc"))
    level = [trial for trial in trials if _level(trial, best)]
    taken = min(level, key=lambda trial: (trial.cost, -trial.mean("auroc")))
    if taken is not best:
        gap, error = taken.behind(best)
        why = (
            f"it costs {taken.cost:.2g} crops a part where the best on the folds, {best.name}, costs {best.cost:.2g},"
            f" and is behind by {gap:.4f} of AUROC, within the standard error of {error:.4f}"
        )
    elif len(trials) == 1:
        why = "nothing else was tried"
    else:
        second = max((trial for trial in trials if trial is not best), key=lambda trial: trial.mean("auroc"))
        gap, error = second.behind(best)
        why = f"its AUROC on the folds is the highest, {gap:.4f} (standard error {error:.4f}) above {second.name}"
    return Choice(taken, why)


def choose_plain(trials: Sequence[Trial]) -> Choice:
    """The first, which is of the plain picture, unless the best of the others is far ahead of it. Two at least."""
    plain, *others = trials
    best = max(others, key=lambda trial: trial.mean("auroc"))
    shares = f"{1 - best.mean('auroc'):.4f} of AUROC to gain, {plain.name} {1 - plain.mean('auroc'):.4f}"
    if far_ahead(best, plain):
        return Choice(best, f"it leaves {shares}: at most two thirds")
    return Choice(plain, f"it is the plain picture, and the best other, {best.name}, leaves {shares}: over two thirds")


def far_ahead(trial: Trial, plain: Trial) -> bool:
    """Whether it leaves at most two thirds of what the plain picture leaves to gain, 1 - AUROC.

    A network that learns finds edges by itself where it is given time. What a short trial sees of pixels that have the
    edges drawn in is a head start; it has to be a large one. See docs/adr/0025-the-plain-picture-first.md.
    """
    return 1 - trial.mean("auroc") <= _FAR * (1 - plain.mean("auroc"))


def _level(trial: Trial, best: Trial) -> bool:
    gap, error = trial.behind(best)
    return gap <= error
