"""`linegate run`: the daemon."""

import argparse
import logging
import os
from pathlib import Path
from typing import Any

LOG = logging.getLogger(__name__)


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
    from daemon.config import load, placed  # noqa: PLC0415
    from daemon.config.environment import ignored  # noqa: PLC0415
    from daemon.lacking import is_example  # noqa: PLC0415
    from daemon.supervise import run  # noqa: PLC0415

    config = load(args.config)
    logs.set_up(config.log.level, config.log.format)
    for name in ignored(os.environ):
        LOG.debug("%s is no setting of linegate: it tells of a network service, and is ignored", name)
    if is_example(config):
        LOG.warning(
            "%s is the example of a real line: its cameras do not exist, and their parts get NO_VERDICT. "
            "`linegate demo` runs a line on pictures; `linegate init` writes a configuration for your own camera",
            args.config,
        )
    with placed(args.config):
        run(config, reread=lambda: load(args.config))
    return 0
