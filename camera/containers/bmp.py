"""BMP of Windows and of OS/2, not compressed: 1, 4 and 8 bits with a palette, 16, 24 and 32 bits.

Decoded here: OpenCV takes OS/2's palettes for others, and white of 5 bits for 248.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from camera.containers.header import Header
from inspection.errors import PictureError

MAGIC = b"BM"

_FILE_HEADER = 14
_OS2 = 12
_INFO = 40
_INFO_SIZES = frozenset({_INFO, 52, 56, 64, 108, 124})
_PLAIN, _FIELDS, _ALPHA_FIELDS = 0, 3, 6
_MASKS = {16: (0x7C00, 0x3E0, 0x1F), 32: (0xFF0000, 0xFF00, 0xFF)}  # red, green, blue where the file has none


@dataclass(frozen=True, slots=True)
class Bmp:
    header: Header
    bits: int
    upside_down: bool
    at: int
    palette: NDArray[np.uint8] | None
    """[colours, 3] in the order blue, green, red."""
    masks: tuple[int, int, int]


def read(data: bytes) -> Bmp:
    """Raises PictureError, struct.error or IndexError for what is no BMP that we read."""
    at, size = struct.unpack_from("<II", data, 10)
    if size == _OS2:
        width, height, planes, bits = struct.unpack_from("<HHHH", data, 18)
        compression = colours = 0
    elif size in _INFO_SIZES:
        width, height, planes, bits, compression = struct.unpack_from("<iiHHI", data, 18)
        (colours,) = struct.unpack_from("<I", data, 46)
    else:
        raise PictureError(f"the BMP is corrupt: its header has {size} bytes")
    if bits not in (1, 4, 8, 16, 24, 32) or planes != 1:
        raise PictureError(f"a BMP of {bits} bits in {planes} planes is not read; save it as PNG")
    fields = compression in (_FIELDS, _ALPHA_FIELDS) and bits in _MASKS
    # OS/2's second header counts Huffman as 3, which no bits of a mask can follow.
    if (compression != _PLAIN and not fields) or (fields and size == 64):
        raise PictureError("a compressed BMP is not read; save it without compression, or as PNG")
    masks = struct.unpack_from("<III", data, _FILE_HEADER + _INFO) if fields else _MASKS.get(bits, (0, 0, 0))
    palette = _palette(data, size, bits, colours, at) if bits <= 8 else None
    gray = palette is not None and not (palette != palette[:, :1]).any()
    header = Header(width, abs(height), 1 if gray else 3, 1, width * abs(height) * (2 if bits < 8 else 0))
    if width > 0 and height and at + abs(height) * _row_bytes(width, bits) > len(data):
        raise PictureError("the BMP is truncated")
    return Bmp(header, bits, height > 0, at, palette, masks)


def pixels(bmp: Bmp, data: bytes) -> NDArray[np.uint8]:
    """[h, w] or [h, w, 3] BGR. Raises PictureError."""
    width, height = bmp.header.width, bmp.header.height
    across = _row_bytes(width, bmp.bits)
    rows = np.frombuffer(data, np.uint8, height * across, bmp.at).reshape(height, across)
    if bmp.upside_down:
        rows = rows[::-1]
    if bmp.palette is not None:
        return _coloured(_indices(rows, width, bmp.bits), bmp.palette, gray=bmp.header.channels == 1)
    if bmp.bits == 24:
        return np.ascontiguousarray(rows[:, : 3 * width].reshape(height, width, 3))
    fields = [_field(mask) for mask in reversed(bmp.masks)]
    bgr = np.empty((height, width, 3), np.uint8)
    for line, into in zip(rows[:, : width * bmp.bits // 8], bgr, strict=True):
        values = np.ascontiguousarray(line).view("<u2" if bmp.bits == 16 else "<u4")
        for channel, (shift, steps) in enumerate(fields):
            into[:, channel] = steps[(values >> shift) & (len(steps) - 1)]
    return bgr


def _row_bytes(width: int, bits: int) -> int:
    return (width * bits + 31) // 32 * 4


def _palette(data: bytes, size: int, bits: int, colours: int, end: int) -> NDArray[np.uint8]:
    entry = 3 if size == _OS2 else 4
    begin = _FILE_HEADER + size
    told = min(colours or 1 << bits, 1 << bits)
    count = min(told, (end - begin) // entry)
    if count < 1:
        raise PictureError("the BMP is corrupt: it has no palette")
    return np.frombuffer(data, np.uint8, count * entry, begin).reshape(count, entry)[:, :3]


def _indices(rows: NDArray[np.uint8], width: int, bits: int) -> NDArray[np.uint8]:
    if bits == 8:
        return rows[:, :width]
    if bits == 4:
        return np.stack([rows >> 4, rows & 15], axis=-1).reshape(len(rows), -1)[:, :width]
    return np.unpackbits(rows, axis=1, count=width)


def _coloured(indices: NDArray[np.uint8], palette: NDArray[np.uint8], *, gray: bool) -> NDArray[np.uint8]:
    if int(indices.max()) >= len(palette):
        raise PictureError(f"the BMP is corrupt: a pixel lies outside its palette of {len(palette)} colours")
    table = np.ascontiguousarray(palette[:, 0] if gray else palette)
    return table[indices]


def _field(mask: int) -> tuple[int, NDArray[np.uint8]]:
    """Where the bits of one colour begin, and what each of their values is in 0..255."""
    shift = (mask & -mask).bit_length() - 1 if mask else 0
    most = mask >> shift
    if most == 0 or most & (most + 1) or most > 255:
        raise PictureError(f"a BMP with the colour mask {mask:#x} is not read; save it as PNG")
    return shift, ((np.arange(most + 1) * 255 + most // 2) // most).astype(np.uint8)
