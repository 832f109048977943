"""Pixels as the camera gave them to pixels in which a defect stands out.

The reference recipe is histogram equalisation and then a 3x3 morphological gradient: edges of equal height
under any light. Every function here gives exactly the same bytes for a region as for the whole picture cut
afterwards, so that only what the network will see is worked on.
"""

from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from inspection.errors import PictureError
from inspection.frame import Pixels

Enhancement = Literal[
    "equalize_gradient", "clahe_gradient", "equalize", "clahe", "none", "stack", "compare", "difference"
]
COMPARING: frozenset[Enhancement] = frozenset({"compare", "difference"})
"""What works with a reference picture; see `vision.reference`."""
Image = NDArray[np.uint8]

_KERNEL = np.ones((3, 3), np.uint8)
_CLAHE_CLIP = 2.0
_CLAHE_GRID = (8, 8)
_LARGE = 1 << 19  # pixels
_COUNTED_AT_ONCE = 1 << 23  # pixels; OpenCV gives counts as float32, which knows no odd numbers above 2**24


class Region(NamedTuple):
    """A rectangle inside a picture, in pixels."""

    x: int
    y: int
    width: int
    height: int

    def of(self, image: Image) -> Image:
        return image[self.y : self.y + self.height, self.x : self.x + self.width]


def checked(pixels: Pixels, bit_depth: int) -> Pixels:
    """The same pixels, if they are a picture at all.

    A picture is [height, width] gray or [height, width, 3] BGR with at least one pixel; uint8 with
    `bit_depth` 8, or uint16 with 9..16. Anything else, an alpha channel included, raises PictureError.
    """
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise PictureError(f"a picture has 1 or 3 channels, this array has the shape {list(pixels.shape)}")
    if pixels.size == 0:
        raise PictureError(f"a picture without pixels: {pixels.shape[1]} x {pixels.shape[0]}")
    deep = pixels.dtype == np.uint16 and 9 <= bit_depth <= 16
    if not deep and not (pixels.dtype == np.uint8 and bit_depth == 8):
        raise PictureError(
            f"{pixels.dtype} pixels with {bit_depth} bits: expected uint8 with 8, or uint16 with 9 to 16"
        )
    return pixels


def eight_bits(pixels: Pixels, bit_depth: int) -> Image:
    """The upper eight of `bit_depth` bits. A value that does not fit the bit depth raises PictureError."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    if int(pixels.max()) >> bit_depth:
        raise PictureError(f"the pixel value {int(pixels.max())} does not fit into {bit_depth} bits")
    narrow = np.empty(pixels.shape, np.uint8)
    np.right_shift(pixels, bit_depth - 8, out=narrow, casting="unsafe")
    return narrow


def gray(image: Image) -> Image:
    """[height, width] from gray or BGR, by the weights of ITU-R BT.601."""
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def _pairs(image: Image) -> NDArray[np.uint16] | None:
    """Two neighbours as one value of 16 bits, which halves the work of counting and mapping.

    None where the picture is too small to be worth tables of 65,536, or has rows that cannot be paired.
    """
    if image.size < _LARGE or image.shape[1] % 2 or image.strides[1] != 1:
        return None
    return image.view(np.uint16)


def _counts(image: Image) -> NDArray[np.float32]:
    """How often each of the 256 values occurs, exact up to 2**24 pixels."""
    pairs = _pairs(image)
    if pairs is None:
        return np.asarray(cv2.calcHist([image], [0], None, [256], [0, 256]), np.float32).ravel()
    both = cv2.calcHist([pairs], [0], None, [1 << 16], [0, 1 << 16]).reshape(256, 256)
    first, second = (cv2.reduce(both, axis, cv2.REDUCE_SUM).ravel() for axis in (0, 1))
    return np.asarray(first + second, np.float32)


def _mapped(image: Image, table: Image) -> Image:
    pairs = _pairs(image)
    if pairs is None:
        return np.asarray(cv2.LUT(image, table), np.uint8)
    wide = table.astype(np.uint16)
    mapped = cv2.LUT(pairs, (wide[:, None] << 8 | wide).ravel())
    return np.asarray(mapped, np.uint16).view(np.uint8)


def equalizing_table(image: Image) -> Image:
    """The 256 values of cv2.equalizeHist for a gray picture, computed as OpenCV computes them (float32).

    A table of our own lets the histogram come from the whole picture and the mapping touch a region of it.
    """
    rows = max(_COUNTED_AT_ONCE // image.shape[1], 1)
    counts = np.zeros(256, np.int64)
    for top in range(0, image.shape[0], rows):
        counts += _counts(image[top : top + rows]).astype(np.int64)
    darkest = int(np.flatnonzero(counts)[0])
    rest = image.size - int(counts[darkest])
    if rest == 0:
        return np.full(256, darkest, np.uint8)
    counts[darkest] = 0
    scale = np.float32(255) / np.float32(rest)
    table: Image = np.clip(np.rint(np.cumsum(counts).astype(np.float32) * scale), 0, 255).astype(np.uint8)
    return table


def enhance(image: Image, how: Enhancement, region: Region) -> Image:
    """`region` of the enhanced gray picture `image`: [height, width], or [height, width, 3] where `how` is stack.

    Tone is corrected by the statistics of the whole of `image`; the gradient sees one pixel beyond the
    region, as it would in the whole picture. A stack is gradient, equalised and plain, in the places of blue,
    green and red.
    """
    height, width = image.shape[:2]
    margin = 1 if how.endswith("_gradient") or how == "stack" else 0
    left, top = max(region.x - margin, 0), max(region.y - margin, 0)
    right = min(region.x + region.width + margin, width)
    bottom = min(region.y + region.height + margin, height)
    wide = Region(left, top, right - left, bottom - top)
    inner = Region(region.x - left, region.y - top, region.width, region.height)
    if how.startswith("equalize") or how == "stack":
        toned = _mapped(wide.of(image), equalizing_table(image))
    elif how.startswith("clahe"):
        toned = wide.of(cv2.createCLAHE(_CLAHE_CLIP, _CLAHE_GRID).apply(image))
    else:
        toned = wide.of(image)
    if not margin:
        return inner.of(np.asarray(toned, np.uint8))
    gradient = inner.of(np.asarray(cv2.morphologyEx(toned, cv2.MORPH_GRADIENT, _KERNEL), np.uint8))
    if how != "stack":
        return gradient
    return np.dstack([gradient, inner.of(np.asarray(toned, np.uint8)), region.of(image)])
