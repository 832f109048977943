"""From a data set to a bundle: inputs, fit, calibration, thresholds, metrics, golden parts."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from camera.picture import read_picture
from inspection.part import Label
from training.calibrate import Calibration, calibrate, sigmoid
from training.data.learnt import stored as pictures_of
from training.dataset import SPLITS, Dataset, Sample, Split, require_classes
from training.decide import HELD_OUT, TRAINED, Decision, clear_of, decide
from training.drift import drift_reference
from training.evaluate import truth_of
from training.features import inputs_of
from training.fit import fit, fresh_head
from training.inputs import Inputs
from training.metrics import Report, report
from training.pictures import crops_of
from training.probe import fit_probe
from training.recipes import TrainingRecipe
from training.reference import with_reference
from training.search import Search
from training.targets import ScoredSplit, Targets, group_numbers, require_provable
from vision.bundle import Bundle, Thresholds, expected_of
from vision.golden import few
from vision.recipe import Recipe
from vision.resnet import ResNet18
from vision.weights import arch_of, as_stored
from vision.write import write_bundle

GOLDEN_PER_CLASS = 16
_NO_TARGETS = Targets()
_COPIED = frozenset({".png", ".jpg", ".jpeg"})

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Made:
    """`test` is None where the data set has no test split, `search` where a recipe was named.

    With a search, `val` is about all pictures of train and val, each scored by a fold model that did not see it.
    """

    bundle: Bundle
    epochs: int
    val: Report
    test: Report | None
    decision: Decision
    search: Search | None = None


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Pictures with the margins of models that saw neither them nor their groups, float64 [pictures]."""

    samples: tuple[Sample, ...]
    margins: NDArray[np.float64]


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
    recipe = with_reference(recipe, dataset.of("train"))
    with tempfile.TemporaryDirectory(prefix="linegate-train-") as scratch:
        inputs = {
            split: inputs_of(
                model, samples, recipe if split == "train" else recipe.plain(), Path(scratch) / split, quiet=quiet
            )
            for split in SPLITS
            if (samples := dataset.of(split))
        }
        if recipe.start == "probe":
            train = inputs["train"]
            fit_probe(train.pooled(model), train.labels).into(model)
        else:
            fresh_head(model, seed)
        history = fit(model, inputs["train"], inputs["val"], recipe, seed, quiet=quiet)
        model.cpu()  # what is stored is scored where scores are the reference
        return finish(
            model, inputs, dataset, out, recipe,
            epochs=len(history), seed=seed, notes=notes, targets=targets,
        )  # fmt: skip


def finish(
    model: ResNet18,
    inputs: Mapping[Split, Inputs],
    dataset: Dataset,
    out: Path,
    recipe: TrainingRecipe,
    *,
    epochs: int,
    seed: int,
    notes: Mapping[str, Any],
    targets: Targets,
    held_out: HeldOut | None = None,
    search: Search | None = None,
) -> Made:
    """`complete` of a model that learnt in so many `epochs`; `held_out` are of train and val.

    `inputs` are those of `val`, from which the golden parts are taken, and of `test` where there is one.
    """
    done = complete(
        model,
        lambda split: _margins(model, inputs[split]),
        dataset,
        out,
        recipe.image,
        training={
            **notes,
            "recipe": recipe.model_dump(mode="json", exclude={"image": {"reference"}}),  # it is in the bundle's recipe
            "seed": seed,
            "epochs": epochs,
            "learnt_from": ["train", "val"] if held_out else ["train"],
            **({"search": search.to_json()} if search else {}),
        },
        targets=targets,
        held_out=held_out,
        chosen_on=HELD_OUT if held_out else "val",
    )
    return replace(done, epochs=epochs, search=search)


