"""Crops that compare: a good part is flat wherever it lies, and a piece that is missing stands out."""

import base64
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from inspection.errors import BundleError, PictureError
from inspection.frame import CropPixels
from tests.vision.plates import comparing, noisy, printed, reference_of, seen
from vision.bundle import MANIFEST, Bundle, load_bundle
from vision.content import with_content_hash
from vision.recipe import Recipe
from vision.reference import HELD, ReferencePicture

SHIFTS = [(0.0, 0.0), (14.3, -9.6), (-31.0, 22.5)]
VIEWS: list[dict[str, Any]] = [
    {},
    {"geometry": "center_crop"},
    {"geometry": "letterbox"},
    {"tiles": {"columns": 3, "rows": 2}},
    {"size": 608, "resize": 608},
]


def departure(crops: CropPixels) -> NDArray[np.int64]:
    """From the middle gray."""
    return np.abs(crops.astype(np.int64) - 128)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(("right", "below"), SHIFTS)
def test_a_good_part_is_flat_wherever_it_lies_and_however_it_is_lit(
    view: dict[str, Any], right: float, below: float
) -> None:
    plate = printed()
    recipe = comparing(seen(plate), **view)
    darker = np.asarray(noisy(seen(plate, right, below)) * 0.8 + 10, np.uint8)

    found = departure(recipe.crops(darker))

    assert found.mean() < 6
    assert np.percentile(found, 99) < 30


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(("right", "below"), SHIFTS)
def test_a_piece_of_print_that_is_missing_stands_out_where_it_is_missing(
    view: dict[str, Any], right: float, below: float
) -> None:
    plate = printed()
    recipe = comparing(seen(plate), **view)
    scratched = plate.copy()
    cv2.rectangle(scratched, (80 + 280, 80 + 240), (80 + 330, 80 + 270), 255, -1)
    cv2.rectangle(plate, (80 + 280, 80 + 240), (80 + 330, 80 + 270), 90, -1)

    there = departure(recipe.crops(seen(scratched, right, below)))
    elsewhere = departure(comparing(seen(plate), **view).crops(seen(plate, right, below)))

    assert there.max() > 90
    assert elsewhere.max() < 80


def test_the_three_channels_are_difference_reference_and_picture() -> None:
    plate = printed()
    picture = seen(plate)
    other = seen(plate, 9, 5)

    ((difference, reference, live),) = comparing(picture, enhance="compare").crops(other)

    assert np.array_equal(live, Recipe(enhance="none", geometry="squash").crops(other)[0, 0])
    assert np.array_equal(difference, cv2.absdiff(live, reference))
    assert difference.mean() < 3


def test_what_the_reference_does_not_know_is_no_difference() -> None:
    """The part lies a twentieth farther left: what enters at the right is not on the reference."""
    plate = printed()
    plate[:, -110:] = 255  # of the camera's picture 30 columns

    found = departure(comparing(seen(printed())).crops(seen(plate, -32.0, 0)))

    assert not found[..., -11:].any()
    assert not departure(comparing(seen(plate)).crops(seen(plate))).any()


@pytest.mark.parametrize("bits", [8, 12])
def test_a_region_of_interest_and_a_turn_come_before_the_comparison(bits: int) -> None:
    picture = seen(printed())
    inside = cv2.rotate(np.ascontiguousarray(picture[40:440, 50:600]), cv2.ROTATE_90_CLOCKWISE)
    recipe = comparing(np.asarray(inside, np.uint8), roi=(50, 40, 550, 400), rotate=90)
    pixels = picture if bits == 8 else picture.astype(np.uint16) << np.uint16(bits - 8)

    assert departure(recipe.crops(pixels, bits)).max() <= 1


@pytest.mark.parametrize(("width", "height"), [(1280, 1024), (2448, 700), (1, 1), (7, 1), (3000, 2)])
def test_a_reference_is_bounded_however_large_the_picture(width: int, height: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)

    reference = reference_of(picture)

    assert ReferencePicture.model_validate_json(reference.model_dump_json()) == reference
    kept = cv2.imdecode(np.frombuffer(base64.b64decode(reference.png), np.uint8), cv2.IMREAD_UNCHANGED)
    assert kept is not None
    assert max(kept.shape) <= HELD
    for geometry in ("squash", "center_crop", "letterbox"):
        assert comparing(picture, geometry=geometry).crops(picture).shape == (1, 1, 224, 224)


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(PictureError, match=r"640 x 480 pixels cannot be compared .* 640 x 512: set the camera"):
        comparing(seen(printed())).crops(np.zeros((480, 640), np.uint8))


