"""`linegate demo`: a whole line on this machine, on real pictures, with nothing to configure."""

import argparse
from pathlib import Path
from typing import Any

PORTS = (1883, 9580)


def register(commands: "argparse._SubParsersAction[Any]") -> None:
    command = commands.add_parser(
        "demo",
        help="run a demonstration line with its own broker",
        description="Run the daemon on photographs of ball-screw raceways, with an MQTT broker of its own on "
        "loopback. Two stations: `raceway` waits for triggers (linegate plc), `raceway-live` inspects two pictures "
        "a second by itself. Ctrl-C ends it.",
    )
    command.add_argument("--mqtt-port", type=int, default=PORTS[0], help="default: 1883; a free one where taken")
    command.add_argument("--http-port", type=int, default=PORTS[1], help="default: 9580; a free one where taken")
    command.add_argument("--models", type=Path, help="folder that holds bsdata/ (default: where linegate lies)")
    command.add_argument("--backend", default="auto", help="default: auto")
    command.add_argument("--log-level", default="warning", choices=["debug", "info", "warning", "error"])
    command.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    from daemon.demo import Demo  # noqa: PLC0415 - `linegate --help` stays quick

    Demo(
        mqtt_port=args.mqtt_port,
        http_port=args.http_port,
        models=args.models,
        backend=args.backend,
        log_level=args.log_level,
    ).run()
    return 0
