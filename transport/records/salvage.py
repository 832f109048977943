"""Reads the rows of a damaged outbox file without SQLite: every row whose checksum is right comes out.

SQLite gives up a whole file for one flipped bit in its header, its schema or an inner page, and drops without a word
what stands behind a flipped bit in the write-ahead log. Each row has a checksum of its own, so that rows can be looked
for page by page instead. The formats are those of https://sqlite.org/fileformat2.html.

A page that SQLite has not overwritten yet may still hold rows that were delivered. They come out too: a record may be
delivered twice, and must not be lost.
"""

import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from transport.records.entry import Row, sound

PAGE = 4096
LARGEST_N = 2**53

Pages = Callable[[int], bytes]  # the latest image of a page; empty where there is none

_LEAF = 0x0D
_MOST_ON_PAGE = PAGE - 35  # bytes of a row that stay on its leaf page whatever its size
_LEAST_ON_PAGE = (PAGE - 12) * 32 // 255 - 23
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_LARGEST_ROW = 64 << 20
_MOST_VERSIONS = 4  # of a page in the log that are tried
# How a row begins: the size of its header, NULL in the place of n, and the types of two texts.
_ROW = re.compile(rb"[\x07-\x12]\x00(?=(?:[\x80-\xff]{0,3}[\x0d-\x7f]){2})")
_WAL_HEADER = 32
_FRAME_HEADER = 24
_WAL_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}
# Bytes of the file header that are the same in every outbox: (offset, allowed contents).
_FIXED = (
    (0, (b"SQLite format 3\0",)),
    (16, (struct.pack(">H", PAGE),)),
    (18, (b"\x01\x01", b"\x02\x02")),
    (20, (b"\0\x40\x20\x20",)),
    (44, (b"\0\0\0\x04",)),
    (52, (b"\0\0\0\0",)),
    (56, (b"\0\0\0\x01",)),
    (60, (bytes(12),)),
    (72, (bytes(20),)),
)


@dataclass(frozen=True, slots=True)
class _Frame:
    """One page in the write-ahead log. `sound`: its checksum is right; `commit`: it ends a transaction."""

    page: int
    image: bytes
    commit: bool
    sound: bool


def header_is_sound(path: Path) -> bool:
    """Whether a file that SQLite may still open begins as every outbox does. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(100)
    return not head or (len(head) == 100 and all(head[at : at + len(one[0])] in one for at, one in _FIXED))


def all_rows(path: Path) -> list[Row]:
    """Every row with a right checksum, in order, each id once. Raises OSError where the file cannot be opened."""
    frames, trusted = _frames(_read(Path(f"{path}-wal")))
    with _Main(path) as main:
        logged = _by_page(frames)
        lookups = _lookups(logged, main)
        found: list[Row] = []
        for page in sorted({*range(1, main.pages + 1), *logged}):
            for image in _images(logged.get(page, []), trusted=trusted):
                found += _rows_on(image, lookups)
            if page not in logged or not trusted or not any(frame.sound for frame in logged[page]):
                found += _rows_on(main.image(page), lookups)
    return in_order(found)


def rows_behind_damage(path: Path) -> list[Row]:
    """Rows in the part of the write-ahead log that SQLite drops because something before it is damaged."""
    frames, trusted = _frames(_read(Path(f"{path}-wal")))
    kept = next((at for at, frame in enumerate(frames) if not frame.sound), len(frames)) if trusted else 0
    while kept and not frames[kept - 1].commit:
        kept -= 1
    if kept == len(frames):
        return []
    with _Main(path) as main:
        lookups = _lookups(_by_page(frames), main)
        return in_order([row for frame in frames[kept:] for row in _rows_on(frame.image, lookups)])


def _by_page(frames: Sequence[_Frame]) -> dict[int, list[_Frame]]:
    logged: dict[int, list[_Frame]] = {}
    for frame in frames:
        logged.setdefault(frame.page, []).append(frame)
    return logged


def _lookups(logged: Mapping[int, Sequence[_Frame]], main: "_Main") -> tuple[Pages, ...]:
    """Ways to find a page on which a row goes on, the likeliest first: the row's checksum tells which one is right."""

    def newest_sound(page: int) -> bytes:
        return next((frame.image for frame in reversed(logged.get(page, ())) if frame.sound), b"") or main.image(page)

    def before_newest(page: int, back: int) -> bytes:
        images = logged.get(page, ())
        return images[-1 - back].image if back < len(images) else main.image(page)

    others = (partial(before_newest, back=back) for back in range(_MOST_VERSIONS))
    return (newest_sound, *(others if logged else ()), main.image)


