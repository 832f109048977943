"""How long a frame takes to become a crop, against the same steps with PIL and torchvision; how the crops differ.

The recipe is the reference one: gray, histogram equalisation, 3x3 morphological gradient, shorter side to 256,
middle 224. Everything runs in one thread, the chains take turns within one run, and what counts is the processor's
time, so that what else the machine does falls on none of them alone. Frames are mosaics of the demonstration's
photographs.

Compared are
  linegate   frame to uint8 crop, as production does it (normalising is part of the network there)
  usual      OpenCV equalises and takes the gradient; PIL and torchvision scale, cut and normalise three channels
  to crop    of `usual` only what ends in a gray uint8 crop
  PIL alone  PIL equalises and takes the gradient too (its rank filters are slow)

Then what each `enhance` of a recipe takes for a mono8 frame of 1280 x 1024, whole to 224 x 224.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter, ImageOps
from torchvision import transforms

from vision.enhance import COMPARING, Enhancement
from vision.recipe import IMAGENET_MEAN, IMAGENET_STD, REFERENCE, Recipe
from vision.reference import ReferencePicture, held

PICTURES = Path(__file__).parents[1] / "models" / "bsdata" / "demo"
SIZES = ((640, 480), (1280, 1024), (2448, 2048))
TARGET_SIZE, LEAST_RATIO = (1280, 1024), 5.0
REPETITIONS = 41
SLOW_REPETITIONS = 3
COMPARED_FRAMES = 8

Pixels = NDArray[np.uint8]

_KERNEL = np.ones((3, 3), np.uint8)
_CUT = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)])
_NORMALISE = transforms.Compose([transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)])


def linegate(frame: Pixels) -> Pixels:
    crop: Pixels = REFERENCE.crops(frame)[0, 0]
    return crop


def enhanced(frame: Pixels) -> Image.Image:
    gray = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    return Image.fromarray(cv2.morphologyEx(cv2.equalizeHist(gray), cv2.MORPH_GRADIENT, _KERNEL))


def usual(frame: Pixels) -> Any:
    return _NORMALISE(_CUT(enhanced(frame).convert("RGB")))


def to_crop(frame: Pixels) -> Pixels:
    return np.asarray(_CUT(enhanced(frame)))


def pil_alone(frame: Pixels) -> Any:
    gray = ImageOps.equalize(Image.fromarray(frame if frame.ndim == 2 else frame[..., ::-1].copy()).convert("L"))
    bright, dark = gray.filter(ImageFilter.MaxFilter(3)), gray.filter(ImageFilter.MinFilter(3))
    return _NORMALISE(_CUT(ImageChops.subtract(bright, dark).convert("RGB")))


def mosaic(pictures: list[Pixels], width: int, height: int) -> Pixels:
    """Photographs edge to edge, in their own resolution, until the frame is full."""
    tall, wide = pictures[0].shape[:2]
    across, down = -(-width // wide), -(-height // tall)
    rows = [
        np.hstack([pictures[(row * across + column) % len(pictures)] for column in range(across)])
        for row in range(down)
    ]
    return np.ascontiguousarray(np.vstack(rows)[:height, :width])


def times_ms(chains: dict[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """One after the other, in turns: the n-th time of one chain is beside the n-th of the others."""
    times: dict[str, list[float]] = {name: [] for name in chains}
    for run in chains.values():
        run()
    for _ in range(repetitions):
        for name, run in chains.items():
            began = time.process_time()
            run()
            times[name].append(1e3 * (time.process_time() - began))
    return times


def timed(frame: Pixels) -> dict[str, float]:
    fast = {"linegate": lambda: linegate(frame), "usual": lambda: usual(frame), "to_crop": lambda: to_crop(frame)}
    times = times_ms(fast, REPETITIONS)
    ratios = {
        key: statistics.median(other / ours for other, ours in zip(times[name], times["linegate"], strict=True))
        for key, name in (("ratio", "usual"), ("ratio_to_crop", "to_crop"))
    }
    times |= times_ms({"pil_alone": lambda: pil_alone(frame)}, SLOW_REPETITIONS)
    return {f"{name}_ms": round(statistics.median(taken), 3) for name, taken in times.items()} | {
        name: round(ratio, 2) for name, ratio in ratios.items()
    }


def enhancements(frame: Pixels) -> dict[str, float]:
    """Median ms of each way to enhance a gray frame, the whole of it squashed to the network's size."""
    reference = ReferencePicture.of(held(frame), frame.shape[1], frame.shape[0])
    recipes = {
        how: Recipe(enhance=how, geometry="squash", reference=reference if how in COMPARING else None)
        for how in get_args(Enhancement)
    }
    times = times_ms({how: partial(recipe.crops, frame) for how, recipe in recipes.items()}, REPETITIONS)
    return {how: round(statistics.median(taken), 2) for how, taken in times.items()}


