"""What a camera gives. A loss is a value that travels, never a hole."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from inspection.part import Label
from inspection.verdict import Reason

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
CropPixels = NDArray[np.uint8]
CropMaker = Callable[[Pixels, int], CropPixels]
"""Makes crops of a picture of so many bits: uint8 [tiles, channels, height, width]. Raises PictureError."""
ReadRecipe = Callable[[str], CropMaker]
"""The maker of crops that a recipe's text tells. A function of a module, so that a spawned child has it too."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One image as the camera gave it.

    `pixels` is read-only, [height, width] gray or [height, width, 3] BGR; uint8, or uint16 with `bit_depth` 10,
    12 or 16 (values right-aligned, 0..2**bit_depth - 1). `captured` is monotonic seconds. `source` names a
    replayed picture, `label` what it is known to show.
    """

    camera: str
    number: int
    pixels: Pixels
    captured: float
    bit_depth: int = 8
    source: str = ""
    label: Label | None = None


@dataclass(frozen=True, slots=True)
class Missed:
    """A frame that never came, or came unusable."""

    camera: str
    number: int
    reason: Reason
    captured: float
    detail: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Crops:
    """The model's input made from one frame, beside what is told of that frame.

    `pixels` holds uint8 [tiles, channels, height, width] by the recipe that made them: of one recipe, and of two while
    one model takes another's place. `unmade` says of a recipe why it made nothing of this frame. `captured` and `ready`
    are monotonic seconds: the exposure, and the moment at which the crops were made.
    """

    camera: str
    number: int
    pixels: Mapping[str, CropPixels]
    captured: float
    ready: float
    source: str = ""
    label: Label | None = None
    unmade: Mapping[str, str] = field(default_factory=dict)


Capture = Frame | Missed


def digest(pixels: Pixels) -> str:
    """sha256 of the values row by row, 16-bit ones with the lower byte first: the same however they are stored."""
    return hashlib.sha256(np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).data).hexdigest()
