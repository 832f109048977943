"""Scaling is area averaging, whichever way it takes: a model must see what it was trained on."""

import cv2
import numpy as np
import pytest

from vision.resize import resized

Picture = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


@pytest.mark.parametrize(
    ("width", "height"),
    [
        (1280, 1024),
        (640, 480),
        (2448, 2048),
        (1130, 460),
        (896, 896),
        (448, 672),
        (225, 231),
        (5000, 224),
        (4000, 3000),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_smaller_picture_is_area_averaged(width: int, height: int, channels: int) -> None:
    assert_averaged(_noise(width, height, channels), 224, 224)


@pytest.mark.parametrize("seed", range(40))
def test_any_size_is_area_averaged(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, height = (int(side) for side in rng.integers(8, 300, 2))
    more = rng.integers(0, 900, 2)

    assert_averaged(_noise(width + int(more[0]), height + int(more[1]), 1), width, height)


@pytest.mark.parametrize("pixels", [(2896, 2907), (2896, 2908)])
def test_the_largest_sums_do_not_overflow(pixels: tuple[int, int]) -> None:
    assert (resized(np.full(pixels, 255, np.uint8), 224, 224) == 255).all()


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


def assert_averaged(image: Picture, width: int, height: int) -> None:
    """Each pixel is its rectangle's mean, rounded; OpenCV, which adds in float32, rarely rounds to the other side."""
    ours = resized(image, width, height)
    means = np.einsum(
        "yY,YX...,xX->yx...", _shares(image.shape[0], height), image, _shares(image.shape[1], width), optimize=True
    )
    opencv = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)

    assert np.abs(ours - means).max() <= 0.5 + 1e-3
    assert np.abs(ours.astype(int) - opencv).max() <= 1
    assert np.mean(ours != opencv) < 0.002


def _shares(pixels: int, parts: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """How much each pixel of a row adds to the mean of each part of it."""
    cuts = np.arange(parts + 1)[:, None] * pixels / parts
    covered = np.clip(cuts - np.arange(pixels), 0, 1)
    return (covered[1:] - covered[:-1]) * parts / pixels


def _noise(width: int, height: int, channels: int) -> Picture:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(width * height).integers(0, 256, shape, np.uint8)
