"""A camera that gives no pictures: its cause and what to do, in the log and for the page."""

import logging
import os
import signal
import socket
from contextlib import closing

import pytest

from camera.opencv import OpencvConfig
from tests.camera.conftest import StartCamera, child_of, reason, scripted, shot


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


async def test_a_device_that_is_not_there_is_warned_of_once_with_cause_and_remedy(
    start_camera: StartCamera, caplog: pytest.LogCaptureFixture
) -> None:
    config = OpencvConfig.model_validate({"kind": "opencv", "source": "/dev/video98", "restart_max_s": 0.5})
    async with start_camera(config) as rig:
        await rig.until(lambda: len(rig.probe.restarts) >= 4)
        trouble = rig.process.trouble

    why = "there is no such device; `linegate cameras` lists those there are"
    assert trouble == f"camera_lost: /dev/video98 cannot be opened: {why}"
    assert warnings(caplog)[0] == f"station station, camera camera: {trouble}"
    assert len(warnings(caplog)) < len(rig.probe.restarts)


@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        (False, "Connection refused; is the camera on and connected"),
        (True, "takes the connection, but gives no stream; check protocol, port and path"),
    ],
)
async def test_a_stream_that_does_not_open_is_warned_of_before_its_process_is_killed(
    start_camera: StartCamera, caplog: pytest.LogCaptureFixture, *, answers: bool, cause: str
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"rtsp://user:secret@127.0.0.1:{silent.getsockname()[1]}/live"
        if not answers:
            silent.close()
        async with start_camera(OpencvConfig.model_validate({"kind": "opencv", "source": url})) as rig:
            await rig.until(lambda: len(rig.probe.restarts) >= 1)

    assert cause in warnings(caplog)[0]
    assert "secret" not in caplog.text


async def test_a_camera_is_opening_until_its_first_opening_ended_and_never_again(start_camera: StartCamera) -> None:
    async with start_camera(scripted()) as rig:
        assert rig.process.opening
        await rig.until_up()
        os.kill(child_of(rig), signal.SIGKILL)
        await rig.until(lambda: not rig.process.up)
        assert not rig.process.opening

    absent = OpencvConfig.model_validate({"kind": "opencv", "source": "/dev/video98"})
    async with start_camera(absent) as rig:
        await rig.until(lambda: len(rig.probe.restarts) >= 1)
        assert not rig.process.opening


async def test_a_camera_that_is_lost_and_comes_back_is_warned_of_and_then_said_to_be_over(
    start_camera: StartCamera, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with start_camera(scripted()) as rig:
        await rig.until_up()
        assert rig.process.trouble == ""
        os.kill(child_of(rig), signal.SIGKILL)
        await rig.until(lambda: not rig.process.up)
        assert rig.process.trouble.startswith("camera_lost: ")
        await rig.until_up()
        assert reason(await shot(rig)) is None

    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "station station, camera camera: camera_lost: its process ended: signal 9"
    assert "camera camera: over after" in lines[1]


async def test_a_source_without_more_pictures_is_warned_of(
    start_camera: StartCamera, caplog: pytest.LogCaptureFixture
) -> None:
    async with start_camera(scripted(frames=1), triggered=False) as rig:
        await rig.until(lambda: "no more pictures" in caplog.text)
        assert rig.process.trouble == "camera_lost: the source has no more pictures"
