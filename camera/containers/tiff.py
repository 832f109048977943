"""TIFF: what its first directory says of its pixels, and its bytes as pixels.

Gray of 1, 2, 4, 8, 10, 12, 14 and 16 bits, black or white at zero; RGB; palettes; CMYK of 8 bits. Strips or tiles,
samples together or in planes, both byte orders and both bit orders; not compressed, or with LZW, deflate or PackBits.
Whatever else a TIFF can say is refused by name. Decoded here: OpenCV inverts no deep picture whose zero is white,
mixes up deep planes, and darkens colours under alpha.
"""

import struct
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camera.containers.header import Header
from camera.containers.inflate import inflated
from inspection.errors import PictureError
from inspection.frame import Pixels

MAGIC = (b"II*\0", b"MM\0*")
BIG = (b"II+\0", b"MM\0+")

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIPS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES, _PLANAR = 273, 277, 278, 279, 284
_PREDICTOR, _COLOURS, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _INK_SET = 317, 320, 322, 323, 324, 325, 332
_SAMPLE_FORMAT, _SUBFILE = 339, 254
_CODES = {1: "B", 3: "H", 4: "I"}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK = 0, 1, 2, 3, 5
_COLOUR_SAMPLES = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4}
_SPACES = {4: "a mask", 6: "YCbCr", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32803: "a sensor's raw mosaic"}
_FORMATS = {2: "signed", 3: "floating point", 5: "complex", 6: "complex"}
_UINT, _VOID = 1, 4
_TILE_STEP = 16
_MOST_ENTRIES = 4096
_BLOCK_TAGS = frozenset({_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES})
_READ = _BLOCK_TAGS | {
    _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _SAMPLES, _ROWS_PER_STRIP, _PLANAR, _PREDICTOR,
    _COLOURS, _TILE_WIDTH, _TILE_HEIGHT, _INK_SET, _SAMPLE_FORMAT, _SUBFILE,
}  # fmt: skip
_MOST_BLOCKS = 1 << 17
_MOST_VALUES = 3 << 8  # of a palette
_MOST_SAMPLES = 8
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
_DEPTHS = (1, 2, 4, 8, 10, 12, 14, 16)


@dataclass(frozen=True, slots=True)
class Tiff:
    """`blocks` are the strips or tiles, `block` [height, width] is the size of each; `planes` of them lie apart."""

    header: Header
    order: str
    bits: int
    samples: int
    photometric: int
    compression: int
    predictor: int
    reversed_bits: bool
    planes: int
    tiled: bool
    block: tuple[int, int]
    blocks: tuple[tuple[int, int], ...]
    colours: tuple[int, ...]


def read(data: bytes) -> Tiff:
    """Raises PictureError, struct.error or IndexError for what is no TIFF that we read."""
    order = "<" if data.startswith(b"II") else ">"
    tags = _tags(data, order)

    def one(tag: int, default: int | None = None) -> int:
        values = tags.get(tag)
        if values is None and default is None:
            raise PictureError(f"the TIFF is corrupt: tag {tag} is missing")
        return values[0] if values else default or 0

    width, height = one(_WIDTH), one(_HEIGHT)
    samples = one(_SAMPLES, 1)
    photometric = one(_PHOTOMETRIC)
    bits = _depth(tags, samples)
    _refuse(tags, photometric, samples, bits)
    planes = samples if one(_PLANAR, 1) == 2 and samples > 1 else 1
    tiled = _TILE_WIDTH in tags
    if tiled:
        block = one(_TILE_HEIGHT), one(_TILE_WIDTH)
        if 0 in block or block[0] % _TILE_STEP or block[1] % _TILE_STEP:
            raise PictureError(f"the TIFF is corrupt: a tile has {block[1]}x{block[0]} pixels")
    else:
        block = max(min(one(_ROWS_PER_STRIP, height), height), 1), width
    places, sizes = tags.get(_TILES if tiled else _STRIPS, ()), tags.get(_TILE_BYTES if tiled else _STRIP_BYTES, ())
    gray = photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    compression, predictor, reversed_bits = one(_COMPRESSION, 1), one(_PREDICTOR, 1), one(_FILL_ORDER, 1) == 2
    sample_bytes = 2 if bits > 8 else 1
    # All samples as they stand in the file, and of one block at a time its bytes and what becomes of them.
    copies = (compression != 1 or reversed_bits) + (bits not in (8, 16) or predictor != 1)
    of_block = block[0] * block[1] * (samples if planes == 1 else 1) * sample_bytes
    working = width * height * samples * sample_bytes + copies * of_block
    tiff = Tiff(
        Header(width, height, 1 if gray else 3, sample_bytes, working),
        order, bits, samples, photometric, compression, predictor, reversed_bits, planes,
        tiled, block, tuple(zip(places, sizes, strict=False)), tags.get(_COLOURS, ()),
    )  # fmt: skip
    if width > 0 and height > 0 and len(tiff.blocks) < _blocks(tiff):
        raise PictureError("the TIFF is truncated: it has fewer strips or tiles than its size needs")
    return tiff


