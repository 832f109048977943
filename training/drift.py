"""What a data set's good pictures and their scores are like: what a bundle lets live ones be compared with."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camera.impression import Impressions
from camera.picture import read_picture
from inspection.errors import DataError, PictureError
from inspection.impression import PICTURES, Impression
from inspection.part import Label
from training.dataset import Dataset, Sample
from vision.bundle import Thresholds
from vision.drift import BundleReference, Reference, ScoreReference


def drift_reference(
    dataset: Dataset, judged: Sequence[Sample], scores: NDArray[np.float64], thresholds: Thresholds
) -> dict[str, Any]:
    """For a bundle's metrics, from the good pictures of train and val in the data set's order.

    `scores` are those of `judged`, pictures that the model did not learn from; bad and failing ones are left out
    as while the line runs. Raises DataError naming a picture.
    """
    seen = [sample for sample in dataset.samples if sample.split in ("train", "val") and sample.label is Label.OK]
    kept = [
        float(score)
        for sample, score in zip(judged, scores, strict=True)
        if sample.label is Label.OK and score < thresholds.fail_above
    ]
    reference = BundleReference(pictures=Reference.learn(list(_looks(seen))), scores=ScoreReference.learn(kept))
    return reference.model_dump(mode="json")


def _looks(samples: Sequence[Sample]) -> Iterator[Impression]:
    """Whole ones only: what is left over at the end is too few for one."""
    impressions = Impressions()
    for sample in samples:
        try:
            pixels, bit_depth = read_picture(sample.path)
        except PictureError as error:
            raise DataError(f"{error}; replace the picture or take it out of the data set") from error
        impressions.add(pixels, sample.bit_depth if bit_depth == 16 else bit_depth)
        if impressions.pictures == PICTURES:
            yield impressions.take()
