"""What the child tells of its pictures as a whole."""

import pytest

from camera.simulated import Deed
from inspection.frame import Crops
from inspection.impression import PICTURES
from tests.camera.conftest import StartCamera, scripted, shot


async def test_every_ten_usable_pictures_leave_an_impression(start_camera: StartCamera) -> None:
    async with start_camera(scripted()) as rig:
        await rig.until_up()
        for _ in range(2 * PICTURES + 1):
            assert isinstance(await shot(rig), Crops)
        await rig.until(lambda: len(rig.looks) == 2)
    assert [look.pictures for look in rig.looks] == [PICTURES, PICTURES]
    assert 100 < rig.looks[0].brightness < 160


async def test_pictures_that_must_not_be_judged_leave_none(start_camera: StartCamera) -> None:
    async with start_camera(scripted("dark", at=1, for_frames=PICTURES)) as rig:
        await rig.until_up()
        for _ in range(2 * PICTURES):
            await shot(rig)
        await rig.until(lambda: bool(rig.looks))
    assert [look.pictures for look in rig.looks] == [PICTURES]
    assert rig.looks[0].brightness > 100


@pytest.mark.parametrize("deed", ["dim", "blur", "shift"])
async def test_the_simulated_camera_drifts(start_camera: StartCamera, deed: Deed) -> None:
    async with start_camera(scripted(deed, at=PICTURES + 1, for_frames=PICTURES, distinct=PICTURES)) as rig:
        await rig.until_up()
        for _ in range(2 * PICTURES):
            await shot(rig)
        await rig.until(lambda: len(rig.looks) == 2)
    before, after = rig.looks
    changed = {
        "dim": after.brightness < 0.7 * before.brightness,
        "blur": after.sharpness < 0.7 * before.sharpness,
        "shift": abs(after.scene - before.scene).max() > 3,
    }
    assert changed[deed]
    assert changed["dim"] == (deed == "dim")
