"""Stations' cameras for tests, real processes all of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module

import numpy as np
import pytest

from camera.kinds import CameraConfig
from camera.process import CameraProcess
from camera.simulated import Deed, Misbehaviour, SimulatedConfig
from inspection import clock
from inspection.errors import NoImage
from inspection.frame import CropMaker, CropPixels, Crops, Missed, Pixels, ReadRecipe
from inspection.impression import Impression
from inspection.probe import Probe
from inspection.verdict import Reason

CROP_SHAPE = (1, 1, 32, 32)
RECIPE = "corner"


def corner(pixels: Pixels, bit_depth: int) -> CropPixels:
    """The upper left corner at 8 bits, first channel: a crop whose pixels tell which picture it came from."""
    gray = pixels if pixels.ndim == 2 else pixels[:, :, 0]
    crop = np.zeros(CROP_SHAPE, np.uint8)
    part = (gray[:32, :32] >> (bit_depth - 8)).astype(np.uint8)
    crop[0, 0, : part.shape[0], : part.shape[1]] = part
    return crop


def named(maker: Callable[..., object], *arguments: object) -> str:
    """A recipe's text for `read_named`: a function that makes crops, or a class with what it is made with."""
    return f"{maker.__module__}:{maker.__qualname__}\n{json.dumps(arguments)}"


def read_named(text: str) -> CropMaker:
    where, _, arguments = text.partition("\n")
    module, _, name = where.partition(":")
    maker = getattr(import_module(module), name)
    made: CropMaker = maker(*json.loads(arguments)).crops if isinstance(maker, type) else maker
    return made


@dataclass
class HeardProbe(Probe):
    """What the camera told."""

    restarts: list[str] = field(default_factory=list)
    missed: list[Reason] = field(default_factory=list)
    frames: int = 0
    unmatched: int = 0
    ups: list[bool] = field(default_factory=list)

    def frame(self, station: str, camera: str) -> None:
        self.frames += 1

    def frame_missed(self, station: str, camera: str, reason: Reason) -> None:
        self.missed.append(reason)

    def frame_unmatched(self, station: str, camera: str) -> None:
        self.unmatched += 1

    def camera_up(self, station: str, camera: str, up: bool) -> None:
        self.ups.append(up)

    def child_restarted(self, child: str, why: str) -> None:
        self.restarts.append(why)


@dataclass
class Rig:
    """A running camera and all that it said."""

    process: CameraProcess
    probe: HeardProbe
    captures: asyncio.Queue[Crops | Missed]
    looks: list[Impression]

    async def until_up(self) -> None:
        await self.until(lambda: self.process.up)

    async def until(self, holds: Callable[[], bool], timeout_s: float = 60) -> None:
        async with asyncio.timeout(timeout_s):
            while not holds():
                await asyncio.sleep(0.01)

    async def next(self, timeout_s: float = 60) -> Crops | Missed:
        async with asyncio.timeout(timeout_s):
            return await self.captures.get()


StartCamera = Callable[..., AbstractAsyncContextManager[Rig]]


@pytest.fixture
def start_camera() -> StartCamera:
    @asynccontextmanager
    async def start(
        config: CameraConfig,
        *,
        triggered: bool = True,
        prepare: CropMaker = corner,
        recipe: tuple[str, ReadRecipe] | None = None,
    ) -> AsyncIterator[Rig]:
        captures: asyncio.Queue[Crops | Missed] = asyncio.Queue()
        looks: list[Impression] = []
        probe = HeardProbe()
        text, read = recipe or (named(prepare), read_named)
        process = CameraProcess(
            "station",
            "camera",
            config,
            {RECIPE: text},
            read,
            triggered=triggered,
            probe=probe,
            on_capture=captures.put_nowait,
            on_look=looks.append,
        )
        task = asyncio.create_task(process.run(), name="camera")
        try:
            yield Rig(process, probe, captures, looks)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return start


def scripted(deed: Deed | None = None, *, at: int = 2, for_frames: int = 1, **more: object) -> SimulatedConfig:
    script = [Misbehaviour(at=at, do=deed, for_frames=for_frames)] if deed else []
    settings = {"kind": "simulated", "width": 64, "height": 48, "rate_hz": 50, "script": script, **more}
    return SimulatedConfig.model_validate(settings)


async def shot(rig: Rig, within_s: float = 60) -> Crops | Missed:
    try:
        return await rig.process.shoot(clock.monotonic() + within_s)
    except NoImage as error:
        return error.missed


def reason(capture: Crops | Missed) -> Reason | None:
    return capture.reason if isinstance(capture, Missed) else None


def child_of(rig: Rig) -> int:
    child = rig.process._child
    assert child is not None
    assert child.pid is not None
    return child.pid
