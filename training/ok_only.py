"""From good parts alone to a bundle: a bank, a threshold by held-out good parts, metrics, golden parts."""

import tempfile
from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspection.errors import DataError
from inspection.part import Label
from training.bank import distances, fitted_bank
from training.calibrate import calibrate
from training.data.learnt import stored as pictures_of
from training.dataset import Dataset, Sample, Split
from training.decide import Decision, decide
from training.drift import drift_reference
from training.evaluate import truth_of
from training.good import BANK_TRAINED, ENOUGH, cut_above, decide_by_good, expected_overkill, rejected_of
from training.make import Made, choose_golden, picture_to_copy
from training.metrics import report
from training.pictures import crops_of
from training.targets import ScoredSplit, Targets, group_numbers, percent, require_provable
from vision.classifier import probability
from vision.recipe import Recipe
from vision.weights import Tensors
from vision.write import write_bundle

RECIPE = Recipe(enhance="none", geometry="squash")
_FEWEST = 2
_LEAST_SPREAD = 1e-3  # of distances
_MEDIAN_SCORE = 0.01  # of a good part, where no defective one tells what a score means

Scores = NDArray[np.float64]


def make_ok_only_bundle(
    dataset: Dataset,
    out: Path,
    backbone: Tensors,
    *,
    seed: int,
    notes: Mapping[str, Any],
    targets: Targets,
    recipe: Recipe = RECIPE,
    threads: int = 0,
    quiet: bool = False,
) -> Made:
    """Fill a bank with the good parts of `train`, choose the threshold on `val`, measure on `test`, write to `out`.

    Defective parts of `train` are left out; those of `val` choose the thresholds where there are `ENOUGH`. Raises
    DataError, or BundleError where `backbone` is no ResNet18's or `out` cannot be written.
    """
    train, val, test = _good(dataset, "train"), dataset.of("val"), dataset.of("test")
    _good(dataset, "val")
    by_both = sum(sample.label is Label.NG for sample in val) >= ENOUGH
    require_provable(targets, val, "val")
    tensors = fitted_bank(backbone, train, recipe, seed=seed, threads=threads, quiet=quiet)
    found = {
        split: distances(tensors, samples, recipe, threads=threads, quiet=quiet)
        for split, samples in (("val", val), ("test", test))
        if samples
    }
    if by_both:
        limit, temperature = calibrated(found["val"], truth_of(val))
    else:
        limit, temperature = _by_good(found["val"], val, targets)
    tensors["bank.limit"] = np.asarray([limit], np.float32)
    scored = {
        split: ScoredSplit(
            probability((values - limit) / temperature).astype(np.float64),
            truth_of(dataset.of(split)),
            group_numbers(dataset.of(split)),
        )
        for split, values in found.items()
    }
    choose = decide if by_both else decide_by_good
    decision = choose(targets, scored["val"], scored.get("test"), scored_by=BANK_TRAINED)
    reports = {split: report(one.scores, one.truth, decision.thresholds) for split, one in scored.items()}
    golden = choose_golden(val, scored["val"].scores, decision.thresholds)
    with tempfile.TemporaryDirectory(prefix="linegate-golden-") as scratch:
        bundle = write_bundle(
            out,
            arch="resnet18-bank",
            recipe=recipe,
            thresholds=decision.thresholds,
            temperature=temperature,
            tensors=tensors,
            metrics={
                **{split: reports[split].to_json() if split in reports else None for split in ("val", "test")},
                "decision": decision.to_json(),
                "drift": drift_reference(dataset, val, scored["val"].scores, decision.thresholds),
                "training": {
                    **notes,
                    "seed": seed,
                    "good_parts": len(train),
                    "entries": len(tensors["bank.entries"]),
                    "learnt_from": ["train"],
                },
            },
            data_hash=dataset.digest(),
            golden=[(picture_to_copy(sample, Path(scratch)), sample.label, score) for sample, score in golden],
            golden_crops=[crops_of(sample, recipe) for sample, _ in golden],
            scores={
                **{name: array for split, one in scored.items() for name, array in one.stored(split).items()},
                **pictures_of(dataset),
            },
        )
    return Made(bundle, 0, reports["val"], reports.get("test"), decision)


def unknown_lines(decision: Decision) -> list[str]:
    """What thresholds that good parts alone have chosen do not tell, and what they do; none where defects had a say."""
    if decision.val.escape.of >= ENOUGH:
        return []
    trials = decision.val.sure_overkill_groups if decision.targets.count == "groups" else decision.val.sure_overkill
    expected = expected_overkill(trials.of, trials.count)
    return [
        f"  HOW MANY DEFECTIVE PARTS ESCAPE IS NOT KNOWN: val holds {decision.val.escape.of}, and {ENOUGH} are needed.",
        f"  A new good part, if it is like those of val, fails with a probability of at most {percent(expected)}.",
    ]


def _good(dataset: Dataset, split: Split) -> tuple[Sample, ...]:
    """Raises DataError where there are too few to learn from, or to choose a threshold by."""
    good = tuple(sample for sample in dataset.of(split) if sample.label is Label.OK)
    if len(good) < _FEWEST:
        raise DataError(
            f"{dataset.source}: split '{split}' holds {len(good)} pictures labelled ok, and {_FEWEST} are the least:"
            " add some, or leave the column 'split' out to have one made"
        )
    return good


def calibrated(found: Scores, truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Limit and temperature by which a distance is P(defect), from good and bad pictures: float64 and bool [n]."""
    centre, unit = _spread(found[~truth])
    calibration = calibrate((found - centre) / unit, truth)
    return centre - unit * calibration.offset, unit * calibration.temperature


def _by_good(found: Scores, val: Sequence[Sample], targets: Targets) -> tuple[float, float]:
    """So that the threshold lies at 0.5 and a middling good part scores `_MEDIAN_SCORE`."""
    truth = truth_of(val)
    good = ScoredSplit(found, truth, group_numbers(val)).good(targets.count)
    limit = cut_above(good, rejected_of(good.size, targets))
    return limit, max(limit - float(np.median(found[~truth])), _LEAST_SPREAD) / log(1 / _MEDIAN_SCORE - 1)


def _spread(values: Scores) -> tuple[float, float]:
    """Median, and the deviation that a normal distribution with these quartiles has."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return float(middle), max(float(high - low) / 1.349, _LEAST_SPREAD)
