"""A split in which no group is divided."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from inspection.errors import DataError

SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}


def group_split(samples: Sequence[tuple[str, bool]], seed: int, have: Sequence[tuple[str, bool]] = ()) -> list[str]:
    """A split for each (group, is_ng): train, val or test, about 60, 20 and 20 % of good and of bad ones.

    `have` are the pictures that have a split already, as (split, is_ng): they count, and stay where they are. Groups
    are taken from large to small, equal ones in an order drawn by `seed` and their names; each goes where the lack of
    the classes it brings is greatest. Train and val come first where there are few. There may be no bad ones at all.
    Raises DataError when good or bad pictures lie in fewer than two groups, and none has a split yet.
    """
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for group, is_ng in samples:
        counts[group][is_ng] += 1
    if not have:
        _require_groups(counts)
    there = {split: np.zeros(2) for split in SHARES}
    for split, is_ng in have:
        there[split][int(is_ng)] += 1
    totals = np.maximum(np.sum([*counts.values()], axis=0) + sum(there.values()), 1)
    filled = {split: count / totals for split, count in there.items()}
    order = sorted(counts, key=lambda group: _drawn(group, seed))
    # The rarer class decides where a group is hardest to place.
    order.sort(key=lambda group: max(counts[group] / totals), reverse=True)
    home: dict[str, str] = {}
    for group in order:
        share = np.array(counts[group]) / totals

        def lack(split: str, share: np.ndarray = share) -> tuple[bool, float]:
            brings_first = bool(((filled[split] == 0) & (share > 0)).any()) and split != "test"
            return brings_first, float(((SHARES[split] - filled[split]) * share / SHARES[split]).sum())

        best = max(SHARES, key=lack)
        filled[best] += share
        home[group] = best
    return [home[group] for group, _ in samples]


def _drawn(group: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {group}".encode("utf-8", "surrogateescape")).digest()


def _require_groups(counts: dict[str, list[int]]) -> None:
    for column, word in enumerate(("ok", "ng")):
        groups = sum(1 for count in counts.values() if count[column])
        if groups < 2 and (groups or word == "ok"):
            raise DataError(
                f"pictures labelled {word} lie in fewer than two groups: train and val need one each;"
                " add pictures of other groups"
            )
