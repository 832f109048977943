"""GenICam pixel formats as pixels, and the pictures that a stream lost."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from camera.formats import FrameIds, to_pixels
from inspection.errors import PictureError
from tests.camera.peers import FAKE_GIGE


def lost(*ids: int) -> list[int]:
    counter = FrameIds()
    return [counter.lost_before(frame_id) for frame_id in ids]


@pytest.mark.parametrize(("pixel_format", "bit_depth"), [("Mono8", 8), ("Mono10", 10), ("Mono12", 12)])
def test_mono_comes_as_sent_with_its_bit_depth(pixel_format: str, bit_depth: int) -> None:
    dtype = np.uint8 if bit_depth == 8 else np.uint16
    sent = np.arange(12, dtype=dtype) * (2**bit_depth // 12)
    pixels, depth = to_pixels(sent, 4, 3, pixel_format)
    assert depth == bit_depth
    assert pixels.dtype == dtype
    assert np.array_equal(pixels, sent.reshape(3, 4))
    assert not pixels.flags.writeable


def test_a_picture_is_a_copy_that_the_producers_next_one_does_not_change() -> None:
    buffer = np.full(12, 7, np.uint8)
    pixels, _ = to_pixels(buffer, 4, 3, "Mono8")
    buffer[:] = 0
    assert int(pixels.min()) == 7


def test_rgb_becomes_bgr() -> None:
    pixels, depth = to_pixels(np.tile(np.array([10, 20, 30], np.uint8), 6), 3, 2, "RGB8")
    assert depth == 8
    assert pixels.shape == (2, 3, 3)
    assert pixels[0, 0].tolist() == [30, 20, 10]


def test_a_bayer_picture_has_its_red_where_the_sensor_has() -> None:
    mosaic = np.zeros((8, 8), np.uint8)
    mosaic[0::2, 0::2] = 200  # BayerRG: the first pixel of the first row is red
    pixels, _ = to_pixels(mosaic.reshape(-1), 8, 8, "BayerRG8")
    assert pixels[2:6, 2:6].reshape(-1, 3).mean(axis=0).round().tolist() == [0, 0, 200]


def test_what_a_producer_sends_behind_the_picture_is_left_out() -> None:
    pixels, _ = to_pixels(np.arange(20, dtype=np.uint8), 4, 3, "Mono8")
    assert int(pixels.max()) == 11


@pytest.mark.parametrize(
    ("data", "size", "pixel_format"),
    [
        (np.zeros(11, np.uint8), (4, 3), "Mono8"),
        (np.zeros(12, np.uint8), (4, 3), "RGB8"),
        (np.zeros(12, np.uint8), (4, 3), "Mono12"),
        (np.zeros(0, np.uint8), (0, 3), "Mono8"),
        (np.zeros(12, np.uint8), (4, 3), "Mono12Packed"),
        (np.zeros(12, np.float32), (4, 3), "Mono8"),
    ],
)
def test_a_buffer_that_is_no_such_picture_is_a_picture_error(
    data: "np.ndarray[tuple[int], np.dtype[np.uint8]]", size: tuple[int, int], pixel_format: str
) -> None:
    with pytest.raises(PictureError):
        to_pixels(data, *size, pixel_format)


def test_an_unsupported_format_is_told_with_those_there_are() -> None:
    with pytest.raises(PictureError, match="set pixel_format to one of Mono8, Mono10, Mono12, BayerRG8, RGB8"):
        to_pixels(np.zeros(12, np.uint8), 4, 3, "YUV422_8")


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ((7, 8, 9), [0, 0, 0]),
        ((7, 10), [0, 2]),
        ((65534, 65535, 1, 2), [0, 0, 0, 0]),
        ((65534, 2), [0, 2]),
        ((65535, 65536, 65538), [0, 0, 1]),
        ((2**40, 2**40 + 3), [0, 2]),
        ((500, 1, 2), [0, 0, 0]),
        ((1, 5000, 5001), [0, 0, 0]),
        ((7, 7, 8), [0, 0, 0]),
    ],
    ids=[
        "none", "two", "the 16-bit wrap skips 0", "two across the wrap", "64 bits go on past 16", "64 bits",
        "a stream that began anew", "a jump too long to be a loss", "the same again",
    ],
)  # fmt: skip
def test_lost_pictures_are_counted_from_the_ids(ids: tuple[int, ...], expected: list[int]) -> None:
    assert lost(*ids) == expected


@pytest.mark.parametrize("before", [41, 65534, 65535])
def test_a_damaged_picture_is_not_counted_as_lost_once_more(before: int) -> None:
    counter = FrameIds()
    counter.lost_before(before)
    counter.lost_one()
    after = (before - 1 + 2) % 65535 + 1
    assert counter.lost_before(after) == 0


def test_a_gige_vision_cameras_lost_pictures_are_counted_across_the_wrap_of_its_16_bit_ids() -> None:
    """Aravis' fake camera on loopback begins near the wrap and loses packets as told; whole pictures count as come."""
    serial = f"linegate{os.getpid()}"
    lossy = [FAKE_GIGE, "-i", "127.0.0.1", "-s", serial, "-r", "20"]
    camera = subprocess.Popen(lossy, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        told = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("gige_ids.py")), f"Aravis-Fake-{serial}", "180", "100"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        camera.kill()
        camera.wait()
    assert told.returncode == 0, told.stderr
    whole = [int(line.split()[0]) for line in told.stdout.splitlines() if line.endswith(" 0")]
    first, last = whole[0], whole[-1]
    assert (first > 60_000, last < 1_000) == (True, True)
    missing = sum(lost(*whole))
    assert missing > 0
    assert len(whole) + missing == 65535 - first + 1 + last
