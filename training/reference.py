"""The reference picture of a recipe that compares: the median of good pictures, each brought to where one of them lies.

A defect or a speck of dust that one good picture in three has is not in the median. The one that the others are brought
to is the one most like them all, which lies in their middle.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from camera.picture import read_picture, read_size
from inspection.errors import DataError, PictureError
from inspection.part import Label
from training.dataset import Dataset, Sample
from training.recipes import TrainingRecipe
from vision.align import Small, align, small
from vision.enhance import COMPARING, Image, Region
from vision.recipe import Recipe
from vision.reference import Placed, ReferencePicture, held, held_size

LEAST, MOST = 8, 51
"""Good pictures that a reference is made of."""

ALIKE = 0.7
"""Correlation with the reference, once aligned, that half of the good pictures reach where a comparison may pay.

It tells half of what varies from pixel to pixel in them: 0.7 squared.
"""


@dataclass(frozen=True, slots=True)
class Learnt:
    """`likeness` is the correlation that half of the good pictures have with the reference, once aligned."""

    picture: ReferencePicture
    likeness: float


def with_reference(recipe: TrainingRecipe, samples: Sequence[Sample]) -> TrainingRecipe:
    """The recipe itself, unless it compares with a reference that is yet to be learnt. Raises DataError."""
    image = recipe.image
    if image.enhance not in COMPARING or image.reference is not None:
        return recipe
    reference = learn_reference(samples, image).picture
    return recipe.model_copy(update={"image": image.model_copy(update={"reference": reference})})


def learn_reference(samples: Sequence[Sample], recipe: Recipe) -> Learnt:
    """From the good ones of `samples`, cut and turned as in `recipe`.

    Raises DataError where they are too few, are not all of one size, or cannot be read.
    """
    good = [sample for sample in samples if sample.label is Label.OK]
    if len(good) < LEAST:
        raise DataError(
            f"a reference picture is made of {LEAST} good pictures or more, and here are {len(good)}: add some, or take"
            " a recipe that compares with none"
        )
    require_one_size(good)
    places = np.linspace(0, len(good) - 1, min(len(good), MOST)).round().astype(int)
    pictures: list[Image] = []
    small_ones: list[Small] = []
    for place in places:
        image = _upright(good[place], recipe)
        pictures.append(held(image))
        small_ones.append(small(image))
    height, width = image.shape
    middle = _medoid(small_ones)
    whole = Region(0, 0, width, height)
    across, down = held_size(width, height)
    brought = np.empty((len(pictures), down, across), np.uint8)
    for own, picture, reduced in zip(brought, pictures, small_ones, strict=True):
        placed = Placed(picture, align(reduced, small_ones[middle]), width, height)
        known = placed.covered(whole, across, down)
        own[:] = pictures[middle]
        own[known] = placed.of(whole)[known]
    median = np.ascontiguousarray(np.partition(brought, len(brought) // 2, axis=0)[len(brought) // 2])
    reduced = small(median)
    likeness = float(np.median([align(reduced, other).likeness for other in small_ones]))
    return Learnt(ReferencePicture.of(median, width, height), likeness)


def comparable_reference(dataset: Dataset) -> ReferencePicture:
    """Of train and val, where comparing may pay. Raises DataError that says why it cannot."""
    require_one_size(dataset.samples)
    learnt = learn_reference([sample for sample in dataset.samples if sample.split != "test"], Recipe(enhance="none"))
    if learnt.likeness < ALIKE:
        raise DataError(
            f"good pictures do not resemble each other enough: half of them correlate less than {learnt.likeness:.2f}"
            f" with their median, and {ALIKE} is needed"
        )
    return learnt.picture


def require_one_size(samples: Sequence[Sample]) -> None:
    """Raises DataError where the pictures differ in size, naming one."""
    first = (0, 0)
    for number, sample in enumerate(samples):
        try:
            size = read_size(sample.path)
        except PictureError as error:
            raise DataError(f"{error}; replace the picture or take it out of the data set") from error
        first = first if number else size
        if size != first:
            raise DataError(
                f"a reference picture is for pictures of one size, and {sample.name} has {size[0]} x {size[1]} pixels"
                f" where others have {first[0]} x {first[1]}"
            )


def _upright(sample: Sample, recipe: Recipe) -> Image:
    try:
        pixels, bit_depth = read_picture(sample.path)
        return recipe.upright(pixels, sample.bit_depth if bit_depth == 16 else bit_depth)
    except PictureError as error:
        raise DataError(f"{sample.path}: {error}") from error


def _medoid(pictures: Sequence[Small]) -> int:
    flat: NDArray[np.float32] = np.stack(pictures).reshape(len(pictures), -1)
    centred = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    centred /= np.where(length > 0, length, 1)
    return int((centred @ centred.sum(axis=0)).argmax())
