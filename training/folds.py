"""Folds for cross-validation in which no group is divided."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspection.errors import DataError
from training.dataset import Sample
from training.evaluate import truth_of


def group_folds(samples: Sequence[tuple[str, bool]], count: int, seed: int) -> NDArray[np.int64]:
    """The fold, 0 to `count` - 1, of each (group, is_ng): int64 [samples].

    Every fold holds about its share of the good and of the bad ones, and at least one of each. There are fewer folds
    where good or bad ones lie in fewer groups. Groups are taken from large to small, equal ones in an order drawn by
    `seed`; each goes where it is missed most. Raises DataError where two folds are not to be had.
    """
    sizes: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(2))
    for group, is_ng in samples:
        sizes[group][int(is_ng)] += 1
    total = np.sum(list(sizes.values()), axis=0) if sizes else np.zeros(2)
    order = sorted(sizes)
    np.random.default_rng(seed).shuffle(order)
    order.sort(key=lambda group: -float((sizes[group] / np.maximum(total, 1)).max()))
    groups_of_class = [sum(1 for size in sizes.values() if size[label]) for label in (0, 1)]
    for folds in range(min(count, *groups_of_class), 1, -1):
        home = _spread(order, sizes, total, folds)
        have = np.zeros((folds, 2))
        for group, fold in home.items():
            have[fold] += sizes[group]
        if have.all():
            return np.array([home[group] for group, _ in samples], np.int64)
    raise DataError(
        "recipes cannot be compared: no two folds hold good and bad pictures each without dividing a group;"
        " add pictures of other groups, or name a recipe"
    )


def _spread(
    order: Sequence[str], sizes: dict[str, NDArray[np.float64]], total: NDArray[np.float64], folds: int
) -> dict[str, int]:
    """A fold for each group: the one where the sum of squared shares grows least."""
    have = np.zeros((folds, 2))
    home: dict[str, int] = {}
    for group in order:
        share = sizes[group] / total
        home[group] = int(np.argmin((have * share).sum(axis=1)))
        have[home[group]] += share
    return home


@dataclass(frozen=True, slots=True)
class Folded:
    """Pictures in folds: `truth` is True for ng, `folds` int64 from 0 to `count` - 1, both [pictures]."""

    samples: tuple[Sample, ...]
    truth: NDArray[np.bool_]
    folds: NDArray[np.int64]

    @property
    def count(self) -> int:
        return int(self.folds.max()) + 1

    @property
    def labels(self) -> NDArray[np.int64]:
        """1 for ng."""
        return self.truth.astype(np.int64)

    def splits(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """For each fold the numbers of the pictures to learn from, all others, and of its own."""
        for fold in range(self.count):
            yield np.flatnonzero(self.folds != fold), np.flatnonzero(self.folds == fold)


def folded(samples: tuple[Sample, ...], count: int, seed: int) -> Folded:
    """Raises DataError as `group_folds` does."""
    truth = truth_of(samples)
    pairs = [(sample.group or sample.name, bool(ng)) for sample, ng in zip(samples, truth, strict=True)]
    return Folded(samples, truth, group_folds(pairs, count, seed))
