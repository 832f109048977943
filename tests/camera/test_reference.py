"""A camera's process compares its pictures with the reference as training did."""

from pathlib import Path

import cv2
import numpy as np

from camera.folder import FolderConfig
from inspection.frame import Crops
from inspection.part import Label
from tests.camera.conftest import RECIPE, StartCamera, shot
from tests.vision.plates import comparing, noisy, printed, seen
from training.dataset import Sample
from training.pictures import crops_of
from vision.recipe import read_recipe


async def test_the_cameras_process_makes_the_crops_that_training_made(
    start_camera: StartCamera, tmp_path: Path
) -> None:
    recipe = comparing(seen(printed()))
    file = tmp_path / "0.png"
    assert cv2.imwrite(str(file), noisy(seen(printed(), 12.4, -6.3)))

    async with start_camera(
        FolderConfig(kind="folder", path=tmp_path), recipe=(recipe.model_dump_json(), read_recipe)
    ) as rig:
        await rig.until_up()
        capture = await shot(rig)

    assert isinstance(capture, Crops)
    assert np.array_equal(capture.pixels[RECIPE], crops_of(Sample(file, "0.png", Label.OK), recipe))
