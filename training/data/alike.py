"""Pictures of different splits that look alike: the same part twice, or one picture saved twice.

On a line all pictures look alike, and a common perceptual hash (64 bits, 9x8 pixels) calls 853 of 855 pictures of one
set near-duplicates. What counts is what sets a picture apart from the others: each is scaled to 16x16 pixels of mean 0
and deviation 1; of its differences between neighbours, less the median over the set and in units of the mean
deviation there, the correlation with those of another picture is taken. From 0.92 on two are near-duplicates: a picture
saved again as JPEG, scaled, lit a little differently, noisier or moved by a pixel is found, one that is turned,
mirrored or cut is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from camera.names import shown
from inspection.frame import Pixels
from training.data.sample import Dataset, Looks, Sample

ALIKE = 0.92
SIDE = 16
NO_LOOK: Looks = np.zeros((SIDE, SIDE), np.float16)

_FEWEST = 8  # pictures that a median says something of
_AT_ONCE = 1024
_FLAT = 1e-3  # gray values
_EXAMPLES = 3

Features = NDArray[np.float32]
Numbers = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Alike:
    """`first` and `second` look alike; `likeness` is the correlation."""

    first: Sample
    second: Sample
    likeness: float


def look_of(pixels: Pixels) -> Looks:
    """float16 [16, 16], of mean 0 and deviation 1 (all 0 for a picture of one value)."""
    one = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY) if pixels.ndim == 3 else pixels
    gray = cv2.resize(one.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    apart = gray - gray.mean()
    deviation = float(apart.std())
    look: Looks = (apart / deviation if deviation > _FLAT else np.zeros_like(apart)).astype(np.float16)
    return look


def features_of(looks: Looks) -> Features:
    """What sets each picture apart from the others, of length 1 (0 where nothing does): float32 [pictures, 480]."""
    looks32 = looks.astype(np.float32)
    down, across = np.diff(looks32, axis=1), np.diff(looks32, axis=2)
    slopes = np.concatenate([down.reshape(len(looks), -1), across.reshape(len(looks), -1)], axis=1)
    if len(looks) >= _FEWEST:
        slopes -= np.median(slopes, axis=0)
        slopes /= np.abs(slopes).mean(axis=0) + 1e-3
    slopes -= slopes.mean(axis=1, keepdims=True)
    length = np.linalg.norm(slopes, axis=1, keepdims=True)
    features: Features = np.where(length > 1e-4, slopes / np.maximum(length, 1e-4), 0).astype(np.float32)
    return features


def nearest_alike(
    features: Features, groups: Numbers, mine: Numbers, others: Numbers
) -> tuple[Numbers, NDArray[np.float32]]:
    """For each picture of `mine` the number of the most alike one of `others` in another group, and the likeness."""
    best = np.zeros(len(mine), np.intp)
    likeness = np.full(len(mine), -1, np.float32)
    for start in range(0, len(mine), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        for other in range(0, len(others), 8 * _AT_ONCE):
            some = others[other : other + 8 * _AT_ONCE]
            found = features[mine[rows]] @ features[some].T
            found[groups[mine[rows], None] == groups[None, some]] = -1
            at = found.argmax(axis=1)
            highest = found[np.arange(len(at)), at]
            better = highest > likeness[rows]
            best[rows] = np.where(better, some[at], best[rows])
            likeness[rows] = np.where(better, highest, likeness[rows])
    return best, likeness


def alike_across(dataset: Dataset, features: Features, mine: Sequence[str], others: Sequence[str]) -> list[Alike]:
    """The pictures of the splits `mine` with a near-duplicate of another group in `others`, the most alike first."""
    samples = dataset.samples
    first, second = (
        np.array([number for number, sample in enumerate(samples) if sample.split in splits], np.intp)
        for splits in (mine, others)
    )
    if not len(first) or not len(second):
        return []
    numbers: dict[str, int] = {}
    groups = np.array([numbers.setdefault(sample.group or sample.name, len(numbers)) for sample in samples], np.intp)
    best, likeness = nearest_alike(features, groups, first, second)
    found = [
        Alike(samples[one], samples[other], float(value))
        for one, other, value in zip(first, best, likeness, strict=True)
        if value >= ALIKE
    ]
    return sorted(found, key=lambda pair: -pair.likeness)


def alike_lines(dataset: Dataset, *, folds: bool = False) -> list[str]:
    """What to tell of near-duplicates in different splits or, with `folds`, in different groups of train and val."""
    asked: list[tuple[str, tuple[str, ...], tuple[str, ...]]]
    asked = [("test", ("test",), ("train",)), ("test", ("test",), ("val",)), ("val", ("val",), ("train",))]
    if folds:
        asked = [("test", ("test",), ("train", "val")), ("train and val", ("train", "val"), ("train", "val"))]
    if dataset.looks is None:
        return []
    features, lines = features_of(dataset.looks), []
    for word, mine, others in asked:
        found = alike_across(dataset, features, mine, others)
        if found:
            where = "another group there" if mine == others else " and ".join(others)
            some = ", ".join(f"{shown(pair.first.name)} ~ {shown(pair.second.name)}" for pair in found[:_EXAMPLES])
            lines.append(
                f"{len(found)} pictures of {word} look like one of {where}: {some}{', ...' * (len(found) > _EXAMPLES)};"
                " near-duplicates make the figures too good: if they show one part, give them one group"
            )
    return lines
