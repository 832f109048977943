"""The bytes of one compressed strip or tile of a TIFF, never more than are wanted."""

import struct
import zlib

import cv2
import numpy as np

from inspection.errors import PictureError

_LZW, _DEFLATE, _OLD_DEFLATE, _PACK_BITS = 5, 8, 32946, 32773
_NAMES = {2: "CCITT", 3: "CCITT", 4: "CCITT", 6: "JPEG", 7: "JPEG", 34712: "JPEG 2000", 34925: "LZMA", 50000: "ZSTD"}
_WIDEST = 1 << 20


def inflated(packed: bytes, compression: int, rows: int, row_bytes: int) -> bytes:
    """`rows` times `row_bytes`, or fewer where there are no more. Raises PictureError."""
    wanted = rows * row_bytes
    if compression in (_DEFLATE, _OLD_DEFLATE):
        try:
            return zlib.decompressobj().decompress(packed, wanted)
        except zlib.error as error:
            raise PictureError(f"the TIFF is corrupt: {error}") from error
    if compression == _PACK_BITS:
        return _packed_bits(packed, wanted)
    if compression == _LZW:
        return _lzw(packed, rows, row_bytes)
    name = _NAMES.get(compression, f"compression {compression}")
    raise PictureError(f"a TIFF with {name} is not read; save it without compression, or with LZW or deflate")


def _packed_bits(packed: bytes, wanted: int) -> bytes:
    out = bytearray()
    at = 0
    while len(out) < wanted and at + 1 < len(packed):
        told = packed[at]
        if told < 128:
            out += packed[at + 1 : at + 2 + told]
            at += 2 + told
        else:
            out += packed[at + 1 : at + 2] * (257 - told if told > 128 else 0)
            at += 2 if told > 128 else 1
    return bytes(out[:wanted])


def _lzw(packed: bytes, rows: int, row_bytes: int) -> bytes:
    """By OpenCV's decoder, which is given the strip as the only one of a gray picture of 8 bits."""
    if row_bytes > _WIDEST:
        raise PictureError(f"a TIFF with LZW and {row_bytes} bytes a row is not read; save it without compression")
    entries = ((256, row_bytes), (257, rows), (258, 8), (259, _LZW), (262, 1), (273, 8), (277, 1), (278, rows),
               (279, len(packed)))  # fmt: skip
    directory = 8 + len(packed) + len(packed) % 2
    plain = b"".join([
        struct.pack("<2sHI", b"II", 42, directory), packed, b"\0" * (len(packed) % 2), struct.pack("<H", len(entries)),
        *(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries), bytes(4),
    ])  # fmt: skip
    try:
        found = cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise PictureError(f"the TIFF is corrupt: {error.err}") from error
    if found is None or found.shape != (rows, row_bytes) or found.dtype != np.uint8:
        raise PictureError("the TIFF is corrupt: a strip or tile cannot be decoded")
    return bytes(found.data)
