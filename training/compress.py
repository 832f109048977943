"""A bundle many times smaller: a narrow network that has learnt the answers of a whole one, in INT8.

It learns from views of `train` alone, so that `val` can choose its thresholds. Where the teacher has learnt from `val`
too, a little of that comes to the student by its answers, and what is said of `val` says so. The teacher's own scores
there tell nothing then: it is compared by those of models that had not seen the picture, which training left in it.
"""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inspection.errors import BackendError, BundleError, DataError
from inspection.part import Label
from training.data.learnt import require_new
from training.dataset import Dataset, require_classes
from training.decide import TAUGHT, clear_of
from training.device import CPU
from training.distil import ask, distil, margins_of
from training.evaluate import score, truth_of
from training.export import Exported, calibration_crops, export, quantised
from training.inputs import crops_in, network_input
from training.make import Made, complete
from training.narrow import narrowed
from training.recipes import TrainingRecipe
from training.targets import Scores, Targets, require_provable, restored, told_targets
from training.versus import Scored, Versus, compared, cuts, rates
from vision.backends.onnx import OnnxBackend
from vision.bundle import Bundle
from vision.classifier import probability
from vision.resnet import ResNet18, build_resnet18
from vision.weights import FULL, Widths, resnet18_shapes
from vision.write import add_int8, revise_bundle

LADDER: tuple[Widths, ...] = ((16, 32, 96, 192), (16, 32, 64, 128))
"""Widest first: that one is the widest of four times the speed of ResNet18. conv1 and layer1 take most of the time for
few of the weights: they are the narrowest. The runtimes compute 16 channels at once."""
_BY_INT8 = 4
_BESIDE = 60_000  # bytes of a graph that are not weights, and some to spare
_VIEWS, _PASSES = 12, 12
_MOST_VIEWS = 20_000
_FITTED_ON = 128 * 224**2  # pixels, of as many views as have them
_TEACHING = 0.35  # of the time
_AT_ONCE = 8
# In logits, from the thresholds. Rounding moves the margin of a narrow network further than that of a whole one.
_STEADY = 0.5


@dataclass(frozen=True, slots=True)
class Compressed:
    """`made` tells of the student in float32, `exported` of its INT8."""

    bundle: Bundle
    made: Made
    exported: Exported
    versus: Versus


def widths_for(target: float) -> Widths:
    """The widest network of the ladder that is at least `target` times smaller in INT8 than ResNet18 in float32.

    Raises DataError where INT8 alone is enough, or no network is narrow enough.
    """
    if target <= _BY_INT8:
        raise DataError(f"--target {target:g}x: INT8 alone makes it {_BY_INT8} times smaller: use linegate export")
    whole = _BY_INT8 * _weights(FULL)
    ratios = [whole / (_weights(widths) + _BESIDE) for widths in LADDER]
    for widths, ratio in zip(LADDER, ratios, strict=True):
        if ratio >= target:
            return widths
    raise DataError(
        f"--target {target:g}x: the narrowest network is {ratios[-1]:.0f} times smaller: ask for no more than that"
    )


def compress(
    teacher: Bundle,
    dataset: Dataset,
    out: Path,
    *,
    target: float,
    seed: int,
    minutes: float,
    targets: Targets | None = None,
    device: torch.device = CPU,
    threads: int = 0,
    quiet: bool = False,
) -> Compressed:
    """Teach a narrow network on `train`, choose its thresholds on `val`, measure on `test`, write to `out` with INT8.

    `targets` are what the thresholds are to keep, those of the teacher when left out. Learning takes up to so many
    `minutes` on `device`. Raises BundleError where the teacher is no whole ResNet18 or `out` cannot be written;
    DataError where splits lack good or bad pictures, `val` is too small for `targets`, or the teacher learnt from
    another `val`; BackendError where INT8 changes the verdict of a golden part: `out` is there then, without INT8.
    """
    if teacher.arch != "resnet18":
        raise BundleError(f"{teacher.path}: a {teacher.arch} is not compressed: take a bundle of a resnet18")
    widths = widths_for(target)
    val = require_classes(dataset, "val")
    require_classes(dataset, "train")
    targets = targets or told_targets(teacher.metrics.get("decision") or {})
    require_provable(targets, val, "val")
    unseen = _unseen(teacher, dataset)
    if unseen is None:
        require_new(teacher, val, "choose the thresholds")
    require_new(teacher, dataset.of("test"), "test the result")
    whole = build_resnet18(teacher.tensors())
    with tempfile.TemporaryDirectory(prefix="linegate-compress-") as scratch:
        student, views = _taught(
            whole, dataset, teacher, widths, Path(scratch),
            device=device, seed=seed, seconds=60 * minutes, quiet=quiet,
        )  # fmt: skip
        answered = {} if unseen is None else {"val": unseen}
        for split in ("val", "test"):
            if split not in answered and (samples := dataset.of(split)):
                margins = margins_of(whole, samples, teacher.recipe, quiet=quiet)
                answered[split] = probability(margins / teacher.temperature).astype(np.float64)
        made = complete(
            student,
            lambda split: margins_of(student, dataset.of(split), teacher.recipe, quiet=quiet),
            dataset,
            Path(scratch) / "bundle",
            teacher.recipe,
            training={
                "recipe_name": "compress",
                "teacher": teacher.model_id,
                "widths": list(widths),
                "views": views,
                "passes": _PASSES,
                "seed": seed,
                "learnt_from": ["train"] if unseen is None else ["train", "val"],
            },
            targets=targets,
            chosen_on="val" if unseen is None else TAUGHT,
        )
        student_bundle = _steady(made.bundle)
        try:
            exported = export(student_bundle, dataset, threads=threads, quiet=quiet)
        except BackendError as error:
            _revised(student_bundle, out, student_bundle.metrics)
            raise BackendError(f"{out} is there, but without INT8: {error}") from error
        versus = _versus(
            teacher, student_bundle, exported, dataset, answered, target=target, threads=threads, quiet=quiet
        )
        bundle = _written(student_bundle, exported, versus, out)
    return Compressed(bundle, made, exported, versus)


