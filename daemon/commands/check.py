"""`linegate check`: whether a configuration is right, before the line depends on it."""

import argparse
import json
from pathlib import Path
from typing import Any


def register(commands: "argparse._SubParsersAction[Any]") -> None:
    command = commands.add_parser(
        "check",
        help="validate a configuration and what it names",
        description="Validate a configuration and the bundle, pictures and secrets that it names, without a "
        "camera, a broker or a network being touched. Exit code 78 where something is wrong, 75 where the operating "
        "system refuses something now.",
    )
    command.add_argument("config", type=Path, nargs="?", default=Path("config.yaml"), help="default: config.yaml")
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    from daemon.checks import inspect, outdated, state_dir  # noqa: PLC0415 - `linegate --help` stays quick
    from daemon.config import load, placed  # noqa: PLC0415
    from daemon.lacking import lacking, unwise  # noqa: PLC0415

    config = load(args.config)
    with placed(args.config):
        bundle = inspect(config)
        holder = state_dir(config)
    cameras = sum(len(station.cameras) for station in config.stations.values())
    missing, warnings = lacking(config), unwise(config)
    if holder:
        warnings.append(f"{holder}: until that one ends, `linegate run` with this configuration ends with exit code 75")
    if advice := outdated(bundle):
        warnings.append(advice)
    told = {
        "config": str(args.config),
        "hash": config.hash,
        "stations": sorted(config.stations),
        "cameras": cameras,
        "model": bundle.model_id,
        "signed": bundle.signed,
        "lacking": missing,
        "warnings": warnings,
    }
    if args.json:
        print(json.dumps(told))
    else:
        counts = f"{_count(len(config.stations), 'station')}, {_count(cameras, 'camera')}"
        print(f"{args.config}: good. {counts}, model {bundle.model_id}.")
        if bundle.signed:
            print(f"  the model's signature is good: {bundle.signed}")
        for thing in missing:
            print(f"  not on this machine: {thing}")
        for warning in warnings:
            print(f"  warning: {warning}")
    return 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
