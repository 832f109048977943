"""`linegate rollback`: back to the model before the last change."""

import argparse
from typing import Any

from daemon.commands.asking import add_options, follow


def register(commands: "argparse._SubParsersAction[Any]") -> None:
    command = commands.add_parser(
        "rollback",
        help="go back to the model before the last promotion",
        description="As `linegate promote` of the model that was live before; a second time leads back again.",
    )
    add_options(command)
    command.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    return follow(args, {"command": "rollback"})
