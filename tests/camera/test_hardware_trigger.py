"""A sensor on the line releases the camera; its pictures and the PLC's triggers are paired, whichever comes first."""

import asyncio

from camera.simulated import Misbehaviour, SimulatedConfig
from inspection import clock
from inspection.frame import Crops, Missed
from inspection.verdict import Reason
from tests.camera.conftest import Rig, StartCamera, shot

NEVER = Misbehaviour(at=2, do="stall", for_frames=10_000)


def wired(*script: Misbehaviour, rate_hz: float = 1, slack_ms: float = 400, **more: float) -> SimulatedConfig:
    settings = {"kind": "simulated", "mode": "hardware_trigger", "width": 64, "height": 48, "script": script}
    return SimulatedConfig.model_validate({**settings, "rate_hz": rate_hz, "trigger_slack_ms": slack_ms, **more})


def latest(rig: Rig) -> int:
    picture = rig.process.picture()
    return picture.number if picture else 0


async def test_a_picture_waits_for_the_trigger_that_comes_after_it(start_camera: StartCamera) -> None:
    async with start_camera(wired(slack_ms=5000)) as rig:
        await rig.until(lambda: len(rig.process._early) == 1)
        asked = clock.monotonic()
        crops = await shot(rig)
    assert isinstance(crops, Crops)
    assert crops.captured < asked
    assert crops.number == 1
    assert rig.probe.unmatched == 0


async def test_a_trigger_waits_for_the_picture_that_comes_after_it(start_camera: StartCamera) -> None:
    async with start_camera(wired(NEVER.model_copy(update={"at": 1, "for_frames": 2}), slack_ms=5000)) as rig:
        await rig.until_up()
        asked = clock.monotonic()
        crops = await shot(rig)
    assert isinstance(crops, Crops)
    assert crops.ready > asked


async def test_several_triggers_get_the_pictures_in_their_order(start_camera: StartCamera) -> None:
    async with start_camera(wired(rate_hz=20, slack_ms=5000)) as rig:
        await rig.until_up()
        captures = await asyncio.gather(*(shot(rig) for _ in range(5)))
    numbers = [capture.number for capture in captures]
    assert numbers == list(range(numbers[0], numbers[0] + 5))


async def test_a_lost_picture_is_the_answer_to_its_own_trigger(start_camera: StartCamera) -> None:
    skip = Misbehaviour(at=2, do="skip")
    async with start_camera(wired(skip, rate_hz=20, slack_ms=5000)) as rig:
        await rig.until_up()
        captures = await asyncio.gather(*(shot(rig) for _ in range(3)))
    assert [capture.reason if isinstance(capture, Missed) else None for capture in captures] == [
        None,
        Reason.MISSED_TRIGGER,
        None,
    ]


async def test_a_picture_that_no_trigger_announced_is_dropped_and_counted(start_camera: StartCamera) -> None:
    async with start_camera(wired(NEVER, slack_ms=50)) as rig:
        await rig.until(lambda: latest(rig) == 1)
        await rig.until(lambda: rig.probe.unmatched == 1)
        later = await shot(rig)
    assert isinstance(later, Missed)
    assert later.reason is Reason.MISSED_TRIGGER


async def test_neither_a_quiet_line_nor_one_lost_picture_is_a_stalled_camera_but_several_are(
    start_camera: StartCamera,
) -> None:
    async with start_camera(wired(NEVER, slack_ms=50, stall_timeout_s=0.3)) as rig:

        async def quiet() -> None:
            since = clock.monotonic()
            await rig.until(lambda: clock.monotonic() - since > 0.7)
            assert rig.probe.restarts == []

        await rig.until(lambda: rig.probe.unmatched == 1)
        await quiet()
        answers = [await shot(rig)]
        await quiet()
        answers += [await shot(rig) for _ in range(2)]
        await rig.until(lambda: len(rig.probe.restarts) == 1)
    assert [answer.reason for answer in answers if isinstance(answer, Missed)] == [Reason.MISSED_TRIGGER] * 3
    assert rig.probe.restarts == ["camera_stalled no picture for 0.3 s"]
