"""Reads one picture file: the one function through which every such file of linegate is decoded.

Rules, each of them tested; docs/reference/pictures.md tells them to users:

- JPEG, PNG, BMP, TIFF and binary PGM, PPM and PBM are read; anything else, an empty file and a directory raise
  PictureError. Whatever such a file can say about its pixels is heeded, or the file is refused (`camera.containers`).
- A file above `max_bytes`, a picture of more than `max_pixels` or `max_decoded_bytes`, or a side of zero raises
  PictureError before memory is taken for it. Decoding takes at most four times `max_decoded_bytes`, the picture
  itself included, beside the file.
- JPEG and PNG are decoded by OpenCV, which gets a copy of the file that holds what was read here and nothing else:
  the decoder cannot find another size in it. The others are decoded here.
- Gray stays gray; palette, RGB and CMYK become BGR; alpha is dropped and the colours under it stay as stored.
- 8-bit stays uint8 (a bit depth of 1, 2 or 4 is spread to 0..255). Deeper pixels are uint16, right-aligned, with the
  bit depth that the file tells: 10, 12 or 16.
- Orientation is ignored in every kind of file: pixels come as the sensor stored them.
- Of a TIFF with several pictures the first is read.
- A JPEG without its end marker and a PNG with a wrong chunk checksum or without its end chunk are truncated or
  corrupt: PictureError. (libjpeg alone would give such a picture back, the rest filled with gray.) JPEG has no
  checksum: damage inside that still decodes cannot be told from a picture.
"""

import os
import stat
import struct
from pathlib import Path

import cv2
import numpy as np

from camera import MAX_PICTURE_PIXELS
from camera.containers import bmp, jpeg, pnm, tiff
from camera.containers import png as png_file
from camera.containers.header import Header
from inspection.errors import PictureError
from inspection.frame import Pixels

SUFFIXES = frozenset(
    {".bmp", ".dib", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff"}
)
"""What names of files with such a picture end in, in lower case."""

MAX_PICTURE_BYTES = 256 * 2**20
MAX_DECODED_BYTES = 256 * 2**20

_MOST_WORK = 4
_FLAGS = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION

_Container = jpeg.Jpeg | png_file.Png | bmp.Bmp | tiff.Tiff | pnm.Pnm


def read_picture(
    path: Path,
    *,
    max_bytes: int = MAX_PICTURE_BYTES,
    max_pixels: int = MAX_PICTURE_PIXELS,
    max_decoded_bytes: int = MAX_DECODED_BYTES,
) -> tuple[Pixels, int]:
    """Pixels [h, w] gray or [h, w, 3] BGR, uint8 or uint16, and their bit depth. Raises PictureError."""
    data = _bytes_of(path, max_bytes)
    try:
        return decode(data, max_bytes=max_bytes, max_pixels=max_pixels, max_decoded_bytes=max_decoded_bytes)
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
    data: bytes,
    *,
    max_bytes: int = MAX_PICTURE_BYTES,
    max_pixels: int = MAX_PICTURE_PIXELS,
    max_decoded_bytes: int = MAX_DECODED_BYTES,
) -> tuple[Pixels, int]:
    """`read_picture` for the bytes of a file."""
    container = _container(data, max_bytes)
    header = container.header
    _require_room(header, max_pixels, max_decoded_bytes)
    pixels: Pixels
    match container:
        case tiff.Tiff():
            pixels, bit_depth = tiff.pixels(container, data)
        case pnm.Pnm():
            pixels, bit_depth = pnm.pixels(container, data)
        case bmp.Bmp():
            pixels, bit_depth = bmp.pixels(container, data), 8
        case jpeg.Jpeg() | png_file.Png():
            pixels = _by_opencv(container.plain, header)
            if isinstance(container, png_file.Png) and container.outside:
                _require_colours(pixels, container.outside)
            bit_depth = 8 if pixels.dtype == np.uint8 else 16
    pixels.flags.writeable = False
    return pixels, bit_depth


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
        # A pipe would be waited for until somebody writes into it.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise PictureError(f"{path}: not a file")
            # Asked for the cap, Python takes that much memory first: more work than reading the picture.
            return file.read(min(max_bytes, found.st_size) + 1)
    except OSError as error:
        raise PictureError(f"{path}: {error.strerror}") from error


def _size(data: bytes, max_bytes: int) -> tuple[int, int]:
    header = _container(data, max_bytes).header
    return header.width, header.height


def _container(data: bytes, max_bytes: int) -> _Container:
    """What the file is, by its own account. Raises PictureError for what we do not read."""
    if not data:
        raise PictureError("the file is empty")
    if len(data) > max_bytes:
        raise PictureError(f"the file has more than {max_bytes} bytes")
    try:
        container = _read(data)
    except (struct.error, IndexError) as error:
        raise PictureError("the header is truncated") from error
    header = container.header
    if header.width <= 0 or header.height <= 0:
        raise PictureError(f"the picture has no pixels ({header.width}x{header.height})")
    return container


def _read(data: bytes) -> _Container:
    if data.startswith(jpeg.START):
        return jpeg.read(data)
    if data.startswith(png_file.SIGNATURE):
        return png_file.read(data)
    if data.startswith(bmp.MAGIC):
        return bmp.read(data)
    if data.startswith(tiff.MAGIC):
        return tiff.read(data)
    if data.startswith(pnm.MAGIC):
        return pnm.read(data)
    if data.startswith(tiff.BIG):
        raise PictureError("a BigTIFF is not read; save it as an ordinary TIFF")
    raise PictureError("not a JPEG, PNG, BMP, TIFF, PGM or PPM file")


def _require_room(header: Header, max_pixels: int, max_decoded_bytes: int) -> None:
    what = f"{header.width}x{header.height}"
    if header.width * header.height > max_pixels:
        raise PictureError(f"{what} is more than {max_pixels} pixels")
    if header.decoded_bytes > max_decoded_bytes:
        raise PictureError(f"{what} takes {header.decoded_bytes} bytes, more than {max_decoded_bytes}")
    work = header.decoded_bytes + header.working_bytes
    if work > _MOST_WORK * max_decoded_bytes:
        raise PictureError(f"{what} takes {work} bytes to decode, more than {_MOST_WORK * max_decoded_bytes}")


def _require_colours(pixels: Pixels, outside: tuple[int, ...]) -> None:
    for row in pixels:
        if (row == outside).all(axis=-1).any():
            raise PictureError("the PNG is corrupt: a pixel lies outside its palette")


def _by_opencv(plain: bytearray, header: Header) -> Pixels:
    try:
        pixels = cv2.imdecode(np.frombuffer(plain, np.uint8), _FLAGS)
    except cv2.error as error:
        raise PictureError(f"the decoder failed: {error.err}") from error
    if pixels is None or pixels.size == 0:
        raise PictureError("the picture cannot be decoded")
    if header.channels == 1 and pixels.ndim == 3:  # gray with alpha
        pixels = np.ascontiguousarray(pixels[:, :, 0])
    found = (*pixels.shape[:2], 1 if pixels.ndim == 2 else pixels.shape[2], pixels.dtype.itemsize)
    if found != (header.height, header.width, header.channels, header.sample_bytes) or pixels.dtype.kind != "u":
        raise PictureError(f"the decoder gave {pixels.dtype} {list(pixels.shape)}, which the header does not tell")
    read: Pixels = pixels
    return read
