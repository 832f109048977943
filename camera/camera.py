"""The contract that every camera kind keeps.

A camera is opened, gives captures, is closed. It starts no threads and keeps no queue: the process that runs it
(`camera.process`) owns pacing, health, time-outs and memory.
"""

from collections.abc import Iterator
from typing import Protocol

from inspection.frame import Capture


class Camera(Protocol):
    """One opened camera.

    `streaming` says whose clock decides. A streaming camera exposes by itself (a live stream, a hardware
    trigger line): its captures must be drained, whether or not somebody wants them. Any other camera exposes
    when `next()` is called on its captures (a software trigger, a replay), so laziness is the trigger.
    """

    streaming: bool

    def captures(self) -> Iterator[Capture]:
        """Frames, or `Missed` for one that is known to be lost, in the order of their numbers.

        Ends when the source has no more pictures. Raises CameraError when the camera has to be opened again.
        """
        ...

    def close(self) -> None:
        """Give the device back. Called once, also after `captures` raised."""
        ...
