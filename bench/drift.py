"""How soon each alarm of drift comes after a simulated shift, and how often one comes without: `bench/drift.py DATA`.

The reference is learnt from the good pictures of one part of a data set (`--reference train`), the streams are good
pictures of another (`--stream val`): as the data set lists them, batch after batch, and shuffled. A stream is shifted
from its 100th part on. With `--bundle`, the parts are scored too.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm  # type: ignore[import-untyped]

from camera.impression import Impressions, impression
from camera.picture import read_picture
from inspection.frame import Pixels
from inspection.impression import PICTURES, Impression
from inspection.part import Label
from training.dataset import Sample, load_dataset
from vision.backends.choose import open_backend
from vision.bundle import load_bundle
from vision.drift import Alarm, Reference, ScoreReference
from vision.watch import PictureWatch, ScoreWatch

STEADY = 100
SHIFTED = 400
SEEDS = 10
Change = Callable[[Pixels], Pixels]


@dataclass(frozen=True)
class Look:
    """What is kept of a picture."""

    impression: Impression
    score: float | None


def clipped(values: NDArray[np.float32]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def lit(factor: float) -> Change:
    return lambda pixels: clipped(pixels.astype(np.float32) * np.float32(factor))


def flattened(factor: float) -> Change:
    def change(pixels: Pixels) -> Pixels:
        middle = np.float32(pixels.mean())
        return clipped((pixels.astype(np.float32) - middle) * np.float32(factor) + middle)

    return change


def blurred(sigma: float) -> Change:
    return lambda pixels: np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8)


def moved(share: float) -> Change:
    """To the right by whole pixels, what comes in at the left repeats the edge."""

    def change(pixels: Pixels) -> Pixels:
        by = max(round(share * pixels.shape[1]), 1)
        return np.concatenate([np.repeat(pixels[:, :1], by, axis=1), pixels[:, :-by]], axis=1)

    return change


def dirty(pixels: Pixels) -> Pixels:
    """Three soft spots on the glass that take half of the light."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    spots = np.zeros((height, width), np.float32)
    for across, down, radius in ((0.30, 0.35, 0.075), (0.62, 0.55, 0.045), (0.75, 0.25, 0.06)):
        cv2.circle(spots, (int(across * width), int(down * height)), int(radius * side), 0.5, -1)
    spots = np.asarray(cv2.GaussianBlur(spots, (0, 0), max(side * 0.01, 1)), np.float32)
    return clipped(pixels.astype(np.float32) * (1 - (spots if pixels.ndim == 2 else spots[:, :, None])))


CHANGES: Mapping[str, Change] = {
    "none": lambda pixels: pixels,
    "light -20 %": lit(0.8),
    "light -10 %": lit(0.9),
    "light +15 %": lit(1.15),
    "contrast -25 %": flattened(0.75),
    "blur, sigma 1 px": blurred(1),
    "blur, sigma 2 px": blurred(2),
    "moved 1 %": moved(0.01),
    "moved 3 %": moved(0.03),
    "dirt on the glass": dirty,
}


class Scorer:
    """P(defect) of a picture by a bundle."""

    def __init__(self, path: Path, cache: Path) -> None:
        self.bundle = load_bundle(path)
        rules = self.bundle.thresholds
        self._backend = open_backend(path, choice="onnx-cpu", threads=1, cache_dir=cache, thresholds=rules)

    def __call__(self, pixels: Pixels, bit_depth: int) -> float:
        return float(self._backend.score(self.bundle.recipe.crops(pixels, bit_depth)).max())


def looks(
    samples: Sequence[Sample], changes: Mapping[str, Change], scorer: Scorer | None, what: str
) -> dict[str, list[Look]]:
    found: dict[str, list[Look]] = {name: [] for name in changes}
    for sample in tqdm(samples, desc=what, unit="picture"):
        pixels, bit_depth = read_picture(sample.path)
        for name, change in changes.items():
            shown = change(pixels)
            found[name].append(Look(impression(shown, bit_depth), scorer(shown, bit_depth) if scorer else None))
    return found


def another_material(samples: Sequence[Sample]) -> Change:
    """Pictures of other things in the frame of the picture, one after the other."""
    others = iter([read_picture(sample.path)[0] for sample in samples] * 100)

    def change(pixels: Pixels) -> Pixels:
        other = next(others)
        other = np.asarray(
            cv2.resize(other, (pixels.shape[1], pixels.shape[0]), interpolation=cv2.INTER_AREA), np.uint8
        )
        if other.ndim == pixels.ndim:
            return other
        return np.asarray(cv2.cvtColor(other, cv2.COLOR_GRAY2BGR if other.ndim == 2 else cv2.COLOR_BGR2GRAY), np.uint8)

    return change


@dataclass
class Line:
    """A station's two watches, fed part by part."""

    pictures: PictureWatch
    scores: ScoreWatch | None
    fail_above: float

    def __post_init__(self) -> None:
        self.raised: set[Alarm] = set()
        self._block: list[Impression] = []

    def show(self, look: Look) -> set[Alarm]:
        """The alarms that are raised at this part."""
        readings = {}
        self._block.append(look.impression)
        if len(self._block) == PICTURES:
            readings = dict(self.pictures.add(Impression.of(self._block)))
            self._block = []
        if self.scores and look.score is not None and look.score < self.fail_above:
            readings.update(self.scores.add(look.score))
        now = {alarm for alarm, reading in readings.items() if reading.raised}
        fresh = now - self.raised
        self.raised = (self.raised - set(readings)) | now
        return fresh


