"""`linegate promote`: another model takes the live one's place, without stopping the line."""

import argparse
from pathlib import Path
from typing import Any

from daemon.commands.asking import add_options, follow


def register(commands: "argparse._SubParsersAction[Any]") -> None:
    command = commands.add_parser(
        "promote",
        help="make another bundle the live model of a running daemon",
        description="The running daemon starts a worker for the bundle beside the live one and checks it on its "
        "golden parts; from one part to the next it then judges, and the old worker ends with its last part. Refused "
        "with exit code 1, the live model stays as it is.",
    )
    command.add_argument("bundle", type=Path, help="the folder; the daemon must be able to read it, and keeps a copy")
    add_options(command)
    command.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    return follow(args, {"command": "promote", "bundle": str(args.bundle.absolute())})
