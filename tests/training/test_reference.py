"""A reference picture is learnt from good pictures, and taken where nothing else tells good from bad."""

import base64
import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inspection.errors import DataError
from inspection.part import Label
from training.auto import make_auto_bundle
from training.budget import Budget
from training.dataset import COLUMNS, Dataset, load_dataset
from training.evaluate import evaluate
from training.make import make_bundle
from training.recipes import TrainingRecipe, training_recipe
from training.reference import LEAST, comparable_reference, learn_reference
from training.targets import Targets
from training.weights import pretrained
from vision.align import align, small
from vision.backends.choose import open_backend
from vision.recipe import Recipe

IMAGENET = Path(__file__).parents[2] / "models" / "imagenet-resnet18" / "resnet18-imagenet.safetensors"
SIDE = 96
RIM = 8
SPLITS = ("train", "train", "test", "val", "train", "test", "train", "train", "val", "test")
Gray = NDArray[np.uint8]


def prints() -> list[tuple[int, int, int, int]]:
    """Left, top, width and tone of 30 marks."""
    random = np.random.default_rng(11)
    return [
        (
            RIM + 10 + column * SIDE // 7 + int(random.integers(4)),
            RIM + 12 + row * SIDE // 6 + int(random.integers(4)),
            int(random.integers(6, 11)),
            int(random.integers(150, 230)),
        )
        for row in range(5)
        for column in range(6)
    ]


MARKS = prints()


