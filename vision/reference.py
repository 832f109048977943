"""The picture of a good part that a recipe compares every picture with.

It is kept with at most HELD pixels along its longer side, and brought to where the part lies in each picture, in the
light of that picture.
"""

import base64
import binascii
import struct
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor
from typing import Annotated, Self

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from inspection.errors import PictureError
from vision.align import Alignment, Small, align, small
from vision.enhance import Image, Region
from vision.resize import resized

HELD = 1024

_HEADER = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_GRAY = (8, 0)  # bits, colour type
_MOST_CHARACTERS = 2 << 20  # noise of HELD x HELD pixels takes 1.4 million
_RECIPES_AT_ONCE = 8

Side = Annotated[int, Field(ge=1, le=1 << 16)]


@dataclass(frozen=True, slots=True)
class Placed:
    """A gray picture brought to where the part lies in another one, of `width` x `height` pixels."""

    picture: Image
    alignment: Alignment
    width: int
    height: int

    def of(self, region: Region) -> Image:
        """What lies in a region of the other picture, in the resolution of this one. See `covered` for its rims."""
        tall, wide = self.picture.shape
        across, down = (
            max(round(region.width * wide / self.width), 1),
            max(round(region.height * tall / self.height), 1),
        )
        left, top = (region.x - self.alignment.across * self.width, region.y - self.alignment.down * self.height)
        x, right = _back(left, region.width, across, wide / self.width)
        y, below = _back(top, region.height, down, tall / self.height)
        to = np.array([[x, 0, right], [0, y, below]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        there = cv2.warpAffine(self.picture, to, (across, down), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        light = np.arange(256) * self.alignment.gain + self.alignment.offset
        return np.asarray(cv2.LUT(there, np.clip(np.rint(light), 0, 255).astype(np.uint8)), np.uint8)

    def covered(self, region: Region, across: int, down: int) -> tuple[slice, slice]:
        """Rows and columns of the region, scaled to `across` x `down`, of which this picture knows anything."""
        return (
            _covered(region.y, region.height, down, self.alignment.down, self.height),
            _covered(region.x, region.width, across, self.alignment.across, self.width),
        )


class ReferencePicture(BaseModel):
    """What a good part looks like, gray, and how large the picture is that it stands for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: Side = Field(description="Of the pictures that it is for, in pixels, cut and turned as the recipe says.")
    height: Side
    png: str = Field(
        max_length=_MOST_CHARACTERS,
        description=f"The picture as PNG in base64: gray, 8 bits, scaled down to {HELD} pixels along its longer side "
        "where it is longer.",
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        wide, tall = held_size(self.width, self.height)
        try:
            raw = base64.b64decode(self.png, validate=True)
        except binascii.Error as error:
            raise ValueError(f"png is not base64 ({error})") from error
        if not raw.startswith(_HEADER) or raw[16:26] != struct.pack(">II2B", wide, tall, *_GRAY):
            raise ValueError(f"png is no gray picture of 8 bits and {wide} x {tall} pixels")
        if _decoded(self.png) is None:
            raise ValueError("png is damaged")
        return self

    @classmethod
    def of(cls, held: Image, width: int, height: int) -> Self:
        """Of a gray picture [height, width] that has the size of `held_size` for `width` and `height`."""
        _, data = cv2.imencode(".png", held, [cv2.IMWRITE_PNG_COMPRESSION, 9])
        return cls(width=width, height=height, png=base64.b64encode(data.tobytes()).decode())

    def placed(self, image: Image) -> Placed:
        """Where the part lies in a gray picture. Raises PictureError for a picture of another size."""
        height, width = image.shape
        if (width, height) != (self.width, self.height):
            raise PictureError(
                f"a picture of {width} x {height} pixels cannot be compared with the reference picture of "
                f"{self.width} x {self.height}: set the camera as it was, or train again with its pictures"
            )
        held, reduced = _prepared(self.png)
        return Placed(held, align(reduced, small(image)), width, height)


def held_size(width: int, height: int) -> tuple[int, int]:
    """Width and height at which the reference of pictures of `width` x `height` is kept."""
    share = min(HELD / max(width, height), 1.0)
    return max(round(width * share), 1), max(round(height * share), 1)


def held(image: Image) -> Image:
    """A gray picture in the size in which a reference is kept."""
    return resized(image, *held_size(image.shape[1], image.shape[0]))


def _decoded(png: str) -> Image | None:
    found = cv2.imdecode(np.frombuffer(base64.b64decode(png), np.uint8), cv2.IMREAD_GRAYSCALE)
    return None if found is None else np.asarray(found, np.uint8)


@lru_cache(_RECIPES_AT_ONCE)
def _prepared(png: str) -> tuple[Image, Small]:
    """Once for a recipe, not for each of its pictures."""
    found = _decoded(png)
    if found is None:
        raise PictureError("the reference picture is damaged")
    return found, small(found)


def _back(start: float, length: int, parts: int, scale: float) -> tuple[float, float]:
    """Factor and summand from the number of one of `parts` pixels to that of the pixel of the picture to bring there.

    A pixel's coordinate is that of its middle, half a pixel from its edge.
    """
    step = length / parts
    return step * scale, (start + step / 2) * scale - 0.5


def _covered(start: int, length: int, parts: int, share: float, side: int) -> slice:
    first = ceil((max(share, 0.0) * side - start) * parts / length)
    last = floor(((1 + min(share, 0.0)) * side - start) * parts / length)
    return slice(min(max(first, 0), parts), min(max(last, 0), parts))
