"""Other pictures made of crops, so that a network sees more than there are. They stay near to what the line shows.

What a network is to learn from keeps its finest grain: it is mirrored, mixed, covered and lit anew, and never resampled
(docs/adr/0026). One that mixes two pictures, so that what is defective appears in other places and in all degrees, is
for a network to ask another: the answer is the label, whatever is shown.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from inspection.frame import CropPixels

Picture = NDArray[np.uint8]

_SHIFT, _SCALE, _TURN = 0.05, 0.06, 4.0  # of the side, of the size, degrees
_GAIN, _OFFSET = 0.2, 16.0
_MIXED, _PASTED, _BLURRED, _CUT = 0.25, 0.25, 0.2, 0.2


def view(crop: CropPixels, random: np.random.Generator) -> Picture:
    """The crop, uint8 [channels, size, size], as another day's camera and light may show it: to judge a network by.

    Mirrored, moved, lit anew, perhaps blurred or covered in part.
    """
    picture = _covered(_moved(_mirrored(crop, random), random), random)
    if random.random() < _BLURRED:
        blurred = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.4, 1.2))
        picture = np.asarray(blurred, np.uint8).reshape(picture.shape)
    return _lit_crop(picture, random)


def mixed_view(crops: CropPixels, number: int, random: np.random.Generator) -> Picture:
    """Crop `number` of `crops`, uint8 [n, channels, size, size], as sharp as it is: mirrored, lit, perhaps covered.

    Half of the time it is mixed with another one.
    """
    picture = _mirrored(crops[number], random)
    chance = random.random()
    if chance < _MIXED + _PASTED:
        other = _mirrored(crops[random.integers(len(crops))], random)
        if chance < _MIXED:
            share = random.uniform(0.2, 0.8)
            picture = np.rint(share * picture + (1 - share) * other).astype(np.uint8)
        else:
            rows, columns = _window(picture, random)
            picture[rows, columns] = other[rows, columns]
    return _lit_crop(_covered(picture, random), random)


def lit(pixels: CropPixels, random: np.random.Generator) -> CropPixels:
    """Brighter or darker, all pixels alike: uint8 of any shape."""
    gain, offset = 1 + random.uniform(-_GAIN, _GAIN), random.uniform(-_OFFSET, _OFFSET)
    return np.asarray(np.clip(np.rint(pixels * gain + offset), 0, 255), np.uint8)


def _lit_crop(picture: Picture, random: np.random.Generator) -> Picture:
    """uint8 [size, size, channels] to [channels, size, size]."""
    return np.ascontiguousarray(lit(picture, random).transpose(2, 0, 1))


def _covered(picture: Picture, random: np.random.Generator) -> Picture:
    """Some of the time a part of it, in place, with the mean of the picture."""
    if random.random() < _CUT:
        rows, columns = _window(picture, random, most=0.4)
        picture[rows, columns] = picture.mean(axis=(0, 1))
    return picture


def _mirrored(crop: CropPixels, random: np.random.Generator) -> Picture:
    """Or not: a copy, uint8 [size, size, channels]."""
    return crop.transpose(1, 2, 0)[:: random.choice((1, -1)), :: random.choice((1, -1))].copy()


def _moved(picture: Picture, random: np.random.Generator) -> Picture:
    """Turned, scaled and shifted a little: uint8 [size, size, channels]."""
    side = picture.shape[0]
    middle = ((side - 1) / 2, (side - 1) / 2)
    matrix = cv2.getRotationMatrix2D(middle, random.uniform(-_TURN, _TURN), 1 + random.uniform(-_SCALE, _SCALE))
    matrix[:, 2] += random.uniform(-_SHIFT, _SHIFT, 2) * side
    moved = cv2.warpAffine(picture, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.uint8).reshape(picture.shape)


def _window(picture: Picture, random: np.random.Generator, most: float = 0.6) -> tuple[slice, slice]:
    side = picture.shape[0]
    sizes = np.maximum((random.uniform(0.1, most, 2) * side).astype(int), 1)
    tops = [int(random.integers(side - size + 1)) for size in sizes]
    return slice(tops[0], tops[0] + sizes[0]), slice(tops[1], tops[1] + sizes[1])
