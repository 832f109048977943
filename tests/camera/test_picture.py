"""Picture files, good and bad: each by the rule that camera/picture.py states."""

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from camera.picture import decode, read_picture, write_png
from inspection.errors import PictureError

GRAY = np.arange(256, dtype=np.uint8).reshape(16, 16)
COLOUR = np.stack([GRAY, GRAY // 2, GRAY // 3], axis=-1)  # red, green, blue
BGR = COLOUR[:, :, ::-1]
BITS = GRAY > 100
DEEP = GRAY.astype(np.uint16) * 256 + 7


def saved(array: "np.ndarray[Any, Any]", kind: str, mode: str | None = None, **options: Any) -> bytes:
    picture = Image.fromarray(array)
    file = io.BytesIO()
    (picture.convert(mode) if mode else picture).save(file, kind, **options)
    return file.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def deep_colour(kind: str) -> bytes:
    return bytes(cv2.imencode(kind, BGR.astype(np.uint16) * 256)[1])


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes, depth: int = 8) -> bytes:
    """A gray PNG by hand, its checksums right whatever it holds."""
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


EXACT = {
    "gray png": (saved(GRAY, "PNG"), GRAY),
    "gray bmp": (saved(GRAY, "BMP"), GRAY),
    "gray tiff": (saved(GRAY, "TIFF"), GRAY),
    "colour png": (saved(COLOUR, "PNG"), BGR),
    "colour bmp": (saved(COLOUR, "BMP"), BGR),
    "colour tiff": (saved(COLOUR, "TIFF"), BGR),
    "colour tiff, LZW": (saved(COLOUR, "TIFF", compression="tiff_lzw"), BGR),
    "palette png": (saved(COLOUR // 64 * 64, "PNG", "P"), None),
    "16-bit png": (saved(DEEP, "PNG"), DEEP),
    "16-bit tiff": (saved(DEEP, "TIFF"), DEEP),
    "16-bit colour png": (deep_colour(".png"), BGR.astype(np.uint16) * 256),
    "16-bit colour tiff": (deep_colour(".tiff"), BGR.astype(np.uint16) * 256),
    "1-bit png": (saved(BITS, "PNG"), BITS.astype(np.uint8) * 255),
    "1-bit bmp": (saved(BITS, "BMP"), BITS.astype(np.uint8) * 255),
    "1-bit tiff": (saved(BITS, "TIFF"), BITS.astype(np.uint8) * 255),
    "2-bit png": (png(4, 2, b"\0\x1b\0\x1b", depth=2), np.array([[0, 85, 170, 255]] * 2, np.uint8)),
    "alpha png": (saved(COLOUR, "PNG", "RGBA"), BGR),
    "gray and alpha png": (saved(GRAY, "PNG", "LA"), GRAY),
    "alpha tiff": (saved(COLOUR, "TIFF", "RGBA"), BGR),
    "CMYK tiff": (saved(COLOUR, "TIFF", "CMYK"), BGR),
    "turned png": (saved(GRAY[:8], "PNG", exif=turned(6)), GRAY[:8]),
    "turned tiff": (saved(GRAY[:8], "TIFF", tiffinfo={274: 6}), GRAY[:8]),
    "the first of two in a tiff": (
        saved(GRAY, "TIFF", save_all=True, append_images=[Image.fromarray(COLOUR)]), GRAY,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_a_lossless_picture_is_read_by_the_rule_for_its_kind(name: str) -> None:
    data, expected = EXACT[name]
    pixels, bit_depth = decode(data)
    assert pixels.dtype in (np.uint8, np.uint16)
    assert bit_depth == (8 if pixels.dtype == np.uint8 else 16)
    assert not pixels.flags.writeable
    if expected is None:
        assert pixels.shape == (16, 16, 3)
    else:
        assert pixels.dtype == expected.dtype
        assert np.array_equal(pixels, expected)


def test_colours_under_a_transparent_alpha_stay_as_stored() -> None:
    transparent = np.dstack([COLOUR, np.zeros_like(GRAY)])
    assert np.array_equal(decode(saved(transparent, "PNG"))[0], BGR)


SMOOTH = np.repeat(np.arange(0, 256, 8, dtype=np.uint8)[None, :], 32, axis=0)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("CMYK", 3)])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_is_gray_or_bgr(mode: str, channels: int, progressive: bool) -> None:
    pixels, bit_depth = decode(saved(SMOOTH, "JPEG", mode, quality=95, progressive=progressive))
    assert bit_depth == 8
    assert pixels.shape == ((32, 32) if channels == 1 else (32, 32, 3))
    gray = pixels if channels == 1 else pixels.mean(axis=2)
    assert np.abs(gray.astype(float) - SMOOTH).max() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_comes_as_the_sensor_stored_it_whatever_exif_says(orientation: int) -> None:
    pixels, _ = decode(saved(SMOOTH[:16], "JPEG", exif=turned(orientation), quality=95))
    assert pixels.shape == (16, 32)
    assert pixels[8, 2] < pixels[8, 29]


def test_what_stands_behind_the_end_of_a_jpeg_does_no_harm() -> None:
    whole = saved(SMOOTH, "JPEG")
    assert np.array_equal(decode(whole + b"maker's own notes")[0], decode(whole)[0])


JPEG, PNG, BMP, TIFF = (saved(COLOUR, kind) for kind in ("JPEG", "PNG", "BMP", "TIFF"))
THUMBNAIL = b"\xff\xe1" + struct.pack(">H", 2 + len(JPEG)) + JPEG

BROKEN = {
    "empty": (b"", "empty"),
    "text": (b"hello", "not a JPEG, PNG, BMP, TIFF, PGM or PPM"),
    "a big tiff": (b"II+\0" + bytes(100), "BigTIFF"),
    "gif": (saved(GRAY, "GIF"), "not a JPEG, PNG, BMP, TIFF, PGM or PPM"),
    "webp": (saved(COLOUR, "WEBP"), "not a JPEG, PNG, BMP, TIFF, PGM or PPM"),
    "html": (b"<html>404</html>", "not a JPEG, PNG, BMP, TIFF, PGM or PPM"),
    "a jpeg's first two bytes": (JPEG[:2], "truncated"),
    "half a jpeg": (JPEG[: len(JPEG) // 2], "truncated"),
    "a jpeg without its end": (JPEG[:-2], "end marker is missing"),
    "a jpeg without its end but for its thumbnail's": (JPEG[:2] + THUMBNAIL + JPEG[2:-2], "end marker is missing"),
    "a jpeg of headers only": (JPEG[:20] + b"\xff\xd9", "no frame header"),
    "half a png": (PNG[: len(PNG) // 2], "truncated"),
    "a png without its end": (PNG[:-12], "truncated"),
    "a png with a flipped bit": (PNG[:60] + bytes([PNG[60] ^ 1]) + PNG[61:], "checksum"),
    "a png with too few rows": (png(64, 64, b"\0" * 100), "cannot be decoded"),
    "half a bmp": (BMP[: len(BMP) // 2], "truncated"),
    "half a tiff": (TIFF[: len(TIFF) // 2], "truncated|decoded"),
    "no width": (png(0, 5, b""), "no pixels"),
    "no height": (png(5, 0, b""), "no pixels"),
    "floating point": (saved(GRAY.astype(np.float32), "TIFF"), "floating point samples"),
    "32-bit integers": (saved(GRAY.astype(np.int32), "TIFF"), "signed samples"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_a_picture_is_a_picture_error(name: str) -> None:
    data, expected = BROKEN[name]
    with pytest.raises(PictureError, match=expected):
        decode(data)


@pytest.mark.parametrize(("data", "pixels"), [(JPEG, 255), (PNG, 255), (BMP, 255), (TIFF, 255)])
def test_more_pixels_than_allowed_are_refused_by_the_header(data: bytes, pixels: int) -> None:
    with pytest.raises(PictureError, match="16x16 is more than 255 pixels"):
        decode(data, max_pixels=pixels)
    assert decode(data, max_pixels=256)[0].shape == (16, 16, 3)


def test_more_bytes_than_allowed_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    with pytest.raises(PictureError, match=f"more than {len(PNG) - 1} bytes"):
        read_picture(path, max_bytes=len(PNG) - 1)
    assert read_picture(path, max_bytes=len(PNG))[0].shape == (16, 16, 3)


@pytest.mark.parametrize(("name", "expected"), [("none.png", "No such file"), (".", "not a file|Is a directory")])
def test_a_path_that_is_no_file_is_a_picture_error_that_names_it(tmp_path: Path, name: str, expected: str) -> None:
    with pytest.raises(PictureError, match=f"{tmp_path}.*{expected}"):
        read_picture(tmp_path / name)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(PictureError, match=r"a.png: not a file"):
        read_picture(tmp_path / "a.png")


def test_a_second_header_does_not_get_a_bomb_past_the_cap() -> None:
    small, huge = struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0), struct.pack(">IIBBBBB", 90_000, 90_000, 8, 0, 0, 0, 0)
    bomb = PNG[:8] + chunk(b"IHDR", huge) + chunk(b"IHDR", small) + chunk(b"IEND", b"")
    with pytest.raises(PictureError, match="its only header"):
        decode(bomb)


def damaged(whole: bytes, rng: np.random.Generator) -> bytes:
    """One to three bytes changed, and in one of four cases the end cut off."""
    data = bytearray(whole)
    for at in rng.integers(0, len(data), rng.integers(1, 4)):
        data[at] = rng.integers(0, 256)
    return bytes(data[: rng.integers(1, len(data))] if rng.random() < 0.25 else data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "LZW"])
def test_damage_gives_a_picture_or_a_picture_error_and_nothing_else(
    kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = saved(COLOUR, "TIFF", compression="tiff_lzw") if kind == "LZW" else saved(COLOUR, kind)
    rng = np.random.default_rng(7)
    pictures, errors = 0, 0
    for _ in range(300):
        try:
            pixels, bit_depth = decode(damaged(whole, rng), max_pixels=10**6)
        except PictureError:
            errors += 1
            continue
        pictures += 1
        assert pixels.size > 0
        assert pixels.ndim in (2, 3)
        assert int(pixels.max()) < 2**bit_depth
    capfd.readouterr()  # the decoders' own complaints
    assert errors > 20
    assert pictures > 0 or kind == "PNG"  # a PNG's checksums leave no damage unseen


def test_a_written_png_reads_as_it_was(tmp_path: Path) -> None:
    for pixels in (GRAY, BGR, DEEP):
        write_png(tmp_path / "out.png", pixels)
        assert np.array_equal(read_picture(tmp_path / "out.png")[0], pixels)
    with pytest.raises(PictureError, match="No such file"):
        write_png(tmp_path / "nowhere" / "out.png", GRAY)
