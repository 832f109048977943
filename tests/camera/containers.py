"""Picture files by hand, with whatever a container can say: bytes of our own, not a library's."""

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
CODES = {1: "B", 3: "H", 4: "I"}
SHORT, LONG = 3, 4


def packed(rows: NDArray[Any], bits: int, order: str = ">") -> bytes:
    """Samples [h, n], one behind the other with the highest bit first; a row begins with a byte."""
    if bits == 16:
        return rows.astype(f"{order}u2").tobytes()
    apart = (rows[:, :, None].astype(np.uint32) >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(apart.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


def tiff(
    values: NDArray[Any],
    bits: int,
    photometric: int = 1,
    *,
    order: str = "<",
    fill: int = 1,
    planar: int = 1,
    compression: int = 1,
    rows_per_strip: int | None = None,
    tile: tuple[int, int] | None = None,
    predictor: int = 1,
    tags: dict[int, Sequence[int]] | None = None,
    without: Iterable[int] = (),
) -> bytes:
    """`values` [h, w] or [h, w, samples]; `tile` is [height, width]; `tags` come on top, `without` are left out."""
    array = values[:, :, None] if values.ndim == 2 else values
    height, width, samples = array.shape
    if predictor == 2:
        before = np.concatenate([np.zeros_like(array[:, :1]), array[:, :-1]], axis=1)
        array = (array.astype(np.int64) - before) % (1 << bits)
    blocks = [
        _stored(block, bits, order, fill, compression)
        for block in _blocks(
            array, planar, tile or (rows_per_strip or array.shape[0], array.shape[1]), tile is not None
        )
    ]
    numbers: dict[int, tuple[int, Sequence[int]]] = {
        256: (LONG, [width]), 257: (LONG, [height]), 258: (SHORT, [bits] * samples), 259: (SHORT, [compression]),
        262: (SHORT, [photometric]), 266: (SHORT, [fill]), 277: (SHORT, [samples]), 284: (SHORT, [planar]),
        317: (SHORT, [predictor]),
    }  # fmt: skip
    sizes = [len(block) for block in blocks]
    if tile:
        numbers |= {322: (LONG, [tile[1]]), 323: (LONG, [tile[0]]), 324: (LONG, blocks), 325: (LONG, sizes)}  # type: ignore[dict-item]
    else:
        numbers |= {278: (LONG, [rows_per_strip or height]), 273: (LONG, blocks), 279: (LONG, sizes)}  # type: ignore[dict-item]
    numbers |= {tag: (SHORT, found) for tag, found in (tags or {}).items()}
    numbers = {tag: found for tag, found in sorted(numbers.items()) if tag not in without}
    body = b""
    begin = 8 + 2 + 12 * len(numbers) + 4

    def put(data: bytes) -> int:
        nonlocal body
        at = begin + len(body)
        body += data + b"\0" * (len(data) % 2)
        return at

    entries = b""
    for tag, (kind, found) in numbers.items():
        plain = [put(one) if isinstance(one, bytes) else one for one in found]
        data = struct.pack(f"{order}{len(plain)}{CODES[kind]}", *plain)
        where = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(f"{order}I", put(data))
        entries += struct.pack(f"{order}HHI", tag, kind, len(plain)) + where
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(f"{order}IH", 8, len(numbers)) + entries + bytes(4) + body


def _blocks(array: NDArray[Any], planar: int, size: tuple[int, int], full: bool) -> Iterator[NDArray[Any]]:
    """Strips, or tiles of `full` size, as [rows, samples]."""
    down, across = size
    for plane in [array] if planar == 1 else np.split(array, array.shape[2], axis=2):
        for top in range(0, plane.shape[0], down):
            for left in range(0, plane.shape[1], across):
                block = plane[top : top + down, left : left + across]
                if full:
                    block = np.pad(block, ((0, down - block.shape[0]), (0, across - block.shape[1]), (0, 0)))
                yield block.reshape(block.shape[0], -1)


def _stored(block: NDArray[Any], bits: int, order: str, fill: int, compression: int) -> bytes:
    raw = packed(block, bits, order)
    if fill == 2:
        raw = raw.translate(REVERSED)
    if compression in (8, 32946):
        return zlib.compress(raw)
    if compression == 32773:
        runs = [(value, len(list(run))) for value, run in groupby(raw)]
        return b"".join(bytes([257 - n if n > 1 else 0, value]) for value, n in runs)
    return raw


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    values: NDArray[Any], bits: int, colour: int, *extra: tuple[bytes, bytes], palette: bytes = b"", interlace: int = 0
) -> bytes:
    """`values` [h, w] or [h, w, samples]; `extra` chunks stand before the palette."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + packed(row.reshape(1, -1), bits) for row in values)
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    if palette:
        chunks.insert(1, (b"PLTE", palette))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in chunks)


def pnm(values: NDArray[Any], highest: int) -> bytes:
    """`values` [h, w] as PGM or [h, w, 3] as PPM."""
    kind = "P6" if values.ndim == 3 else "P5"
    head = f"{kind}\n{values.shape[1]} {values.shape[0]}\n{highest}\n".encode()
    return head + values.astype(">u2" if highest > 255 else "u1").tobytes()


def bmp(
    values: NDArray[Any],
    bits: int,
    *,
    head: int = 40,
    top_down: bool = False,
    compression: int = 0,
    palette: Sequence[Sequence[int]] = (),
    masks: Sequence[int] = (),
    data: bytes | None = None,
) -> bytes:
    """`values` [h, w] as numbers or [h, w, 3] BGR; `palette` in BGR; `data` in place of the rows."""
    height, width = values.shape[:2]
    rows = values if top_down else values[::-1]
    if bits in (1, 4):
        lines = [packed(row.reshape(1, -1), bits) for row in rows]
    else:
        lines = [row.astype({16: "<u2", 32: "<u4"}.get(bits, "u1")).tobytes() for row in rows]
    body = b"".join(line + b"\0" * (-len(line) % 4) for line in lines) if data is None else data
    if head == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        tall = -height if top_down else height
        info = struct.pack(
            "<IiiHHIIiiII", head, width, tall, 1, bits, compression, len(body), 2835, 2835, len(palette), 0
        )
        fields = struct.pack(f"<{len(masks)}I", *masks)
        info += fields if head == 40 else fields.ljust(head - 40, b"\0")
    colours = b"".join(bytes(colour) + (b"" if head == 12 else b"\0") for colour in palette)
    at = 14 + len(info) + len(colours)
    return b"BM" + struct.pack("<IHHI", at + len(body), 0, 0, at) + info + colours + body
