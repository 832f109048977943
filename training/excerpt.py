"""A small share of a data set's split, with its manifest: the pictures of the demo."""

import argparse
import hashlib
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from inspection.part import Label
from training.dataset import MANIFEST, Sample, load_dataset, write_manifest


def excerpt(samples: Sequence[Sample], count: int) -> list[Sample]:
    """About `count` samples, good and bad in the proportion of `samples`, evenly spaced by name."""
    chosen: list[Sample] = []
    for label in Label:
        ranked = sorted((s for s in samples if s.label is label), key=lambda sample: sample.name)
        share = min(round(count * len(ranked) / len(samples)), len(ranked))
        chosen.extend(ranked[index * len(ranked) // share] for index in range(share))
    # Mixed, and the same in every run: names often follow time, and wear would put all bad parts at the end.
    return sorted(chosen, key=lambda sample: hashlib.sha256(sample.name.encode("utf-8", "surrogateescape")).digest())


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m training.excerpt DATA OUT [--split test] [--count 100]`."""
    parser = argparse.ArgumentParser(prog="python -m training.excerpt", description=__doc__)
    parser.add_argument("data", type=Path, help="manifest, or folder of pictures")
    parser.add_argument("out", type=Path, help="folder to write; must not be there")
    parser.add_argument("--split", default="test", help="default: test")
    parser.add_argument("--count", type=int, default=100, help="default: 100")
    args = parser.parse_args(argv)
    samples = excerpt(load_dataset(args.data).of(args.split), args.count)
    args.out.mkdir(parents=True)
    kept = []
    for sample in samples:
        shutil.copyfile(sample.path, args.out / sample.path.name)
        kept.append(replace(sample, name=sample.path.name))
    write_manifest(args.out / MANIFEST, kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