def pixels(tiff: Tiff, data: bytes) -> tuple[Pixels, int]:
    """[h, w] or [h, w, 3] BGR, uint8 or uint16, and the bit depth. Raises PictureError."""
    values = _values(tiff, data)
    if tiff.photometric == _PALETTE:
        return _by_palette(values[:, :, 0], tiff), 8
    if tiff.photometric == _CMYK:
        return _from_inks(values[:, :, :4]), 8
    colour: NDArray[Any] = values[:, :, 0] if tiff.header.channels == 1 else values[:, :, 2::-1]
    most = (1 << tiff.bits) - 1
    if tiff.photometric == _WHITE_IS_ZERO:
        np.subtract(most, colour, out=colour)
    if tiff.bits < 8:
        colour *= np.uint8(255 // most)
    if tiff.bits == 14:  # no camera of ours has 14 bits: the picture becomes one of 16
        colour <<= np.uint16(2)
    deep = {10: 10, 12: 12}.get(tiff.bits, 8 if tiff.bits <= 8 else 16)
    return np.ascontiguousarray(colour), deep


def _tags(data: bytes, order: str) -> dict[int, tuple[int, ...]]:
    """The numbers of the first directory that say something of its pixels."""
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, directory)
    if entries > _MOST_ENTRIES:
        raise PictureError(f"the TIFF is corrupt: its directory has {entries} entries")
    found: dict[int, tuple[int, ...]] = {}
    for entry in range(entries):
        at = directory + 2 + 12 * entry
        tag, kind, count = struct.unpack_from(order + "HHI", data, at)
        code = _CODES.get(kind)
        if code is None or count == 0 or tag not in _READ or tag in found:
            continue
        # A number in Python takes nine times its four bytes, and many tags may share one place in the file.
        if tag in _BLOCK_TAGS and count > _MOST_BLOCKS:
            raise PictureError(f"the TIFF has {count} strips or tiles, more than {_MOST_BLOCKS}; save it again")
        if tag not in _BLOCK_TAGS and count > _MOST_VALUES:
            raise PictureError(f"a TIFF with {count} values in tag {tag} is not read; save it as gray or RGB")
        size = count * struct.calcsize(code)
        where = at + 8 if size <= 4 else struct.unpack_from(order + "I", data, at + 8)[0]
        if where + size > len(data):
            raise PictureError("the TIFF is truncated: a tag lies behind the end of the file")
        found[tag] = struct.unpack_from(f"{order}{count}{code}", data, where)
    return found


def _depth(tags: dict[int, tuple[int, ...]], samples: int) -> int:
    if not 1 <= samples <= _MOST_SAMPLES:
        raise PictureError(f"a TIFF of {samples} samples a pixel is not read; save it as gray or RGB")
    depths = tags.get(_BITS, (1,))
    if len(set(depths[:samples])) != 1:
        raise PictureError(f"a TIFF of {depths} bits is not read; save it with 8 or 16 bits a sample")
    for number in tags.get(_SAMPLE_FORMAT, (_UINT,))[:samples]:
        if number not in (_UINT, _VOID):
            raise PictureError(
                f"a TIFF of {_FORMATS.get(number, 'unknown')} samples is not read; save it with unsigned integers"
            )
    if depths[0] not in _DEPTHS:
        raise PictureError(f"a TIFF of {depths[0]} bits a sample is not read; save it with 8 or 16")
    return depths[0]


def _refuse(tags: dict[int, tuple[int, ...]], photometric: int, samples: int, bits: int) -> None:
    """What we would show wrongly. Raises PictureError."""
    needed = _COLOUR_SAMPLES.get(photometric)
    if needed is None:
        space = _SPACES.get(photometric, f"photometric interpretation {photometric}")
        raise PictureError(f"a TIFF of {space} is not read; save it as gray or RGB")
    if samples < needed:
        raise PictureError(f"the TIFF is corrupt: its colours need {needed} samples, and it has {samples}")
    if photometric == _PALETTE and (bits > 8 or len(tags.get(_COLOURS, ())) != 3 << bits):
        raise PictureError(f"a TIFF with a palette of {bits} bits is not read, or has no such palette; save it as RGB")
    if photometric == _CMYK and (bits != 8 or tags.get(_INK_SET, (1,))[0] != 1):
        raise PictureError(f"a TIFF of inks other than CMYK of 8 bits is not read, this one has {bits}; save it as RGB")
    if tags.get(_SUBFILE, (0,))[0] & 1:
        raise PictureError("the TIFF's first picture is a preview of another; save it as a plain TIFF")
    predictor, compression = tags.get(_PREDICTOR, (1,))[0], tags.get(_COMPRESSION, (1,))[0]
    if predictor not in (1, 2) or (predictor == 2 and bits not in (8, 16)):
        raise PictureError(f"a TIFF with predictor {predictor} at {bits} bits is not read; save it without compression")
    if tags.get(_FILL_ORDER, (1,))[0] == 2 and compression != 1:
        raise PictureError("a compressed TIFF of reversed bits is not read; save it without compression")


