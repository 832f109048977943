"""Proves one camera: opens it as a station would, in a killable child, and takes pictures."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from camera.kinds import CameraConfig
from camera.process import CameraProcess
from inspection import clock
from inspection.errors import CameraError
from inspection.frame import CropMaker, CropPixels, Crops, Frame, Missed, Pixels
from inspection.probe import Probe
from inspection.verdict import Reason


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The last picture taken, and what was found out on the way.

    `frame` is None where there were no pixels that make a picture. `missed` says why it must not be judged; None
    when it is fit. The first picture came `first_after_s` seconds after the start; `pictures` came in all.
    """

    frame: Frame | None
    missed: Missed | None
    first_after_s: float
    pictures: int


async def take(name: str, config: CameraConfig, *, pictures: int, timeout_s: float) -> Snapshot:
    """Take so many pictures, or what comes in time, and keep the last. Raises CameraError: none came, or it broke."""
    taking = _Taking(pictures)
    process = CameraProcess(
        "snapshot",
        name,
        config,
        {"none": ""},
        _no_crops,
        triggered=False,
        probe=taking,
        on_look=lambda _: None,
        on_capture=lambda capture: taking.captured(capture, process.picture()),
    )
    playing = asyncio.create_task(process.play(), name="camera")
    playing.add_done_callback(lambda _: taking.done.set())
    error = CameraError(Reason.CAMERA_LOST, "the source has no pictures")
    try:
        async with asyncio.timeout(timeout_s):
            await taking.done.wait()
    except TimeoutError:
        error = CameraError(Reason.CAMERA_STALLED, _silence(config, timeout_s, up=process.up))
    finally:
        playing.cancel()
        with suppress(asyncio.CancelledError):
            await playing
    if taking.snapshot is None or taking.failure is not None:
        raise taking.failure or error
    return taking.snapshot


class _Taking(Probe):
    """Hears the camera's process until there are enough pictures; its first failure is final."""

    def __init__(self, pictures: int) -> None:
        self.done = asyncio.Event()
        self.snapshot: Snapshot | None = None
        self.failure: CameraError | None = None
        self._pictures = pictures
        self._began = clock.monotonic()

    def captured(self, capture: Crops | Missed, seen: Frame | None) -> None:
        missed = capture if isinstance(capture, Missed) else None
        if self.done.is_set() or (missed and missed.reason in (Reason.CAMERA_LOST, Reason.CAMERA_STALLED)):
            return  # of a lost camera `child_restarted` tells more, a moment later
        frame = seen if seen is not None and seen.number == capture.number else None
        first = self.snapshot.first_after_s if self.snapshot else clock.monotonic() - self._began
        taken = self.snapshot.pictures + 1 if self.snapshot else 1
        self.snapshot = Snapshot(frame, missed, first, taken)
        if taken == self._pictures:
            self.done.set()

    def child_restarted(self, child: str, why: str) -> None:  # noqa: ARG002 - there is one
        if not self.done.is_set():
            reason, _, detail = why.partition(" ")
            self.failure = CameraError(Reason(reason), detail)
            self.done.set()


def _silence(config: CameraConfig, timeout_s: float, *, up: bool) -> str:
    if up and config.hardware_trigger:
        return f"the camera is open, but no signal released it within {timeout_s:g} s"
    return f"{'the camera is open, but gave no picture' if up else 'not open'} within {timeout_s:g} s"


def _no_crops(_: str) -> CropMaker:
    return _no_crop


def _no_crop(pixels: Pixels, bit_depth: int) -> CropPixels:  # noqa: ARG001 - what every crop maker is given
    return np.zeros((1, 1, 1, 1), np.uint8)
