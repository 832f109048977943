"""Is this picture fit to be judged? Runs in the camera's child on every picture, before the crop is made."""

import zlib

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from inspection.frame import Frame
from inspection.verdict import Reason

# Brightness is read from every 4th row and column, sameness from every 4th row: sensor noise is in all of
# them.
_STEP = 4

_OTHER_SIZE = "set the camera as it was, or restart linegate if this size is meant"


class HealthConfig(BaseModel):
    """What makes a picture unfit."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dark_mean: float = Field(
        default=2.0,
        ge=0,
        le=255,
        description="`frame_dark` when the mean brightness is below this (0..255 at any bit depth); 0 turns it off.",
    )
    blown_share: float = Field(
        default=0.98,
        gt=0,
        le=1,
        description="`frame_blown` when more than this share of pixels is at full scale; 1 turns it off.",
    )
    frozen_after: int | None = Field(
        default=None,
        ge=0,
        description="`frame_frozen` when a picture is the exact repeat of this many before it; 0 turns it off. By "
        "default 1 for a live sensor (its noise never repeats), 25 for a stream, never for replays.",
    )
    same_size: bool | None = Field(
        default=None,
        description="`decode_error` for a picture of another size than the first; by default on for live cameras.",
    )


class Health:
    """Remembers what it needs of the pictures before."""

    def __init__(
        self, config: HealthConfig, *, frozen_after: int, same_size: bool, size: tuple[int, int] | None
    ) -> None:
        """`frozen_after` and `same_size` are the kind's own defaults; `size` [height, width] is known from before."""
        self._config = config
        self._frozen_after = frozen_after if config.frozen_after is None else config.frozen_after
        self._same_size = same_size if config.same_size is None else config.same_size
        self._size = size
        self._print = -1
        self._repeats = 0

    def malformed(self, frame: Frame) -> tuple[Reason, str] | None:
        """What no crop could be made of: not an image, a value above the bit depth, another size."""
        pixels = frame.pixels
        if pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim not in (2, 3) or pixels.size == 0:
            return Reason.DECODE_ERROR, f"not an image: {pixels.dtype} {list(pixels.shape)}"
        if pixels.ndim == 3 and pixels.shape[2] != 3:
            return Reason.DECODE_ERROR, f"{pixels.shape[2]} channels"
        bits = 8 if pixels.dtype == np.uint8 else 16
        if frame.bit_depth != bits and not (bits == 16 and frame.bit_depth in (10, 12)):
            return Reason.DECODE_ERROR, f"bit depth {frame.bit_depth} of {pixels.dtype}"
        if frame.bit_depth in (10, 12) and int(pixels.max()) >> frame.bit_depth:
            return Reason.DECODE_ERROR, f"values above {frame.bit_depth} bits"
        size = (pixels.shape[0], pixels.shape[1])
        self._size = self._size or size
        if self._same_size and size != self._size:
            return Reason.DECODE_ERROR, f"{size[1]}x{size[0]} instead of {self._size[1]}x{self._size[0]}; {_OTHER_SIZE}"
        return None

    def watch(self, frame: Frame) -> str:
        """Remember a picture that nobody asked for, so that a frozen stream is known when somebody does.

        What no crop could be made of is told; empty where nothing is wrong.
        """
        malformed = self.malformed(frame)
        if malformed is None:
            self._frozen(frame)
        return "" if malformed is None else malformed[1]

    def unfit(self, frame: Frame) -> tuple[Reason, str] | None:
        """The reason why a well-formed picture must not be judged, with a detail for people."""
        return self._frozen(frame) or self._light(frame)

    def _frozen(self, frame: Frame) -> tuple[Reason, str] | None:
        if not self._frozen_after:
            return None
        fingerprint = zlib.crc32(np.ascontiguousarray(frame.pixels[::_STEP]).data)
        self._repeats = self._repeats + 1 if fingerprint == self._print else 0
        self._print = fingerprint
        if self._repeats >= self._frozen_after:
            return Reason.FRAME_FROZEN, f"the same picture {self._repeats + 1} times"
        return None

    def _light(self, frame: Frame) -> tuple[Reason, str] | None:
        sample = np.ascontiguousarray(frame.pixels[::_STEP, ::_STEP])
        full = 2**frame.bit_depth - 1
        mean = float(sample.mean()) * 255 / full
        if mean < self._config.dark_mean:
            return Reason.FRAME_DARK, f"mean brightness {mean:.1f} of 255"
        share = float(np.count_nonzero(sample == full)) / sample.size
        if share > self._config.blown_share:
            return Reason.FRAME_BLOWN, f"{share:.0%} of the pixels at full scale"
        return None
