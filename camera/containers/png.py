"""PNG of every kind: gray, colour and palette, 1 to 16 bits, with or without alpha, interlaced or not.

The decoder gets the chunks that make the pixels, and nothing beside them: no profile, text, gamma, orientation,
transparency or animation, none of which changes what was stored.
"""

import struct
import zlib
from dataclasses import dataclass

from camera.containers.header import Header
from inspection.errors import PictureError

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_COLOUR, _PALETTE, _GRAY_ALPHA, _COLOUR_ALPHA = 2, 3, 4, 6
_SAMPLES = {0: 1, _COLOUR: 3, _PALETTE: 1, _GRAY_ALPHA: 2, _COLOUR_ALPHA: 4}
_CRITICAL = 0x20  # the bit of a chunk's first letter that is clear where a reader must know the chunk


@dataclass(frozen=True, slots=True)
class Png:
    header: Header
    plain: bytes
    """The same picture with nothing beside it, for the decoder."""


def read(data: bytes) -> Png:
    """Raises PictureError, struct.error or IndexError for what is no PNG that we read."""
    view = memoryview(data)
    at = len(SIGNATURE)
    header: Header | None = None
    kept: list[bytes | memoryview] = [SIGNATURE]
    palette = False
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        (checksum,) = struct.unpack_from(">I", data, end)
        if zlib.crc32(view[at + 4 : end]) != checksum:
            raise PictureError("the PNG is corrupt: a checksum is wrong")
        if (header is None) != (kind == b"IHDR"):
            raise PictureError("the PNG is corrupt: it does not begin with its only header")
        if kind == b"IHDR":
            header = _header(data[at + 8 : end])
            palette = data[at + 8 + 9] == _PALETTE
        if kind in (b"IHDR", b"IDAT", b"IEND") or (kind == b"PLTE" and palette):
            kept.append(view[at : end + 4])
        elif not kind[0] & _CRITICAL and kind != b"PLTE":
            raise PictureError(f"the PNG has an unknown chunk {kind.decode('ascii', 'replace')}; save it again")
        if kind == b"IEND":
            assert header is not None
            return Png(header, b"".join(kept))
        at = end + 4


def _header(body: bytes) -> Header:
    width, height, bits, colour = struct.unpack_from(">IIBB", body)
    samples = _SAMPLES.get(colour)
    if samples is None or bits not in (1, 2, 4, 8, 16):
        raise PictureError(f"the PNG is corrupt: it has {bits} bits of colour type {colour}")
    sample_bytes = 2 if bits == 16 else 1
    channels = 1 if colour in (0, _GRAY_ALPHA) else 3
    # OpenCV holds the picture twice, once with its alpha; it makes three channels of gray with alpha.
    a_pixel = {0: 1, _GRAY_ALPHA: 6}.get(colour, max(samples, 3))
    return Header(width, height, channels, sample_bytes, width * height * a_pixel * sample_bytes)
