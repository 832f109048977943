"""The recipes change while pictures come: from a known picture on, every one has the crops of all of them."""

import asyncio
import os
import signal
from dataclasses import dataclass

import numpy as np

from inspection.errors import PictureError
from inspection.frame import CropPixels, Crops, Pixels
from tests.camera.conftest import RECIPE, StartCamera, child_of, corner, named, scripted, shot

CORNER = named(corner)


@dataclass(frozen=True)
class Flat:
    """Crops of one tone, by a recipe that weighs as much as a picture."""

    tone: int
    size: int = 8
    weight: str = ""

    def crops(self, pixels: Pixels, bit_depth: int) -> CropPixels:
        return np.full((1, 1, self.size, self.size), self.tone, np.uint8)


def refusing(pixels: Pixels, bit_depth: int) -> CropPixels:
    raise PictureError("the region of interest lies outside the picture")


async def test_after_make_every_picture_has_the_crops_of_all_recipes_and_none_is_lost(
    start_camera: StartCamera,
) -> None:
    async with start_camera(scripted(rate_hz=200), triggered=False) as rig:
        await rig.until_up()
        for other in (Flat(1), Flat(2, size=64), Flat(3)):
            name = str(other.tone)
            await rig.process.make({RECIPE: CORNER, name: named(Flat, other.tone, other.size)})
            while not rig.captures.empty():
                rig.captures.get_nowait()  # made before, or while the recipes changed
            for _ in range(5):
                capture = await rig.next()
                assert isinstance(capture, Crops)
                assert set(capture.pixels) == {RECIPE, name}
                assert set(capture.pixels[name].ravel()) == {other.tone}
                assert capture.pixels[name].shape == (1, 1, other.size, other.size)
        await rig.process.make({"other": named(Flat, 4)})
        numbers = []
        while True:
            capture = await rig.next()
            assert isinstance(capture, Crops)
            numbers.append(capture.number)
            if RECIPE not in capture.pixels:
                break
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert rig.probe.missed == []


async def test_a_shot_after_make_has_both(start_camera: StartCamera) -> None:
    async with start_camera(scripted()) as rig:
        await rig.until_up()
        asked = [asyncio.create_task(shot(rig)) for _ in range(20)]
        await rig.process.make({RECIPE: CORNER, "other": named(Flat, 1)})
        after = await shot(rig)
        before = await asyncio.gather(*asked)
    assert isinstance(after, Crops)
    assert set(after.pixels) == {RECIPE, "other"}
    assert all(isinstance(crops, Crops) and RECIPE in crops.pixels for crops in before)


async def test_a_recipe_that_makes_nothing_of_a_picture_does_not_harm_the_other(start_camera: StartCamera) -> None:
    async with start_camera(scripted()) as rig:
        await rig.until_up()
        await rig.process.make({RECIPE: CORNER, "other": named(refusing)})
        crops = await shot(rig)
    assert isinstance(crops, Crops)
    assert set(crops.pixels) == {RECIPE}
    assert crops.unmade == {"other": "the region of interest lies outside the picture"}


async def test_a_recipe_as_heavy_as_a_picture_crosses_to_the_camera(start_camera: StartCamera) -> None:
    heavy = named(Flat, 7, 8, "x" * (3 << 20))
    async with start_camera(scripted()) as rig:
        await rig.until_up()
        await rig.process.make({"heavy": heavy})
        crops = await shot(rig)
    assert isinstance(crops, Crops)
    assert set(crops.pixels["heavy"].ravel()) == {7}


async def test_a_camera_that_dies_meanwhile_comes_back_with_the_new_recipes(start_camera: StartCamera) -> None:
    async with start_camera(scripted()) as rig:
        await rig.until_up()
        os.kill(child_of(rig), signal.SIGSTOP)
        making = asyncio.create_task(rig.process.make({"other": named(Flat, 1)}))
        await asyncio.sleep(0)
        os.kill(child_of(rig), signal.SIGKILL)
        await making
        await rig.until_up()
        crops = await shot(rig)
    assert isinstance(crops, Crops)
    assert set(crops.pixels) == {"other"}


async def test_a_camera_that_is_not_up_holds_nobody_up(start_camera: StartCamera) -> None:
    async with start_camera(scripted()) as rig:
        await rig.process.make({"other": named(Flat, 1)})
        await rig.until_up()
        crops = await shot(rig)
    assert isinstance(crops, Crops)
    assert set(crops.pixels) == {"other"}
