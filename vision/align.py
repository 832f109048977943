"""How one picture of a part lies against another: moved a little, and lit a little otherwise."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.enhance import Image
from vision.resize import resized

SIDE = 256
"""Pictures are aligned at so many pixels across and down, whatever their proportions."""

FARTHEST = 0.1
"""Shares of its sides by which a part may lie elsewhere."""

_FINEST = 1 / (32 * SIDE)  # rounds away what processors compute differently
_MIDDLE = slice(round(FARTHEST * SIDE), round((1 - FARTHEST) * SIDE))
_MOST_LIGHT = 2.0

Small = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Alignment:
    """What is to be done to one picture so that it resembles another.

    It moves right and down by these shares of its sides, and then gray becomes `gain` * gray + `offset`. `likeness` is
    the correlation of the two then, -1 to 1, 0 where one of them is flat.
    """

    across: float
    down: float
    gain: float
    offset: float
    likeness: float


def small(image: Image) -> Small:
    """A gray picture as `align` and `shift` take it: float32 [SIDE, SIDE]."""
    return resized(image, SIDE, SIDE).astype(np.float32)


def shift(picture: Small, other: Small) -> tuple[float, float]:
    """By which shares of its sides `other` lies to the right of `picture`, and below it; both [side, side].

    By phase correlation; beyond half a side a shift cannot be told from one the other way.
    """
    side = len(picture)
    # OpenCV multiplies the window into the pictures that it is given.
    (across, down), _ = cv2.phaseCorrelate(picture.copy(), other.copy(), _window(side))
    return across / side, down / side


def align(picture: Small, other: Small) -> Alignment:
    """How `picture` becomes like `other`. It is not moved farther than FARTHEST, nor where that brings it no closer."""
    still = _lit(picture, other, 0.0, 0.0)
    across, down = (round(share / _FINEST) * _FINEST for share in shift(picture, other))
    if max(abs(across), abs(down)) > FARTHEST:
        return still
    return max(still, _lit(picture, other, across, down), key=lambda found: found.likeness)


def _lit(picture: Small, other: Small, across: float, down: float) -> Alignment:
    """The light by mean and spread of the middle, which both see wherever the part lies."""
    move = np.array([[1, 0, across * SIDE], [0, 1, down * SIDE]])
    moved = cv2.warpAffine(picture, move, (SIDE, SIDE))[_MIDDLE, _MIDDLE].astype(np.float64)
    wanted = other[_MIDDLE, _MIDDLE].astype(np.float64)
    spread, aim = float(moved.std()), float(wanted.std())
    gain = min(max(aim / spread, 1 / _MOST_LIGHT), _MOST_LIGHT) if spread > 0 else 1.0
    offset = float(wanted.mean()) - gain * float(moved.mean())
    common = float(((moved - moved.mean()) * (wanted - wanted.mean())).mean())
    return Alignment(across, down, gain, offset, common / (spread * aim) if spread * aim > 0 else 0.0)


@cache
def _window(side: int) -> Small:
    return np.asarray(cv2.createHanningWindow((side, side), cv2.CV_32F), np.float32)
