"""`linegate run`: the daemon."""

import argparse
from pathlib import Path
from typing import Any


def register(commands: "argparse._SubParsersAction[Any]") -> None:
    command = commands.add_parser(
        "run",
        help="run the daemon",
        description="Run the daemon until SIGTERM, Ctrl-C or the end of its terminal. SIGHUP reads the configuration "
        "again and applies what may change while parts move.",
    )
    command.add_argument("config", type=Path, nargs="?", default=Path("config.yaml"), help="default: config.yaml")
    command.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    from daemon import logs  # noqa: PLC0415 - `linegate --help` stays quick
    from daemon.config import load  # noqa: PLC0415
    from daemon.supervise import run  # noqa: PLC0415

    config = load(args.config)
    logs.set_up(config.log.level, config.log.format)
    run(config, reread=lambda: load(args.config))
    return 0