def complete(
    model: ResNet18,
    margins_of: Callable[[Split], NDArray[np.float64]],
    dataset: Dataset,
    out: Path,
    recipe: Recipe,
    *,
    training: Mapping[str, Any],
    targets: Targets,
    held_out: HeldOut | None = None,
    chosen_on: str = "val",
) -> Made:
    """Calibrate and choose thresholds on `held_out`, or on `val` without it; measure on `test`; write to `out`.

    `margins_of` gives what `model`, as it is then, makes of the pictures of a split. `training` goes into the bundle's
    metrics, and `chosen_on` into the decision. Raises DataError where no thresholds keep `targets`, BundleError where
    `out` cannot be written.
    """
    judged = held_out or HeldOut(dataset.of("val"), margins_of("val"))
    truth = truth_of(judged.samples)
    calibration = calibrate(judged.margins, truth)
    _settle(model, calibration)
    scores = {
        split: sigmoid(margins_of(split) / calibration.temperature)
        for split in SPLITS
        if split != "train" and dataset.of(split)
    }
    if held_out is None:
        judging = scores["val"]
    else:
        judging = sigmoid((held_out.margins + calibration.offset) / calibration.temperature)
    scored = ScoredSplit(judging, truth, group_numbers(judged.samples))
    tested = dataset.of("test")
    scored_test = ScoredSplit(scores["test"], truth_of(tested), group_numbers(tested)) if tested else None
    decision = decide(targets, scored, scored_test, scored_by=TRAINED, chosen_on=chosen_on)
    thresholds = decision.thresholds
    val = report(judging, truth, thresholds)
    test = report(scored_test.scores, scored_test.truth, thresholds) if scored_test else None
    golden = choose_golden(dataset.of("val"), scores["val"], thresholds)
    with tempfile.TemporaryDirectory(prefix="linegate-golden-") as scratch:
        bundle = write_bundle(
            out,
            recipe=recipe,
            thresholds=thresholds,
            temperature=calibration.temperature,
            tensors=_arrays(model),
            metrics={
                "val": val.to_json(),
                "test": test.to_json() if test else None,
                "decision": decision.to_json(),
                "drift": drift_reference(dataset, judged.samples, judging, thresholds),
                "training": dict(training),
            },
            data_hash=dataset.digest(),
            golden=[(picture_to_copy(s, Path(scratch)), s.label, score) for s, score in golden],
            golden_crops=[crops_of(sample, recipe) for sample, _ in golden],
            scores={
                **scored.stored("val"),
                **(scored_test.stored("test") if scored_test else {}),
                **pictures_of(dataset),
            },
            arch=arch_of(model.widths),
        )
    return Made(bundle, 0, val, test, decision)


def choose_golden(
    samples: Sequence[Sample], scores: Scores, thresholds: Thresholds, per_class: int = GOLDEN_PER_CLASS
) -> list[tuple[Sample, float]]:
    """Good and bad pictures evenly from the lowest score to the highest, clear of the thresholds.

    Of each class there are only so few that the thresholds misjudge as a bundle may excuse: see `vision.golden`.
    """
    clear = clear_of(scores, thresholds)
    chosen: list[tuple[Sample, float]] = []
    for label in Label:
        order = [i for i in np.argsort(scores, kind="stable") if clear[i] and samples[i].label is label]
        picks = _evenly(order, per_class)
        right = [i for i in order if thresholds.outcome(scores[i]) is expected_of(label)]
        if len(picks) - len(set(picks) & set(right)) > few(len(picks)):
            hard = sorted(set(order) - set(right), key=order.index)
            kept = _evenly(right, per_class - min(few(per_class), len(hard)))
            picks = sorted({*kept, *_evenly(hard, len(kept) // 3)}, key=order.index)
        chosen.extend((samples[i], float(scores[i])) for i in picks)
    return chosen


def _evenly(order: Sequence[int], most: int) -> list[int]:
    """Up to `most` of them, the first and the last among them."""
    picks = np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(int))
    return [order[i] for i in picks]


def _margins(model: ResNet18, inputs: Inputs) -> Scores:
    return inputs.margins(model, np.arange(len(inputs.labels)))


def _settle(model: ResNet18, calibration: Calibration) -> None:
    """Put the offset into the last bias and round the weights as the file does: scores are of what is stored."""
    with torch.no_grad():
        model.fc.bias.add_(torch.tensor([-0.5, 0.5]) * calibration.offset)
    rounded = as_stored(_arrays(model), arch_of(model.widths))
    state = {name: torch.from_numpy(array.astype(np.float32)) for name, array in rounded.items()}
    model.load_state_dict(state, strict=False)


def _arrays(model: ResNet18) -> dict[str, NDArray[np.generic]]:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def picture_to_copy(sample: Sample, scratch: Path) -> Path:
    """The picture's own file where a bundle may hold its kind, else the same pixels as PNG."""
    if sample.path.suffix.lower() in _COPIED:
        return sample.path
    pixels, _ = read_picture(sample.path)
    copy = scratch / f"{len(list(scratch.iterdir())):03d}.png"
    cv2.imwrite(str(copy), pixels)
    return copy
