"""What is remembered of pictures tells light, contrast, focus and position apart, at any size, depth and colour."""

import cv2
import numpy as np
import pytest

from camera.impression import Impressions, impression
from inspection.frame import Pixels
from inspection.impression import SCENE_SIDE, Impression


def part(seed: int = 0, height: int = 480, width: int = 640) -> np.ndarray:
    """Smooth structure with edges and fine grain, 40..200."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.uniform(60, 180, (12, 16)).astype(np.float32), (width, height))
    grain = cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), 0.8)
    return np.asarray(np.clip(coarse + 12 * grain, 40, 200), np.uint8)


def test_less_light_is_less_brightness_and_contrast_and_no_less_focus() -> None:
    bright, dim = impression(part(), 8), impression((part() * 0.8).astype(np.uint8), 8)
    assert dim.brightness == pytest.approx(0.8 * bright.brightness, rel=0.01)
    assert dim.contrast == pytest.approx(0.8 * bright.contrast, rel=0.02)
    assert dim.sharpness == pytest.approx(bright.sharpness, rel=0.05)


def test_a_blurred_picture_is_as_bright_and_less_sharp() -> None:
    sharp = impression(part(), 8)
    blurred = impression(np.asarray(cv2.GaussianBlur(part(), (0, 0), 1.0), np.uint8), 8)
    assert blurred.brightness == pytest.approx(sharp.brightness, rel=0.01)
    assert blurred.sharpness < 0.8 * sharp.sharpness


@pytest.mark.parametrize(
    "same",
    [
        np.repeat(part()[:, :, None], 3, axis=2),
        part().astype(np.uint16) << 2,
        part().astype(np.uint16) << 4,
        part().astype(np.uint16) << 8,
    ],
    ids=["colour", "10 bits", "12 bits", "16 bits"],
)
def test_the_same_picture_in_colour_or_deeper_looks_the_same(same: Pixels) -> None:
    depth = 8 if same.dtype == np.uint8 else int(same.max()).bit_length()
    plain, other = impression(part(), 8), impression(same, depth)
    assert (other.brightness, other.contrast, other.sharpness) == (plain.brightness, plain.contrast, plain.sharpness)
    assert np.array_equal(other.scene, plain.scene)
    assert np.array_equal(other.histogram, plain.histogram)


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (7, 5), (1, 2000), (480, 640), (2048, 2448)])
def test_a_picture_of_any_size_leaves_a_finite_impression(shape: tuple[int, int]) -> None:
    seen = impression(np.full(shape, 77, np.uint8), 8)
    assert (seen.brightness, seen.contrast, seen.texture, seen.sharpness) == (77, 0, 0, 0)
    assert seen.histogram[77 // 8] == 1
    assert seen.scene.shape == (SCENE_SIDE, SCENE_SIDE)
    assert np.allclose(seen.scene, 77)


def test_an_impression_of_many_is_the_mean_of_each() -> None:
    pictures, together = [part(seed) for seed in range(4)], Impressions()
    for picture in pictures:
        together.add(picture, 8)
    assert together.pictures == 4
    once, merged = together.take(), Impression.of([impression(picture, 8) for picture in pictures])
    assert once.pictures == merged.pictures == 4
    assert once.sharpness == pytest.approx(merged.sharpness)
    assert np.allclose(once.histogram, merged.histogram)
    assert np.allclose(once.scene, merged.scene, atol=1e-3)
    assert together.pictures == 0


def test_a_picture_of_another_size_begins_anew() -> None:
    impressions = Impressions()
    impressions.add(part(), 8)
    impressions.add(part(height=240, width=320), 8)
    assert impressions.take().pictures == 1
