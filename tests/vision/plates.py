"""A printed plate under a camera: the part that the tests on alignment and on the reference picture look at."""

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.recipe import Recipe
from vision.reference import ReferencePicture, held

Gray = NDArray[np.uint8]

_RIM = 80  # pixels of the plate that lie beyond each side of the picture


def printed(width: int = 640, height: int = 512) -> Gray:
    """A plate of bars of all tones, for pictures of this size."""
    random = np.random.default_rng(3)
    plate = np.full((height + 2 * _RIM, width + 2 * _RIM), 90, np.uint8)
    for _ in range(60):
        x, y = int(random.integers(0, width + _RIM)), int(random.integers(0, height + _RIM))
        cv2.rectangle(plate, (x, y), (x + int(random.integers(10, 60)), y + 8), int(random.integers(0, 256)), -1)
    return plate


def seen(plate: Gray, right: float = 0.0, below: float = 0.0) -> Gray:
    """What a camera sees of a plate that lies so many pixels farther right and below."""
    height, width = plate.shape[0] - 2 * _RIM, plate.shape[1] - 2 * _RIM
    move = np.array([[1, 0, right - _RIM], [0, 1, below - _RIM]], np.float64)
    return np.asarray(cv2.warpAffine(plate, move, (width, height)), np.uint8)


def noisy(picture: Gray) -> Gray:
    noise = np.random.default_rng(1).normal(0, 6, picture.shape)
    return np.asarray(np.clip(picture + noise, 0, 255), np.uint8)


def reference_of(picture: Gray) -> ReferencePicture:
    return ReferencePicture.of(held(picture), picture.shape[1], picture.shape[0])


def comparing(picture: Gray, **settings: object) -> Recipe:
    """A recipe that compares with this very picture, the whole of it unless `settings` say otherwise."""
    given = {"enhance": "difference", "geometry": "squash", **settings}
    return Recipe.model_validate({**given, "reference": reference_of(picture).model_dump()})
