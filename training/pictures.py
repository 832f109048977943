"""From a data set's picture to crops: the reader of the replaying camera, then the bundle's own recipe."""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice

import numpy as np

from camera.names import shown
from camera.picture import read_picture
from inspection.errors import DataError, PictureError
from inspection.frame import CropPixels
from training.ahead import ahead
from training.dataset import Sample
from vision.recipe import Recipe


def crops_of(sample: Sample, recipe: Recipe) -> CropPixels:
    """uint8 [tiles, channels, size, size]. Raises DataError naming the picture."""
    try:
        pixels, bit_depth = read_picture(sample.path)
    except PictureError as error:
        raise DataError(f"{error}; replace the picture or take it out of the data set") from error
    try:
        return recipe.crops(pixels, sample.bit_depth if bit_depth == 16 else bit_depth)
    except PictureError as error:
        raise DataError(f"{shown(sample.path)}: {error}") from error


def batches(samples: Sequence[Sample], recipe: Recipe, size: int) -> Iterator[CropPixels]:
    """Crops of `size` pictures at a time, [n, tiles, channels, size, size], in order. Raises DataError."""
    cut = ahead(partial(crops_of, recipe=recipe), samples, threads=os.cpu_count() or 1, most=2 * size)
    while chunk := list(islice(cut, size)):
        yield np.stack(chunk)
