"""What the frozen part of the network gives for pictures, kept in files: a crop's 200 KB need not fit in memory."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm  # type: ignore[import-untyped]

from training.dataset import Sample
from training.evaluate import truth_of
from training.inputs import Features, Inputs, crops_in, trunk_features
from training.pictures import batches
from training.recipes import TrainingRecipe
from vision.resnet import ResNet18

_BATCH = 16
# Of rows and of columns. A quarter turn is left out: few parts come to the line in both positions.
FLIPS = ((1, -1), (-1, 1), (-1, -1))


def inputs_of(
    model: ResNet18,
    samples: Sequence[Sample],
    recipe: TrainingRecipe,
    file: Path,
    *,
    quick: bool = False,
    quiet: bool = False,
) -> Inputs:
    """What the recipe learns from: crops where layer2 is to learn, else `features_of`. Raises DataError."""
    if recipe.unfreeze == "layer2":
        return crops_in(samples, recipe, file, quiet=quiet)
    return features_of(model, samples, recipe, file, quick=quick, quiet=quiet)


def features_of(
    model: ResNet18,
    samples: Sequence[Sample],
    recipe: TrainingRecipe,
    file: Path,
    *,
    quick: bool = False,
    quiet: bool = False,
) -> Features:
    """What the recipe's trunk makes of every picture, in `file`, and of flipped ones beside it.

    `quick` as for `trunk_features`. Raises DataError.
    """
    tiles, _, size, _ = recipe.image.crop_shape
    channels, step = (256, 16) if recipe.unfreeze == "layer4" else (128, 8)
    shape = (len(samples), tiles, channels, size // step, size // step)
    values = np.lib.format.open_memmap(file, "w+", np.float32, shape)
    flipped = tuple(
        np.lib.format.open_memmap(file.with_suffix(f".{number}"), "w+", np.float16, shape)
        for number in range(len(FLIPS) if recipe.flips else 0)
    )
    done = 0  # a disabled bar counts nothing
    with tqdm(total=len(samples), desc="features", unit="picture", disable=quiet) as bar:
        for crops in batches(samples, recipe.image, _BATCH):
            part = slice(done, done + len(crops))
            values[part] = trunk_features(model, crops, recipe.image, recipe.unfreeze, quick=quick)
            for view, (rows, columns) in zip(flipped, FLIPS, strict=False):
                turned = np.ascontiguousarray(crops[..., ::rows, ::columns])
                view[part] = trunk_features(model, turned, recipe.image, recipe.unfreeze, quick=quick)
            done += len(crops)
            bar.update(len(crops))
    return Features(values, truth_of(samples).astype(np.int64), flipped)
