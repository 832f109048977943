"""Reads one picture file, with caps on bytes and pixels that hold before any memory is taken for it.

Rules, each of them tested:

- JPEG, PNG, BMP and TIFF are read; anything else, an empty file and a directory raise PictureError.
- A file above `max_bytes`, or one whose header tells more than `max_pixels`, or a side of zero, raises
  PictureError before it is decoded.
- Gray stays gray; palette, RGB and CMYK become BGR; alpha is dropped and the colours under it stay as stored
  (gray with alpha becomes BGR of three equal channels).
- 8-bit stays uint8 (a bit depth of 1, 2 or 4 is spread to 0..255); 16-bit stays uint16 with bit depth 16.
  Floating point raises PictureError.
- EXIF orientation is ignored: pixels come as the sensor stored them.
- Of a TIFF with several pictures the first is read.
- A JPEG without its end marker and a PNG with a wrong chunk checksum or without its end chunk are truncated or
  corrupt: PictureError. (libjpeg alone would give such a picture back, the rest filled with gray.) JPEG has no
  checksum: damage inside that still decodes cannot be told from a picture.
- A picture takes at most 6 bytes of memory a pixel (16-bit colour), beside the decoder's own.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from camera import MAX_PICTURE_PIXELS
from inspection.errors import PictureError
from inspection.frame import Pixels

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff"})
"""What names of files with such a picture end in, in lower case."""

MAX_PICTURE_BYTES = 256 * 2**20

_JPEG_END = b"\xff\xd9"
_JPEG_SCAN = 0xDA
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_NOT_FRAMES = (0xC4, 0xC8, 0xCC)
_TIFF = (b"II*\0", b"MM\0*")
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_ORIENTATION = 256, 257, 274
_TIFF_SHORT = 3


def read_picture(
    path: Path, *, max_bytes: int = MAX_PICTURE_BYTES, max_pixels: int = MAX_PICTURE_PIXELS
) -> tuple[Pixels, int]:
    """Pixels [h, w] gray or [h, w, 3] BGR, uint8 or uint16, and their bit depth. Raises PictureError."""
    data = _bytes_of(path, max_bytes)
    try:
        return decode(data, max_bytes=max_bytes, max_pixels=max_pixels)
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from error


def read_size(path: Path, *, max_bytes: int = MAX_PICTURE_BYTES) -> tuple[int, int]:
    """Width and height as the file's header tells them; nothing is decoded. Raises PictureError."""
    data = _bytes_of(path, max_bytes)
    try:
        return _size(data, max_bytes)
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from error


def decode(
    data: bytes, *, max_bytes: int = MAX_PICTURE_BYTES, max_pixels: int = MAX_PICTURE_PIXELS
) -> tuple[Pixels, int]:
    """`read_picture` for the bytes of a file."""
    width, height = _size(data, max_bytes)
    if width * height > max_pixels:
        raise PictureError(f"{width}x{height} is more than {max_pixels} pixels")
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(_as_stored(data), np.uint8), flags)
    except cv2.error as error:
        raise PictureError(f"the decoder failed: {error.err}") from error
    if pixels is None or pixels.size == 0:
        raise PictureError("the picture cannot be decoded")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise PictureError(f"pixels of type {pixels.dtype} are not supported")
    pixels.flags.writeable = False
    return pixels, 8 if pixels.dtype == np.uint8 else 16


def png(pixels: Pixels) -> bytes:
    """`pixels` [h, w] or [h, w, 3] BGR as they are: uint16 becomes a 16-bit PNG with the same values.

    Raises PictureError.
    """
    try:
        good, data = cv2.imencode(".png", pixels)
    except cv2.error as error:
        raise PictureError(f"{pixels.dtype} {list(pixels.shape)} makes no PNG: {error.err}") from error
    if not good:
        raise PictureError(f"{pixels.dtype} {list(pixels.shape)} makes no PNG")
    return bytes(data.tobytes())


def write_png(path: Path, pixels: Pixels) -> None:
    """`png` in a file. Raises PictureError."""
    try:
        path.write_bytes(png(pixels))
    except OSError as error:
        raise PictureError(f"{path}: {error.strerror}") from error


