"""What commands that read pictures from files ask for alike."""

import argparse
from pathlib import Path


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
