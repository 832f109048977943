"""From a data set to a bundle: features, fit, calibration, thresholds, metrics, golden parts."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm  # type: ignore[import-untyped]

from camera.picture import read_picture
from inspection.part import Label
from training.calibrate import Calibration, calibrate
from training.dataset import SPLITS, Dataset, Sample, require_classes
from training.decide import Decision, clear_of, decide
from training.evaluate import truth_of
from training.fit import Features, fit, fresh_head, margins, trunk_features
from training.metrics import Report, report
from training.pictures import batches, crops_of
from training.recipes import TrainingRecipe
from training.targets import ScoredSplit, Targets, group_numbers, require_provable
from vision.bundle import Bundle, Thresholds
from vision.resnet import ResNet18
from vision.weights import as_stored
from vision.write import write_bundle

GOLDEN_PER_CLASS = 16
_BATCH = 16
_NO_TARGETS = Targets()
_COPIED = frozenset({".png", ".jpg", ".jpeg"})

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Made:
    """`test` is None where the data set has no test split."""

    bundle: Bundle
    epochs: int
    val: Report
    test: Report | None
    decision: Decision


def make_bundle(
    dataset: Dataset,
    out: Path,
    recipe: TrainingRecipe,
    model: ResNet18,
    *,
    seed: int,
    notes: Mapping[str, Any],
    targets: Targets = _NO_TARGETS,
    quiet: bool = False,
) -> Made:
    """Learn from `train`; stop, calibrate and choose thresholds on `val`; measure on `test`; write to `out`.

    `model` holds the backbone's weights and is trained in place. `notes` go into the bundle's metrics as they
    are. Raises DataError, at once where val is too small for `targets`, or BundleError where `out` cannot be written.
    """
    for split in ("train", "val"):
        require_classes(dataset, split)
    require_provable(targets, dataset.of("val"), "val")
    fresh_head(model, seed)
    with tempfile.TemporaryDirectory(prefix="linegate-train-") as scratch:
        features = {
            split: _features(model, samples, recipe, Path(scratch) / split, quiet=quiet)
            for split in SPLITS
            if (samples := dataset.of(split))
        }
        history = fit(model, features["train"], features["val"], recipe, seed, quiet=quiet)
        truth = {split: truth_of(dataset.of(split)) for split in features if split != "train"}
        calibration = calibrate(margins(model, features["val"].values), truth["val"])
        _settle(model, calibration)
        scores = {
            split: _probability(margins(model, features[split].values), calibration.temperature) for split in truth
        }
    scored = {split: ScoredSplit(scores[split], truth[split], group_numbers(dataset.of(split))) for split in truth}
    decision = decide(targets, scored["val"], scored.get("test"), scored_by="torch fp32")
    thresholds = decision.thresholds
    val = report(scores["val"], truth["val"], thresholds)
    test = report(scores["test"], truth["test"], thresholds) if "test" in truth else None
    golden = choose_golden(dataset.of("val"), scores["val"], thresholds)
    with tempfile.TemporaryDirectory(prefix="linegate-golden-") as scratch:
        bundle = write_bundle(
            out,
            recipe=recipe.image,
            thresholds=thresholds,
            temperature=calibration.temperature,
            tensors=_arrays(model),
            metrics={
                "val": val.to_json(),
                "test": test.to_json() if test else None,
                "decision": decision.to_json(),
                "training": {
                    **notes,
                    "recipe": recipe.model_dump(mode="json"),
                    "seed": seed,
                    "epochs": len(history),
                },
            },
            data_hash=dataset.digest(),
            golden=[(_picture_to_copy(s, Path(scratch)), s.label, score) for s, score in golden],
            golden_crops=[crops_of(sample, recipe.image) for sample, _ in golden],
        )
    return Made(bundle, len(history), val, test, decision)


def choose_golden(
    samples: Sequence[Sample], scores: Scores, thresholds: Thresholds, per_class: int = GOLDEN_PER_CLASS
) -> list[tuple[Sample, float]]:
    """Good and bad pictures evenly from the lowest score to the highest, clear of the thresholds."""
    clear = clear_of(scores, thresholds)
    chosen: list[tuple[Sample, float]] = []
    for label in Label:
        order = [i for i in np.argsort(scores, kind="stable") if clear[i] and samples[i].label is label]
        picks = np.unique(np.linspace(0, len(order) - 1, min(per_class, len(order))).round().astype(int))
        chosen.extend((samples[order[i]], float(scores[order[i]])) for i in picks)
    return chosen


def _features(
    model: ResNet18, samples: Sequence[Sample], recipe: TrainingRecipe, file: Path, *, quiet: bool
) -> Features:
    """The trunk's output for every picture, kept in `file`: 200 KB a crop need not fit in memory."""
    tiles, _, size, _ = recipe.image.crop_shape
    shape = (len(samples), tiles, 256, size // 16, size // 16)
    labels = truth_of(samples).astype(np.int64)
    values = np.lib.format.open_memmap(file, "w+", np.float32, shape)
    done = 0  # a disabled bar counts nothing
    with tqdm(total=len(samples), desc="features", unit="picture", disable=quiet) as bar:
        for crops in batches(samples, recipe.image, _BATCH):
            values[done : done + len(crops)] = trunk_features(model, crops, recipe.image)
            done += len(crops)
            bar.update(len(crops))
    return Features(values, labels)


def _settle(model: ResNet18, calibration: Calibration) -> None:
    """Put the offset into the last bias and round the weights as the file does: scores are of what is stored."""
    with torch.no_grad():
        model.fc.bias.add_(torch.tensor([-0.5, 0.5]) * calibration.offset)
    rounded = as_stored(_arrays(model))
    state = {name: torch.from_numpy(array.astype(np.float32)) for name, array in rounded.items()}
    model.load_state_dict(state, strict=False)


def _arrays(model: ResNet18) -> dict[str, NDArray[np.generic]]:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def _probability(margin: Scores, temperature: float) -> Scores:
    return 1 / (1 + np.exp(-margin / temperature))


def _picture_to_copy(sample: Sample, scratch: Path) -> Path:
    """The picture's own file where a bundle may hold its kind, else the same pixels as PNG."""
    if sample.path.suffix.lower() in _COPIED:
        return sample.path
    pixels, _ = read_picture(sample.path)
    copy = scratch / f"{len(list(scratch.iterdir())):03d}.png"
    cv2.imwrite(str(copy), pixels)
    return copy
