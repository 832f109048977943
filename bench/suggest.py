"""What labelling suggested pictures is worth, against as many drawn at random.

    python bench/suggest.py data/bsdata --count 25 --defects 0.05

A young model is a probe on the pooled features of the frozen ImageNet network, learnt from a few pictures of `train`.
It chooses among the others as `linegate suggest` does; then the probe learns from the first and the chosen ones, and is
measured on `val`. Every draw has other first pictures, the same for each way of choosing; differences are taken draw by
draw. `--defects` leaves so many defective pictures among the good ones, as on a line, where they are rare.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tqdm import tqdm  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).parents[1]))
from training.dataset import Sample, load_dataset
from training.evaluate import truth_of
from training.metrics import auroc
from training.pictures import batches
from training.probe import Pooled, fit_probe
from training.suggest import choose, uncertainty
from training.weights import pretrained
from vision.bundle import Thresholds
from vision.fold import folded_layers
from vision.graph import GraphWriter, write_graph
from vision.recipe import Recipe
from vision.session import cpu_session

IMAGENET = Path(__file__).parents[1] / "models" / "imagenet-resnet18" / "resnet18-imagenet.safetensors"
RECIPE = Recipe(geometry="squash", enhance="stack")
MIDDLE = Thresholds(0.5, 0.5)
FEWEST = 2  # of each class among the first pictures

Indices = NDArray[np.int64]


def features_of(samples: tuple[Sample, ...], desc: str) -> Pooled:
    """[pictures, 1, 512], as probes take them."""
    backbone = {name: tensor.numpy() for name, tensor in pretrained(str(IMAGENET)).state_dict().items()}
    model = write_graph(GraphWriter(), folded_layers(backbone, RECIPE, 1.0), RECIPE)
    model.graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", 512]))
    session = cpu_session(model.SerializeToString(), 1)
    crops = batches(samples, RECIPE, 1)
    return np.stack([session.run(["features"], {"crops": c[0]})[0] for c in tqdm(crops, desc, len(samples))])


class Draw:
    """A pool with its first pictures labelled, and a probe that has learnt them."""

    def __init__(self, pooled: Pooled, truth: Indices, start: int, defects: float, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self._pooled, self._truth = pooled, truth
        good, bad = np.flatnonzero(truth == 0), self.random.permutation(np.flatnonzero(truth == 1))
        if defects:
            bad = bad[: max(2 * FEWEST, round(defects / (1 - defects) * len(good)))]
        pool = np.concatenate([good, bad])
        enough = False
        while not enough:
            order = self.random.permutation(pool)
            self.first, self.rest = order[:start], order[start:]
            enough = min(truth[self.first].sum(), start - truth[self.first].sum()) >= FEWEST
        self._margins = fit_probe(pooled[self.first], truth[self.first]).margins(pooled[self.rest])
        self._unsure = uncertainty(self._margins, MIDDLE)

    def at_random(self, count: int) -> Indices:
        return self.random.permutation(self.rest)[:count]

    def uncertain(self, count: int) -> Indices:
        return self.rest[np.argsort(-self._unsure, kind="stable")[:count]]

    def suggested(self, count: int) -> Indices:
        flat = self._pooled[:, 0]
        return self.rest[choose(self._unsure, flat[self.rest], flat[self.first], count)[0]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="data set with train and val")
    parser.add_argument("--start", type=int, default=60, help="pictures that are labelled first (default: 60)")
    parser.add_argument("--count", type=int, default=50, help="pictures chosen then (default: 50)")
    parser.add_argument("--defects", type=float, default=0, help="share of defective ones (default: as in train)")
    parser.add_argument("--draws", type=int, default=40)
    args = parser.parse_args()
    dataset = load_dataset(args.data)
    pooled, checked = features_of(dataset.of("train"), "train"), features_of(dataset.of("val"), "val")
    truth, bad = truth_of(dataset.of("train")).astype(np.int64), truth_of(dataset.of("val"))
    ways: dict[str, Callable[[Draw], Indices]] = {
        "none": lambda _: np.empty(0, np.int64),
        "at_random": lambda draw: draw.at_random(args.count),
        "uncertain_alone": lambda draw: draw.uncertain(args.count),
        "suggested": lambda draw: draw.suggested(args.count),
    }
    reached: dict[str, list[float]] = {way: [] for way in ways}
    found: dict[str, list[int]] = {way: [] for way in ways}
    for seed in tqdm(range(args.draws), "draws"):
        draw = Draw(pooled, truth, args.start, args.defects, seed)
        for way, take in ways.items():
            taken = take(draw)
            learnt = np.concatenate([draw.first, taken])
            margins = fit_probe(pooled[learnt], truth[learnt]).margins(checked)
            reached[way].append(auroc(margins[~bad], margins[bad]))
            found[way].append(int(truth[taken].sum()))
    base = np.array(reached["at_random"])
    told = {}
    for way in ways:
        gained = np.array(reached[way]) - base
        told[way] = {
            "auroc": float(np.mean(reached[way])),
            "against_random": float(gained.mean()),
            "standard_error": float(gained.std(ddof=1) / len(gained) ** 0.5),
            "defects_found": float(np.mean(found[way])),
        }
    print(json.dumps({**vars(args), "data": args.data.name, "ways": told}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
