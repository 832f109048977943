"""What `auto` tries: first what is done to the pixels, then how much of the picture is seen and how large.

Each step builds on the winner of the one before. All recipes by all geometries would take an hour of looking, and a
material that wants edges wants them in every geometry. Last, how deep the network learns.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from inspection.errors import PictureError
from training.recipes import TrainingRecipe
from vision.enhance import Enhancement
from vision.recipe import Recipe, Tiles
from vision.reference import ReferencePicture

CROP = 224
# Times the crop: 224 and 320.
_LARGER = 10 / 7
_MOST_TILES = 6
# Sides that differ by less are squashed without harm.
_NEARLY_SQUARE = 1.15
# Pixels gained by a larger crop or by tiles, as a factor, below which there is nothing to see in them.
_WORTH_A_LOOK = 1.3

_EPOCHS = 6
_RATE = 2e-4
# The deep lesson takes as many as there is time for.
DEEP_EPOCHS = (40, 20, 10, 7, 5)
# Enough to see which pixels the network can learn from.
_TASTE_EPOCHS = 3
_WHOLE = "whole frame"
COMPARED: tuple[tuple[str, Enhancement], ...] = (
    ("gray, reference and difference", "compare"),
    ("difference from the reference", "difference"),
)
_ENHANCEMENTS: tuple[tuple[str, Enhancement], ...] = (
    ("gray", "none"),
    ("equalised gradient", "equalize_gradient"),
    ("gray, equalised and gradient", "stack"),
    ("local gradient", "clahe_gradient"),
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A recipe for pictures, and the two halves of its name in the table."""

    pixels: str
    geometry: str
    image: Recipe

    @property
    def name(self) -> str:
        return f"{self.pixels}, {self.geometry}"

    @property
    def cost(self) -> float:
        """Inferences of 224 x 224 for one part."""
        tiles, _, size, _ = self.image.crop_shape
        return tiles * (size / CROP) ** 2

    def seen_as(self, name: str, /, **changes: object) -> "Candidate":
        """The same pixels, cut in another way."""
        return Candidate(self.pixels, name, Recipe.model_validate({**self.image.model_dump(), **changes}))

    def with_pixels_of(self, other: "Candidate") -> "Candidate":
        """The same cut of what the other does to the pixels."""
        changes = {name: getattr(other.image, name) for name in ("enhance", "reference", "color")}
        return Candidate(other.pixels, self.geometry, self.image.model_copy(update=changes))


@dataclass(frozen=True, slots=True)
class Lesson:
    """What learns from one candidate's crops, and its name in the table."""

    candidate: Candidate
    name: str
    recipe: TrainingRecipe


def pixel_candidates(size: int, *, colour: bool, reference: ReferencePicture | None) -> Iterator[Candidate]:
    """The whole picture, squashed to `size` pixels: gray, in colour where there is some, compared if that may pay."""
    for name, how in _ENHANCEMENTS:
        yield Candidate(name, _WHOLE, Recipe(enhance=how, geometry="squash", size=size))
    if colour:
        yield Candidate("colour", _WHOLE, Recipe(enhance="none", color=True, geometry="squash", size=size))
    for name, how in COMPARED if reference else ():
        yield Candidate(name, _WHOLE, Recipe(enhance=how, reference=reference, geometry="squash", size=size))


def geometry_candidates(best: Candidate, width: int, height: int) -> Iterator[Candidate]:
    """Other views of a picture of `width` x `height` pixels with the pixels of `best`; the cheap ones first."""
    longer, shorter = max(width, height), min(width, height)
    size = best.image.size
    larger = round(size * _LARGER / 32) * 32
    if longer > _NEARLY_SQUARE * shorter:
        yield best.seen_as("letterbox", geometry="letterbox")
    yield best.seen_as("middle", geometry="center_crop")
    if longer > _WORTH_A_LOOK * size:
        yield best.seen_as(f"{_WHOLE} at {larger}", resize=max(larger, 256), size=larger)
    for tiles in _grids(width, height, size):
        yield best.seen_as(f"{tiles.columns} x {tiles.rows} tiles", tiles=tiles)


def kept(candidate: Candidate) -> Lesson:
    """The probe as it is."""
    return Lesson(candidate, f"{candidate.name}; classifier", _start(candidate).model_copy(update={"epochs": 0}))


def shallow(candidate: Candidate) -> Lesson:
    """From the probe on, layer4 learns, from frozen features."""
    changes = {"flips": True, "balance": True, "epochs": _EPOCHS, "learning_rate": _RATE}
    return Lesson(candidate, f"{candidate.name}; layer4", _start(candidate).model_copy(update=changes))


def deep(candidate: Candidate, epochs: int) -> Lesson:
    """From the probe on, everything behind layer1 learns, from the pixels."""
    changes = {
        "unfreeze": "layer2",
        "deeper": 1.0,
        "warm_up": 0.15,
        "flips": True,
        "light": True,
        "small_first": True,
        "balance": True,
        "epochs": epochs,
        "learning_rate": _RATE,
    }
    name = f"{candidate.name}; layer2 to 4, {epochs} epochs"
    return Lesson(candidate, name, _start(candidate).model_copy(update=changes))


def taste_of(candidate: Candidate) -> Lesson:
    """A short deep lesson on small crops, to compare pixels by."""
    lesson = deep(candidate, _TASTE_EPOCHS)
    return Lesson(candidate, f"{candidate.name}; taste", lesson.recipe.model_copy(update={"small_first": False}))


def _start(candidate: Candidate) -> TrainingRecipe:
    return TrainingRecipe(image=candidate.image, loss="cross_entropy", start="probe")


def _grids(width: int, height: int, size: int) -> Iterator[Tiles]:
    """Grids with 1, 2, 3 tiles along the shorter side, as long as a tile holds more pixels than the network sees."""
    longer, shorter = max(width, height), min(width, height)
    for along in (1, 2, 3):
        overlap = Tiles().overlap
        side = shorter / (along - (along - 1) * overlap)
        across = ceil((longer / side - overlap) / (1 - overlap) - 1e-9)
        if across * along == 1:
            continue
        if across * along > _MOST_TILES or side * _WORTH_A_LOOK < size:
            return
        tiles = Tiles(columns=across, rows=along) if width >= height else Tiles(columns=along, rows=across)
        try:
            tiles.regions(width, height)
        except PictureError:
            continue
        yield tiles
