"""The row of anomalib's PatchCore in docs/accuracy.md: what `linegate evaluate --json` would say of it.

anomalib is no dependency of the project. From the root of the project, with the Python of an environment that has it:

    python -m bench.patchcore_row /data/bsdata --seed 0

PatchCore learns from the good pictures of `train`, as the recipe ok-only does: the same crops and weights. `val`
makes a probability of its distances and chooses the thresholds, `test` is measured, all by the project's own functions.
`pictures_per_s` is of one thread by the processor's time, in batches of eight.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm  # type: ignore[import-untyped]

from bench.patchcore import BATCH, IMAGENET, patchcore, rates, seen
from inspection.frame import CropPixels
from inspection.part import Label
from training.dataset import Dataset, Sample, load_dataset, require_classes
from training.decide import decide
from training.evaluate import truth_of
from training.metrics import report
from training.ok_only import RECIPE, calibrated
from training.pictures import crops_of
from training.targets import ScoredSplit, Targets, group_numbers
from training.weights import pretrained
from vision.classifier import probability

Distances = NDArray[np.float64]


def row(val: Sequence[Sample], of_val: Distances, test: Sequence[Sample], of_test: Distances) -> dict[str, Any]:
    """The report of `test` at thresholds from `val`, and those. Distances are float64 [pictures], higher is worse."""
    limit, temperature = calibrated(of_val, truth_of(val))
    scored = [
        ScoredSplit(
            probability((distances - limit) / temperature).astype(np.float64), truth_of(samples), group_numbers(samples)
        )
        for samples, distances in ((val, of_val), (test, of_test))
    ]
    decision = decide(Targets(), *scored, scored_by="anomalib")
    thresholds = decision.thresholds
    assert decision.test is not None
    return {
        **report(scored[1].scores, scored[1].truth, thresholds).to_json(),
        "bounds": decision.test.to_json(),
        "thresholds": [thresholds.pass_below, thresholds.fail_above],
        "backend": "anomalib",
        "split": "test",
    }


def measured(dataset: Dataset, ratio: float) -> dict[str, Any]:
    """Fit, score and report. Raises DataError."""
    val, test = require_classes(dataset, "val"), require_classes(dataset, "test")
    good = [sample for sample in dataset.of("train") if sample.label is Label.OK]
    backbone = {name: tensor.numpy() for name, tensor in pretrained(str(IMAGENET)).state_dict().items()}
    model = patchcore(backbone, [crops_of(sample, RECIPE) for sample in good], ratio)

    def scores(crops: CropPixels) -> NDArray[np.floating]:
        with torch.inference_mode():
            found: NDArray[np.floating] = model(seen(crops)).pred_score.numpy()
        return found

    def distances(samples: Sequence[Sample]) -> Distances:
        each = (scores(crops_of(sample, RECIPE)).max() for sample in tqdm(samples, unit="picture"))
        return np.fromiter(each, np.float64, len(samples))

    some = np.concatenate([crops_of(sample, RECIPE) for sample in test[:BATCH]])
    return {
        **row(val, distances(val), test, distances(test)),
        "entries": len(model.memory_bank),
        "pictures_per_s": rates({"": scores}, some)[""],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="data set with train, val and test")
    parser.add_argument("--ratio", type=float, default=0.01, help="of places that PatchCore keeps (default: 0.01)")
    parser.add_argument("--seed", type=int, default=0, help="of the places that it begins with (default: 0)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    sys.stdout.write(json.dumps(measured(load_dataset(args.data), args.ratio)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
