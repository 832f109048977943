"""What `auto` tries: first what is done to the pixels, then how much of the picture is seen and how large.

Each step builds on the winner of the one before. All recipes by all geometries would take an hour of looking, and a
material that wants edges wants them in every geometry.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from inspection.errors import PictureError
from training.recipes import TrainingRecipe
from vision.enhance import Enhancement
from vision.recipe import Recipe, Tiles

_SIZE = 224
_LARGER = 320
_MOST_TILES = 12
# Sides that differ by less are squashed without harm.
_NEARLY_SQUARE = 1.15
# Pixels gained by a larger crop or by tiles, as a factor, below which there is nothing to see in them.
_WORTH_A_LOOK = 1.3

_EPOCHS = 6
_RATE = 1e-4
_WHOLE = ", whole frame"
_ENHANCEMENTS: tuple[tuple[str, Enhancement], ...] = (
    ("gray", "none"),
    ("equalised gradient", "equalize_gradient"),
    ("gray, equalised and gradient", "stack"),
    ("local gradient", "clahe_gradient"),
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A recipe for pictures, and its name in the table."""

    name: str
    image: Recipe

    @property
    def cost(self) -> float:
        """Inferences of 224 x 224 for one part."""
        tiles, _, size, _ = self.image.crop_shape
        return tiles * (size / _SIZE) ** 2


@dataclass(frozen=True, slots=True)
class Lesson:
    """How layer4 learns from one candidate's crops, and its name in the table."""

    name: str
    recipe: TrainingRecipe


def pixel_candidates(*, colour: bool) -> Iterator[Candidate]:
    """The whole picture, squashed; a picture in colour also as it is."""
    for name, how in _ENHANCEMENTS:
        yield Candidate(f"{name}{_WHOLE}", Recipe(enhance=how, geometry="squash"))
    if colour:
        yield Candidate(f"colour{_WHOLE}", Recipe(enhance="none", color=True, geometry="squash"))


def geometry_candidates(best: Candidate, width: int, height: int) -> Iterator[Candidate]:
    """Other views of a picture of `width` x `height` pixels with the pixels of `best`; the cheap ones first."""
    name = best.name.removesuffix(_WHOLE)
    longer, shorter = max(width, height), min(width, height)
    if longer > _NEARLY_SQUARE * shorter:
        yield Candidate(f"{name}, letterbox", _with(best, geometry="letterbox"))
    yield Candidate(f"{name}, middle", _with(best, geometry="center_crop"))
    if longer > _WORTH_A_LOOK * _SIZE:
        yield Candidate(f"{name}{_WHOLE} at {_LARGER}", _with(best, resize=_LARGER, size=_LARGER))
    for tiles in _grids(width, height):
        yield Candidate(f"{name}, {tiles.columns} x {tiles.rows} tiles", _with(best, tiles=tiles))


def lessons(candidate: Candidate) -> Iterator[Lesson]:
    """From the probe, which is kept as it is or goes on learning with layer4; the cheap one first."""
    recipe = TrainingRecipe(image=candidate.image, loss="cross_entropy", start="probe", epochs=0)
    yield Lesson(f"{candidate.name}; classifier alone", recipe)
    learns = recipe.model_copy(update={"flips": True, "epochs": _EPOCHS, "learning_rate": _RATE})
    yield Lesson(f"{candidate.name}; layer4 and classifier", learns)


def _with(best: Candidate, **changes: object) -> Recipe:
    return Recipe.model_validate({**best.image.model_dump(), **changes})


def _grids(width: int, height: int) -> Iterator[Tiles]:
    """Grids with 1, 2, 3 tiles along the shorter side, as long as a tile holds more pixels than the network sees."""
    longer, shorter = max(width, height), min(width, height)
    for along in (1, 2, 3):
        overlap = Tiles().overlap
        side = shorter / (along - (along - 1) * overlap)
        across = ceil((longer / side - overlap) / (1 - overlap) - 1e-9)
        if across * along == 1:
            continue
        if across * along > _MOST_TILES or side * _WORTH_A_LOOK < _SIZE:
            return
        tiles = Tiles(columns=across, rows=along) if width >= height else Tiles(columns=along, rows=across)
        try:
            tiles.regions(width, height)
        except PictureError:
            continue
        yield tiles
