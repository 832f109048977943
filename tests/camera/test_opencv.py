"""OpenCV's sources: which is which, video files, and what is told where one does not open. No V4L2 device is here."""

import struct
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from camera.opencv import OpencvCamera, OpencvConfig
from inspection.errors import CameraError
from inspection.frame import Capture, Frame
from inspection.verdict import Reason
from tests.camera.peers import write_video


def config(source: str | int | Path, **more: object) -> OpencvConfig:
    text = str(source) if isinstance(source, Path) else source
    return OpencvConfig.model_validate({"kind": "opencv", "source": text, **more})


def played(source: Path, **more: object) -> Iterator[Capture]:
    with closing(OpencvCamera("top", config(source, **more))) as camera:
        yield from camera.captures()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (0, "v4l2"),
        ("2", "v4l2"),
        ("/dev/video0", "v4l2"),
        ("/dev/v4l/by-id/usb-Maker-index0", "v4l2"),
        ("rtsp://10.0.0.7/a", "stream"),
        ("RTSPS://10.0.0.7/a", "stream"),
        ("http://10.0.0.7/mjpeg", "stream"),
        ("udp://@239.0.0.1:5000", "stream"),
        ("v4l2src ! videoconvert ! appsink", "gstreamer"),
        ("films/line3.mp4", "file"),
    ],
)
def test_what_a_source_is_shows_in_how_it_is_written(source: str | int, expected: str) -> None:
    assert config(source).source_type == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"source": ""}, "at least 1 character"),
        ({"source": "rtsp:///stream"}, "names no host"),
        ({"source": "rtsp://10.0.0.7:99999/a"}, "out of range"),
        ({"source": True}, "valid string"),
        ({"source": "0", "fourcc": "MJPEG"}, "pattern"),
    ],
)
def test_a_source_that_cannot_be_is_refused_by_the_configuration(more: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        OpencvConfig.model_validate({"kind": "opencv", **more})


def grays(captures: Iterator[Capture]) -> list[int]:
    return [int(round(float(c.pixels.mean()), -1)) for c in captures if isinstance(c, Frame)]


def test_a_video_file_ends_after_its_last_picture(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.avi", 4)
    assert grays(played(film, loop=False)) == [50, 60, 70, 80]


def test_a_video_file_after_a_stream_in_the_same_process_keeps_its_first_picture(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.avi", 4)
    with pytest.raises(CameraError):
        OpencvCamera("top", config("rtsp://127.0.0.1:1/a"))
    assert grays(played(film, loop=False)) == [50, 60, 70, 80]


def test_a_looping_video_file_begins_again_and_counts_on(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.avi", 3)
    captures = list(islice(played(film), 7))
    assert grays(iter(captures)) == [50, 60, 70, 50, 60, 70, 50]
    assert [capture.number for capture in captures] == [1, 2, 3, 4, 5, 6, 7]


def test_a_truncated_video_file_gives_what_is_whole(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.avi", 20)
    film.write_bytes(film.read_bytes()[: film.stat().st_size * 3 // 5])
    assert 0 < len(grays(played(film, loop=False))) < 20


def test_a_video_file_that_vanishes_is_a_lost_camera(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.avi", 2)
    captures = played(film)
    for _ in range(2):
        next(captures)
    film.unlink()
    with pytest.raises(CameraError, match="there is no file"):
        next(captures)


@pytest.mark.skipif(cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER), reason="this OpenCV has GStreamer")
def test_a_pipeline_without_gstreamer_is_told() -> None:
    with pytest.raises(CameraError, match="built without GStreamer"):
        OpencvCamera("top", config("videotestsrc ! appsink"))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("/dev/video63", "there is no such device; `linegate cameras` lists those there are"),
        ("63", "there is no such device"),
        ("/dev/null", "it is no camera, or another program has it"),
        ("rtsp://127.0.0.1:1/a", "127.0.0.1:1: Connection refused"),
    ],
)
def test_what_does_not_open_is_told_with_what_to_look_at(source: str, expected: str) -> None:
    with pytest.raises(CameraError, match=expected) as raised:
        OpencvCamera("top", config(source, open_timeout_s=5))
    assert raised.value.reason is Reason.CAMERA_LOST


def test_a_file_that_is_no_video_is_told(tmp_path: Path) -> None:
    text = tmp_path / "film.mp4"
    text.write_text("not a film")
    with pytest.raises(CameraError, match="it is no video that FFmpeg can read"):
        OpencvCamera("top", config(text))


def test_pictures_of_a_video_are_8_bit_bgr(tmp_path: Path) -> None:
    frame = next(played(write_video(tmp_path / "film.avi", 1)))
    assert isinstance(frame, Frame)
    assert (frame.pixels.shape, frame.bit_depth) == ((48, 64, 3), 8)
    assert frame.pixels.dtype == np.uint8


def test_a_film_that_says_it_was_turned_comes_as_the_sensor_stored_it(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    for gray in (40, 90):
        writer.write(np.full((48, 64, 3), gray, np.uint8))
    writer.release()
    data = bytearray(film.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 48 * 65536, 0, 1 << 30)
    film.write_bytes(data)
    assert cv2.VideoCapture(str(film), cv2.CAP_FFMPEG).get(cv2.CAP_PROP_ORIENTATION_META) == 90

    with closing(OpencvCamera("top", config(film))) as camera:
        frame = next(camera.captures())
    assert isinstance(frame, Frame)
    assert frame.pixels.shape == (48, 64, 3)
