"""What commands that read pictures from files ask for and tell alike."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.dataset import Dataset


def add_data(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """Add `data`, None where it is `optional` and not given, and `bit_depth`, as `load_dataset` takes them."""
    parser.add_argument(
        "data", type=Path, metavar="DATA", nargs="?" if optional else None, help="manifest, or folder of pictures"
    )
    add_bit_depth(parser)


def add_bit_depth(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bit-depth",
        type=int,
        choices=(10, 12, 16),
        default=16,
        help="of 16-bit files: 10 or 12 where the camera has so many bits, as in its config (default: 16)",
    )


def labelled(args: argparse.Namespace, data: Path) -> "Dataset":
    """The data set `data`; what is left out, and near-duplicates across its splits, are told on standard error.

    Raises DataError.
    """
    from training.data.alike import alike_lines  # noqa: PLC0415 - numpy and OpenCV are not for `linegate --help`
    from training.dataset import load_dataset  # noqa: PLC0415

    dataset = load_dataset(data, args.bit_depth, quiet=args.json)
    tell(data, (*dataset.notes, *alike_lines(dataset)))
    return dataset


def tell(data: Path, notes: Iterable[str]) -> None:
    """Write notes about `data` to standard error, a line each: standard output is for the result."""
    from camera.names import shown  # noqa: PLC0415

    sys.stderr.writelines(f"linegate: {shown(data)}: {note}\n" for note in notes)
