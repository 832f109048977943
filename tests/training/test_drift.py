"""What a bundle tells of the good pictures and scores that it was made from."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from inspection.errors import DataError
from inspection.part import Label
from training.dataset import Dataset, Sample
from training.drift import drift_reference
from training.make import Made
from vision.bundle import Thresholds
from vision.drift import SCORES, BundleReference

RULES = Thresholds(0.3, 0.7)


def dataset(folder: Path, good: int) -> Dataset:
    """Good pictures of brightness 100 in train and val, black ones that are bad, white ones in test."""
    rng = np.random.default_rng(0)
    samples = []
    for number in range(good + 40):
        split, label, mean = ("train" if number % 2 else "val", Label.OK, 100)
        if number >= good:
            split, label, mean = ("train", Label.NG, 0) if number % 2 else ("test", Label.OK, 255)
        path = folder / f"{number:04d}.png"
        cv2.imwrite(str(path), np.clip(rng.normal(mean, 10, (24, 32)), 0, 255).astype(np.uint8))
        samples.append(Sample(path, path.name, label, split=split))
    return Dataset(folder, tuple(samples))


def test_the_reference_is_of_the_good_pictures_of_train_and_val_and_of_scores_that_did_not_fail(tmp_path: Path) -> None:
    data = dataset(tmp_path, 2 * SCORES)
    val = data.of("val")
    scores = np.random.default_rng(1).uniform(0, 0.2, len(val)) + 0.7 * (np.arange(len(val)) < 1)
    told = drift_reference(data, [*val, *val], np.concatenate([scores, scores]), RULES)

    reference = BundleReference.model_validate(told)

    assert reference.pictures is not None
    assert reference.pictures.pictures == 2 * SCORES
    assert reference.pictures.brightness == pytest.approx(100, abs=1)
    assert reference.scores is not None
    assert reference.scores.scores == 2 * (len(val) - np.count_nonzero(scores >= RULES.fail_above))
    assert max(reference.scores.edges) < 0.2


def test_too_few_pictures_are_no_reference(tmp_path: Path) -> None:
    data = dataset(tmp_path, 50)
    told = drift_reference(data, data.of("val"), np.zeros(len(data.of("val"))), RULES)
    assert told == {"pictures": None, "scores": None}


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    data = dataset(tmp_path, 20)
    data.samples[3].path.write_bytes(b"")
    with pytest.raises(DataError, match=r"0003\.png"):
        drift_reference(data, (), np.empty(0), RULES)


def test_a_bundle_holds_what_live_pictures_are_compared_with(trained: Made) -> None:
    BundleReference.model_validate(trained.bundle.metrics["drift"])
