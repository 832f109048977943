"""A split in which no group is divided."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from inspection.errors import DataError

SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}


def group_split(samples: Sequence[tuple[str, bool]], seed: int) -> list[str]:
    """A split for each (group, is_ng): train, val or test, about 60, 20 and 20 % of good and of bad ones.

    Groups are taken from large to small, equal ones in an order drawn by `seed`; each goes where the lack of
    the classes it brings is greatest. Train and val come first where there are few. There may be no bad ones at
    all. Raises DataError when good or bad pictures lie in fewer than two groups.
    """
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for group, is_ng in samples:
        counts[group][is_ng] += 1
    for column, word in enumerate(("ok", "ng")):
        groups = sum(1 for count in counts.values() if count[column])
        if groups < 2 and (groups or word == "ok"):
            raise DataError(
                f"pictures labelled {word} lie in fewer than two groups: train and val need one each;"
                " add pictures of other groups"
            )
    totals = np.maximum(np.sum(list(counts.values()), axis=0), 1)
    order = sorted(counts)
    np.random.default_rng(seed).shuffle(order)
    # The rarer class decides where a group is hardest to place.
    order.sort(key=lambda group: max(counts[group] / totals), reverse=True)
    have = {split: np.zeros(2) for split in SHARES}
    home: dict[str, str] = {}
    for group in order:
        share = np.array(counts[group]) / totals

        def lack(split: str, share: np.ndarray = share) -> tuple[bool, float]:
            brings_first = bool(((have[split] == 0) & (share > 0)).any()) and split != "test"
            return brings_first, float(((SHARES[split] - have[split]) * share / SHARES[split]).sum())

        best = max(SHARES, key=lack)
        have[best] += share
        home[group] = best
    return [home[group] for group, _ in samples]
