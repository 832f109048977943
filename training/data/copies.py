"""The same picture twice: it counts once, has one label and lies in one split.

Two files are one picture where their bytes or their pixels are equal, whatever their names, folders and containers.
Counted twice, a picture would be an independent trial that it is not; in two splits it would test what was learnt.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from camera.files import counted
from camera.names import shown
from inspection.errors import DataError
from training.data.sample import Sample, furthest


def without_copies(samples: Sequence[Sample], *, fixed: bool) -> tuple[list[int], list[Sample], list[str]]:
    """The numbers of the pictures that stay (of each the first), these pictures, and what to tell.

    Copies may stand in different groups: these become one group, since they share a part. Raises DataError where a
    picture is labelled both ok and ng, or lies in two splits that are `fixed`; else the side furthest from learning
    counts.
    """
    first: dict[str, int] = {}
    sides: dict[str, set[str]] = defaultdict(set)
    copies: list[str] = []
    groups = _Groups()
    contradictory: list[tuple[Sample, Sample]] = []
    divided: list[tuple[Sample, Sample]] = []
    for number, sample in enumerate(samples):
        content = sample.pixels or f"{sample.sha256} {sample.name}"  # damaged files are no pictures, and no copies
        sides[content].add(sample.split)
        before = samples[first.setdefault(content, number)]
        if before is sample:
            continue
        copies.append(sample.name)
        groups.join(before.group, sample.group)
        if before.label is not sample.label:
            contradictory.append((before, sample))
        if fixed and before.split != sample.split:
            divided.append((before, sample))
    if contradictory:
        one, other = contradictory[0]
        raise DataError(
            f"'{shown(one.name)}' is labelled {one.label} and '{shown(other.name)}' is labelled {other.label}, and they"
            f" show the same picture{_more(contradictory)}; take the wrong one out"
        )
    if divided:
        one, other = divided[0]
        raise DataError(
            f"'{shown(one.name)}' of split {one.split} and '{shown(other.name)}' of split {other.split} are the same"
            f" picture{_more(divided)}: the test would measure what was learnt by heart; take one of them out,"
            " or leave the column 'split' out to have a split made"
        )
    kept = sorted(first.values())
    what = "copies of pictures that are there under another name"
    notes = [f"left out: {counted(what, copies)}"] if copies else []
    content_of = {number: content for content, number in first.items()}
    single = [
        replace(samples[n], group=groups.of(samples[n].group), split=furthest(sides[content_of[n]])) for n in kept
    ]
    return kept, single, notes


def _more(pairs: Sequence[object]) -> str:
    return f" (and {len(pairs) - 1} more such pairs)" if len(pairs) > 1 else ""


class _Groups:
    """Groups that were joined go by the name that comes first."""

    def __init__(self) -> None:
        self._into: dict[str, str] = {}

    def of(self, group: str) -> str:
        while group in self._into:
            group = self._into[group]
        return group

    def join(self, one: str, other: str) -> None:
        first, second = sorted((self.of(one), self.of(other)))
        if first != second:
            self._into[second] = first
