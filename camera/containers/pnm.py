"""PGM, PPM and PBM in their binary forms: gray and colour of up to 16 bits, and black and white."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camera.containers.header import Header
from inspection.errors import PictureError
from inspection.frame import Pixels

MAGIC = (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")

_BITMAP, _GRAY, _COLOUR = b"P4", b"P5", b"P6"
_SPACE = rb"(?:[ \t\r\n\v\f]|#[^\r\n]{0,1000}[\r\n]){1,100}"
_NUMBER = rb"([0-9]{1,9})"
_START = re.compile(rb"P[456]" + 2 * (_SPACE + _NUMBER))
_MOST = re.compile(_SPACE + _NUMBER)
_DEPTHS = {1: 1, 3: 2, 15: 4, 255: 8, 1023: 10, 4095: 12, 16383: 14, 65535: 16}


@dataclass(frozen=True, slots=True)
class Pnm:
    header: Header
    kind: bytes
    bits: int
    at: int


def read(data: bytes) -> Pnm:
    """Raises PictureError for what is no such file that we read."""
    kind = data[:2]
    if kind not in (_BITMAP, _GRAY, _COLOUR):
        raise PictureError("a PGM, PPM or PBM written as text is not read; save it in the binary form, or as PNG")
    start = _START.match(data)
    most = _MOST.match(data, start.end()) if start and kind != _BITMAP else None
    if start is None or (most is None and kind != _BITMAP):
        raise PictureError("the header is truncated or corrupt")
    at = (most or start).end()
    if data[at : at + 1] not in (b" ", b"\t", b"\r", b"\n"):
        raise PictureError("the header is truncated or corrupt")
    highest = int(most[1]) if most else 1
    bits = _DEPTHS.get(highest)
    if bits is None:
        raise PictureError(f"a PGM or PPM whose highest value is {highest} is not read; save it as PNG")
    width, height = int(start[1]), int(start[2])
    channels, size = (3 if kind == _COLOUR else 1), (2 if bits > 8 else 1)
    header = Header(width, height, channels, size, width * height * channels * size)
    row = (width + 7) // 8 if kind == _BITMAP else width * channels * size
    if at + 1 + row * height > len(data):
        raise PictureError("the file is truncated")
    return Pnm(header, kind, bits, at + 1)


def pixels(pnm: Pnm, data: bytes) -> tuple[Pixels, int]:
    """[h, w] or [h, w, 3] BGR, uint8 or uint16, and the bit depth. Raises PictureError."""
    height, width, channels = pnm.header.height, pnm.header.width, pnm.header.channels
    if pnm.kind == _BITMAP:
        row = (width + 7) // 8
        ink = np.frombuffer(data, np.uint8, row * height, pnm.at).reshape(height, row)
        white: NDArray[np.uint8] = np.unpackbits(ink, axis=1, count=width) ^ np.uint8(1)
        return white * np.uint8(255), 8
    kind = np.dtype(">u2" if pnm.bits > 8 else "u1")
    stored = np.frombuffer(data, kind, height * width * channels, pnm.at).reshape(height, width, channels)
    highest = (1 << pnm.bits) - 1
    if int(stored.max()) > highest:
        raise PictureError(f"the file is corrupt: a value is above {highest}")
    values: NDArray[Any] = (stored[:, :, ::-1] if channels == 3 else stored[:, :, 0]).astype(kind.newbyteorder("="))
    if pnm.bits < 8:
        values *= np.uint8(255 // highest)
    if pnm.bits == 14:  # no camera of ours has 14 bits: the picture becomes one of 16
        values <<= np.uint16(2)
    return np.ascontiguousarray(values), {10: 10, 12: 12}.get(pnm.bits, 8 if pnm.bits <= 8 else 16)
