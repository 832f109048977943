"""A manifest for a set that nothing in linegate was chosen by: photographs of magnetic tiles, 392 of 1,344 defective.

The pictures are those of Huang, Qiu, Yuan: Surface defect saliency of magnetic tile, The Visual Computer 36, 2020. They
come without a licence, so nothing of them is part of linegate:

    git clone https://github.com/abin24/Magnetic-tile-defect-datasets. tiles
    python bench/magnetic_tiles.py tiles
    linegate train tiles --recipe auto --out models/tiles

One tile lies there under up to six exposures, whose numbers follow each other: such a run is a group. Which pictures
are of one tile is not told, so this is a guess: some tiles whose exposures lie further apart make two groups. A quarter
of the groups, with defects and without, is for the test, three twentieths are `val`.
"""

import argparse
import csv
import random
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from training.dataset import COLUMNS

FREE = "MT_Free"
TEST, VAL = 0.25, 0.15
# Where the next exposure follows, its number is no more than 40 higher in nine cases of ten.
APART = 45

Group = list[tuple[int, Path]]
"""Pictures of one tile with their numbers."""


def groups_of(folder: Path) -> list[Group]:
    """In the order of the numbers. Raises FileNotFoundError where there are no such pictures."""
    numbered = sorted(
        (int(match[1]), file)
        for file in folder.glob("MT_*/Imgs/*.jpg")
        if (match := re.fullmatch(r"exp\d+_num_(\d+)", file.stem))
    )
    if not numbered:
        raise FileNotFoundError(f"{folder}: no MT_*/Imgs/exp*_num_*.jpg; is it a clone of the repository?")
    groups = [numbered[:1]]
    for (before, _), (number, file) in pairwise(numbered):
        if number - before > APART:
            groups.append([])
        groups[-1].append((number, file))
    return groups


def rows(folder: Path) -> Iterator[tuple[str, ...]]:
    """One of COLUMNS for each picture."""
    draw, groups = random.Random(0), groups_of(folder)
    for defective in (True, False):
        some = [group for group in groups if any(kind(file) for _, file in group) is defective]
        draw.shuffle(some)
        for place, group in enumerate(some):
            share = place / len(some)
            split = "test" if share < TEST else "val" if share < TEST + VAL else "train"
            for _, file in group:
                label = "ng" if kind(file) else "ok"
                yield file.relative_to(folder).as_posix(), label, kind(file), split, str(group[0][0])


def kind(file: Path) -> str:
    """Of the defect; nothing for a good part."""
    name = file.parents[1].name
    return "" if name == FREE else name.removeprefix("MT_").lower()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the clone; gets a manifest.csv")
    folder = parser.parse_args().folder
    try:
        found = sorted(rows(folder))
    except FileNotFoundError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    with (folder / "manifest.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows((COLUMNS, *found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