def _taught(
    whole: ResNet18, dataset: Dataset, teacher: Bundle, widths: Widths, scratch: Path, *,
    device: torch.device, seed: int, seconds: float, quiet: bool,
) -> tuple[ResNet18, int]:  # fmt: skip
    """The student of `whole`, the teacher's network, and from how many views it has learnt.

    Both are on the CPU afterwards, as before: what is stored is scored there, and those scores are the reference.
    """
    recipe = teacher.recipe
    kept = crops_in(dataset.of("train"), TrainingRecipe(image=recipe), scratch / "crops", quiet=quiet)
    crops = kept.values.reshape(-1, *kept.values.shape[2:])
    count = min(_VIEWS * len(crops), max(_MOST_VIEWS, len(crops)))
    answers = ask(
        whole.to(device),
        crops,
        recipe,
        count,
        scratch / "views.npy",
        seed=seed,
        seconds=_TEACHING * seconds,
        quiet=quiet,
    )
    fitted = network_input(torch.from_numpy(answers.crops[: max(_FITTED_ON // recipe.size**2, 1)]), recipe, CPU)
    narrow = narrowed(whole.cpu(), widths, fitted).to(device)
    rest = (1 - _TEACHING) * seconds
    student = distil(
        narrow, answers, recipe, _PASSES, temperature=teacher.temperature, seed=seed, seconds=rest, quiet=quiet
    )
    return student.cpu(), len(answers.maps)


def _versus(
    teacher: Bundle, student: Bundle, exported: Exported, dataset: Dataset, answered: dict[str, Scores], *,
    target: float, threads: int, quiet: bool,
) -> Versus:  # fmt: skip
    """`answered` are the teacher's scores by split, those of val by models that had not seen the picture."""
    scores = {"val": student.scores()["val.scores"].astype(np.float64)}
    if test := dataset.of("test"):
        scores["test"] = score(student, OnnxBackend(exported.graph, "int8", threads), test, quiet=quiet)
    mine = {split: Scored(found, student.thresholds) for split, found in scores.items()}
    theirs = {split: Scored(found, teacher.thresholds) for split, found in answered.items()}
    truth = {split: truth_of(dataset.of(split)) for split in mine}
    chosen = cuts(mine["val"], theirs["val"], truth["val"])
    crops = calibration_crops(teacher, dataset.of("train"), str(dataset.source))[:_AT_ONCE]
    whole = teacher.int8() if teacher.int8_hash else quantised(teacher, crops, threads=threads, quiet=True)["none"]
    return Versus(
        target,
        (_BY_INT8 * _weights(FULL), len(exported.graph)),
        {split: compared(mine[split], theirs[split], truth[split], chosen) for split in mine},
        tuple(rates(whole, exported.graph, crops)),
    )


def _written(bundle: Bundle, exported: Exported, versus: Versus, out: Path) -> Bundle:
    told = _revised(bundle, bundle.path, {**bundle.metrics, "compression": versus.to_json()})
    return add_int8(told, out, exported.graph, exported.certificate)


def _steady(bundle: Bundle) -> Bundle:
    """With those golden parts alone whose verdict INT8 should not change, where there are good and bad ones."""
    golden = bundle.golden
    clear = clear_of(np.array([part.score for part in golden], np.float64), bundle.thresholds, _STEADY)
    kept = [number for number in range(len(golden)) if clear[number]]
    if len({golden[number].label for number in kept}) < len(Label):
        return bundle
    return _revised(bundle, bundle.path, bundle.metrics, kept)


def _revised(bundle: Bundle, out: Path, metrics: Mapping[str, Any], golden: Sequence[int] | None = None) -> Bundle:
    kept = range(len(bundle.golden)) if golden is None else golden
    return revise_bundle(bundle, out, thresholds=bundle.thresholds, metrics=metrics, golden=kept)


def _unseen(teacher: Bundle, dataset: Dataset) -> Scores | None:
    """What models that had not seen them made of the pictures of `val`; None where the teacher has not either.

    Raises DataError where training left nothing of that for these pictures.
    """
    if "val" not in teacher.metrics.get("training", {}).get("learnt_from", ()):
        return None
    learnt = [sample for sample in dataset.samples if sample.split in ("train", "val")]
    held_out = restored(teacher.scores(), "val")
    if held_out is None or len(held_out.scores) != len(learnt) or teacher.data_hash != dataset.digest():
        raise DataError(
            f"{dataset.source}: not the pictures that {teacher.path} learnt from, val among them: nobody can tell"
            " which of these it has seen. Name the data set of the training, unchanged, or train again with this one"
        )
    val = np.array([sample.split == "val" for sample in learnt], np.bool_)
    return held_out.scores[val]


def _weights(widths: Widths) -> int:
    return sum(math.prod(shape) for shape in resnet18_shapes(widths).values())
