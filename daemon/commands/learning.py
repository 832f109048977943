"""What commands that let a network learn, and write a bundle, have in common."""

import argparse
from importlib.util import find_spec
from pathlib import Path

from daemon.commands.place import require_free
from daemon.commands.targets import add_targets
from inspection.errors import DataError
from inspection.extras import how_to_add


def add_outcome(parser: argparse.ArgumentParser) -> None:
    """What the thresholds are to keep, whether a bundle may be replaced, and how the result is told."""
    add_targets(parser)
    parser.add_argument("--force", action="store_true", help="replace a bundle that is there")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Where the network learns."""
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where the network learns: auto takes an NVIDIA GPU where torch finds one (default: auto)",
    )


def require_ready(doing: str, out: Path, *, force: bool) -> None:
    """Raises DataError where torch is missing or `out` may not be written; costs no import of torch."""
    if find_spec("torch") is None:
        raise DataError(f"{doing} needs torch: {how_to_add('train')}")
    require_free(out, force=force)


def minutes(text: str) -> float:
    """An option's time in minutes. Raises ArgumentTypeError."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of minutes above 0")
    return value