def _bytes_of(path: Path, max_bytes: int) -> bytes:
    """At most one more than `max_bytes`."""
    try:
        with path.open("rb") as file:
            # Asked for the cap, Python takes that much memory first: more work than reading the picture.
            return file.read(min(max_bytes, os.fstat(file.fileno()).st_size) + 1)
    except OSError as error:
        raise PictureError(f"{path}: {error.strerror}") from error


def _size(data: bytes, max_bytes: int) -> tuple[int, int]:
    if not data:
        raise PictureError("the file is empty")
    if len(data) > max_bytes:
        raise PictureError(f"the file has more than {max_bytes} bytes")
    try:
        width, height = _sides(data)
    except (struct.error, IndexError) as error:
        raise PictureError("the header is truncated") from error
    if width <= 0 or height <= 0:
        raise PictureError(f"the picture has no pixels ({width}x{height})")
    return width, height


def _sides(data: bytes) -> tuple[int, int]:
    """Width and height as the header tells them. Raises PictureError for a format or a damage we do not read."""
    if data.startswith(b"\xff\xd8"):
        return _jpeg_sides(data)
    if data.startswith(_PNG_SIGNATURE):
        return _png_sides(data)
    if data.startswith(b"BM"):
        return _bmp_sides(data)
    if data.startswith(_TIFF):
        return _tiff_sides(data)
    raise PictureError("not a JPEG, PNG, BMP or TIFF file")


def _jpeg_sides(data: bytes) -> tuple[int, int]:
    at = 2
    sides: tuple[int, int] | None = None
    while True:
        if data[at] != 0xFF:
            raise PictureError("the JPEG is corrupt: a segment does not begin with a marker")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in _JPEG_NOT_FRAMES and sides is None:
            height, width = struct.unpack_from(">HH", data, at + 5)
            sides = width, height
        if marker == _JPEG_SCAN and sides is not None:
            # Searched for behind the headers only: a thumbnail in them has an end marker of its own.
            if data.rfind(_JPEG_END, at) < 0:
                raise PictureError("the JPEG is truncated: its end marker is missing")
            return sides
        if marker in (0xD9, _JPEG_SCAN):
            raise PictureError("the JPEG is corrupt: it has no frame header")
        (length,) = struct.unpack_from(">H", data, at + 2)
        at += 2 + length


def _png_sides(data: bytes) -> tuple[int, int]:
    view = memoryview(data)
    at = len(_PNG_SIGNATURE)
    sides: tuple[int, int] | None = None
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        (checksum,) = struct.unpack_from(">I", data, end)
        if zlib.crc32(view[at + 4 : end]) != checksum:
            raise PictureError("the PNG is corrupt: a checksum is wrong")
        if sides is None:
            if kind != b"IHDR":
                raise PictureError("the PNG is corrupt: it does not begin with its header")
            width, height = struct.unpack_from(">II", data, at + 8)
            sides = width, height
        if kind == b"IEND":
            return sides
        at = end + 4


def _bmp_sides(data: bytes) -> tuple[int, int]:
    (told,) = struct.unpack_from("<I", data, 2)
    if told > len(data):
        raise PictureError("the BMP is truncated")
    width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)


def _tiff_sides(data: bytes) -> tuple[int, int]:
    sides: dict[int, int] = {}
    for tag, code, at in _tiff_tags(data):
        if tag in (_TIFF_WIDTH, _TIFF_HEIGHT):
            sides.setdefault(tag, struct.unpack_from(code, data, at)[0])
    return sides.get(_TIFF_WIDTH, 0), sides.get(_TIFF_HEIGHT, 0)


def _tiff_tags(data: bytes) -> Iterator[tuple[int, str, int]]:
    """Tag, struct code and place of every value in the first directory."""
    order = "<" if data.startswith(b"II") else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, directory)
    for entry in range(entries):
        at = directory + 2 + 12 * entry
        tag, kind = struct.unpack_from(order + "HH", data, at)
        yield tag, order + ("H" if kind == _TIFF_SHORT else "I"), at + 8


def _as_stored(data: bytes) -> bytes:
    """`data` with a TIFF's orientation set to none: OpenCV turns a TIFF although it is told not to."""
    if not data.startswith(_TIFF):
        return data
    turned = [(code, at) for tag, code, at in _tiff_tags(data) if tag == _TIFF_ORIENTATION]
    for code, at in turned:
        one = struct.pack(code, 1)
        data = data[:at] + one + data[at + len(one) :]
    return data