def shuffled(count: int, length: int, seed: int) -> Iterator[int]:
    """Numbers of pictures, each once before any comes again."""
    rng = np.random.default_rng(seed)
    yield from (int(n) for _ in range(length // count + 1) for n in rng.permutation(count))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a data set with train, val and test")
    parser.add_argument("--reference", nargs="+", default=["train", "val"], help="splits that the reference is from")
    parser.add_argument("--stream", default="test", help="the split that the streams are from")
    parser.add_argument("--other", type=Path, help="a data set of another material")
    parser.add_argument("--bundle", type=Path, help="score the parts with it; its reference scores are those of val")
    parser.add_argument("--parts", type=int, default=20000, help="length of the shuffled stream without a shift")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/linegate-bench-drift"))
    return parser.parse_args()


def main() -> None:
    args = parse()
    cv2.setNumThreads(1)
    good = [sample for sample in load_dataset(args.data).samples if sample.label is Label.OK]
    scorer = Scorer(args.bundle, args.cache) if args.bundle else None
    changes = dict(CHANGES)
    if args.other:
        changes["another material"] = another_material(load_dataset(args.other).samples[:50])
    plain = {"none": changes["none"]}
    known = [look for split in args.reference for look in looks(of(good, split), plain, None, split)["none"]]
    scores = looks(of(good, "val"), plain, scorer, "scores of val")["none"] if scorer else []
    stream = looks(of(good, args.stream), changes, scorer, args.stream)

    reference = learnt([look.impression for look in known])
    fail_above = scorer.bundle.thresholds.fail_above if scorer else 1.0
    judged = ScoreReference.learn([look.score for look in scores if look.score is not None and look.score < fail_above])

    def line() -> Line:
        return Line(PictureWatch(reference), ScoreWatch(judged) if judged else None, fail_above)

    print(f"\n{args.data.name}: reference of {len(known)} good pictures, streams of {len(stream['none'])}")
    limits = {**reference.limits, **({Alarm.SCORE_SHIFT: judged.limit} if judged else {})}
    print("limits:", ", ".join(f"{alarm} {limit:.3g}" for alarm, limit in limits.items()))
    print("not watched:", ", ".join(alarm for alarm in Alarm if alarm not in limits) or "none")
    false_alarms(line, stream["none"], args.parts)
    delays(line, stream)
    cost()


def cost() -> None:
    """The least of many, of the processor's own time: what else the machine does is left out."""
    rng = np.random.default_rng(0)
    for name, shape in (("gray", (1024, 1280)), ("colour", (1024, 1280, 3))):
        pixels, impressions = rng.integers(0, 256, shape).astype(np.uint8), Impressions()
        took = []
        for _ in range(300):
            began = time.thread_time()
            impressions.add(pixels, 8)
            took.append(time.thread_time() - began)
        print(f"a {name} picture of 1280 x 1024 costs {1000 * min(took):.3f} ms")


def of(samples: Sequence[Sample], split: str) -> list[Sample]:
    return [sample for sample in samples if sample.split == split]


def learnt(impressions: Sequence[Impression]) -> Reference:
    reference = Reference.learn(in_blocks(impressions))
    if reference is None:
        raise SystemExit("too few good pictures for a reference")
    return reference


def in_blocks(impressions: Sequence[Impression]) -> list[Impression]:
    starts = range(0, len(impressions) - PICTURES + 1, PICTURES)
    return [Impression.of(impressions[start : start + PICTURES]) for start in starts]


def false_alarms(line: Callable[[], Line], steady: Sequence[Look], parts: int) -> None:
    orders = {
        "shuffled": list(shuffled(len(steady), parts, seed=0))[:parts],
        "in the data set's order": list(range(len(steady))) * 3,
    }
    for name, order in orders.items():
        station = line()
        fired = [alarm for number in order for alarm in station.show(steady[number])]
        counts = ", ".join(f"{alarm} {fired.count(alarm)}" for alarm in Alarm if alarm in fired) or "none"
        rate = len(fired) / len(order) * 10_000
        print(f"false alarms, {name}, {len(order)} parts: {counts}; {rate:.1f} per 10,000 parts")


def delays(line: Callable[[], Line], stream: Mapping[str, Sequence[Look]]) -> None:
    print(f"\nparts from the shift to each alarm, median of {SEEDS} shuffled streams (k/{SEEDS}: so many saw it)")
    for name, shifted in stream.items():
        if name == "none":
            continue
        seen: dict[Alarm, list[int]] = {}
        for seed in range(SEEDS):
            station = line()
            for part, number in enumerate(shuffled(len(shifted), STEADY + SHIFTED, seed)):
                if part == STEADY + SHIFTED:
                    break
                fresh = station.show((stream["none"] if part < STEADY else shifted)[number])
                for alarm in fresh if part >= STEADY else ():
                    if len(seen.setdefault(alarm, [])) <= seed:
                        seen[alarm].append(part + 1 - STEADY)
        told = [
            f"{alarm} {int(np.median(found))}" + (f" ({len(found)}/{SEEDS})" if len(found) < SEEDS else "")
            for alarm, found in sorted(seen.items(), key=lambda item: float(np.median(item[1])))
        ]
        print(f"  {name:18} {', '.join(told) or 'not seen'}")


if __name__ == "__main__":
    main()
