"""A picture file takes the memory that its size needs, or none: whatever its header says to whom."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from camera.picture import decode
from inspection.errors import PictureError
from tests.camera.containers import bmp, chunk, png, pnm, tiff

CAP = 16 * 2**20

MEASURE = """
import sys
from pathlib import Path
from camera.picture import read_picture
from inspection.errors import PictureError

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024

read_picture(Path(sys.argv[1]))
before = peak()
try:
    pixels, _ = read_picture(Path(sys.argv[2]), max_decoded_bytes=int(sys.argv[3]))
    print("read", peak() - before)
except PictureError:
    print("refused", peak() - before)
"""


def measured(tmp_path: Path, data: bytes, max_decoded_bytes: int = CAP) -> tuple[str, int]:
    """What became of a picture in a process of its own, and the bytes that it took at its peak."""
    small, picture = tmp_path / "small.png", tmp_path / "picture"
    small.write_bytes(png(np.zeros((4, 4), np.uint8), 8, 0))
    picture.write_bytes(data)
    told = subprocess.run(
        [sys.executable, "-c", MEASURE, str(small), str(picture), str(max_decoded_bytes)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2], timeout=100,
    )  # fmt: skip
    outcome, taken = told.stdout.split()
    return outcome, int(taken)


def black_png(side: int, bits: int, colour: int, samples: int, *extra: tuple[bytes, bytes]) -> bytes:
    rows = zlib.compress(bytes((1 + side * samples * bits // 8) * side), 1)
    header = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in chunks)


def jpeg(side: int, mode: str = "RGB", **options: int) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (side, side)).save(file, "JPEG", **options)
    return file.getvalue()


def lzw(pixels: NDArray[np.uint8]) -> bytes:
    """In one strip."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "TIFF", compression="tiff_lzw", tiffinfo={278: len(pixels)})
    return file.getvalue()


def sized(data: bytes, frame: bytes, side: int) -> bytes:
    """The JPEG with another size in its frame header."""
    at = data.index(frame) + 5
    return data[:at] + struct.pack(">HH", side, side) + data[at + 4 :]


DOTS = np.zeros((64, 64), np.uint8)
SMALL = jpeg(64)
BIG = sized(SMALL, b"\xff\xc0", 9000)
SIZES = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, 64, 64, 1) + b"\x01\x11\x00"


def behind_a_comment(before: bytes, reads_on: int) -> bytes:
    """`before`, then a comment; `reads_on` of its bytes are a frame header of 64x64 for who takes them for markers."""
    return b"\xff\xd8" + before + b"\xff\xfe" + struct.pack(">H", 2 + reads_on) + SIZES.ljust(reads_on, b"\0") + BIG[2:]


def many_values(tags: int) -> bytes:
    """A TIFF of a mebibyte whose tags all hold the same 240,000 numbers."""
    entries = b"".join(struct.pack("<HHII", 1000 + tag, 4, 240_000, 60_000) for tag in range(tags))
    return (b"II*\0" + struct.pack("<IH", 8, tags) + entries).ljust(2**20, b"\0")


def many_strips(count: int) -> bytes:
    """A TIFF of one column, and a strip for each of its pixels."""
    entries = ((256, 1), (257, count), (258, 8), (259, 1), (262, 1), (277, 1), (278, 1))
    lists = ((273, count, 200), (279, count, 200 + 4 * count))
    told = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    told += b"".join(struct.pack("<HHII", tag, 4, number, at) for tag, number, at in lists)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries) + len(lists)) + told
    return head.ljust(200, b"\0") + struct.pack("<I", 8) * count + struct.pack("<I", 1) * count


BOMBS = {
    "a png of many pixels": black_png(20_000, 8, 0, 1),
    "a png of deep colours": black_png(8_000, 16, 2, 3),
    "a png of deep gray and alpha": black_png(2_800, 16, 4, 2),
    "a png profile": black_png(64, 8, 0, 1, (b"iCCP", b"x\0\0" + zlib.compress(bytes(300 * 2**20), 1))),
    "png texts": black_png(64, 8, 0, 1, *[(b"zTXt", b"x\0\0" + zlib.compress(bytes(50 * 2**20), 1))] * 8),
    "a jpeg of another size": BIG,
    "a jpeg behind a marker without a length": b"\xff\xd8\xff\x01" + BIG[2:],
    "a jpeg behind a restart marker": behind_a_comment(b"\xff\xd0", 100),
    "a jpeg behind a marker that a reader may misread": behind_a_comment(b"\xff\x01", 65_533),
    "a jpeg behind fill bytes": behind_a_comment(b"\xff\xff\xff", 100),
    "a jpeg behind bytes that are no marker": b"\xff\xd8junk" + SIZES + BIG[2:],
    "a jpeg with two frames": BIG[:2] + SIZES + BIG[2:],
    "a jpeg whose second frame is large": SMALL[:-2] + BIG[2:],
    "a progressive jpeg": sized(jpeg(64, progressive=True), b"\xff\xc2", 9000),
    "a progressive jpeg of just the allowed size": jpeg(2_300, progressive=True, subsampling=0),
    "a jpeg of inks": sized(jpeg(64, "CMYK"), b"\xff\xc0", 9000),
    "a bmp of many pixels": bmp(DOTS, 8)[:18] + struct.pack("<ii", 2**31 - 1, -(2**31)) + bytes(99),
    "a tiff of one huge strip": tiff(DOTS, 8, compression=8, tags={256: [60_000], 257: [60_000]}),
    "a tiff of many values": many_values(400),
    "a jpeg of many empty tables": b"\xff\xd8" + b"\xff\xdd\0\2" * 10**6 + SMALL[2:],
    "a png of many empty chunks": black_png(64, 8, 0, 1, *[(b"IDAT", b"")] * 300_000),
    "a tiff of a huge tile": tiff(DOTS, 8, compression=8, tile=(64, 64), tags={322: [60_000]}),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_no_file_takes_more_than_four_times_what_a_picture_may_have(tmp_path: Path, name: str) -> None:
    outcome, taken = measured(tmp_path, BOMBS[name])
    small = len(BOMBS[name]) < 2**20 and outcome == "refused"
    assert taken < (CAP if small else 4 * CAP + 3 * len(BOMBS[name]))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (BOMBS["a jpeg of many empty tables"], "more than 10000 segments"),
        (BOMBS["a png of many empty chunks"], "more than 100000 chunks"),
        (many_strips(200_000), "200000 strips or tiles"),
    ],
    ids=["jpeg", "png", "tiff"],
)
def test_a_file_of_very_many_pieces_is_refused(data: bytes, expected: str) -> None:
    with pytest.raises(PictureError, match=expected):
        decode(data)


