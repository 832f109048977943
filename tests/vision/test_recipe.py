"""A recipe's crops are OpenCV's own steps on the whole picture, and the same for training and production."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from camera.folder import FolderCamera, FolderConfig
from inspection.errors import DataError, PictureError
from inspection.frame import Frame, Pixels
from inspection.part import Label
from training.dataset import Sample, load_dataset, split_dataset
from training.pictures import batches, crops_of
from vision.recipe import REFERENCE, Recipe, Tiles, read_recipe

PHOTOGRAPHS = sorted((Path(__file__).parents[2] / "models" / "bsdata" / "demo").glob("*.jpg"))
Gray = NDArray[np.uint8]


def photograph(width: int, height: int) -> Gray:
    return np.asarray(cv2.resize(cv2.imread(str(PHOTOGRAPHS[0])), (width, height)), np.uint8)


def noise(width: int, height: int) -> Gray:
    return np.random.default_rng(2).integers(0, 256, (height, width, 3), np.uint8)


def gray(picture: Pixels) -> Gray:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


def enhanced(image: Gray) -> Gray:
    """The reference enhancement, of the whole picture."""
    return np.asarray(
        cv2.morphologyEx(cv2.equalizeHist(image), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)), np.uint8
    )


def area(image: Gray, width: int = 224, height: int = 224) -> Gray:
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def linear(image: Gray, width: int = 224, height: int = 224) -> Gray:
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


@pytest.mark.parametrize("draw", [photograph, noise])
@pytest.mark.parametrize(
    ("size", "left", "top", "side"),
    [
        ((1280, 1024), 192, 64, 896),
        ((1024, 1280), 64, 192, 896),
        ((640, 480), 110, 30, 420),
        ((2448, 2048), 328, 128, 1792),
    ],
)
def test_the_reference_crop_is_opencvs_steps_on_the_whole_picture(
    draw: Callable[[int, int], Gray], size: tuple[int, int], left: int, top: int, side: int
) -> None:
    picture = draw(*size)
    middle = enhanced(gray(picture))[top : top + side, left : left + side]
    for pixels in (picture, gray(picture)):
        crops = REFERENCE.crops(pixels)
        assert crops.shape == REFERENCE.crop_shape == (1, 1, 224, 224)
        assert crops.dtype == np.uint8
        assert np.array_equal(crops[0, 0], area(middle))


@pytest.mark.parametrize(("width", "height"), [(1280, 1024), (1131, 460), (300, 300), (2448, 2048)])
def test_the_centre_is_that_of_scaling_first_and_cutting_then(width: int, height: int) -> None:
    """Less than one pixel of the crop apart: that is what a smooth ramp tells."""
    across = np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))
    down = np.tile(np.linspace(0, 255, height).astype(np.uint8)[:, None], (1, width))
    scale = 256 / min(width, height)
    wide, tall = int(width * scale), int(height * scale)
    for ramp, length in ((across, wide), (down, tall)):
        crop = Recipe(enhance="none").crops(ramp)[0, 0]
        scaled = area(ramp, wide, tall)
        x, y = (wide - 224) // 2, (tall - 224) // 2
        apart = np.abs(crop.astype(int) - scaled[y : y + 224, x : x + 224])
        assert apart.max() <= np.ceil(255 / length) + 1


def test_squash_sees_the_whole_picture() -> None:
    picture = gray(photograph(1130, 460))
    crop = Recipe(geometry="squash").crops(picture)[0, 0]
    assert np.array_equal(crop, area(enhanced(picture)))


def test_letterbox_keeps_the_proportions_and_fills_with_black() -> None:
    picture = gray(photograph(1120, 460))
    crop = Recipe(geometry="letterbox", enhance="none").crops(picture)[0, 0]
    assert np.array_equal(crop[66:158], area(picture, 224, 92))
    assert not crop[:66].any()
    assert not crop[158:].any()
    upright = Recipe(geometry="letterbox", enhance="none").crops(np.ascontiguousarray(picture.T))[0, 0]
    assert np.array_equal(upright[:, 66:158], area(np.ascontiguousarray(picture.T), 92, 224))


def test_a_strip_loses_no_pixel_when_one_side_shrinks_and_the_other_grows() -> None:
    strip = np.zeros((40, 4480), np.uint8)
    strip[:, 1001] = 255
    crop = Recipe(geometry="squash", enhance="none").crops(strip)[0, 0]
    assert np.array_equal(crop, linear(area(strip, 224, 40)))
    assert (crop.max(axis=1) > 0).all()


@pytest.mark.parametrize("how", ["equalize_gradient", "clahe_gradient", "equalize", "clahe", "none", "stack"])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 3), (7, 1), (1, 300), (31, 17), (100, 3000)])
def test_the_tiniest_and_the_oddest_picture_gives_a_crop(how: Any, width: int, height: int) -> None:
    for geometry in ("center_crop", "squash", "letterbox"):
        crops = Recipe(enhance=how, geometry=geometry).crops(gray(noise(width, height)))
        assert crops.shape == (1, 3 if how == "stack" else 1, 224, 224)


def test_the_region_of_interest_is_cut_before_the_histogram_is_taken() -> None:
    picture = gray(photograph(1280, 1024))
    recipe = Recipe(roi=(100, 50, 800, 600), geometry="squash")
    region = np.ascontiguousarray(picture[50:650, 100:900])
    assert np.array_equal(recipe.crops(picture)[0, 0], area(enhanced(region)))
    elsewhere = picture.copy()
    elsewhere[:50] = 255
    assert np.array_equal(recipe.crops(elsewhere), recipe.crops(picture))


@pytest.mark.parametrize("roi", [(600, 0, 41, 480), (0, 400, 640, 81), (640, 0, 1, 1)])
def test_a_region_outside_the_picture_is_refused_with_both_sizes(roi: tuple[int, int, int, int]) -> None:
    with pytest.raises(PictureError, match=rf"\[{roi[0]}, {roi[1]}, .*\] lies outside a picture of 640 x 480"):
        Recipe(roi=roi).crops(np.zeros((480, 640), np.uint8))


@pytest.mark.parametrize(("degrees", "turns"), [(0, 0), (90, -1), (180, 2), (270, 1)])
def test_the_picture_is_turned_clockwise_after_the_region_was_cut(degrees: Any, turns: int) -> None:
    picture = photograph(640, 480)
    recipe = Recipe(roi=(10, 20, 400, 300), rotate=degrees)
    region = np.ascontiguousarray(np.rot90(picture[20:320, 10:410], turns))
    assert np.array_equal(recipe.crops(picture), REFERENCE.crops(region))


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
@pytest.mark.parametrize("color", [False, True])
def test_deep_pixels_give_the_crops_of_their_upper_eight_bits(bits: int, color: bool) -> None:
    picture = photograph(640, 480) if color else gray(photograph(640, 480))
    deep: Pixels = picture.astype(np.uint16) << np.uint16(bits - 8) | np.uint16(1)
    deep.flags.writeable = False
    assert np.array_equal(REFERENCE.crops(deep, bits), REFERENCE.crops(picture))


def test_only_the_region_of_interest_must_fit_the_bit_depth() -> None:
    deep = np.full((300, 300), 1023, np.uint16)
    deep[0, 0] = 1024
    recipe = Recipe(roi=(1, 1, 299, 299))
    assert recipe.crops(deep, 10).shape == (1, 1, 224, 224)
    with pytest.raises(PictureError, match="1024 does not fit into 10 bits"):
        REFERENCE.crops(deep, 10)


def test_a_recipe_in_colour_keeps_blue_green_and_red() -> None:
    picture = photograph(640, 480)
    recipe = Recipe(enhance="none", color=True, geometry="squash")
    crops = recipe.crops(picture)
    assert crops.shape == recipe.crop_shape == (1, 3, 224, 224)
    assert np.array_equal(crops[0].transpose(1, 2, 0), area(picture))
    mono = gray(picture)
    assert all(np.array_equal(channel, area(mono)) for channel in recipe.crops(mono)[0])


@pytest.mark.parametrize(
    "recipe",
    [
        REFERENCE,
        Recipe(enhance="none", geometry="letterbox", color=True),
        Recipe(rotate=90, roi=(0, 0, 500, 400)),
        Recipe(tiles=Tiles(columns=2, rows=2)),
    ],
)
def test_the_cameras_picture_is_only_read(recipe: Recipe) -> None:
    picture = photograph(640, 480)
    kept = picture.copy()
    picture.flags.writeable = False
    crops = recipe.crops(picture)
    crops[:] = 7
    assert np.array_equal(picture, kept)


@pytest.mark.parametrize(
    ("width", "height", "columns", "rows", "overlap"),
    [
        (1280, 1024, 2, 2, 0.1),
        (1280, 1024, 3, 2, 0.0),
        (1280, 1024, 6, 5, 0.25),
        (2448, 2048, 5, 4, 0.5),
        (1131, 461, 5, 2, 0.13),
        (1000, 1000, 1, 1, 0.1),
        (333, 100, 32, 10, 0.3),
    ],
)
def test_tiles_cover_the_whole_picture_and_overlap_as_told(
    width: int, height: int, columns: int, rows: int, overlap: float
) -> None:
    regions = Tiles(columns=columns, rows=rows, overlap=overlap).regions(width, height)
    seen = np.zeros((height, width), int)
    for region in regions:
        assert region.width == region.height
        assert region.of(seen).shape == (region.height, region.width)
        seen[region.y : region.y + region.height, region.x : region.x + region.width] += 1
    assert len(regions) == columns * rows
    assert seen.min() >= 1
    least = int(overlap * regions[0].width)
    lefts, tops = sorted({r.x for r in regions}), sorted({r.y for r in regions})
    assert all(a + regions[0].width - b >= least for axis in (lefts, tops) for a, b in pairwise(axis))


def test_each_tile_is_cut_from_the_enhanced_full_resolution_row_by_row() -> None:
    picture = gray(photograph(1280, 1024))
    recipe = Recipe(tiles=Tiles(columns=3, rows=2, overlap=0.1))
    whole = enhanced(picture)
    crops = recipe.crops(picture)
    assert crops.shape == recipe.crop_shape == (6, 1, 224, 224)
    regions = recipe.tiles.regions(1280, 1024) if recipe.tiles else []
    assert [(r.y, r.x) for r in regions] == sorted((r.y, r.x) for r in regions)
    for crop, region in zip(crops, regions, strict=True):
        assert np.array_equal(crop[0], area(region.of(whole)))


def test_a_defect_anywhere_is_in_a_tile_in_full_resolution() -> None:
    """Three pixels in 1280 x 1024, at a corner: lost in one crop, seen in a tile."""
    picture = np.full((1024, 1280), 128, np.uint8)
    picture[-3:, -3:] = 255
    tiles = Recipe(enhance="none", tiles=Tiles(columns=6, rows=5)).crops(picture)
    assert tiles.reshape(len(tiles), -1).max(axis=1).argmax() == 29
    assert tiles.max() == 255
    assert Recipe(enhance="none").crops(picture).max() == 128


def test_a_grid_that_cannot_cover_the_picture_is_refused_with_the_remedy() -> None:
    with pytest.raises(PictureError, match=r"grid of 2 x 2 .* 2000 x 400 pixels: use more tiles along the longer side"):
        Recipe(tiles=Tiles(columns=2, rows=2)).crops(np.zeros((400, 2000), np.uint8))


@pytest.mark.parametrize(
    ("pixels", "bits", "message"),
    [
        (np.zeros((9, 9, 4), np.uint8), 8, "1 or 3 channels"),
        (np.zeros((0, 9), np.uint8), 8, "without pixels"),
        (np.zeros((9, 9), np.float64), 8, "float64 pixels"),
        (np.zeros((9, 9), np.uint16), 8, "uint16 pixels with 8 bits"),
    ],
)
def test_what_is_no_picture_is_refused(pixels: Pixels, bits: int, message: str) -> None:
    with pytest.raises(PictureError, match=message):
        REFERENCE.crops(pixels, bits)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"color": True}, "color: true needs enhance: none"),
        ({"resize": 200}, "resize 200 is smaller than size 224"),
        ({"roi": (0, 0, 0, 5)}, "width and height at least 1"),
        ({"roi": (-1, 0, 5, 5)}, "x and y at least 0"),
        ({"rotate": 45}, "0, 90, 180 or 270"),
        ({"size": 225}, "multiple of 32"),
        ({"std": (0.2, 0, 0.2)}, "std must be above 0"),
        ({"mean": (float("nan"), 0.5, 0.5)}, "finite"),
        ({"std": (0.2, float("inf"), 0.2)}, "finite"),
        ({"sise": 224}, "Extra inputs"),
        ({"tiles": {"columns": 0}}, "greater than or equal to 1"),
        ({"tiles": {"overlap": 0.6}}, "less than or equal to 0.5"),
        ({"tiles": {"overlap": float("nan")}}, "finite"),
        ({"tiles": {"columns": 32, "rows": 32}, "size": 288, "resize": 288}, "more than 64 MiB"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate(settings)


RECIPES = [
    REFERENCE,
    Recipe(geometry="squash", enhance="clahe_gradient"),
    Recipe(geometry="letterbox", enhance="none", color=True),
    Recipe(geometry="squash", enhance="stack"),
    Recipe(rotate=90, roi=(5, 6, 300, 200), tiles=Tiles(columns=2, rows=3)),
]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("kind", ["gray.png", "colour.jpg", "deep.png", "alpha.png", "colour.bmp"])
def test_training_and_production_see_the_same_bytes(tmp_path: Path, recipe: Recipe, kind: str) -> None:
    picture = photograph(640, 480)
    drawn: dict[str, Pixels] = {
        "gray.png": gray(picture),
        "deep.png": gray(picture).astype(np.uint16) * 257,
        "alpha.png": np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA), np.uint8),
    }
    file = tmp_path / kind
    assert cv2.imwrite(str(file), drawn.get(kind, picture))
    sample = Sample(file, kind, Label.OK)

    frame = next(FolderCamera("top", FolderConfig(kind="folder", path=tmp_path)).captures())
    assert isinstance(frame, Frame)
    in_the_child = read_recipe(recipe.model_dump_json())
    from_the_bundle = Recipe.model_validate_json(recipe.model_dump_json())
    live = in_the_child(frame.pixels, frame.bit_depth)

    assert np.array_equal(live, crops_of(sample, from_the_bundle))
    assert np.array_equal(live[None], next(batches([sample], from_the_bundle, 4)))


FOUR = ("ng/1.png", "ng/2.png", "ok/1.png", "ok/2.png")


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_training_and_production_see_the_same_bytes_of_a_deeper_camera(tmp_path: Path, bits: Any) -> None:
    """Its values lie in 16-bit files as they came."""
    flat = {name: np.roll(gray(photograph(640, 480)), number, axis=1) for number, name in enumerate(FOUR)}
    for name, pixels in flat.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(tmp_path / name), pixels.astype(np.uint16) << np.uint16(bits - 8))

    frame = next(FolderCamera("top", FolderConfig(kind="folder", path=tmp_path, bit_depth=bits)).captures())
    assert isinstance(frame, Frame)
    live = REFERENCE.crops(frame.pixels, frame.bit_depth)

    assert np.array_equal(live, REFERENCE.crops(flat[str(frame.source)]))
    samples = split_dataset(load_dataset(tmp_path, bits), 0).samples
    assert {sample.name for sample in samples} == set(FOUR)
    for sample in samples:
        assert np.array_equal(crops_of(sample, REFERENCE), REFERENCE.crops(flat[sample.name]))


def test_training_names_the_picture_that_no_crop_can_be_made_of(tmp_path: Path) -> None:
    file = tmp_path / "small.png"
    assert cv2.imwrite(str(file), np.zeros((50, 50), np.uint8))
    with pytest.raises(DataError, match=r"small\.png: the region of interest"):
        crops_of(Sample(file, "small.png", Label.OK), Recipe(roi=(0, 0, 100, 100)))
