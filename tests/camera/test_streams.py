"""Streams that break, stall, hide behind a login, and hold old pictures back."""

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from camera.genicam import GenicamConfig
from camera.kinds import open_camera
from camera.opencv import OpencvConfig, redact
from inspection import clock
from inspection.errors import CameraError
from inspection.frame import Crops, Missed
from inspection.verdict import Reason
from tests.camera.conftest import RECIPE, StartCamera, shot
from tests.camera.peers import VIKY, RtspServer

# How rtsp_server.py tells the moment of exposure: one gray level for each of these many seconds, 200 levels.
TICK = 0.02
LEVELS, FIRST = 200, 20
# JPEG may move a gray level by one, and the server draws a picture up to one tick before it sends it.
TOLERANCE = 3 * TICK


def stream(server: RtspServer, **more: object) -> OpencvConfig:
    return OpencvConfig.model_validate({"kind": "opencv", "source": server.url, "stall_timeout_s": 5, **more})


def age(gray: float, now: float) -> float:
    """Seconds between the exposure of a picture of this gray and `now`, if they are below one round of levels."""
    return (now / TICK - (gray - FIRST)) % LEVELS * TICK


async def test_a_server_that_dies_is_a_lost_camera_and_is_found_again_when_it_is_back(
    start_camera: StartCamera,
) -> None:
    with RtspServer() as server:
        async with start_camera(stream(server)) as rig:
            await rig.until_up()
            before = await shot(rig)
            server.kill()
            await rig.until(lambda: not rig.process.up)
            lost = await shot(rig)
            with RtspServer(server.port):
                await rig.until_up()
                after = await shot(rig)
    assert isinstance(before, Crops)
    assert isinstance(lost, Missed)
    assert lost.reason is Reason.CAMERA_LOST
    assert isinstance(after, Crops)
    assert after.number > before.number


async def test_a_stream_that_returns_with_another_size_is_told_and_is_right_again_with_the_old_one(
    start_camera: StartCamera, caplog: pytest.LogCaptureFixture
) -> None:
    with RtspServer() as server:
        async with start_camera(stream(server)) as rig:
            await rig.until_up()
            assert isinstance(await shot(rig), Crops)
            server.kill()
            await rig.until(lambda: not rig.process.up)
            with RtspServer(server.port, size=(640, 480)) as larger:
                await rig.until(lambda: bool(rig.process.usable.problem))
                bad = await shot(rig)
                larger.kill()
                await rig.until(lambda: not rig.process.up)
            with RtspServer(server.port):
                await rig.until_up()
                assert isinstance(await shot(rig), Crops)
                assert rig.process.usable.problem == ""
    assert isinstance(bad, Missed)
    assert bad.reason is Reason.DECODE_ERROR
    assert "640x480 instead of 320x240; set the camera as it was, or restart linegate" in bad.detail
    assert any("no picture can be judged: 640x480 instead of 320x240" in line for line in caplog.messages)


async def test_a_station_that_ends_gives_the_device_back(start_camera: StartCamera) -> None:
    with RtspServer() as server:
        for triggered in (True, False):
            async with start_camera(stream(server), triggered=triggered) as rig:
                await rig.until_up()
            assert server.told() == "teardown"


async def test_a_server_that_hangs_is_a_stalled_camera(start_camera: StartCamera) -> None:
    with RtspServer() as server:
        async with start_camera(stream(server, stall_timeout_s=1)) as rig:
            await rig.until_up()
            assert isinstance(await shot(rig), Crops)
            server.stall()
            lost = await shot(rig)
            while isinstance(lost, Crops):
                lost = await shot(rig)
            await rig.until(lambda: len(rig.probe.restarts) == 1)
    assert lost.reason is Reason.CAMERA_STALLED
    assert rig.probe.restarts == ["camera_stalled no picture for 1 s"]


async def test_an_address_that_takes_the_connection_and_says_nothing_is_given_up(start_camera: StartCamera) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/line"
        async with start_camera(OpencvConfig(kind="opencv", source=source, open_timeout_s=1)) as rig:
            began = clock.monotonic()
            await rig.until(lambda: len(rig.probe.restarts) == 1)
            assert clock.monotonic() - began >= 1
    assert rig.probe.restarts[0].startswith("camera_lost ")


