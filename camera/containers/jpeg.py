"""JPEG: baseline and progressive, 8 bits, gray, colour or Adobe's CMYK.

What the decoder gets is written anew from what was read here: frame, tables, scans, and the two markers that tell the
colour space. So both see the same size, and no orientation, colour profile or comment reaches the decoder.
"""

import struct
from dataclasses import dataclass

from camera.containers.header import Header
from inspection.errors import PictureError

START = b"\xff\xd8"

MAX_SCANS = 100
"""A progressive picture has about ten. Each one costs a pass over all pixels, whatever it holds."""

MAX_SEGMENTS = 10_000
"""A large profile takes hundreds, of 64 KiB each."""

_END = b"\xff\xd9"
_SCAN = 0xDA
_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_TABLES = frozenset({0xC4, 0xDB, 0xDD})  # Huffman, quantisation, restart interval
_JFIF, _ADOBE = 0xE0, 0xEE
_LEFT_OUT = frozenset({*range(0xE0, 0xF0), 0xFE})  # application data, comments
_INKS = 4


@dataclass(frozen=True, slots=True)
class Jpeg:
    header: Header
    plain: bytearray
    """The same picture with nothing beside it, for the decoder."""


def read(data: bytes) -> Jpeg:
    """Raises PictureError, struct.error or IndexError for what is no JPEG that we read."""
    at = len(START)
    plain = bytearray(START)
    segments = 0
    frame: bytes | None = None
    adobe = False
    while True:
        marker, end = _segment(data, at)
        if marker == _SCAN:
            break
        segments += 1
        if segments > MAX_SEGMENTS:
            raise PictureError(f"the JPEG has more than {MAX_SEGMENTS} segments before the picture; save it again")
        segment = data[at:end]
        if marker in _FRAMES:
            if frame is not None:
                raise PictureError("the JPEG is corrupt: it has two frame headers")
            frame = segment
        adobe = adobe or (marker == _ADOBE and segment[4:].startswith(b"Adobe"))
        if _makes_pixels(marker, segment):
            plain += segment
        at = end
    if frame is None:
        raise PictureError("the JPEG is corrupt: it has no frame header")
    plain += _scans(data, at)
    return Jpeg(_header(frame, adobe=adobe), plain)


def _makes_pixels(marker: int, segment: bytes) -> bool:
    """Whether the decoder needs a segment. Raises PictureError for one that we do not know."""
    if marker in _FRAMES or marker in _TABLES:
        return True
    if marker not in _LEFT_OUT:
        raise PictureError(f"the JPEG is corrupt: marker {marker:02X} stands before the picture")
    body = segment[4:]
    return (marker == _JFIF and body.startswith(b"JFIF\0")) or (marker == _ADOBE and body.startswith(b"Adobe"))


def _scans(data: bytes, at: int) -> memoryview:
    """All from the first scan to the end marker."""
    # Searched for behind the headers only: a thumbnail in them has an end marker of its own.
    last = data.rfind(_END, at)
    if last < 0:
        raise PictureError("the JPEG is truncated: its end marker is missing")
    if data.count(bytes([0xFF, _SCAN]), at) > MAX_SCANS:
        raise PictureError(f"the JPEG has more than {MAX_SCANS} scans; save it again")
    return memoryview(data)[at : last + len(_END)]


def _segment(data: bytes, at: int) -> tuple[int, int]:
    """The marker of the segment at `at`, and where the next one begins."""
    if data[at] != 0xFF:
        raise PictureError("the JPEG is corrupt: a segment does not begin with a marker")
    marker = data[at + 1]
    if marker == _END[1]:
        raise PictureError("the JPEG is corrupt: it has no frame header")
    # A decoder skips fill bytes and markers without a length (TEM, RSTn): no writer puts them here, so that no
    # reader need guess.
    if marker < 0xC0 or 0xD0 <= marker <= 0xD9:
        raise PictureError(f"the JPEG is corrupt: marker {marker:02X} stands before the picture")
    (length,) = struct.unpack_from(">H", data, at + 2)
    end = at + 2 + length
    if length < 2 or end > len(data):
        raise PictureError("the JPEG is truncated: a segment is longer than the file")
    return marker, end


def _header(frame: bytes, *, adobe: bool) -> Header:
    marker = frame[1]
    bits, height, width, components = struct.unpack_from(">BHHB", frame, 4)
    if marker not in (_BASELINE, _EXTENDED, _PROGRESSIVE):
        raise PictureError("a lossless, hierarchical or arithmetic JPEG is not read; save it as a baseline JPEG")
    if bits != 8:
        raise PictureError(f"a JPEG of {bits} bits is not read; save it as PNG or TIFF of 16 bits")
    if components not in (1, 3, _INKS):
        raise PictureError(f"a JPEG of {components} components is not read; save it as gray or RGB")
    if components == _INKS and not adobe:
        raise PictureError("a CMYK JPEG without Adobe's marker does not tell which way its inks count; save it as RGB")
    channels = 1 if components == 1 else 3
    # OpenCV holds the picture twice. A progressive one's coefficients, two bytes each, are all in memory to the end.
    a_pixel = channels + (2 * components if marker == _PROGRESSIVE else 0)
    return Header(width, height, channels, 1, width * height * a_pixel)
