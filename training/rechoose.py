"""Other thresholds for a bundle that is there, without training."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from inspection.errors import BundleError, DataError
from inspection.part import Label
from training.data.learnt import require_new
from training.dataset import Dataset, Sample, require_classes
from training.decide import HELD_OUT, TAUGHT, TRAINED, Decision, clear_of, decide
from training.evaluate import score, truth_of
from training.good import BANK_TRAINED, ENOUGH, decide_by_good
from training.metrics import Report, report
from training.targets import ScoredSplit, Targets, group_numbers, require_provable, require_trials, restored
from vision.bundle import Bundle, GoldenPart
from vision.classifier import Backend
from vision.golden import weakness
from vision.write import revise_bundle


@dataclass(frozen=True, slots=True)
class Rechosen:
    """`decision` is about the pictures of the data set with the sum `data_hash`; `val` and `test` as in `Made`."""

    bundle: Bundle
    decision: Decision
    val: Report
    test: Report | None
    data_hash: str

    @property
    def same_data(self) -> bool:
        """The data set is the one that the bundle was trained with."""
        return self.data_hash == self.bundle.data_hash

    @property
    def excused(self) -> list[int]:
        """The golden parts that these thresholds misjudge, or whose verdict would hang on rounding."""
        golden, thresholds = self.bundle.golden, self.decision.thresholds
        clear = clear_of(np.array([part.score for part in golden], np.float64), thresholds)
        right = [thresholds.outcome(part.score) is part.expected for part in golden]
        return [number for number in range(len(golden)) if not (clear[number] and right[number])]

    @property
    def newly_excused(self) -> list[GoldenPart]:
        """Those that the bundle held to what is expected of them until now."""
        golden = self.bundle.golden
        return [golden[number] for number in self.excused if not golden[number].excused]

    def write(self, out: Path) -> Bundle:
        """A bundle with these thresholds and figures, its others as they were.

        Raises BundleError, also where no line would take it: the golden parts gate thresholds, not the other way round.
        """
        excused = self.excused
        golden = tuple(replace(part, excused=number in excused) for number, part in enumerate(self.bundle.golden))
        weak = weakness(replace(self.bundle, golden=golden))
        if weak and not weakness(self.bundle):
            raise BundleError(f"{out}: not written: with these thresholds the bundle {weak}")
        metrics: dict[str, Any] = {
            **self.bundle.metrics,
            "val": self.val.to_json(),
            "test": self.test.to_json() if self.test else None,
            "decision": {**self.decision.to_json(), "data_hash": self.data_hash},
        }
        everything = range(len(self.bundle.golden))
        thresholds = self.decision.thresholds
        return revise_bundle(
            self.bundle, out, thresholds=thresholds, metrics=metrics, golden=everything, excused=excused
        )


def rechoose(bundle: Bundle, backend: Backend, dataset: Dataset, targets: Targets, *, quiet: bool = False) -> Rechosen:
    """Score `val` and `test` with `backend`, and choose the thresholds of `bundle` anew on `val`.

    A data set without a split is taken whole for `val`. Raises DataError, at once where there are too few pictures
    for `targets` or the model has learnt from them.
    """
    chooses, checks = _roles(dataset)
    require_provable(targets, chooses, "val")
    data_hash = dataset.digest()
    if data_hash == bundle.data_hash and "val" in bundle.metrics.get("training", {}).get("learnt_from", ()):
        raise DataError(
            f"{dataset.source}: the model has learnt from val too, so that val cannot choose its thresholds: leave the "
            "data set out (training left scores of models that had not seen the picture), or name new pictures"
        )
    require_new(bundle, chooses, "choose the thresholds")
    require_new(bundle, checks, "check them")
    scores = score(bundle, backend, (*chooses, *checks), quiet=quiet)
    val = ScoredSplit(scores[: len(chooses)], truth_of(chooses), group_numbers(chooses))
    test = ScoredSplit(scores[len(chooses) :], truth_of(checks), group_numbers(checks)) if checks else None
    return _rechosen(bundle, decide(targets, val, test, scored_by=backend.name), val, test, data_hash)


def rechoose_stored(bundle: Bundle, targets: Targets) -> Rechosen:
    """Choose the thresholds of `bundle` anew by the scores that training left in it.

    Raises DataError where there are none or too few.
    """
    arrays = bundle.scores()
    val, test = restored(arrays, "val"), restored(arrays, "test")
    if val is None:
        raise DataError(f"{bundle.path}: training left no scores in it: name the data set")
    require_trials(targets, val.truth, val.groups, "val")
    learnt_from = bundle.metrics.get("training", {}).get("learnt_from", ())
    chosen_on = "val"
    if "val" in learnt_from:
        chosen_on = TAUGHT if bundle.arch == "resnet18-narrow" else HELD_OUT
    bank = bundle.arch == "resnet18-bank"
    choose = decide_by_good if bank and val.truth.sum() < ENOUGH else decide
    scored_by = BANK_TRAINED if bank else TRAINED
    decision = choose(targets, val, test, scored_by=scored_by, chosen_on=chosen_on)
    return _rechosen(bundle, decision, val, test, bundle.data_hash)


def _rechosen(
    bundle: Bundle, decision: Decision, val: ScoredSplit, test: ScoredSplit | None, data_hash: str
) -> Rechosen:
    return Rechosen(
        bundle,
        decision,
        report(val.scores, val.truth, decision.thresholds),
        report(test.scores, test.truth, decision.thresholds) if test else None,
        data_hash,
    )


def _roles(dataset: Dataset) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """The pictures that choose, and those that check."""
    if any(sample.split for sample in dataset.samples):
        return require_classes(dataset, "val"), dataset.of("test")
    for label in Label:
        if not any(sample.label is label for sample in dataset.samples):
            raise DataError(f"{dataset.source}: holds no picture labelled {label.value}; add some")
    return dataset.samples, ()