def test_without_a_reference_there_is_nothing_to_compare_with() -> None:
    with pytest.raises(PictureError, match="has none: train makes it"):
        Recipe(enhance="difference").crops(np.zeros((480, 640), np.uint8))


def test_a_reference_that_nothing_looks_at_is_refused() -> None:
    with pytest.raises(ValidationError, match="a reference needs enhance: compare or difference"):
        Recipe(enhance="stack", reference=reference_of(seen(printed())))


def test_another_process_makes_the_same_bytes(tmp_path: Path) -> None:
    recipe = comparing(seen(printed()))
    live = noisy(seen(printed(), 7.7, -3.1))
    (tmp_path / "told").write_bytes(pickle.dumps((recipe, live)))
    program = (
        "import cv2, pathlib, pickle, sys; cv2.setNumThreads(3);"
        " recipe, live = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes());"
        " sys.stdout.buffer.write(recipe.crops(live).tobytes())"
    )

    made = subprocess.run([sys.executable, "-c", program, tmp_path / "told"], capture_output=True, check=True)

    assert made.stdout == recipe.crops(live).tobytes()


def flipped(png: str, at: float) -> str:
    raw = bytearray(base64.b64decode(png))
    raw[int(at * len(raw))] ^= 1
    return base64.b64encode(bytes(raw)).decode()


def beheaded(png: str) -> str:
    """A right header, and no picture behind it."""
    return base64.b64encode(base64.b64decode(png)[:40]).decode()


@pytest.fixture(scope="module")
def written(draw_bundle: Callable[..., Bundle], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    picture = np.random.default_rng(0).integers(0, 256, (72, 72), np.uint8)
    return draw_bundle(tmp_path_factory.mktemp("compared") / "bundle", comparing(picture, size=64, resize=64), golden=4)


@pytest.fixture
def compared(written: Bundle, tmp_path: Path) -> Bundle:
    """A copy, which may be changed."""
    return load_bundle(shutil.copytree(written.path, tmp_path / "bundle"))


def test_a_bundle_keeps_its_reference(compared: Bundle) -> None:
    again = load_bundle(compared.path)
    made = [again.recipe.crops(np.asarray(cv2.imread(str(part.path)), np.uint8)) for part in again.golden]

    assert again.recipe == compared.recipe
    assert np.array_equal(np.stack(made), again.golden_crops())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda png: flipped(png, 0.5), "png is damaged"),
        (lambda png: flipped(png, 0.9), "png is damaged"),
        (beheaded, "png is damaged"),
        (lambda png: png[: len(png) // 8 * 4], "png is damaged"),
        (lambda png: png[:-3], "png is not base64"),
        (lambda _: reference_of(seen(printed())).png, "png is no gray picture of 8 bits and 72 x 72 pixels"),
        (lambda _: "A" * (3 << 20), "at most 2097152 characters"),
    ],
)
def test_a_bundle_with_a_damaged_reference_is_refused(
    compared: Bundle, change: Callable[[str], str], message: str
) -> None:
    manifest = json.loads((compared.path / MANIFEST).read_text())
    manifest["recipe"]["reference"]["png"] = change(manifest["recipe"]["reference"]["png"])
    (compared.path / MANIFEST).write_text(json.dumps(with_content_hash(manifest)))

    with pytest.raises(BundleError, match=rf"recipe\.reference.*{message}.*: train the bundle again"):
        load_bundle(compared.path)


def test_a_bundle_that_compares_with_nothing_is_refused(compared: Bundle) -> None:
    manifest = json.loads((compared.path / MANIFEST).read_text())
    manifest["recipe"]["reference"] = None
    (compared.path / MANIFEST).write_text(json.dumps(with_content_hash(manifest)))

    with pytest.raises(BundleError, match=r"there is no recipe\.reference: train the bundle again"):
        load_bundle(compared.path)
