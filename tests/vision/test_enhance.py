"""Enhancing a region gives the bytes of OpenCV's own functions on the whole picture, cut afterwards."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inspection.errors import PictureError
from vision.enhance import Enhancement, Image, Region, checked, eight_bits, enhance, equalizing_table, gray

PHOTOGRAPHS = sorted((Path(__file__).parents[2] / "models" / "bsdata" / "demo").glob("*.jpg"))
RANDOM = np.random.default_rng(1)


def photograph(width: int, height: int) -> Image:
    picture = cv2.imread(str(PHOTOGRAPHS[0]), cv2.IMREAD_GRAYSCALE)
    return np.asarray(cv2.resize(picture, (width, height)), np.uint8)


def noise(width: int, height: int) -> Image:
    return RANDOM.integers(0, 256, (height, width), np.uint8)


def flat(width: int, height: int) -> Image:
    return np.full((height, width), 90, np.uint8)


def two_tones(width: int, height: int) -> Image:
    return np.where(noise(width, height) < 3, 255, 0).astype(np.uint8)


def gradient(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.morphologyEx(image, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)), np.uint8)


def clahe(image: Image) -> NDArray[np.uint8]:
    return np.asarray(cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(image), np.uint8)


DEFINITIONS: dict[Enhancement, Callable[[Image], NDArray[np.uint8]]] = {
    "equalize_gradient": lambda image: gradient(np.asarray(cv2.equalizeHist(image), np.uint8)),
    "clahe_gradient": lambda image: gradient(clahe(image)),
    "equalize": lambda image: np.asarray(cv2.equalizeHist(image), np.uint8),
    "clahe": clahe,
    "none": lambda image: image,
    "stack": lambda image: np.dstack([gradient(np.asarray(cv2.equalizeHist(image))), cv2.equalizeHist(image), image]),
}
SIZES = [(1280, 1024), (1279, 1024), (640, 480), (224, 224), (31, 17), (9, 9), (8, 1), (1, 8), (2, 2), (1, 1)]


def regions(width: int, height: int) -> list[Region]:
    """The whole, the middle, and one at each corner: the gradient must not see an edge that is none."""
    w, h = max(width // 2, 1), max(height // 3, 1)
    right, bottom = width - w, height - h
    return [
        Region(0, 0, width, height),
        Region(right // 2, bottom // 2, w, h),
        *(Region(x, y, w, h) for x in (0, right) for y in (0, bottom)),
    ]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("draw", [photograph, noise, flat, two_tones])
def test_a_region_is_enhanced_exactly_as_the_whole_picture(
    draw: Callable[[int, int], Image], size: tuple[int, int]
) -> None:
    image = draw(*size)
    for how, definition in DEFINITIONS.items():
        whole = definition(image)
        for region in regions(*size):
            assert np.array_equal(enhance(image, how, region), region.of(whole)), (how, region)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("draw", [photograph, noise, flat, two_tones])
def test_the_table_is_opencvs_equalisation(draw: Callable[[int, int], Image], size: tuple[int, int]) -> None:
    image = draw(*size)
    assert np.array_equal(equalizing_table(image)[image], cv2.equalizeHist(image))


def test_the_table_is_exact_for_pictures_with_more_pixels_than_float32_counts() -> None:
    image = np.zeros((4100, 8200), np.uint8)
    image[::50, ::77] = noise(107, 82)
    image[7, 7] = 1
    assert np.array_equal(equalizing_table(image)[image], cv2.equalizeHist(image))


@pytest.mark.parametrize(
    "view",
    [
        lambda image: image[3:1003, 5:1005],
        lambda image: image[:, ::-1],
        lambda image: image[::-1],
        lambda image: image.T,
        np.asfortranarray,
    ],
    ids=["cut out", "mirrored", "upside down", "transposed", "by columns"],
)
def test_the_layout_in_memory_makes_no_difference(view: Callable[[Image], Image]) -> None:
    image = view(photograph(1280, 1024))
    height, width = image.shape
    for how, definition in DEFINITIONS.items():
        assert np.array_equal(enhance(image, how, Region(0, 0, width, height)), definition(np.array(image, order="C")))


def test_nothing_is_written_into_the_cameras_picture() -> None:
    image = photograph(1280, 1024)
    kept = image.copy()
    image.flags.writeable = False
    for how in DEFINITIONS:
        enhance(image, how, Region(0, 0, 1280, 1024))
    assert np.array_equal(image, kept)


def test_gray_is_opencvs() -> None:
    picture = RANDOM.integers(0, 256, (40, 50, 3), np.uint8)
    assert np.array_equal(gray(picture), cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
    assert np.array_equal(gray(picture[:, :, 0]), picture[:, :, 0])


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
def test_deep_pixels_keep_their_upper_eight_bits(bits: int) -> None:
    every = np.arange(1 << bits, dtype=np.uint16).reshape(32, -1)
    every.flags.writeable = False
    narrow = eight_bits(every, bits)
    assert narrow.dtype == np.uint8
    assert np.array_equal(narrow, every >> (bits - 8))
    assert (narrow.min(), narrow.max()) == (0, 255)


def test_a_value_above_the_bit_depth_is_no_picture() -> None:
    pixels = np.full((4, 4), 1024, np.uint16)
    with pytest.raises(PictureError, match="1024 does not fit into 10 bits"):
        eight_bits(pixels, 10)


@pytest.mark.parametrize(
    ("pixels", "bits", "message"),
    [
        (np.zeros((4, 4, 4), np.uint8), 8, r"1 or 3 channels, this array has the shape \[4, 4, 4\]"),
        (np.zeros((4, 4, 1), np.uint8), 8, r"1 or 3 channels, this array has the shape \[4, 4, 1\]"),
        (np.zeros(4, np.uint8), 8, r"1 or 3 channels, this array has the shape \[4\]"),
        (np.zeros((1, 4, 4, 3), np.uint8), 8, r"1 or 3 channels"),
        (np.zeros((0, 4), np.uint8), 8, "without pixels: 4 x 0"),
        (np.zeros((4, 0, 3), np.uint8), 8, "without pixels: 0 x 4"),
        (np.zeros((4, 4), np.uint8), 10, "uint8 pixels with 10 bits"),
        (np.zeros((4, 4), np.uint16), 8, "uint16 pixels with 8 bits"),
        (np.zeros((4, 4), np.uint16), 17, "uint16 pixels with 17 bits"),
        (np.zeros((4, 4), np.float32), 8, "float32 pixels with 8 bits: expected uint8 with 8, or uint16"),
        (np.zeros((4, 4), np.int8), 8, "int8 pixels"),
    ],
)
def test_what_is_no_picture_is_refused_by_its_shape_or_type(pixels: NDArray[np.uint8], bits: int, message: str) -> None:
    with pytest.raises(PictureError, match=message):
        checked(pixels, bits)