def _blocks(tiff: Tiff) -> int:
    down, across = tiff.block
    return ceil(tiff.header.height / down) * ceil(tiff.header.width / across) * tiff.planes


def _values(tiff: Tiff, data: bytes) -> Pixels:
    """[h, w, samples] as they stand in the file, right-aligned."""
    width, height = tiff.header.width, tiff.header.height
    down, across = tiff.block
    together = tiff.samples if tiff.planes == 1 else 1
    values: NDArray[Any] = np.empty((height, width, tiff.samples), np.uint8 if tiff.bits <= 8 else np.uint16)
    view = memoryview(data)
    blocks = iter(tiff.blocks)
    for plane in range(tiff.planes):
        channels = slice(None) if tiff.planes == 1 else slice(plane, plane + 1)
        for top in range(0, height, down):
            # The last strip ends with the picture; the last tile does not.
            rows = down if tiff.tiled else min(down, height - top)
            for left in range(0, width, across):
                place, size = next(blocks)
                block = _block(tiff, view[place : place + size], rows, across, together)
                seen = values[top : top + down, left : left + across, channels]
                seen[...] = block[: seen.shape[0], : seen.shape[1]]
    return values


def _block(tiff: Tiff, packed: memoryview, rows: int, across: int, together: int) -> Pixels:
    """[rows, across, samples] of one strip or tile."""
    count = across * together
    row_bytes = ceil(count * tiff.bits / 8)
    raw: bytes | memoryview
    if tiff.compression != 1:
        raw = inflated(bytes(packed), tiff.compression, rows, row_bytes)
    elif tiff.reversed_bits:
        raw = bytes(packed[: rows * row_bytes]).translate(_REVERSED)
    else:
        raw = packed
    if len(raw) < rows * row_bytes:
        raise PictureError("the TIFF is truncated: a strip or tile is too short")
    lines = np.frombuffer(raw, np.uint8, rows * row_bytes).reshape(rows, row_bytes)
    values: NDArray[Any]
    if tiff.bits == 8:
        values = lines
    elif tiff.bits == 16:
        values = lines.view(f"{tiff.order}u2")
    else:
        values = _unpacked(lines, tiff.bits, count)
    values = values.reshape(rows, across, together)
    if tiff.predictor == 2:
        sums = np.empty(values.shape, np.uint8 if tiff.bits == 8 else np.uint16)
        for sample in range(together):  # one by one: numpy adds up short last axes slowly
            np.add.accumulate(values[:, :, sample], axis=1, dtype=sums.dtype, out=sums[:, :, sample])
        values = sums
    return values


def _unpacked(lines: NDArray[np.uint8], bits: int, count: int) -> NDArray[Any]:
    """[rows, count] of samples whose bits follow each other in each row, the highest first."""
    starts = np.arange(count) * bits
    first, shift = starts // 8, (24 - bits - starts % 8).astype(np.uint32)
    values = np.empty((len(lines), count), np.uint8 if bits < 8 else np.uint16)
    padded = np.zeros(lines.shape[1] + 2, np.uint32)
    for line, into in zip(lines, values, strict=True):
        padded[:-2] = line
        three = (padded[first] << 16) | (padded[first + 1] << 8) | padded[first + 2]
        into[:] = (three >> shift) & ((1 << bits) - 1)
    return values


def _by_palette(indices: Pixels, tiff: Tiff) -> NDArray[np.uint8]:
    colours = np.array(tiff.colours, np.uint16).reshape(3, -1)
    # Some writers fill in 8 bits where 16 are meant.
    table = colours.astype(np.uint8) if int(colours.max()) < 256 else (colours >> np.uint16(8)).astype(np.uint8)
    return np.ascontiguousarray(table[::-1].T)[indices]


def _from_inks(values: Pixels) -> NDArray[np.uint8]:
    """Ink of 0 is white paper."""
    colours = np.empty((*values.shape[:2], 3), np.uint8)
    for row, inks in zip(colours, values, strict=True):  # row by row: sums need four times the memory
        paper = 255 - inks[:, 3:].astype(np.uint16)
        row[:] = paper * (255 - inks[:, 2::-1].astype(np.uint16)) // 255
    return colours
