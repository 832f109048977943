"""What the commands that ask a running daemon have in common."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config",
        type=Path,
        default=Path("config.yaml"),
        metavar="FILE",
        help="the daemon's; its state_dir is where the daemon listens (default: config.yaml)",
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")


def progress(step: str) -> None:
    """A step that the daemon begins."""
    print(f"  {step}", file=sys.stderr, flush=True)


def follow(args: argparse.Namespace, wish: Mapping[str, Any]) -> int:
    """Ask, show each step as it begins on standard error, and what came of it. Raises ModelRefused."""
    from daemon.asking import ask  # noqa: PLC0415 - `linegate --help` stays quick
    from daemon.config import load  # noqa: PLC0415

    done = ask(load(args.config).state_dir, wish, progress)
    if args.json:
        print(json.dumps(done))
    else:
        print(f"{done['model']} is live; before it {done['before']} was.")
    return 0
