"""Folds: no group in two of them, both classes in each, the same for the same seed."""

from collections import defaultdict

import numpy as np
import pytest

from inspection.errors import DataError
from training.folds import group_folds

Pairs = list[tuple[str, bool]]


def boards(seed: int, groups: int = 23) -> Pairs:
    """Groups of 1 to 12 pictures, some all good, some all bad."""
    random = np.random.default_rng(seed)
    pairs: Pairs = []
    for group in range(groups):
        share = random.choice([0.0, 0.1, 0.5, 1.0])
        pairs += [(f"board-{group}", bool(random.random() < share)) for _ in range(int(random.integers(1, 13)))]
    random.shuffle(pairs)
    return [(str(group), bool(bad)) for group, bad in pairs]


@pytest.mark.parametrize("seed", range(8))
def test_a_group_never_straddles_folds_and_every_fold_holds_both_classes(seed: int) -> None:
    pairs = boards(seed)

    folds = group_folds(pairs, 4, seed)

    of_group = defaultdict(set)
    classes = defaultdict(set)
    for (group, bad), fold in zip(pairs, folds, strict=True):
        of_group[group].add(int(fold))
        classes[int(fold)].add(bad)
    assert all(len(found) == 1 for found in of_group.values())
    assert classes == {fold: {False, True} for fold in range(4)}


def test_folds_are_about_equally_large() -> None:
    pairs = [(f"part-{number}", number % 10 == 0) for number in range(400)]

    folds = group_folds(pairs, 4, seed=1)

    bad = np.array([bad for _, bad in pairs])
    assert np.bincount(folds[bad]).tolist() == [10] * 4
    assert np.bincount(folds[~bad]).tolist() == [90] * 4


def test_the_same_seed_gives_the_same_folds_in_any_order_of_the_pictures() -> None:
    pairs = boards(3)
    turned = pairs[::-1]

    assert np.array_equal(group_folds(pairs, 4, 7), group_folds(turned, 4, 7)[::-1])


def test_few_groups_with_defects_give_fewer_folds() -> None:
    pairs = [(f"good-{number}", False) for number in range(20)] + [("a", True), ("b", True), ("c", True)]

    assert set(group_folds(pairs, 4, 0).tolist()) == {0, 1, 2}


@pytest.mark.parametrize(
    "pairs",
    [[("a", True), ("a", False)], [("a", True), ("b", False), ("c", False)], []],
    ids=["one group", "bad ones in one group", "nothing"],
)
def test_what_cannot_be_divided_is_refused_with_a_remedy(pairs: Pairs) -> None:
    with pytest.raises(DataError, match="add pictures of other groups, or name a recipe"):
        group_folds(pairs, 4, 0)
