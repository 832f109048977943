"""Scaling a picture to the network's size."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.enhance import Image

_INT32_PIXELS = (2**31 - 1) // 255
"""A picture of so many pixels may be all white, and its sum still fits 32 bits."""


def resized(image: Image, width: int, height: int) -> Image:
    """Area averaging along a side that gets shorter, linear along one that gets longer.

    INTER_AREA enlarges in blocks, and INTER_LINEAR skips pixels, which may be the defect's.
    """
    tall, wide = image.shape[:2]
    inner = min(wide, width), min(tall, height)
    if inner != (wide, tall):
        image = _averaged(image, *inner)
    if inner != (width, height):
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    return image


def _averaged(image: Image, width: int, height: int) -> Image:
    """The bytes of cv2.resize, or where it is slow those that it would give if it rounded once, at the end."""
    if _by_whole_steps(image, width, height):
        return _summed(image, image.shape[1] // width)
    if _pays(image, width, height):
        return _from_corners(image, width, height)
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _by_whole_steps(image: Image, width: int, height: int) -> bool:
    """Every pixel is the mean of 4 x 4 or of 8 x 8: common sensors give just that (1024 and 2048 rows to 256)."""
    return image.ndim == 2 and image.shape in {(4 * height, 4 * width), (8 * height, 8 * width)}


def _summed(image: Image, step: int) -> Image:
    """Means of step x step pixels. Whole rows are added at once; a sum of 64 pixels fits 16 bits."""
    sums = np.add(image[0::step], image[1::step], dtype=np.uint16)
    for row in range(2, step):
        sums += image[row::step]
    for _ in range(step.bit_length() - 1):
        sums = sums[:, 0::2] + sums[:, 1::2]
    # As OpenCV does: a mean between two values becomes the even one.
    means: Image = np.rint(sums.astype(np.float32) / np.float32(step * step)).astype(np.uint8)
    return means


def _pays(image: Image, width: int, height: int) -> bool:
    """Other whole factors have a fast path in OpenCV, and a picture hardly larger than its target is soon done."""
    rows, columns = image.shape[:2]
    whole = columns % width == 0 and rows % height == 0
    return image.ndim == 2 and not whole and image.size >= 4 * width * height


def _from_corners(image: Image, width: int, height: int) -> Image:
    """Exact means of width x height equal rectangles, which may cut through pixels.

    The sum over a rectangle is a matter of its four corners in the integral picture. Within a pixel the
    integral is bilinear, so a corner that lies there is interpolated, in whole numbers: nothing is rounded
    before the mean is. On the way 32 bits overflow; the last differences fit, and so come out right.
    Crow: Summed-area tables for texture mapping, SIGGRAPH 1984.
    """
    rows, columns = image.shape
    depth, exact = (cv2.CV_32S, np.int32) if image.size <= _INT32_PIXELS else (cv2.CV_64F, np.float64)
    (down, part_down), (across, part_across) = _cuts(rows, height), _cuts(columns, width)
    corners = cv2.integral(image, sdepth=depth).take(down, axis=0).take(across, axis=1)
    last = height + 1
    bands = corners[:last] * exact(height)
    bands += (corners[last:] - corners[:last]) * part_down.astype(exact)[:, None]
    bands = bands[1:] - bands[:-1]
    last = width + 1
    sums = bands[:, :last] * exact(width)
    sums += (bands[:, last:] - bands[:, :last]) * part_across.astype(exact)
    sums = sums[:, 1:] - sums[:, :-1]
    return np.asarray(cv2.convertScaleAbs(sums, alpha=1 / image.size), np.uint8)


@cache
def _cuts(pixels: int, parts: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where `parts` equal parts of a row begin and end.

    First the pixels that hold the cuts and then their right neighbours; how far into the pixel each cut lies, in
    units of 1 / parts.
    """
    cuts = np.arange(parts + 1) * pixels
    within = cuts // parts
    return np.concatenate([within, np.minimum(within + 1, pixels)]), cuts % parts