def test_a_login_comes_from_a_file_and_a_wrong_one_is_told_without_it(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("viewer:p@ss/word\n")
    wrong.write_text("viewer:guess\n")
    with RtspServer(user="viewer", password="p@ss/word") as server:
        with closing(open_camera("top", stream(server, password_file=right))) as camera:
            assert next(camera.captures()).number == 1
        inline = server.url.replace("//", "//viewer:guess@")
        for config, expected in (
            (stream(server, password_file=wrong), "refuses the user and password"),
            (stream(server, source=inline), "refuses the user and password"),
            (stream(server), "wants a user and password; give a password_file"),
        ):
            with pytest.raises(CameraError, match=expected) as refused:
                open_camera("top", config)
            assert "guess" not in str(refused.value)


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A port that answers every connection with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(answer)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"RTSP/1.0 404 Not Found\r\nCSeq: 1\r\n\r\n", "has no stream of this path"),
        (b"RTSP/1.0 503 Busy\r\nCSeq: 1\r\n\r\n", "answers 503; check the path"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "takes the connection, but gives no stream; check protocol, port and path"),
        (b"", "takes the connection, but gives no stream; check protocol, port and path"),
    ],
)
def test_what_a_server_answers_is_told_in_words(answer: bytes, expected: str) -> None:
    with answering(answer) as port, pytest.raises(CameraError, match=expected):
        open_camera("top", OpencvConfig(kind="opencv", source=f"rtsp://127.0.0.1:{port}/a", open_timeout_s=5))


def test_a_missing_login_file_is_told(tmp_path: Path) -> None:
    config = OpencvConfig(kind="opencv", source="rtsp://127.0.0.1:1/line", password_file=tmp_path / "none")
    with pytest.raises(CameraError, match=r"none: No such file or directory"):
        open_camera("top", config)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rtsp://admin:secret@10.0.0.7/a", "rtsp://***@10.0.0.7/a"),
        ("rtsp://admin:se@cr/et@10.0.0.7/a", "rtsp://***@10.0.0.7/a"),
        ("rtsp://10.0.0.7/a", "rtsp://10.0.0.7/a"),
        ("rtspsrc location=rtsp://u:p@h/a ! appsink", "rtspsrc location=rtsp://***@h/a ! appsink"),
    ],
)
def test_no_text_shows_a_urls_login(text: str, expected: str) -> None:
    assert redact(text) == expected


async def test_pictures_held_back_by_a_pause_are_never_the_answer_to_a_later_shot(start_camera: StartCamera) -> None:
    with RtspServer() as server:
        async with start_camera(stream(server)) as rig:
            await rig.until_up()
            for _ in range(3):
                assert isinstance(await shot(rig), Crops)
            child = rig.process._child
            assert child is not None
            assert child.pid is not None
            # The pause is the fault: pictures from before and after the question pile up in the connection.
            os.kill(child.pid, signal.SIGSTOP)
            await asyncio.sleep(0.8)
            asked = clock.monotonic()
            asking = asyncio.create_task(shot(rig))
            await asyncio.sleep(0.8)
            os.kill(child.pid, signal.SIGCONT)
            crops = await asking
            now = clock.monotonic()
    assert isinstance(crops, Crops)
    exposed = now - age(float(np.median(crops.pixels[RECIPE])), now)
    assert exposed > asked - TOLERANCE
    assert asked <= crops.captured


def test_pictures_that_a_gentl_producer_kept_during_a_pause_count_as_older_than_the_pause() -> None:
    config = GenicamConfig(kind="genicam", cti=(VIKY,), trigger="off", serial="1", buffers=4, latency_ms=0)
    with closing(open_camera("top", config)) as camera:
        captures = camera.captures()
        paused = next(captures).captured
        time.sleep(0.6)  # the pause is the fault: the producer's buffers fill
        resumed = clock.monotonic()
        kept = [next(captures) for _ in range(4)]
        later = next(capture for capture in captures if capture.captured >= resumed)
    assert [capture.captured for capture in kept] == [paused] * 4
    assert later.number > kept[-1].number


def test_numbers_and_times_of_a_stream_ascend() -> None:
    with RtspServer() as server, closing(open_camera("top", stream(server))) as camera:
        captures = camera.captures()
        taken = [next(captures) for _ in range(25)]
    assert all(a.number + 1 == b.number and a.captured <= b.captured for a, b in pairwise(taken))
