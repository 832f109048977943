"""Small synthetic pictures, and a trunk with drawn weights: quick, and good enough to learn a bright square."""

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from training.dataset import COLUMNS, Dataset, load_dataset
from training.make import Made, make_bundle
from training.recipes import TrainingRecipe
from training.weights import pretrained
from vision.recipe import Recipe
from vision.resnet import ResNet18
from vision.weights import as_stored

Rows = list[dict[str, str]]


def draw(path: Path, number: int, *, defect: bool) -> None:
    """A gray 64 x 96 picture with some noise, and a bright square where it is bad."""
    random = np.random.default_rng(number)
    pixels = random.integers(90, 110, (64, 96), dtype=np.uint8)
    if defect:
        x, y = int(random.integers(25, 50)), int(random.integers(10, 35))
        pixels[y : y + 20, x : x + 20] = 250
    assert cv2.imwrite(str(path), pixels)


def eight_of_each_split(folder: Path) -> Rows:
    """24 pictures on disk: eight in each split, three of them bad; two pictures to a group."""
    folder.mkdir()
    made = []
    for number in range(24):
        bad = number % 8 >= 5
        draw(folder / f"{number:02d}.png", number, defect=bad)
        made.append(
            {
                "path": f"{number:02d}.png",
                "label": "ng" if bad else "ok",
                "defect_type": "square" if bad else "none",
                "split": ("train", "val", "test")[number // 8],
                "group": f"g{number // 2}",
                "inspector": "ignored",
            }
        )
    return made


def written(folder: Path, rows: Rows, columns: tuple[str, ...] = COLUMNS) -> Path:
    file = folder / "manifest.csv"
    with file.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return file


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """These pictures are too small to share out, and other tests may run beside."""
    torch.set_num_threads(1)


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    return eight_of_each_split(tmp_path / "data")


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[..., Path]:
    """Write the given rows as manifest of the pictures that `rows` drew."""
    return partial(written, tmp_path / "data")


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backbone file with torchvision's names, without fc."""
    torch.manual_seed(0)
    tensors = as_stored({name: t.numpy() for name, t in ResNet18().state_dict().items()})
    file = tmp_path_factory.mktemp("weights") / "drawn.safetensors"
    save_file({name: t for name, t in tensors.items() if not name.startswith("fc.")}, file)
    return file


@pytest.fixture(scope="session")
def small() -> TrainingRecipe:
    return TrainingRecipe(
        image=Recipe(enhance="none", geometry="squash", resize=64, size=64), epochs=2, batch=4, learning_rate=1e-3
    )


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """What `trained` was trained on."""
    folder = tmp_path_factory.mktemp("trained") / "data"
    return load_dataset(written(folder, eight_of_each_split(folder)))


@pytest.fixture(scope="session")
def trained(data: Dataset, weights: Path, small: TrainingRecipe, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A bundle on disk; read it, do not change it."""
    out = tmp_path_factory.mktemp("bundle") / "made"
    return make_bundle(data, out, small, pretrained(str(weights)), seed=0, notes={"by": "test"}, quiet=True)
