"""PNG of every kind: gray, colour and palette, 1 to 16 bits, with or without alpha, interlaced or not.

The decoder gets the chunks that make the pixels, and nothing beside them: no profile, text, gamma, orientation,
transparency or animation, none of which changes what was stored.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from camera.containers.header import Header
from inspection.errors import PictureError

SIGNATURE = b"\x89PNG\r\n\x1a\n"

MAX_CHUNKS = 100_000
"""Writers put 8 KiB and more into each."""

_COLOUR, _PALETTE, _GRAY_ALPHA, _COLOUR_ALPHA = 2, 3, 4, 6
_SAMPLES = {0: 1, _COLOUR: 3, _PALETTE: 1, _GRAY_ALPHA: 2, _COLOUR_ALPHA: 4}
_CRITICAL = 0x20  # the bit of a chunk's first letter that is clear where a reader must know the chunk


@dataclass(frozen=True, slots=True)
class Png:
    header: Header
    plain: bytearray
    """The same picture with nothing beside it, for the decoder."""
    outside: tuple[int, ...] = ()
    """Blue, green and red of a pixel that has no colour in the palette; empty where no pixel can have none."""


def read(data: bytes) -> Png:
    """Raises PictureError, struct.error or IndexError for what is no PNG that we read."""
    view = memoryview(data)
    header: Header | None = None
    plain = bytearray(SIGNATURE)
    colours = outside = None
    for kind, at, end in _chunks(data):
        if (header is None) != (kind == b"IHDR"):
            raise PictureError("the PNG is corrupt: it does not begin with its only header")
        if kind == b"IHDR":
            header = _header(data[at + 8 : end])
            colours = 1 << data[at + 8 + 8] if data[at + 8 + 9] == _PALETTE else None
        if kind in (b"IHDR", b"IDAT", b"IEND"):
            plain += view[at : end + 4]
        elif kind == b"PLTE" and colours is not None:
            if outside is not None:
                raise PictureError("the PNG is corrupt: it has two palettes")
            palette, outside = _palette(data[at + 8 : end], colours)
            plain += _chunk(kind, palette)
        elif not kind[0] & _CRITICAL and kind != b"PLTE":
            raise PictureError(f"the PNG has an unknown chunk {kind.decode('ascii', 'replace')}; save it again")
        if kind == b"IEND":
            assert header is not None
            return Png(header, plain, outside or ())
    raise AssertionError("every chunk is followed by one, or by an error")


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The kind of each chunk, where it begins, and where its checksum stands, which is right."""
    view = memoryview(data)
    at = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        (checksum,) = struct.unpack_from(">I", data, end)
        if zlib.crc32(view[at + 4 : end]) != checksum:
            raise PictureError("the PNG is corrupt: a checksum is wrong")
        yield kind, at, end
        at = end + 4
    raise PictureError(f"the PNG has more than {MAX_CHUNKS} chunks; save it again")


def _palette(told: bytes, colours: int) -> tuple[bytes, tuple[int, ...]]:
    """The palette with as many colours as the pixels can name, and the one that those without a colour get."""
    if colours > 256 or not told or len(told) % 3 or len(told) > 3 * colours:
        raise PictureError(f"the PNG is corrupt: its palette of {colours} colours has {len(told)} bytes")
    there = {told[at : at + 3] for at in range(0, len(told), 3)}
    missing = colours - len(told) // 3
    if not missing:
        return told, ()
    free = next(colour for n in range(256) if (colour := bytes((n, 0, 255))) not in there)
    return told + missing * free, tuple(free[::-1])


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


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
