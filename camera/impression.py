"""What the last pictures looked like, from a sample of each: about a tenth of a millisecond at any size."""

import cv2
import numpy as np
from numpy.typing import NDArray

from inspection.frame import Pixels
from inspection.impression import HISTOGRAM_BINS, SCENE_SIDE, Impression

_SAMPLED = 40_000
"""Pixels of a picture that its brightness is read from."""

_ROWS = 64
"""Rows of a picture that its sharpness is read from, at full resolution."""

_APART = 4

Gray = NDArray[np.uint8]


class Impressions:
    """Adds up pictures of one size. A picture of another size begins anew."""

    def __init__(self) -> None:
        self._shape: tuple[int, ...] = ()
        self._begin(())

    def add(self, pixels: Pixels, bit_depth: int) -> None:
        """A picture as in `inspection.frame.Frame`, well formed."""
        if pixels.shape[:2] != self._shape:
            self._begin(pixels.shape[:2])
        step = self._step
        sample = _gray(pixels[::step, ::step], bit_depth)
        self._counts += cv2.calcHist([sample], [0], None, [256], [0, 256]).ravel()
        cv2.accumulate(sample, self._scene)
        near, far = _energies(pixels, bit_depth)
        mean, spread = cv2.meanStdDev(sample)
        self._sums += (mean[0, 0], spread[0, 0], far**0.5, near / far if far else 0.0)
        self._pictures += 1

    @property
    def pictures(self) -> int:
        """How many were added since the last `take`."""
        return self._pictures

    def take(self) -> Impression:
        """What was added, at least one picture; the next one begins anew."""
        brightness, contrast, texture, sharpness = (self._sums / self._pictures).tolist()
        counts = self._counts.reshape(HISTOGRAM_BINS, -1).sum(axis=1)
        scene = cv2.resize(self._scene / self._pictures, (SCENE_SIDE, SCENE_SIDE), interpolation=cv2.INTER_AREA)
        taken = Impression(
            self._pictures,
            brightness,
            contrast,
            texture,
            sharpness,
            counts / counts.sum(),
            np.asarray(scene, np.float32),
        )
        self._begin(self._shape)
        return taken

    def _begin(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._pictures = 0
        self._step = max(round((np.prod(shape) / _SAMPLED) ** 0.5), 1) if shape else 1
        sampled = tuple(-(-side // self._step) for side in shape)
        self._scene = np.zeros(sampled, np.float32)
        self._counts = np.zeros(256)
        self._sums = np.zeros(4)


def impression(pixels: Pixels, bit_depth: int) -> Impression:
    """What one picture looks like."""
    impressions = Impressions()
    impressions.add(pixels, bit_depth)
    return impressions.take()


def _energies(pixels: Pixels, bit_depth: int) -> tuple[float, float]:
    """Mean squared differences between neighbours, and between pixels 4 apart, across and down."""
    last = pixels.shape[0] - _APART
    if last < 1 or pixels.shape[1] <= _APART:
        return 0.0, 0.0
    step = max(last // _ROWS, 1)
    rows, below, far_below = (_gray(pixels[down : last + down : step], bit_depth) for down in (0, 1, _APART))
    near = _squares(rows[:, 1:], rows[:, :-1]) + _squares(rows, below)
    far = _squares(rows[:, _APART:], rows[:, :-_APART]) + _squares(rows, far_below)
    return near, far


def _squares(one: Gray, other: Gray) -> float:
    return float(cv2.norm(one, other, cv2.NORM_L2SQR)) / one.size


def _gray(pixels: Pixels, bit_depth: int) -> Gray:
    """The upper eight bits; of colour the green, of which a sensor has the most pixels."""
    plane = pixels if pixels.ndim == 2 else pixels[:, :, 1]
    if bit_depth > 8:
        return (plane >> (bit_depth - 8)).astype(np.uint8)
    # OpenCV takes rows that lie apart, but not pixels that do.
    return np.asarray(plane, np.uint8) if plane.strides[1] == 1 else np.ascontiguousarray(plane, np.uint8)
