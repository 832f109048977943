"""Whether explanations point at the defect: the hottest place of bad pictures against boxes that people drew.

For DeepPCB, whose boxes lie in its PCBData/*/*_not/NUMBER.txt, one `x1 y1 x2 y2 type` a line, in pixels of its
originals, 640 x 640: `python bench/pointing.py BUNDLE data/deeppcb DeepPCB/PCBData --side 640`.

A place that is chosen blindly also hits at times: the share of the picture that the boxes cover is the measure to beat.
The second figure allows half a cell of the map, which is as fine as the network can tell.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).parents[1]))
from camera.picture import read_picture
from inspection.part import Label
from inspection.verdict import Outcome
from training.dataset import load_dataset
from vision.bundle import load_bundle
from vision.explain import Explainer
from vision.judge import outcome_of

STRIDE = 32  # pixels of the crop to a cell of the map


Boxes = NDArray[np.float64]
"""[n, 4]: left, top, right, bottom."""


def boxes_of(folder: Path) -> dict[str, Boxes]:
    """By the picture's number."""
    return {file.stem: np.loadtxt(file, ndmin=2)[:, :4] for file in folder.rglob("*_not/*.txt")}


def covered(boxes: Boxes, slack: float, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Every pixel of a picture [height, width] that lies in a box, or so many pixels beside it."""
    rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])
    inside = np.zeros(shape[:2], bool)
    for left, top, right, bottom in boxes:
        inside |= (
            (rows >= top - slack) & (rows < bottom + slack) & (columns >= left - slack) & (columns < right + slack)
        )
    return inside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", type=Path, help="manifest, or folder of pictures")
    parser.add_argument("boxes", type=Path, help="the folder with the boxes")
    parser.add_argument("--side", type=float, default=640, help="of the pictures that the boxes were drawn in, pixels")
    parser.add_argument("--split", default="test")
    args = parser.parse_args()
    bundle, drawn = load_bundle(args.bundle), boxes_of(args.boxes)
    explainer = Explainer(bundle, 1)
    samples = [sample for sample in load_dataset(args.data).of(args.split) if sample.label is Label.NG]
    # By the slack: for each picture whether it was hit, and the share of it that would have been a hit.
    hits: dict[str, list[tuple[bool, float]]] = {"in_a_box": [], "within_half_a_cell": []}
    failed = 0
    for sample in tqdm(samples, unit="picture"):
        pixels, depth = read_picture(sample.path)
        told = explainer.explain(pixels, depth)
        failed += outcome_of(told.score, bundle.thresholds)[0] is Outcome.FAIL
        scale = pixels.shape[1] / args.side
        boxes = drawn[sample.path.stem.partition("_")[0]] * scale
        for found, slack in zip(hits.values(), (0, STRIDE * pixels.shape[1] / bundle.recipe.size / 2), strict=True):
            places = covered(boxes, slack, pixels.shape)
            found.append((bool(places[told.hottest[::-1]]), float(places.mean())))
    told_of = {name: dict(zip(("hit", "blind"), np.mean(found, axis=0), strict=True)) for name, found in hits.items()}
    print(json.dumps({"model": bundle.model_id, "pictures": len(samples), "failed": failed, **told_of}))


if __name__ == "__main__":
    main()