def differences(frames: list[Pixels]) -> tuple[int, float]:
    """The largest and the mean difference of linegate's crops from PIL's, in grey levels."""
    apart = np.stack([np.abs(linegate(frame).astype(int) - to_crop(frame)) for frame in frames])
    return int(apart.max()), float(apart.mean())


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = arguments.parse_args().json
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    pictures = [np.asarray(cv2.imread(str(path)), np.uint8) for path in sorted(PICTURES.glob("*.jpg"))]
    rows: list[dict[str, Any]] = []
    for width, height in SIZES:
        frames = [mosaic(pictures[number:], width, height) for number in range(COMPARED_FRAMES)]
        grays = [np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), np.uint8) for frame in frames]
        for pixels, seen in (("mono8", grays), ("bgr8", frames)):
            largest, mean = differences(seen)
            rows.append(
                {
                    "width": width,
                    "height": height,
                    "pixels": pixels,
                    **timed(seen[0]),
                    "largest_difference": largest,
                    "mean_difference": round(mean, 3),
                }
            )
    target = next(row for row in rows if (row["width"], row["height"], row["pixels"]) == (*TARGET_SIZE, "mono8"))
    target_frame = cv2.cvtColor(mosaic(pictures, *TARGET_SIZE), cv2.COLOR_BGR2GRAY)
    by_enhancement = enhancements(np.asarray(target_frame, np.uint8))
    if as_json:
        told = {"rows": rows, "ratio": target["ratio"], "least_ratio": LEAST_RATIO, "enhancements_ms": by_enhancement}
        print(json.dumps(told))
    else:
        show(rows)
        met = "met" if target["ratio"] >= LEAST_RATIO else "MISSED"
        print(f"ratio at 1280 x 1024, mono8: {target['ratio']}, at least {LEAST_RATIO:g}: {met}")
        print("whole frame of 1280 x 1024, mono8, median ms by enhancement:")
        print("  ".join(f"{how} {taken:.2f}" for how, taken in by_enhancement.items()))
    return 0


def show(rows: list[dict[str, Any]]) -> None:
    print(
        "frame to crop, one thread: median ms of processor time (ratio to linegate); crops apart in grey levels of 255"
    )
    print(f"{'frame':>16} {'linegate':>9} {'usual':>14} {'to crop':>14} {'PIL alone':>10} {'largest':>8} {'mean':>6}")
    for row in rows:
        print(
            f"{row['width']:>5}x{row['height']:<4} {row['pixels']:<5}"
            f" {row['linegate_ms']:>8.2f} {row['usual_ms']:>8.2f} ({row['ratio']:>3.1f})"
            f" {row['to_crop_ms']:>8.2f} ({row['ratio_to_crop']:>3.1f}) {row['pil_alone_ms']:>10.0f}"
            f" {row['largest_difference']:>8} {row['mean_difference']:>6.2f}"
        )


if __name__ == "__main__":
    sys.exit(main())
