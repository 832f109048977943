"""What goes wrong in a camera, each through the real child, and the reason that its part gets."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from camera.folder import FolderConfig
from camera.health import HealthConfig
from camera.process import MAX_OUTSTANDING
from camera.simulated import Deed, Misbehaviour
from camera.usable import BAD_IN_A_ROW
from inspection import clock
from inspection.errors import PictureError
from inspection.frame import CropMaker, CropPixels, Crops, Missed, Pixels
from inspection.verdict import Reason
from tests.camera.conftest import RECIPE, StartCamera, child_of, corner, reason, scripted, shot
from tests.camera.peers import write_folder

MODES = ("on_demand", "stream")


def refuse(pixels: Pixels, bit_depth: int) -> CropPixels:
    raise PictureError("no crop of this")


UNFIT: list[tuple[Deed, Reason, str]] = [
    ("freeze", Reason.FRAME_FROZEN, "the same picture 2 times"),
    ("dark", Reason.FRAME_DARK, "mean brightness"),
    ("blown", Reason.FRAME_BLOWN, "at full scale"),
    ("garbage", Reason.DECODE_ERROR, "not an image"),
    ("size_change", Reason.DECODE_ERROR, "32x48 instead of 64x48"),
    ("skip", Reason.MISSED_TRIGGER, "skipped by script"),
]


async def test_an_unfit_picture_costs_its_own_part_only(start_camera: StartCamera) -> None:
    script = [Misbehaviour(at=2 * place, do=deed) for place, (deed, _, _) in enumerate(UNFIT, 1)]
    async with start_camera(scripted(script=script)) as rig:
        await rig.until_up()
        captures = [await shot(rig) for _ in range(2 * len(UNFIT) + 1)]
    assert [reason(capture) for capture in captures[::2]] == [None] * (len(UNFIT) + 1)
    assert [capture.number for capture in captures] == list(range(1, 2 * len(UNFIT) + 2))
    for unfit, (_, expected, detail) in zip(captures[1::2], UNFIT, strict=True):
        assert isinstance(unfit, Missed)
        assert unfit.reason is expected
        assert detail in unfit.detail
    assert rig.probe.missed == [expected for _, expected, _ in UNFIT]
    assert rig.probe.restarts == []


async def test_dark_and_blown_mean_the_same_at_12_bits(start_camera: StartCamera) -> None:
    script = [Misbehaviour(at=2, do="dark"), Misbehaviour(at=3, do="blown")]
    async with start_camera(scripted(bit_depth=12, script=script)) as rig:
        await rig.until_up()
        captures = [await shot(rig) for _ in range(4)]
    assert [reason(capture) for capture in captures] == [None, Reason.FRAME_DARK, Reason.FRAME_BLOWN, None]


async def test_every_form_of_garbage_is_a_decode_error(start_camera: StartCamera) -> None:
    async with start_camera(scripted("garbage", at=1, for_frames=3)) as rig:
        await rig.until_up()
        captures = [await shot(rig) for _ in range(4)]
    assert [reason(capture) for capture in captures] == [Reason.DECODE_ERROR] * 3 + [None]


async def test_an_unfit_picture_can_be_looked_at_unless_it_is_none(start_camera: StartCamera) -> None:
    script = [Misbehaviour(at=2, do="blown"), Misbehaviour(at=3, do="garbage")]
    async with start_camera(scripted(script=script)) as rig:
        await rig.until_up()
        for _ in range(2):
            await shot(rig)
        blown = rig.process.picture()
        await shot(rig)
        after = rig.process.picture()
    assert blown is not None
    assert int(blown.pixels.min()) == 255
    assert after is not None
    assert after.number == blown.number == 2


async def test_a_stream_that_froze_while_nobody_asked_is_known_at_the_first_shot(start_camera: StartCamera) -> None:
    async with start_camera(scripted("freeze", for_frames=100_000, mode="stream")) as rig:
        await rig.until_up()
        up_since = clock.monotonic()
        await rig.until(lambda: clock.monotonic() - up_since > 1)
        assert reason(await shot(rig)) is Reason.FRAME_FROZEN


async def test_a_camera_that_comes_back_with_another_size_is_not_believed(
    start_camera: StartCamera, tmp_path: Path
) -> None:
    pictures = write_folder(tmp_path / "pictures", 1)
    cv2.imwrite(str(pictures / "02.png"), np.full((24, 32), 90, np.uint8))
    live = FolderConfig(kind="folder", path=pictures, health=HealthConfig(same_size=True))
    async with start_camera(live) as rig:
        await rig.until_up()
        before = await shot(rig)
        (pictures / "01.png").unlink()
        os.kill(child_of(rig), signal.SIGKILL)
        await rig.until(lambda: not rig.process.up)
        await rig.until_up()
        after = await shot(rig)
    assert reason(before) is None
    assert isinstance(after, Missed)
    assert after.reason is Reason.DECODE_ERROR
    assert after.detail.startswith("32x24 instead of 64x48; ")


@pytest.mark.parametrize("prepare", [corner, refuse], ids=["another size", "no crop"])
async def test_a_camera_whose_pictures_can_none_of_them_be_judged_says_so(
    prepare: CropMaker, start_camera: StartCamera
) -> None:
    """One bad picture costs its part; five in a row, whatever is wrong with them, the station."""
    deed: Deed | None = "size_change" if prepare is corner else None
    async with start_camera(scripted(deed, for_frames=BAD_IN_A_ROW), prepare=prepare) as rig:
        await rig.until_up()
        told = []
        for _ in range(BAD_IN_A_ROW + 2):
            await shot(rig)
            told.append(bool(rig.process.usable.problem))
    if prepare is corner:
        assert told == [False] * BAD_IN_A_ROW + [True, False]
    else:
        assert told == [False] * (BAD_IN_A_ROW - 1) + [True] * 3


@pytest.mark.parametrize("mode", MODES)
async def test_a_killed_child_is_lost_and_replaced(mode: str, start_camera: StartCamera) -> None:
    async with start_camera(scripted(mode=mode)) as rig:
        await rig.until_up()
        before = await shot(rig)
        os.kill(child_of(rig), signal.SIGKILL)
        await rig.until(lambda: not rig.process.up)
        lost = await shot(rig)
        await rig.until_up()
        after = await shot(rig)
    assert reason(lost) is Reason.CAMERA_LOST
    assert rig.probe.restarts == ["camera_lost its process ended: signal 9"]
    assert isinstance(after, Crops)
    assert after.number > before.number
    assert rig.probe.ups == [True, False, True, False]


async def test_a_driver_that_takes_its_process_along_costs_the_open_part(start_camera: StartCamera) -> None:
    async with start_camera(scripted("die")) as rig:
        await rig.until_up()
        captures = [await shot(rig), await shot(rig)]
        await rig.until(lambda: len(rig.probe.restarts) == 1)
    assert [reason(capture) for capture in captures] == [None, Reason.CAMERA_LOST]


async def test_a_disconnected_camera_is_lost_and_opened_again(start_camera: StartCamera) -> None:
    async with start_camera(scripted("disconnect")) as rig:
        await rig.until_up()
        captures = [await shot(rig), await shot(rig)]
        await rig.until_up()
        captures.append(await shot(rig))
    assert [reason(capture) for capture in captures] == [None, Reason.CAMERA_LOST, None]
    assert rig.probe.restarts == ["camera_lost disconnected by script"]


async def test_a_free_running_camera_that_is_lost_says_so_once(start_camera: StartCamera) -> None:
    async with start_camera(scripted("disconnect", mode="stream"), triggered=False) as rig:
        captures = [await rig.next() for _ in range(4)]
    assert [reason(capture) for capture in captures] == [None, Reason.CAMERA_LOST, None, Reason.CAMERA_LOST]


@pytest.mark.parametrize("mode", MODES)
async def test_a_camera_that_gives_nothing_is_stalled_and_replaced(mode: str, start_camera: StartCamera) -> None:
    stalling = scripted("stall", at=100, for_frames=9000, mode=mode, rate_hz=100, stall_timeout_s=0.5)
    async with start_camera(stalling) as rig:
        await rig.until_up()
        captures = [await shot(rig)]
        while reason(captures[-1]) is None:
            captures.append(await shot(rig))
        await rig.until_up()
        again = await shot(rig)
    assert reason(captures[-1]) is Reason.CAMERA_STALLED
    assert rig.probe.restarts == ["camera_stalled no picture for 0.5 s"]
    assert reason(again) is None


@pytest.mark.parametrize("triggered", [True, False])
async def test_a_stream_that_stalls_is_replaced_although_nobody_asks(
    triggered: bool, start_camera: StartCamera
) -> None:
    stalling = scripted("stall", for_frames=3000, mode="stream", stall_timeout_s=0.5)
    async with start_camera(stalling, triggered=triggered) as rig:
        await rig.until(lambda: len(rig.probe.restarts) == 1)
    assert rig.probe.restarts == ["camera_stalled no picture for 0.5 s"]


async def test_a_camera_that_is_not_asked_owes_nothing(start_camera: StartCamera) -> None:
    async with start_camera(scripted(stall_timeout_s=0.2)) as rig:
        await rig.until_up()
        idle_since = clock.monotonic()
        await rig.until(lambda: clock.monotonic() - idle_since > 1)
        assert reason(await shot(rig)) is None
    assert rig.probe.restarts == []


async def test_a_slow_pace_is_no_stall(start_camera: StartCamera) -> None:
    async with start_camera(scripted(rate_hz=0.7, stall_timeout_s=0.5), triggered=False) as rig:
        captures = [await rig.next() for _ in range(2)]
    assert [reason(capture) for capture in captures] == [None, None]
    assert rig.probe.restarts == []


async def test_a_camera_that_does_not_open_in_time_is_killed_and_tried_again(start_camera: StartCamera) -> None:
    async with start_camera(scripted(open_timeout_s=5)) as rig:
        await rig.until(lambda: rig.process._child is not None)
        os.kill(child_of(rig), signal.SIGSTOP)
        assert reason(await shot(rig)) is Reason.CAMERA_LOST
        await rig.until(lambda: len(rig.probe.restarts) >= 1)
        await rig.until_up()
    # On a busy machine a later child may take as long by itself.
    assert all(why.startswith("camera_lost not open after 5 s; ") for why in rig.probe.restarts)


async def test_a_child_that_hangs_in_its_driver_is_killed(start_camera: StartCamera) -> None:
    async with start_camera(scripted(stall_timeout_s=0.5)) as rig:
        await rig.until_up()
        hung = child_of(rig)
        os.kill(hung, signal.SIGSTOP)
        assert reason(await shot(rig)) is Reason.CAMERA_STALLED
        await rig.until_up()
        assert reason(await shot(rig)) is None
        with pytest.raises(ProcessLookupError):
            os.kill(hung, 0)


async def test_a_shot_whose_time_is_up_is_a_missed_trigger(start_camera: StartCamera) -> None:
    async with start_camera(scripted("stall", at=1, for_frames=100)) as rig:
        await rig.until_up()
        assert reason(await shot(rig, within_s=1)) is Reason.MISSED_TRIGGER
        late = await shot(rig)
    assert isinstance(late, Crops)
    assert late.number == 2  # the picture of the first shot came too late for it, and is nobody else's


async def test_shots_beyond_what_a_camera_can_owe_are_overload(start_camera: StartCamera) -> None:
    async with start_camera(scripted("stall", at=1, for_frames=3000, stall_timeout_s=1)) as rig:
        await rig.until_up()
        captures = await asyncio.gather(*(shot(rig) for _ in range(MAX_OUTSTANDING + 1)))
    reasons = [reason(capture) for capture in captures]
    assert reasons == [Reason.CAMERA_STALLED] * MAX_OUTSTANDING + [Reason.OVERLOAD]


async def test_a_source_that_ends_is_lost_and_not_tried_again(start_camera: StartCamera) -> None:
    async with start_camera(scripted(frames=1)) as rig:
        await rig.until_up()
        assert reason(await shot(rig)) is None
        last = await shot(rig)
        await rig.until(lambda: not rig.process.up)
        later = await shot(rig)
    for lost in (last, later):
        assert isinstance(lost, Missed)
        assert (lost.reason, lost.detail) == (Reason.CAMERA_LOST, "the source has no more pictures")
    assert rig.probe.restarts == []


async def test_a_picture_larger_than_allowed_is_a_decode_error(start_camera: StartCamera) -> None:
    async with start_camera(scripted(width=1200, height=1200, max_frame_mb=1)) as rig:
        await rig.until_up()
        capture = await shot(rig)
    assert isinstance(capture, Missed)
    assert capture.reason is Reason.DECODE_ERROR
    assert "1440000 bytes are more than" in capture.detail


def crash(pixels: Pixels, bit_depth: int) -> CropPixels:
    raise ZeroDivisionError("a bug")


@pytest.mark.parametrize(
    ("prepare", "expected", "detail"),
    [
        (refuse, Reason.DECODE_ERROR, "no crop of this"),
        (crash, Reason.CAMERA_LOST, "ZeroDivisionError: a bug"),
    ],
)
async def test_a_crop_that_cannot_be_made_costs_its_part(
    prepare: Callable[[Pixels, int], CropPixels], expected: Reason, detail: str, start_camera: StartCamera
) -> None:
    async with start_camera(scripted(), prepare=prepare) as rig:
        await rig.until_up()
        capture = await shot(rig)
    assert isinstance(capture, Missed)
    assert (capture.reason, capture.detail) == (expected, detail)


async def test_pictures_that_a_busy_station_could_not_take_are_told_as_overload(start_camera: StartCamera) -> None:
    async with start_camera(scripted(mode="stream", rate_hz=500), triggered=False) as rig:
        await rig.next()
        time.sleep(1)  # noqa: ASYNC251 - the event loop is kept busy: that is the fault
        captures = [await rig.next() for _ in range(200)]
    assert {reason(capture) for capture in captures} == {None, Reason.OVERLOAD}
    lost = [capture for capture in captures if isinstance(capture, Missed)]
    assert all("the daemon was busy for" in missed.detail for missed in lost)
    assert all(earlier.number < later.number for earlier, later in pairwise(captures))


async def test_a_request_that_the_child_sees_too_late_does_not_set_the_numbers_back(start_camera: StartCamera) -> None:
    async with start_camera(scripted("stall", at=3, for_frames=25)) as rig:
        await rig.until_up()
        captures = [await shot(rig), await shot(rig)]
        await asyncio.gather(*(shot(rig, within_s=0.1) for _ in range(3)))
        captures += [await shot(rig), await shot(rig)]
    numbers = [capture.number for capture in captures]
    assert [reason(capture) for capture in captures] == [None] * 4
    assert numbers == sorted(set(numbers))


async def test_a_station_that_asks_for_a_frozen_crop_gets_none(start_camera: StartCamera) -> None:
    """`corner` shows which picture a crop is from: no crop is one of an earlier shot."""
    async with start_camera(scripted(), prepare=corner) as rig:
        await rig.until_up()
        crops = [await shot(rig) for _ in range(5)]
    pixels = [crop.pixels[RECIPE].tobytes() for crop in crops if isinstance(crop, Crops)]
    assert len(set(pixels)) == 5
