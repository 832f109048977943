"""What a picture file holds, whatever it is called: its bytes, its pixels, and what it looks like."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm  # type: ignore[import-untyped]

from camera.names import shown
from camera.picture import read_picture
from inspection.errors import DataError, PictureError
from inspection.frame import Pixels, digest
from training.ahead import ahead
from training.data.alike import NO_LOOK, look_of
from training.data.sample import Looks

_SLOW_S = 2.0


@dataclass(frozen=True, slots=True)
class Content:
    """`sha256` is of the file's bytes, hex. `pixels` is empty where the file is no picture that linegate reads."""

    sha256: str
    pixels: str
    look: Looks


def content_of(path: Path) -> Content:
    """Raises DataError where `path` cannot be read at all."""
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{shown(path)}: {error.strerror}; make it readable, or take it out of the data set") from error
    try:
        pixels, _ = read_picture(path)
    except PictureError:  # told when it is needed: of a split that nobody asks for it may be broken
        return Content(sha256, "", NO_LOOK)
    return Content(sha256, pixels_digest(pixels), look_of(pixels))


def contents_of(paths: Sequence[Path], *, quiet: bool = True) -> list[Content]:
    """`content_of` each, on all cores, in order."""
    found = ahead(content_of, paths, threads=os.cpu_count() or 1, most=64)
    return list(tqdm(found, desc="reading", unit="picture", total=len(paths), disable=quiet, delay=_SLOW_S))


def pixels_digest(pixels: Pixels) -> str:
    """Hex; the same for the same picture in PNG, BMP or TIFF, also where gray is stored as colour, or 8 bits as 16."""
    one = pixels
    if pixels.dtype == np.uint16 and not ((pixels >> 8) != (pixels & 255)).any():
        one = pixels = pixels.astype(np.uint8)  # 255 is 65535 where 8 bits were stored as 16
    if pixels.ndim == 3 and all(np.array_equal(pixels[..., 0], pixels[..., other]) for other in (1, 2)):
        one = pixels[:, :, 0]
    told = f"{one.dtype.name} {'x'.join(map(str, one.shape))} {digest(one)}"
    return hashlib.sha256(told.encode()).hexdigest()
