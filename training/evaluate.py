"""A bundle on labelled pictures, through the backend that production uses. Needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm  # type: ignore[import-untyped]

from inspection.errors import DataError
from inspection.part import Label
from training.dataset import Sample
from training.decide import Achieved, achieved
from training.metrics import Report, report
from training.pictures import batches
from training.targets import ScoredSplit, group_numbers
from vision.bundle import Bundle, Thresholds
from vision.classifier import Backend

_BATCH = 8


@dataclass(frozen=True, slots=True)
class Mistake:
    """A picture on the wrong side. `score` is P(defect) of its worst crop."""

    sample: Sample
    score: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`scores` is float64 [pictures], in the order of `samples`."""

    samples: tuple[Sample, ...]
    scores: NDArray[np.float64]
    report: Report
    bounds: Achieved
    thresholds: Thresholds

    def mistakes(self, label: Label) -> list[Mistake]:
        """Escapes (`ng`) or overkill (`ok`), the furthest from the threshold first."""
        limit = self.thresholds.pass_below
        wrong = [
            Mistake(sample, float(score))
            for sample, score in zip(self.samples, self.scores, strict=True)
            if sample.label is label and bool(score < limit) == (label is Label.NG)
        ]
        return sorted(wrong, key=lambda mistake: -abs(mistake.score - limit))


def truth_of(samples: Sequence[Sample]) -> NDArray[np.bool_]:
    """The labels as bool [pictures], True for ng."""
    return np.array([sample.label is Label.NG for sample in samples], dtype=np.bool_)


def evaluate(bundle: Bundle, backend: Backend, samples: Sequence[Sample], *, quiet: bool = False) -> Evaluation:
    """Score every picture (the maximum over its tiles) and judge it by the bundle's thresholds.

    Raises DataError as `score` does.
    """
    values = score(bundle, backend, samples, quiet=quiet)
    truth, thresholds = truth_of(samples), bundle.thresholds
    bounds = achieved(ScoredSplit(values, truth, group_numbers(samples)), thresholds, None, 0.0)
    return Evaluation(tuple(samples), values, report(values, truth, thresholds), bounds, thresholds)


def score(bundle: Bundle, backend: Backend, samples: Sequence[Sample], *, quiet: bool = False) -> NDArray[np.float64]:
    """P(defect) of every picture, the maximum over its tiles: float64 [pictures].

    Raises DataError when there are none, one cannot be read, or its score is not finite.
    """
    if not samples:
        raise DataError("there is no picture to score")
    scores: list[float] = []
    with tqdm(total=len(samples), desc="scoring", unit="picture", disable=quiet) as bar:
        for crops in batches(samples, bundle.recipe, _BATCH):
            scores.extend(_scored(backend, crops).max(axis=1).tolist())
            bar.update(len(crops))
    values = np.array(scores, dtype=np.float64)
    if not np.isfinite(values).all():
        bad = samples[int(np.flatnonzero(~np.isfinite(values))[0])]
        raise DataError(f"{bad.path}: the score is not finite; the bundle or its backend is broken")
    return values


def _scored(backend: Backend, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[n, tiles, channels, size, size] to [n, tiles], at most `_BATCH` crops at a time."""
    n, tiles = crops.shape[:2]
    flat = crops.reshape(n * tiles, *crops.shape[2:])
    parts = [backend.score(flat[i : i + _BATCH]) for i in range(0, len(flat), _BATCH)]
    return np.concatenate(parts).reshape(n, tiles)
