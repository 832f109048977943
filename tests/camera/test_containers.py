"""What each kind of file can say about its pixels: they are right, or the file is refused with a remedy."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from camera.picture import decode
from inspection.errors import PictureError
from tests.camera.containers import bmp, png, pnm, tiff

Array = NDArray[Any]

N = np.arange(40 * 50).reshape(40, 50) % 256
GRAY = N.astype(np.uint8)
DEEP = (N * 200 + 3).astype(np.uint16)
RGB = np.stack([N, N // 2, 255 - N], axis=-1)
BGR = RGB[:, :, ::-1].astype(np.uint8)
DEEP_RGB, DEEP_BGR = RGB * 200, BGR.astype(np.uint16) * 200
RGBA = np.concatenate([RGB, N[:, :, None] // 3], axis=-1)
GRAY_ALPHA = np.stack([N, N // 3], axis=-1)
COLOURS = np.stack([np.arange(256) // 2, 255 - np.arange(256), np.arange(256)], axis=-1)  # blue, green, red
MAP = [int(value) * 257 for value in COLOURS[:, ::-1].T.ravel()]
BY_PALETTE = COLOURS[N].astype(np.uint8)
LZW = 5


def of_bits(bits: int) -> Array:
    return N * 7 % (1 << bits)


def eight(values: Array, bits: int) -> Array:
    return (values * (255 // ((1 << bits) - 1))).astype(np.uint8)


def spread(values: Array, bits: int) -> Array:
    most = (1 << bits) - 1
    return ((values * 255 + most // 2) // most).astype(np.uint8)


def compressed(kind: str, array: Array, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def low(*bits: int) -> dict[str, tuple[bytes, Array, int]]:
    """Gray TIFF of each depth, with black at zero and with white."""
    told: dict[str, tuple[bytes, Array, int]] = {}
    for order in "<>":
        for depth in bits:
            values = of_bits(depth)
            for photometric, right in ((1, values), (0, (1 << depth) - 1 - values)):
                name = f"tiff {depth} bits, photometric {photometric}, {order}"
                if depth < 8:
                    told[name] = tiff(values, depth, photometric, order=order), eight(right, depth), 8
                elif depth == 14:
                    told[name] = tiff(values, depth, photometric, order=order), (right << 2).astype(np.uint16), 16
                else:
                    kind = np.uint8 if depth == 8 else np.uint16
                    told[name] = tiff(values, depth, photometric, order=order), right.astype(kind), depth
    return told


V565 = ((N >> 3) << 11) | ((N >> 2) << 5) | (31 - (N >> 3))
BGR565 = np.stack([spread(31 - (N >> 3), 5), spread(N >> 2, 6), spread(N >> 3, 5)], axis=-1)
V555 = ((N >> 3) << 10) | ((N >> 3) << 5) | (31 - (N >> 3))
BGR555 = np.stack([spread(31 - (N >> 3), 5), spread(N >> 3, 5), spread(N >> 3, 5)], axis=-1)
V32 = (RGB[..., 0] << 16) | (RGB[..., 1] << 8) | RGB[..., 2]
V32_TURNED = (RGB[..., 2] << 16) | (RGB[..., 1] << 8) | RGB[..., 0]
GRAYS = [(value, value, value) for value in range(256)]
COLOUR_LIST = COLOURS.tolist()
INKS = np.stack([255 - N, 255 - N // 2, N, N // 4], axis=-1)
PAPER = 255 - INKS[..., 3:]
FROM_INKS = (PAPER * (255 - INKS[..., 2::-1]) // 255).astype(np.uint8)

FRAME = struct.pack(">5I2H2B", 0, 50, 40, 0, 0, 1, 1, 0, 0)  # of an animation, the same size

RIGHT: dict[str, tuple[bytes, Array, int]] = {
    **low(1, 2, 4, 8, 10, 12, 14, 16),
    "tiff rgb 8": (tiff(RGB, 8, 2), BGR, 8),
    "tiff rgb 16, big endian": (tiff(DEEP_RGB, 16, 2, order=">"), DEEP_BGR, 16),
    "tiff rgb 12": (tiff(RGB * 16, 12, 2), BGR.astype(np.uint16) * 16, 12),
    "tiff rgb 8, planes": (tiff(RGB, 8, 2, planar=2), BGR, 8),
    "tiff rgb 16, planes": (tiff(DEEP_RGB, 16, 2, planar=2), DEEP_BGR, 16),
    "tiff rgb 16, planes in tiles": (tiff(DEEP_RGB, 16, 2, planar=2, tile=(16, 32)), DEEP_BGR, 16),
    "tiff reversed bits, 1": (tiff(N % 2, 1, fill=2), eight(N % 2, 1), 8),
    "tiff reversed bits, 12": (tiff(of_bits(12), 12, fill=2), of_bits(12).astype(np.uint16), 12),
    "tiff reversed bits, 16": (tiff(DEEP, 16, fill=2), DEEP, 16),
    "tiff undefined sample format": (tiff(DEEP, 16, tags={339: [4]}), DEEP, 16),
    "tiff palette 8": (tiff(N, 8, 3, tags={320: MAP}), BY_PALETTE, 8),
    "tiff palette 8 of 8-bit colours": (tiff(N, 8, 3, tags={320: [m // 257 for m in MAP]}), BY_PALETTE, 8),
    "tiff palette 4": (
        tiff(N % 16, 4, 3, tags={320: [m for n, m in enumerate(MAP) if n % 256 < 16]}), BY_PALETTE[:, :][0, N % 16], 8,
    ),
    "tiff alpha not multiplied": (tiff(RGBA, 8, 2, tags={338: [2]}), BGR, 8),
    "tiff alpha multiplied": (tiff(RGBA, 8, 2, tags={338: [1]}), BGR, 8),
    "tiff 16-bit alpha": (tiff(RGBA * 200, 16, 2, tags={338: [2]}), DEEP_BGR, 16),
    "tiff fourth sample unsaid": (tiff(RGBA, 8, 2), BGR, 8),
    "tiff gray and alpha": (tiff(GRAY_ALPHA, 8, tags={338: [2]}), GRAY, 8),
    "tiff gray and alpha 16": (tiff(GRAY_ALPHA * 200, 16, tags={338: [2]}), GRAY.astype(np.uint16) * 200, 16),
    "tiff cmyk": (tiff(INKS, 8, 5), FROM_INKS, 8),
    "tiff tiles": (tiff(N, 8, tile=(16, 16)), GRAY, 8),
    "tiff a tile larger than the picture": (tiff(DEEP, 16, tile=(64, 64)), DEEP, 16),
    "tiff tiles, 12 bits": (tiff(of_bits(12), 12, tile=(32, 16)), of_bits(12).astype(np.uint16), 12),
    "tiff strips": (tiff(RGB, 8, 2, rows_per_strip=7), BGR, 8),
    "tiff strips, planes": (tiff(RGB, 8, 2, rows_per_strip=7, planar=2), BGR, 8),
    "tiff no rows per strip": (tiff(N, 8, without=[278]), GRAY, 8),
    "tiff deflate": (tiff(DEEP, 16, 0, compression=8, rows_per_strip=9), 65535 - DEEP, 16),
    "tiff deflate, predictor": (tiff(RGB, 8, 2, compression=8, predictor=2), BGR, 8),
    "tiff deflate, predictor, 16": (tiff(DEEP, 16, order=">", compression=32946, predictor=2), DEEP, 16),
    "tiff packbits": (tiff(DEEP, 16, compression=32773), DEEP, 16),
    "tiff lzw": (compressed("TIFF", RGB.astype(np.uint8), compression="tiff_lzw"), BGR, 8),
    "tiff lzw, 16": (compressed("TIFF", DEEP, compression="tiff_lzw"), DEEP, 16),
    **{f"tiff orientation {n}": (tiff(DEEP, 16, tags={274: [n]}), DEEP, 16) for n in range(1, 9)},
    **{f"png gray {bits}": (png(N % (1 << bits), bits, 0), eight(N % (1 << bits), bits), 8) for bits in (1, 2, 4, 8)},
    "png gray 16": (png(DEEP, 16, 0), DEEP, 16),
    "png rgb 16": (png(DEEP_RGB, 16, 2), DEEP_BGR, 16),
    "png alpha": (png(RGBA, 8, 6), BGR, 8),
    "png alpha 16": (png(RGBA * 200, 16, 6), DEEP_BGR, 16),
    "png gray and alpha": (png(GRAY_ALPHA, 8, 4), GRAY, 8),
    "png gray and alpha 16": (png(GRAY_ALPHA * 200, 16, 4), GRAY.astype(np.uint16) * 200, 16),
    "png palette": (png(N, 8, 3, palette=bytes(COLOURS[:, ::-1].astype(np.uint8).ravel())), BY_PALETTE, 8),
    "png palette of just as many colours as are used": (
        png(N % 13, 4, 3, palette=bytes((i % 3) * 85 if i % 3 != 1 else 0 for i in range(39))),
        np.broadcast_to(np.array([170, 0, 0], np.uint8), (*N.shape, 3)), 8,
    ),
    "png palette, transparent": (
        png(N, 8, 3, (b"tRNS", bytes(range(256))), palette=bytes(COLOURS[:, ::-1].astype(np.uint8).ravel())),
        BY_PALETTE, 8,
    ),
    "png one colour transparent": (png(RGB, 8, 2, (b"tRNS", struct.pack(">HHH", 0, 0, 255))), BGR, 8),
    "png one gray transparent": (png(N, 8, 0, (b"tRNS", struct.pack(">H", 5))), GRAY, 8),
    "png gamma": (png(N, 8, 0, (b"gAMA", struct.pack(">I", 100_000)), (b"sRGB", b"\0")), GRAY, 8),
    "png chromaticities": (png(RGB, 8, 2, (b"cHRM", struct.pack(">8I", *[30_000] * 8))), BGR, 8),
    "png significant bits": (png(DEEP, 16, 0, (b"sBIT", b"\x0c")), DEEP, 16),
    "png background": (png(RGBA, 8, 6, (b"bKGD", struct.pack(">HHH", 9, 9, 9))), BGR, 8),
    "png suggested palette": (png(RGB, 8, 2, palette=bytes(30)), BGR, 8),
    "png damaged profile": (png(RGB, 8, 2, (b"iCCP", b"x\0\0junk")), BGR, 8),
    "png animated": (png(N, 8, 0, (b"acTL", bytes(7) + b"\2"), (b"fcTL", FRAME)), GRAY, 8),
    "pgm": (pnm(N, 255), GRAY, 8),
    "pgm with comments": (b"P5 # made\n# by hand\r\n50\t40 #x\n255\n" + GRAY.tobytes() + b"more", GRAY, 8),
    "pgm of pixels that look like a comment": (b"P5 2 1 255\n#\n", np.array([[35, 10]], np.uint8), 8),
    "pgm 2 bits": (pnm(N % 4, 3), eight(N % 4, 2), 8),
    "pgm 10": (pnm(of_bits(10), 1023), of_bits(10).astype(np.uint16), 10),
    "pgm 12": (pnm(of_bits(12), 4095), of_bits(12).astype(np.uint16), 12),
    "pgm 14": (pnm(of_bits(14), 16383), (of_bits(14) << 2).astype(np.uint16), 16),
    "pgm 16": (pnm(DEEP, 65535), DEEP, 16),
    "ppm": (pnm(RGB, 255), BGR, 8),
    "ppm 16": (pnm(DEEP_RGB, 65535), DEEP_BGR, 16),
    "ppm of pillow": (compressed("PPM", RGB.astype(np.uint8)), BGR, 8),
    "pbm": (b"P4\n50 40\n" + np.packbits(N % 2, axis=1).tobytes(), eight(1 - N % 2, 1), 8),
    "bmp 24": (bmp(BGR, 24), BGR, 8),
    "bmp 24, top down": (bmp(BGR, 24, top_down=True), BGR, 8),
    "bmp 24, OS/2": (bmp(BGR, 24, head=12), BGR, 8),
    "bmp 8 gray": (bmp(N, 8, palette=GRAYS), GRAY, 8),
    "bmp 8 gray, top down": (bmp(N, 8, palette=GRAYS, top_down=True), GRAY, 8),
    "bmp 8 white at zero": (bmp(N, 8, palette=GRAYS[::-1]), 255 - GRAY, 8),
    "bmp 8 colour": (bmp(N, 8, palette=COLOUR_LIST), BY_PALETTE, 8),
    "bmp 8 gray, OS/2": (bmp(N, 8, head=12, palette=GRAYS), GRAY, 8),
    "bmp 8 colour, OS/2": (bmp(N, 8, head=12, palette=COLOUR_LIST), BY_PALETTE, 8),
    "bmp 8 colour, OS/2 2": (bmp(N, 8, head=64, palette=COLOUR_LIST), BY_PALETTE, 8),
    "bmp 8, few colours": (bmp(N % 10, 8, palette=COLOUR_LIST[:10]), COLOURS[N % 10].astype(np.uint8), 8),
    "bmp 4": (bmp(N % 16, 4, palette=COLOUR_LIST[:16]), COLOURS[N % 16].astype(np.uint8), 8),
    "bmp 4 gray": (bmp(N % 16, 4, palette=[(17 * n,) * 3 for n in range(16)]), eight(N % 16, 4), 8),
    "bmp 1": (bmp(N % 2, 1, palette=[(0, 0, 0), (255, 255, 255)]), eight(N % 2, 1), 8),
    "bmp 1, white at zero": (bmp(N % 2, 1, palette=[(255, 255, 255), (0, 0, 0)]), 255 - eight(N % 2, 1), 8),
    "bmp 1, OS/2": (bmp(N % 2, 1, head=12, palette=[(0, 0, 0), (255, 255, 255)]), eight(N % 2, 1), 8),
    "bmp 16, 555": (bmp(V555, 16), BGR555, 8),
    "bmp 16, 565": (bmp(V565, 16, compression=3, masks=(0xF800, 0x7E0, 0x1F)), BGR565, 8),
    "bmp 32": (bmp(V32, 32), BGR, 8),
    "bmp 32, masks": (bmp(V32_TURNED, 32, compression=3, masks=(0xFF, 0xFF00, 0xFF0000)), BGR, 8),
    "bmp 32, alpha, 5": (
        bmp(V32 | 0x4000_0000, 32, head=124, compression=3, masks=(0xFF0000, 0xFF00, 0xFF, 0xFF000000)), BGR, 8,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_the_pixels_are_right(name: str) -> None:
    data, expected, depth = RIGHT[name]
    pixels, bit_depth = decode(data)
    assert bit_depth == depth
    assert (pixels.dtype, pixels.shape) == (expected.dtype, expected.shape)
    assert np.array_equal(pixels, expected)
    assert not pixels.flags.writeable


REFUSED = {
    "tiff signed": (tiff(N, 8, tags={339: [2]}), "signed samples"),
    "tiff half floats": (tiff(DEEP, 16, tags={339: [3]}), "floating point"),
    "tiff 24 bits": (tiff(N, 24), "24 bits a sample"),
    "tiff bits that differ": (tiff(RGB, 8, 2, tags={258: [5, 6, 5]}), r"\(5, 6, 5\) bits"),
    "tiff YCbCr": (tiff(RGB, 8, 6), "YCbCr is not read; save it as gray or RGB"),
    "tiff Lab": (tiff(RGB, 8, 8), r"CIE L\*a\*b\*"),
    "tiff raw mosaic": (tiff(N, 8, 32803), "raw mosaic"),
    "tiff mask": (tiff(N, 8, 4), "a mask"),
    "tiff no photometric": (tiff(N, 8, without=[262]), "tag 262 is missing"),
    "tiff 16-bit palette": (tiff(N, 16, 3, tags={320: [0] * 300}), "palette of 16 bits"),
    "tiff no palette": (tiff(N, 8, 3), "palette"),
    "tiff cmyk 16": (tiff(RGBA, 16, 5), "inks"),
    "tiff rgb of two samples": (tiff(GRAY_ALPHA, 8, 2), "need 3 samples"),
    "tiff jpeg": (tiff(N, 8, compression=7), "with JPEG is not read"),
    "tiff fax": (tiff(N % 2, 1, compression=4), "with CCITT is not read"),
    "tiff float predictor": (tiff(DEEP, 16, compression=8, tags={317: [3]}), "predictor 3"),
    "tiff preview first": (tiff(N, 8, tags={254: [1]}), "a preview"),
    "tiff tiles of nothing": (tiff(N, 8, tile=(16, 16), tags={322: [0]}), "a tile has"),
    "tiff short strip": (tiff(N, 8)[:-100], "too short"),
    "tiff strips missing": (tiff(N, 8, rows_per_strip=8, tags={278: [1]}), "fewer strips"),
    "tiff deflate ends": (tiff(N, 8, compression=8, tags={279: [20]}), "too short|corrupt"),
    "tiff deflate, checksum": (
        tiff(N, 8, compression=8).replace(zlib.compress(GRAY.tobytes())[-4:], b"sums"),
        "incorrect data check",
    ),
    "tiff lzw of the old kind": (tiff(N, 8, tags={259: [5]}), "old kind of LZW"),
    "pgm as text": (b"P2 2 1 255\n1 2\n", "written as text"),
    "pgm truncated": (pnm(N, 255)[:-1], "truncated"),
    "pgm header truncated": (b"P5 50 40", "header is truncated"),
    "pgm of 200 values": (pnm(N % 200, 199), "highest value is 199"),
    "pgm above its highest": (pnm(N + 4000, 4095), "a value is above 4095"),
    "pgm of nothing": (b"P5 0 40 255\n", "no pixels"),
    "bmp run lengths": (bmp(N, 8, compression=1, palette=GRAYS, data=b"\0\1"), "compressed BMP is not read"),
    "bmp holding a jpeg": (bmp(N, 24, compression=4), "compressed BMP is not read"),
    "bmp index outside": (bmp(N, 8, palette=COLOUR_LIST[:10]), "outside its palette"),
    "bmp deep masks": (bmp(V32, 32, compression=3, masks=(0x3FF00000, 0xFFC00, 0x3FF)), "colour mask 0x3ff"),
    "bmp torn masks": (bmp(V565, 16, compression=3, masks=(0xF0F0, 0x0F00, 0xF)), "colour mask 0xf0f0"),
    "bmp header": (bmp(N, 24, head=41), "its header has 41 bytes"),
    "png critical chunk": (png(N, 8, 0, (b"CgBI", b"")), "unknown chunk CgBI"),
    "png index outside": (png(N, 8, 3, palette=bytes(range(30))), "outside its palette"),
    "png index outside, 4 bits": (png(N % 16, 4, 3, palette=bytes(range(45))), "outside its palette"),
    "png palette of a part of a colour": (png(N % 4, 2, 3, palette=bytes(10)), "its palette of 4 colours has 10 bytes"),
    "png palette too long": (png(N % 4, 2, 3, palette=bytes(15)), "its palette of 4 colours has 15 bytes"),
    "png no palette": (png(N, 8, 3), "cannot be decoded|decoder"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_shown_wrongly_is_refused(name: str) -> None:
    data, expected = REFUSED[name]
    with pytest.raises(PictureError, match=expected):
        decode(data)


LZW_SHAPES = [(1, 1), (1, 2), (3, 3), (33, 47), (40, 50), (2, 300_000), (31, 7, 3)]


def lzw_strip(values: Array, cut: int = 0) -> bytes:
    """A TIFF of one strip, and its last `cut` bytes do not belong to it."""
    data = bytearray(compressed("TIFF", values, compression="tiff_lzw", tiffinfo={278: len(values)}))
    (size,) = Image.open(io.BytesIO(data)).tag_v2[279]  # type: ignore[attr-defined] # of TIFF files
    at = data.rindex(struct.pack("<HHI", 279, 4, 1)) + 8
    data[at : at + 4] = struct.pack("<I", size - cut)
    return bytes(data)


@pytest.mark.parametrize("shape", LZW_SHAPES)
@pytest.mark.parametrize("values", [2, 256])
def test_an_lzw_strip_of_any_size_is_read_whole_or_refused(shape: tuple[int, ...], values: int) -> None:
    array = np.random.default_rng(1).integers(0, values, shape).astype(np.uint8)
    right = array[:, :, ::-1] if array.ndim == 3 else array
    assert np.array_equal(decode(lzw_strip(array))[0], right)
    for cut in (4, 5, 9):  # the end code and the bits behind it take up to two bytes and a half
        if array.size > 20:
            with pytest.raises(PictureError, match="truncated or corrupt"):
                decode(lzw_strip(array, cut))
