"""The bytes of one compressed strip or tile of a TIFF, never more than are wanted."""

import struct
import sys
import zlib

import cv2
import numpy as np

from inspection.errors import PictureError

_LZW, _DEFLATE, _OLD_DEFLATE, _PACK_BITS = 5, 8, 32946, 32773
_NAMES = {2: "CCITT", 3: "CCITT", 4: "CCITT", 6: "JPEG", 7: "JPEG", 34712: "JPEG 2000", 34925: "LZMA", 50000: "ZSTD"}
_CLEAR_AND_ZEROS = b"\x80" + bytes(8)
"""Eight LZW codes of nine bits each: begin a new table, then seven zeros."""
_ACROSS = 1024


def inflated(packed: bytes, compression: int, rows: int, row_bytes: int) -> bytes:
    """`rows` times `row_bytes`, or fewer where there are no more. Raises PictureError."""
    wanted = rows * row_bytes
    if compression in (_DEFLATE, _OLD_DEFLATE):
        return _deflated(packed, wanted)
    if compression == _PACK_BITS:
        return _packed_bits(packed, wanted)
    if compression == _LZW:
        return _lzw(packed, wanted)
    name = _NAMES.get(compression, f"compression {compression}")
    raise PictureError(f"a TIFF with {name} is not read; save it without compression, or with LZW or deflate")


def _deflated(packed: bytes, wanted: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(packed, wanted)
        # The checksum stands behind the last byte, and zlib looks at it when it is asked for more.
        more = stream.decompress(stream.unconsumed_tail, 1)
    except zlib.error as error:
        raise PictureError(f"the TIFF is corrupt: {error}") from error
    if not more and not stream.eof:
        raise PictureError("the TIFF is truncated: a strip or tile is too short")
    return found


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


def _lzw(packed: bytes, wanted: int) -> bytes:
    """By OpenCV's decoder, which is given the strip as the only one of a gray picture of 16 bits.

    At 8 bits OpenCV takes no heed of the decoder's errors, and what could not be decoded would be black. Rows of one
    width fit whatever is wanted, since zeros come in front.
    """
    if packed[:1] != b"\x80" or packed[1:2] >= b"\x80":
        raise PictureError("the TIFF is corrupt, or of an old kind of LZW; save it without compression")
    groups = -wanted * pow(7, -1, _ACROSS) % _ACROSS
    strip = _CLEAR_AND_ZEROS * groups + packed
    down = (wanted + 7 * groups) // _ACROSS
    entries = ((256, _ACROSS // 2), (257, down), (258, 16), (259, _LZW), (262, 1), (273, 8), (277, 1), (278, down),
               (279, len(strip)))  # fmt: skip
    directory = 8 + len(strip) + len(strip) % 2
    order, mark = ("<", b"II") if sys.byteorder == "little" else (">", b"MM")  # else the decoder would swap the bytes
    plain = b"".join([
        struct.pack(f"{order}2sHI", mark, 42, directory), strip, b"\0" * (len(strip) % 2),
        struct.pack(f"{order}H", len(entries)),
        *(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in entries), bytes(4),
    ])  # fmt: skip
    try:
        found = cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise PictureError(f"the TIFF is corrupt: {error.err}") from error
    if found is None or found.shape != (down, _ACROSS // 2) or found.dtype != np.uint16:
        raise PictureError("the TIFF is truncated or corrupt: a strip or tile cannot be decoded")
    return bytes(memoryview(found).cast("B")[7 * groups :])
