"""The life of a camera's child: it costs parts, never the station, and it is never left over."""

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from camera.child import Setup, main
from camera.ring import Ring
from camera.simulated import SimulatedConfig
from inspection import clock, spawn
from inspection.frame import Crops, Frame, Missed
from inspection.verdict import Reason
from tests.camera.conftest import StartCamera, child_of, corner, named, read_named, reason, scripted, shot


def test_a_child_whose_station_is_gone_leaves_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    frames, crops = Ring.create(2, 1 << 20), Ring.create(2, 1 << 16)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    config = SimulatedConfig(kind="simulated")
    try:
        with theirs:
            setup = Setup(
                "top", config, False, {"corner": named(corner)}, read_named, None, os.getpid(), theirs, frames, crops
            )
            process = spawn.start(main, setup, name="camera top")
        process.join(60)
        assert process.exitcode == 0
    finally:
        frames.close()
        crops.close()
    assert capfd.readouterr().err == ""


async def test_a_machine_out_of_files_costs_parts_and_not_the_station(start_camera: StartCamera) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with start_camera(scripted()) as rig:
        await rig.until_up()
        child = child_of(rig)
        resource.setrlimit(resource.RLIMIT_NOFILE, (4, hard))
        try:
            os.kill(child, signal.SIGKILL)
            await rig.until(lambda: len(rig.probe.restarts) == 2)
            lost = await shot(rig)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await rig.until_up()
        assert reason(await shot(rig)) is None
    assert isinstance(lost, Missed)
    assert (lost.reason, lost.detail) == (
        Reason.CAMERA_LOST,
        "its process cannot be started: Too many open files",
    )


async def test_restarts_leave_nothing_behind(start_camera: StartCamera) -> None:
    def held() -> tuple[int, int]:
        own = Path("/proc/self")
        return len(list((own / "fd").iterdir())), len(list((own / "task").iterdir()))

    after: list[tuple[int, int]] = []
    async with start_camera(scripted("die", mode="stream", restart_max_s=0.5), triggered=False) as rig:
        for count in (1, 2, 3):
            await rig.until(lambda count=count: len(rig.probe.restarts) == count)  # type: ignore[misc]
            after.append(held())
    assert after[2] == after[1] <= after[0]


async def test_whoever_looks_at_a_picture_while_its_camera_dies_cannot_reach_the_line(
    start_camera: StartCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, go_on = threading.Semaphore(0), threading.Semaphore(0)
    view_of = Ring._view

    def slowly(ring: Ring, *where: Any) -> "np.ndarray[Any, Any]":
        view = view_of(ring, *where)
        if threading.current_thread().name == "viewer":
            inside.release()
            go_on.acquire()
        return view

    def rings() -> int:
        return Path("/proc/self/maps").read_text().count("memfd:linegate-ring")

    monkeypatch.setattr(Ring, "_view", slowly)
    seen: list[Frame | None] = []
    async with start_camera(scripted(mode="stream", restart_max_s=0.5), triggered=False) as rig:
        for _ in range(5):
            await rig.until_up()
            assert isinstance(await rig.next(), Crops)
            viewer = threading.Thread(target=lambda: seen.append(rig.process.picture()), name="viewer")
            viewer.start()
            await rig.until(lambda: inside.acquire(blocking=False))
            os.kill(child_of(rig), signal.SIGKILL)
            await rig.until(lambda: not rig.process.up)
            await rig.until_up()
            go_on.release()
            viewer.join()
            while not rig.captures.empty():
                rig.captures.get_nowait()
        assert len(rig.probe.restarts) == 5
        assert isinstance(await rig.next(), Crops)
        assert rings() == 2  # the frames and the crops of the child that runs
    assert rings() == 0
    assert len(seen) == 5
    assert all(frame is not None and frame.pixels.shape == (48, 64) for frame in seen)


async def test_the_pause_is_kept_between_two_tries(start_camera: StartCamera) -> None:
    tries: list[float] = []
    async with start_camera(scripted("disconnect", at=1, mode="stream")) as rig:
        for count in range(1, 4):
            await rig.until(lambda count=count: len(rig.probe.restarts) >= count)  # type: ignore[misc]
            tries.append(clock.monotonic())
    first, second = (later - earlier for earlier, later in pairwise(tries))
    assert first > 0.45
    assert second > 0.95


async def test_ctrl_c_in_the_terminal_is_the_stations_business_and_not_the_cameras(start_camera: StartCamera) -> None:
    async with start_camera(scripted()) as rig:
        await rig.until_up()
        os.kill(child_of(rig), signal.SIGINT)
        assert reason(await shot(rig)) is None
        assert reason(await shot(rig)) is None
    assert rig.probe.restarts == []


STATION = """
import asyncio
from camera.process import CameraProcess
from camera.simulated import SimulatedConfig
from inspection.probe import SILENT
from tests.camera.conftest import corner, named, read_named

async def main():
    config = SimulatedConfig(kind="simulated", script=({script}))
    camera = CameraProcess(
        "s", "c", config, dict(corner=named(corner)), read_named,
        triggered=True, probe=SILENT, on_capture=print, on_look=print,
    )
    running = asyncio.create_task(camera.run())
    while not camera.up:
        await asyncio.sleep(0.01)
    asyncio.create_task(camera.shoot(1e9))
    await asyncio.sleep(0.1)
    print(camera._child.pid, flush=True)
    await running

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize("script", ["", "{'at': 1, 'do': 'stall', 'for_frames': 1000},"], ids=["idle", "stalled"])
def test_a_camera_does_not_outlive_its_station(script: str, tmp_path: Path) -> None:
    program = tmp_path / "station.py"
    program.write_text(STATION.format(script=script))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    station = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True, env=environment)
    with station:
        assert station.stdout is not None
        child = Path(f"/proc/{int(station.stdout.readline())}")
        assert child.exists()
        station.kill()
    give_up = clock.monotonic() + 10
    while child.exists() and clock.monotonic() < give_up:
        time.sleep(0.01)
    assert not child.exists()