MIB = 2**20
SIDE = 2_300  # 5.3 million pixels
LARGE = {
    "png gray": lambda: black_png(4_000, 8, 0, 1),
    "png colour": lambda: black_png(SIDE, 8, 2, 3),
    "png colour and alpha": lambda: black_png(SIDE, 8, 6, 4),
    "png deep colour and alpha": lambda: black_png(1_600, 16, 6, 4),
    "png gray and alpha": lambda: black_png(2_800, 8, 4, 2),
    "jpeg": lambda: jpeg(SIDE),
    "jpeg of gray": lambda: jpeg(4_000, "L"),
    "jpeg, progressive": lambda: jpeg(2_000, progressive=True),
    "bmp 24": lambda: bmp(np.zeros((SIDE, SIDE, 3), np.uint8), 24),
    "bmp 16": lambda: bmp(np.zeros((SIDE, SIDE), np.uint16), 16),
    "bmp 32": lambda: bmp(np.zeros((SIDE, SIDE), np.uint32), 32),
    "tiff 16": lambda: tiff(np.zeros((2_800, 2_800), np.uint16), 16),
    "tiff 12": lambda: tiff(np.zeros((500, 15_000), np.uint16), 12),
    "tiff colour": lambda: tiff(np.zeros((SIDE, SIDE, 3), np.uint8), 8, 2),
    "tiff deflate": lambda: tiff(np.zeros((SIDE, SIDE, 3), np.uint8), 8, 2, compression=8),
    "tiff lzw": lambda: lzw(np.zeros((SIDE, SIDE, 3), np.uint8)),
    "tiff deep colour in planes": lambda: tiff(np.zeros((1_600, 1_600, 3), np.uint16), 16, 2, planar=2),
    "ppm": lambda: pnm(np.zeros((SIDE, SIDE, 3), np.uint8), 255),
    "ppm 16": lambda: pnm(np.zeros((1_600, 1_600, 3), np.uint16), 65535),
    "pbm": lambda: b"P4 4000 4000\n" + bytes(500 * 4000),
    "tiff of inks": lambda: tiff(np.zeros((SIDE, SIDE, 4), np.uint8), 8, 5),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_picture_is_read_within_four_times_what_it_may_have(tmp_path: Path, name: str) -> None:
    data = LARGE[name]()
    outcome, taken = measured(tmp_path, data)
    assert outcome == "read"
    assert taken < 4 * CAP + 3 * len(data)


MARKERS = np.array([0x00, 0x01, 0xC0, 0xC2, 0xD0, 0xD8, 0xDA, 0xE1, 0xFE, 0xFF, 0x7F, 0x11], np.uint8)


def test_the_decoder_sees_the_size_that_was_read_or_the_file_is_refused() -> None:
    """Damage anywhere in the headers of a JPEG: what is read has the size that its own bytes tell."""
    rng = np.random.default_rng(3)
    whole = bytes(cv2.imencode(".jpg", rng.integers(0, 255, (48, 64, 3), np.uint8))[1])
    read = 0
    for _ in range(1_500):
        data = bytearray(whole)
        for at in rng.integers(2, 700, rng.integers(1, 4)):
            data[at] = rng.choice(MARKERS)
        try:
            pixels, _ = decode(bytes(data), max_pixels=64 * 64)
        except PictureError:
            continue
        read += 1
        assert pixels.shape[0] * pixels.shape[1] <= 64 * 64
    assert read > 100


def test_many_scans_are_refused() -> None:
    whole = jpeg(64, progressive=True)
    at = whole.rindex(b"\xff\xda")
    assert decode(whole)[0].shape == (64, 64, 3)
    with pytest.raises(PictureError, match="more than 100 scans"):
        decode(whole[:-2] + whole[at:-2] * 100 + whole[-2:])
