"""GenICam pixel formats (PFNC names) as our pixels, and the frame ids of GenICam streams."""

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from inspection.errors import PictureError
from inspection.frame import Pixels

PixelFormat = Literal["Mono8", "Mono10", "Mono12", "BayerRG8", "RGB8"]

_DEPTH = {"Mono8": 8, "Mono10": 10, "Mono12": 12, "BayerRG8": 8, "RGB8": 8}
_CHANNELS = {"RGB8": 3}
_LAST_16_BIT_ID = 65535
_LONGEST_GAP = 1000


def to_pixels(data: NDArray[Any], width: int, height: int, pixel_format: str) -> tuple[Pixels, int]:
    """A read-only copy of a buffer as [height, width] or [height, width, 3] BGR, and its bit depth.

    `data` is uint8, or uint16 with 10 and 12 bits right-aligned in it, of at least the picture's size. Raises
    PictureError for another format or too little data.
    """
    if pixel_format not in _DEPTH:
        raise PictureError(
            f"pixel format {pixel_format} is not supported; set pixel_format to one of {', '.join(_DEPTH)}"
        )
    depth = _DEPTH[pixel_format]
    channels = _CHANNELS.get(pixel_format, 1)
    dtype = np.dtype(np.uint8 if depth == 8 else np.uint16)
    count = width * height * channels
    if data.dtype != dtype or data.size < count or count == 0:
        raise PictureError(f"{data.size} values of {data.dtype} are no {width}x{height} {pixel_format}")
    flat = data.reshape(-1)[:count]
    if pixel_format == "BayerRG8":
        pixels = cv2.cvtColor(flat.reshape(height, width), cv2.COLOR_BayerRGGB2BGR)
    elif pixel_format == "RGB8":
        pixels = cv2.cvtColor(flat.reshape(height, width, 3), cv2.COLOR_RGB2BGR)
    else:
        pixels = flat.reshape(height, width).copy()
    pixels.flags.writeable = False
    return pixels, depth


class FrameIds:
    """Counts the pictures that a stream lost, from the ids of those that came.

    GigE Vision 1.x counts block ids in 16 bits and skips 0: 65535 is followed by 1. GigE Vision 2 and USB3 Vision
    count in 64 bits.
    """

    def __init__(self) -> None:
        self._last: int | None = None

    def lost_before(self, frame_id: int) -> int:
        """How many pictures are missing between the last call's id and `frame_id`.

        A jump of more than 1000, in either direction, is a stream that began anew: nothing is known to be lost.
        """
        last, self._last = self._last, frame_id
        if last is None or frame_id == last:
            return 0
        step = frame_id - last
        if step < 0 and last <= _LAST_16_BIT_ID:
            step %= _LAST_16_BIT_ID
        return step - 1 if 1 <= step <= _LONGEST_GAP else 0

    def lost_one(self) -> None:
        """The next id arrived damaged: it is told already."""
        if self._last is not None:
            self._last = 1 if self._last == _LAST_16_BIT_ID else self._last + 1