class _Main:
    """The database file, read page by page; pages that it does not have are empty."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb") if path.is_file() else None
        self.pages = -(-path.stat().st_size // PAGE) if self._file else 0

    def image(self, page: int) -> bytes:
        if self._file is None or not 0 < page <= self.pages:
            return b""
        try:
            self._file.seek((page - 1) * PAGE)
            return self._file.read(PAGE).ljust(PAGE, b"\0")
        except OSError:  # a bad sector costs its page
            return b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError:
        return b""


def in_order(found: list[Row]) -> list[Row]:
    """By their numbers, each id once."""
    by_id = {row.entry.id: row for row in reversed(found)}
    return sorted(by_id.values(), key=lambda row: abs(row.n))


def _images(frames: list[_Frame], *, trusted: bool) -> Iterator[bytes]:
    """The latest picture of a page, and those before it up to the first that is certainly right."""
    for frame in reversed(frames):
        yield frame.image
        if frame.sound and trusted:
            return


def _frames(wal: bytes) -> tuple[list[_Frame], bool]:
    """The frames of the log's present generation, and whether its header is right.

    A frame's checksum goes on from that of the frame before. The stored one is taken for it, so that one damaged
    frame does not condemn those behind it.
    """
    if len(wal) < _WAL_HEADER + _FRAME_HEADER + PAGE:
        return [], True
    order = _WAL_MAGIC.get(struct.unpack_from(">I", wal)[0], "<")
    before = struct.unpack_from(">2I", wal, 24)
    trusted = struct.unpack_from(">I", wal)[0] in _WAL_MAGIC and _wal_sum(wal[:24], (0, 0), order) == before
    salt = wal[16:24] if trusted else _present_salt(wal)
    frames: list[_Frame] = []
    present = 0
    for at in range(_WAL_HEADER, len(wal) - _FRAME_HEADER - PAGE + 1, _FRAME_HEADER + PAGE):
        page, size = struct.unpack_from(">2I", wal, at)
        image = wal[at + _FRAME_HEADER : at + _FRAME_HEADER + PAGE]
        stored = struct.unpack_from(">2I", wal, at + 16)
        ours = wal[at + 8 : at + 16] == salt
        right = ours and _wal_sum(wal[at : at + 8] + image, before, order) == stored
        frames.append(_Frame(page, image, size != 0, right))
        before = stored
        present = len(frames) if ours else present
    return frames[:present], trusted


def _present_salt(wal: bytes) -> bytes:
    """The salt of the newest generation, where the header does not tell: its first half counts the generations."""
    salts = Counter(wal[at + 8 : at + 16] for at in range(_WAL_HEADER, len(wal) - PAGE, _FRAME_HEADER + PAGE))
    repeated = [salt for salt, count in salts.items() if count > 1] or list(salts)
    newest = max(repeated, key=lambda salt: salt[:4])
    following = (int.from_bytes(newest[:4], "big") + 1) % 2**32
    return next((salt for salt in salts if int.from_bytes(salt[:4], "big") == following), newest)


def _wal_sum(data: bytes, seed: tuple[int, ...], order: str) -> tuple[int, int]:
    first, second = seed
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for at in range(0, len(words), 2):
        first = (first + words[at] + second) & 0xFFFFFFFF
        second = (second + words[at + 1] + first) & 0xFFFFFFFF
    return first, second


def _rows_on(image: bytes, lookups: Sequence[Pages]) -> list[Row]:
    """The rows of one leaf page; where its list of them is damaged, those that can be found by their look."""
    listed = _listed(image, lookups)
    if listed is not None:
        return listed
    seen = (_row_at(image, match.start(), _n_before(image, match.start()), lookups) for match in _ROW.finditer(image))
    return [row for row in seen if row is not None]


def _listed(image: bytes, lookups: Sequence[Pages]) -> list[Row] | None:
    """None where the page does not list sound rows alone, or not all that it has room for."""
    if len(image) < PAGE or image[0] != _LEAF:
        return None
    rows, used = [], image[7] + _free(image)
    for cell in struct.unpack_from(f">{min(int.from_bytes(image[3:5], 'big'), PAGE // 4)}H", image, 8):
        length, at = _varint(image, cell)
        n, at = _varint(image, at)
        row = _row_at(image, at, n, lookups)
        if row is None:
            return None
        rows.append(row)
        used += at - cell + _on_page(length) + (4 if length > _MOST_ON_PAGE else 0)
    return rows if used == PAGE - (int.from_bytes(image[5:7], "big") or 1 << 16) else None


def _free(image: bytes) -> int:
    """Bytes of the blocks between rows that are free."""
    block, free = int.from_bytes(image[1:3], "big"), 0
    while 8 <= block <= PAGE - 4 and free < PAGE:
        free += int.from_bytes(image[block + 2 : block + 4], "big")
        following = int.from_bytes(image[block : block + 2], "big")
        block = following if following > block else 0
    return free


def _row_at(image: bytes, start: int, n: int, lookups: Sequence[Pages]) -> Row | None:
    """The row whose header begins at `start`."""
    end = start + (image[start] if start < len(image) else 0)
    types, at = [], start + 1
    while at < min(end, len(image)):
        kind, at = _varint(image, at)
        types.append(kind)
    sizes = [_size(kind) for kind in types]
    if len(types) != 6 or at != end or sum(sizes) > _LARGEST_ROW:
        return None
    length = end - start + sum(sizes)
    for pages in lookups if length > _MOST_ON_PAGE else lookups[:1]:
        payload = _payload(image, start, length, pages)
        values, at = [], end - start
        for kind, size in zip(types, sizes, strict=True):
            values.append(_value(kind, payload[at : at + size]))
            at += size
        _, identity, topic, body, utc, crc = values
        entry = sound(identity, topic, body, float(utc) if isinstance(utc, int) else utc, crc)
        if entry is not None:
            return Row(n if abs(n) <= LARGEST_N else 0, entry)
    return None


def _payload(image: bytes, start: int, length: int, latest: Pages) -> bytes:
    if length <= _MOST_ON_PAGE:
        return image[start : start + length]
    here = _on_page(length)
    parts, left = [image[start : start + here]], length - here
    following = image[start + here : start + here + 4]
    while left > 0:
        page = latest(int.from_bytes(following, "big"))
        if not page:
            break
        parts.append(page[4 : 4 + left])
        left -= PAGE - 4
        following = page[:4]
    return b"".join(parts)


def _on_page(length: int) -> int:
    """How much of a row of `length` bytes is on its leaf page; the rest is on pages of its own."""
    if length <= _MOST_ON_PAGE:
        return length
    here = _LEAST_ON_PAGE + (length - _LEAST_ON_PAGE) % (PAGE - 4)
    return here if here <= _MOST_ON_PAGE else _LEAST_ON_PAGE


def _size(kind: int) -> int:
    if kind >= 12:
        return (kind - 12) // 2
    return 8 if kind == 7 else _INTEGER_BYTES.get(kind, 0)


def _value(kind: int, raw: bytes) -> bytes | int | float | None:
    if kind >= 12:
        return raw
    if kind == 7:
        return float(struct.unpack(">d", raw)[0]) if len(raw) == 8 else None
    if kind in _INTEGER_BYTES:
        return int.from_bytes(raw, "big", signed=True)
    return {8: 0, 9: 1}.get(kind)


def _varint(image: bytes, at: int) -> tuple[int, int]:
    """A signed number of 1 to 9 bytes, and where it ends."""
    value = 0
    for byte in image[at : at + 8]:
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at
    value = value << 8 | (image[at] if at < len(image) else 0)
    return value - (1 << 64 if value >> 63 else 0), at + 1


def _n_before(image: bytes, end: int) -> int:
    """The number that stands directly before `end`."""
    start = end - 1
    while start > 0 and end - start < 9 and image[start - 1] >= 0x80:
        start -= 1
    if end > 0 and image[end - 1] >= 0x80:
        start = max(0, end - 9)
    return _varint(image, start)[0]
