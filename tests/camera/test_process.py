from pathlib import Path

import cv2
import numpy as np
import pytest

from camera.folder import FolderConfig
from camera.ring import FEWEST
from inspection import clock
from inspection.errors import NoImage
from inspection.frame import Crops, Missed
from inspection.part import Label
from inspection.verdict import Reason
from tests.camera.conftest import RECIPE, StartCamera


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Three pictures of gray 60, 120 and 180; the second is no picture at all."""
    for index, value in enumerate((60, 120, 180)):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((48, 64), value, np.uint8))
    (tmp_path / "1.png").write_bytes(b"not a picture")
    path = tmp_path / "manifest.csv"
    path.write_text("path,label,split\n0.png,ok,test\n1.png,ng,test\n2.png,ng,test\n0.png,ok,train\n")
    return path


async def test_a_shot_gives_the_pictures_of_the_manifest_in_order_with_their_labels(
    manifest: Path, start_camera: StartCamera
) -> None:
    config = FolderConfig(kind="folder", path=manifest, split="test")
    async with start_camera(config) as rig:
        await rig.until_up()
        first = await rig.process.shoot(clock.monotonic() + 10)
        with pytest.raises(NoImage) as broken:
            await rig.process.shoot(clock.monotonic() + 10)
        third = await rig.process.shoot(clock.monotonic() + 10)
        again = await rig.process.shoot(clock.monotonic() + 10)
        picture = rig.process.picture()
    assert (first.source, first.label, int(first.pixels[RECIPE].max())) == ("0.png", Label.OK, 60)
    assert broken.value.missed.reason is Reason.DECODE_ERROR
    assert (third.source, third.label, third.number) == ("2.png", Label.NG, 3)
    assert again.source == "0.png"
    assert picture is not None
    assert picture.pixels.shape == (48, 64)


async def test_a_free_running_camera_hands_over_every_picture(manifest: Path, start_camera: StartCamera) -> None:
    config = FolderConfig(kind="folder", path=manifest, split="test", rate_hz=100)
    async with start_camera(config, triggered=False) as rig:
        captures = [await rig.next() for _ in range(6)]
    assert [capture.number for capture in captures] == [1, 2, 3, 4, 5, 6]
    assert [type(capture) for capture in captures] == [Crops, Missed, Crops] * 2


async def test_a_picture_is_there_by_its_number_until_later_ones_take_its_place(
    tmp_path: Path, start_camera: StartCamera
) -> None:
    for value in range(FEWEST + 2):
        cv2.imwrite(str(tmp_path / f"{value:02}.png"), np.full((48, 64), 100 + value, np.uint8))
    async with start_camera(FolderConfig(kind="folder", path=tmp_path)) as rig:
        await rig.until_up()
        shots = [await rig.process.shoot(clock.monotonic() + 10) for _ in range(FEWEST + 2)]
        recalled = [rig.process.recall(shot.number) for shot in shots]
        assert rig.process.recall(0) is None
    assert recalled[:2] == [None, None]
    assert [int(frame.pixels[0, 0]) for frame in recalled[2:] if frame] == list(range(102, 102 + FEWEST))
    assert [frame.number for frame in recalled[2:] if frame] == [shot.number for shot in shots[2:]]
