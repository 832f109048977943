"""Scaling gives OpenCV's own bytes, whichever way it takes: a model must see what it was trained on."""

import cv2
import numpy as np
import pytest

from vision.resize import resized


@pytest.mark.parametrize(
    ("width", "height"),
    [(1280, 1024), (640, 480), (2448, 2048), (1130, 460), (1128, 460), (896, 896), (448, 672), (225, 231), (5000, 224)],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_smaller_picture_has_the_bytes_of_area_averaging(width: int, height: int, channels: int) -> None:
    image = _noise(width, height, channels)

    assert np.array_equal(resized(image, 224, 224), cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize("seed", range(40))
def test_any_size_has_the_bytes_of_area_averaging(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, height = 4 * int(rng.integers(8, 120)), int(rng.integers(16, 480))
    image = _noise(2 * width + 4 * int(rng.integers(0, 300)), height + int(rng.integers(0, 900)), 1)

    assert np.array_equal(
        resized(image, width, height), cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    )


@pytest.mark.parametrize("step", [2, 3, 4, 5, 8, 16])
@pytest.mark.parametrize("tones", [255, 2])
def test_whole_steps_have_the_bytes_of_area_averaging(step: int, tones: int) -> None:
    """With two tones next to each other many means lie just between two values."""
    larger = _noise(64 * step + 2, 96 * step + 2, 1) % tones
    for image in (larger[1:-1, 1:-1], np.full((96 * step, 64 * step), 255, np.uint8)):
        assert np.array_equal(resized(image, 64, 96), cv2.resize(image, (64, 96), interpolation=cv2.INTER_AREA))


def test_a_part_of_a_larger_picture_is_scaled_like_a_copy_of_it() -> None:
    part = _noise(1400, 1100, 1)[20:1044, 40:1320]

    assert np.array_equal(resized(part, 224, 224), resized(part.copy(), 224, 224))


def test_a_larger_picture_is_interpolated() -> None:
    image = _noise(100, 90, 1)

    assert np.array_equal(resized(image, 224, 224), cv2.resize(image, (224, 224), interpolation=cv2.INTER_LINEAR))


def _noise(width: int, height: int, channels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(width * height).integers(0, 256, shape, np.uint8)