def part(random: np.random.Generator, missing: int | None = None) -> Gray:
    """A plate with 30 marks, or 29, that lies a little elsewhere each time, in another light."""
    plate = np.full((SIDE + 2 * RIM, SIDE + 2 * RIM), 90, np.uint8)
    for number, (left, top, width, tone) in enumerate(MARKS):
        if number != missing:
            cv2.rectangle(plate, (left, top), (left + width, top + 6), tone, -1)
    right, below = random.uniform(-4, 4, 2)
    move = np.array([[1, 0, right - RIM], [0, 1, below - RIM]], np.float64)
    lit = cv2.warpAffine(plate, move, (SIDE, SIDE)) * random.uniform(0.85, 1.15) + random.normal(0, 4, (SIDE, SIDE))
    return np.asarray(np.clip(lit, 0, 255), np.uint8)


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """24 good plates and 16 of which a mark is missing; two pictures to a group."""
    folder = tmp_path_factory.mktemp("plates")
    random = np.random.default_rng(5)
    with (folder / "manifest.csv").open("w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(COLUMNS)
        for number in range(40):
            bad = number >= 24
            cv2.imwrite(str(folder / f"{number}.png"), part(random, int(random.integers(30)) if bad else None))
            label = "ng" if bad else "ok"
            rows.writerow((f"{number}.png", label, "", SPLITS[number // 2 % 10], f"{label}{number // 2}"))
    return load_dataset(folder)


def kept(reference: str) -> Gray:
    raw = np.frombuffer(base64.b64decode(reference), np.uint8)
    return np.asarray(cv2.imdecode(raw, cv2.IMREAD_UNCHANGED), np.uint8)


def kept_in(file: Path) -> Gray:
    return np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), np.uint8)


def test_auto_compares_where_neither_gray_nor_edges_tell_good_from_bad(plates: Dataset, tmp_path: Path) -> None:
    result = make_auto_bundle(
        plates, tmp_path / "made", pretrained(str(IMAGENET)),
        seed=0, notes={}, targets=Targets(), budget=Budget(600, quiet=True), crop=SIDE,
    )  # fmt: skip

    told = {
        trial["name"]: trial["auroc"]["mean"] for trial in result.bundle.metrics["training"]["search"]["candidates"]
    }
    assert result.bundle.recipe.enhance == "difference"
    assert told["difference from the reference, whole frame"] > 0.98
    assert max(told["gray, whole frame"], told["equalised gradient, whole frame"]) < 0.9
    assert "gray, reference and difference, whole frame" in told
    assert result.test is not None
    assert (result.test.auroc.value or 0) > 0.95


def test_a_recipe_asks_for_it_by_name_and_it_is_learnt_from_train_alone(plates: Dataset, tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text(
        f'{{"image": {{"enhance": "compare", "geometry": "squash", "size": {SIDE}}}, "epochs": 0, "start": "probe"}}'
    )

    made = make_bundle(
        plates, tmp_path / "made", training_recipe(str(mine)), pretrained(str(IMAGENET)), seed=0, notes={}, quiet=True
    )

    assert made.bundle.recipe.reference == learn_reference(plates.of("train"), Recipe()).picture
    assert "reference" not in made.bundle.metrics["training"]["recipe"]["image"]
    tested = evaluate(made.bundle, open_backend(made.bundle.path, choice="onnx-cpu", threads=1), plates.of("test"))
    assert np.allclose(tested.scores, made.bundle.scores()["test.scores"], atol=1e-3)


def test_the_reference_is_the_part_without_what_befell_single_ones(plates: Dataset, tmp_path: Path) -> None:
    """Every good plate has a stain of its own."""
    random = np.random.default_rng(0)
    stained = []
    for sample in plates.of("train"):
        picture = kept_in(sample.path)
        left, top = (int(place) for place in random.integers(10, SIDE - 25, 2))
        cv2.rectangle(picture, (left, top), (left + 12, top + 12), 255, -1)
        assert cv2.imwrite(str(tmp_path / sample.name), picture)
        stained.append(replace(sample, path=tmp_path / sample.name))

    clean = small(kept(learn_reference(plates.of("train"), Recipe()).picture.png))
    learnt = small(kept(learn_reference(stained, Recipe()).picture.png))

    single = [align(small(kept_in(sample.path)), clean).likeness for sample in stained]
    assert max(single) < 0.94
    assert align(learnt, clean).likeness > 0.98


def test_bad_parts_have_no_part_in_the_reference(plates: Dataset) -> None:
    good = [sample for sample in plates.samples if sample.label is Label.OK]

    assert learn_reference(plates.samples, Recipe()) == learn_reference(good, Recipe())


def test_a_reference_of_the_region_of_interest_is_as_large_as_that(plates: Dataset) -> None:
    recipe = Recipe(enhance="difference", roi=(4, 8, 80, 60), rotate=90)

    learnt = learn_reference(plates.samples, recipe).picture

    assert (learnt.width, learnt.height) == (60, 80)


def test_too_few_good_pictures_make_no_reference(plates: Dataset) -> None:
    good = [sample for sample in plates.samples if sample.label is Label.OK]

    with pytest.raises(DataError, match=f"made of {LEAST} good pictures or more, and here are 7"):
        learn_reference(good[:7], Recipe())


def test_pictures_of_several_sizes_are_not_compared(plates: Dataset, tmp_path: Path) -> None:
    odd = tmp_path / "odd.png"
    assert cv2.imwrite(str(odd), np.zeros((SIDE, SIDE + 2), np.uint8))
    *others, last = plates.samples
    dataset = Dataset(plates.source, (*others, replace(last, path=odd, split="test")))

    with pytest.raises(DataError, match=f"one size, and {last.name} has 98 x 96 pixels where others have 96 x 96"):
        comparable_reference(dataset)


def test_pictures_that_do_not_resemble_each_other_are_not_compared(plates: Dataset, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    unlike = []
    for sample in plates.samples:
        coarse = random.integers(0, 256, (12, 12), np.uint8)
        assert cv2.imwrite(str(tmp_path / sample.name), cv2.resize(coarse, (SIDE, SIDE)))
        unlike.append(replace(sample, path=tmp_path / sample.name))

    with pytest.raises(DataError, match="do not resemble each other enough"):
        comparable_reference(Dataset(plates.source, tuple(unlike)))


def test_a_reference_that_the_recipe_brings_along_is_kept(plates: Dataset, tmp_path: Path) -> None:
    mine = learn_reference([s for s in plates.samples if s.split != "train"], Recipe()).picture
    image = Recipe(enhance="difference", reference=mine, geometry="squash", size=SIDE)

    made = make_bundle(
        plates, tmp_path / "made", TrainingRecipe(image=image, epochs=0), pretrained(str(IMAGENET)),
        seed=0, notes={}, quiet=True,
    )  # fmt: skip

    assert made.bundle.recipe.reference == mine
