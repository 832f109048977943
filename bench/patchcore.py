"""The OK-only network against anomalib's PatchCore: the same good parts, crops and ImageNet weights, one core, one run.

anomalib is no dependency of the project. Install it into an environment of its own, beside what `.[train]` needs, and
run this file with that environment's Python:

    python bench/patchcore.py /data/bsdata --ratio 0.01

PatchCore gets layer2 and layer3 as by default, and keeps `--ratio` of its places by k-center-greedy (0.1 by default
there, which takes very long on a CPU). Speed is by the processor's time, in batches of eight, the networks in turns;
the plain ResNet18 of a supervised bundle runs along.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm  # type: ignore[import-untyped]

from inspection.frame import CropPixels
from inspection.part import Label
from training.bank import distances, fitted_bank
from training.dataset import Sample, load_dataset
from training.evaluate import truth_of
from training.metrics import auroc
from training.ok_only import RECIPE
from training.pictures import crops_of
from training.weights import pretrained
from vision.backends.onnx import OnnxBackend
from vision.backends.openvino import OpenvinoBackend
from vision.bank import write_bank_graph
from vision.fold import folded_layers
from vision.graph import GraphWriter, write_graph
from vision.resnet import normalise
from vision.weights import Tensors

IMAGENET = Path(__file__).parents[1] / "models" / "imagenet-resnet18" / "resnet18-imagenet.safetensors"
BATCH = 8
ROUNDS = 7

Run = Callable[[CropPixels], NDArray[np.floating]]


def patchcore(backbone: Tensors, good: list[CropPixels], ratio: float) -> Any:
    """anomalib's model with these weights in it, and a memory bank of the good crops."""
    model = import_module("anomalib.models.image.patchcore.torch_model").PatchcoreModel(
        backbone="resnet18", pre_trained=False, layers=["layer2", "layer3"]
    )
    state = {name: torch.from_numpy(array) for name, array in backbone.items()}
    missing, _ = model.feature_extractor.feature_extractor.load_state_dict(state, strict=False)
    if missing:
        raise SystemExit(f"anomalib's network lacks weights: {missing[:3]}")
    model.train()
    model.feature_extractor.eval()
    for crops in tqdm(good, desc="PatchCore", unit="picture"):
        model(seen(crops))
    model.subsample_embedding(ratio)
    return model.eval()


def seen(crops: CropPixels) -> torch.Tensor:
    return normalise(torch.from_numpy(crops), RECIPE.mean, RECIPE.std)


def rates(runs: dict[str, Run], crops: CropPixels) -> dict[str, float]:
    """Crops a second of processor time, the median of several rounds in turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run(crops)
    for _ in range(ROUNDS):
        for name, run in runs.items():
            begun = time.process_time()
            run(crops)
            times[name].append(time.process_time() - begun)
    return {name: len(crops) / statistics.median(spent) for name, spent in times.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="data set with train and test")
    parser.add_argument("--ratio", type=float, default=0.01, help="of places that PatchCore keeps (default: 0.01)")
    parser.add_argument("--pictures", type=int, default=0, help="good pictures to learn from, evenly (default: all)")
    parser.add_argument("--split", default="test", help="measured on (default: test)")
    parser.add_argument("--weights", default=str(IMAGENET))
    args = parser.parse_args()
    torch.set_num_threads(1)
    dataset = load_dataset(args.data)
    good = evenly([sample for sample in dataset.of("train") if sample.label is Label.OK], args.pictures)
    measured = dataset.of(args.split)
    truth = truth_of(measured)
    backbone = {name: tensor.numpy() for name, tensor in pretrained(args.weights).state_dict().items()}

    bank = fitted_bank(backbone, good, RECIPE, seed=0, threads=1)
    scores = {"linegate ok-only": distances(bank, measured, RECIPE, threads=1)}
    model = patchcore(backbone, [crops_of(sample, RECIPE) for sample in good], args.ratio)
    crops = [crops_of(sample, RECIPE) for sample in measured]
    with torch.inference_mode():
        scores["anomalib PatchCore"] = np.array([float(model(seen(c)).pred_score) for c in tqdm(crops)], np.float64)

    def of_patchcore(some: CropPixels) -> NDArray[np.floating]:
        with torch.inference_mode():
            answer: NDArray[np.floating] = model(seen(some)).pred_score.numpy()
        return answer

    ours = write_bank_graph(bank, RECIPE, 1.0).SerializeToString()
    plain = write_graph(GraphWriter(), folded_layers(backbone, RECIPE, 1.0), RECIPE).SerializeToString()
    speed = rates(
        {
            "linegate ok-only, onnx": OnnxBackend(ours, "cpu", 1).score,
            "linegate ok-only, openvino": OpenvinoBackend(ours, "fp32", 1).score,
            "ResNet18, onnx": OnnxBackend(plain, "cpu", 1).score,
            "ResNet18, openvino": OpenvinoBackend(plain, "fp32", 1).score,
            "anomalib PatchCore, torch": of_patchcore,
        },
        np.concatenate(crops[:BATCH]),
    )
    told = {
        "data": args.data.name,
        "good_pictures": len(good),
        "entries": {"linegate ok-only": len(bank["bank.entries"]), "anomalib PatchCore": len(model.memory_bank)},
        "auroc": {name: auroc(found[~truth], found[truth]) for name, found in scores.items()},
        "crops_per_processor_second": speed,
    }
    sys.stdout.write(json.dumps(told, indent=1) + "\n")
    return 0


def evenly(samples: list[Sample], most: int) -> list[Sample]:
    if not 0 < most < len(samples):
        return samples
    return [samples[round(number)] for number in np.linspace(0, len(samples) - 1, most)]


if __name__ == "__main__":
    sys.exit(main())
