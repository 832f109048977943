"""`linegate init`: a configuration for one station, from a few questions or options."""

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from inspection.errors import DataError

MODES = ("triggered", "free_running")
SYSTEM = Path("/etc/linegate")
STATES = Path("/var/lib/linegate")
SOURCES = {
    "folder": "folder of pictures, or manifest",
    "opencv": "V4L2 device (0, /dev/video0), rtsp:// URL or video file",
    "genicam": "GenTL producer of the camera's vendor (.cti)",
}

KINDS = ("simulated", *SOURCES)


def register(commands: "argparse._SubParsersAction[Any]") -> None:
    command = commands.add_parser(
        "init",
        help="write a configuration for one station",
        description="Write a configuration for one station that passes `linegate check`. What no option names is asked "
        "on a terminal; elsewhere its default is taken.",
    )
    command.add_argument("config", type=Path, nargs="?", default=Path("config.yaml"), help="default: config.yaml")
    command.add_argument("--bundle", type=Path, metavar="DIR", help="model bundle, as `linegate train` writes it")
    command.add_argument("--kind", choices=KINDS, help="kind of the camera (default: simulated)")
    command.add_argument(
        "--source", help="of folder: the pictures; of opencv: device, URL or file; of genicam: the .cti"
    )
    command.add_argument("--station", help="name of the station (default: press)")
    command.add_argument(
        "--mode", choices=("triggered", "free_running"), default="triggered", help="default: triggered"
    )
    command.add_argument("--broker", metavar="HOST", help="the MQTT broker (default: 127.0.0.1)")
    command.add_argument("--broker-port", type=int, default=1883, metavar="PORT", help="default: 1883")
    command.add_argument("--http-port", type=int, default=9580, metavar="PORT", help="the page's (default: 9580)")
    command.add_argument("--site", default="plant1", help="first level of the MQTT topics (default: plant1)")
    command.add_argument("--line", default="line1", help="second level of the MQTT topics (default: line1)")
    command.add_argument(
        "--state-dir",
        metavar="DIR",
        help="where records wait (default: state beside the configuration; for /etc/linegate/NAME.yaml "
        "/var/lib/linegate/NAME, where its unit may write)",
    )
    command.add_argument("--force", action="store_true", help="replace a configuration that is there")
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.set_defaults(run=partial(main, command.error))


def main(usage: Callable[[str], Any], args: argparse.Namespace) -> int:
    from daemon.checks import inspect, state_dir  # noqa: PLC0415 - `linegate --help` stays quick
    from daemon.config.reading import read  # noqa: PLC0415
    from daemon.config.starter import Station, starter  # noqa: PLC0415
    from inspection.whole import put_file  # noqa: PLC0415

    out: Path = args.config
    _require_free(out, force=args.force)
    ask = _ask if sys.stdin.isatty() else _default
    kind = args.kind or ask(f"kind of camera ({', '.join(KINDS)})", "simulated")
    if kind not in KINDS:
        usage(f"--kind: there is no {kind!r}; choose from {', '.join(KINDS)}")
    source = "" if kind not in SOURCES else args.source or ask(SOURCES[kind], "")
    if kind in SOURCES and not source:
        usage(f"--source: name the {SOURCES[kind]}")
    if kind not in SOURCES and args.source:
        usage("--source: a simulated camera has none; name the kind of camera with --kind")
    station = args.station or ask("name of the station", "press")
    broker = args.broker or ask("host of the MQTT broker", "127.0.0.1")
    bundle = args.bundle or ask("model bundle (a folder with bundle.json)", "")
    if not bundle:
        usage("--bundle: name the folder of a model bundle, as `linegate train` writes it")
    folder = out.absolute().parent
    system = folder == SYSTEM
    facts = Station(
        site=args.site,
        line=args.line,
        station=station,
        mode=args.mode,
        kind=kind,
        source=source,
        broker=broker,
        broker_port=args.broker_port,
        http_port=args.http_port,
        bundle=Path(bundle),
        state_dir=args.state_dir or (str(STATES / out.stem) if system else "state"),
    )
    text = starter(facts, folder).encode()
    config = read(text, out)
    inspect(config)
    state_dir(config)
    try:
        put_file(out, text)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}") from error
    if args.json:
        print(json.dumps({"config": str(out), "hash": config.hash}))
    else:
        run = f"systemctl enable --now linegate@{out.stem}" if system else f"linegate run {out}"
        print(f"{out}: written, and found good. Change what differs, then\n  linegate check {out}\n  {run}")
    return 0


def _require_free(out: Path, *, force: bool) -> None:
    if out.is_dir():
        raise DataError(f"{out}: is a folder; name a file")
    if out.exists() and not force:
        raise DataError(f"{out}: there is a configuration already; --force replaces it")


def _ask(question: str, default: str) -> str:
    """On standard error, since standard output may be for a program."""
    print(f"{question}{f' [{default}]' if default else ''}: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() or default


def _default(_question: str, default: str) -> str:
    return default
