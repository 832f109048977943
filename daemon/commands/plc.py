"""`linegate plc`: play the line's PLC, at the demo and at commissioning."""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspection.errors import ConfigError

if TYPE_CHECKING:
    from transport.mqtt.config import BrokerConfig
    from transport.plc import Account, Errand

_PLAIN_LINE_EVERY = 5


def register(commands: "argparse._SubParsersAction[Any]") -> None:
    command = commands.add_parser(
        "plc",
        help="play the line's PLC and account for every trigger",
        description="Sends triggers at a rate, opens the gate only for a PASS of this trigger and this session "
        "inside the window, and reports. Ends with 0 when triggers were sent and no verdict is missing, late or "
        "doubled, else 1.",
    )
    command.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    command.add_argument("--port", type=int, default=1883, help="default: 1883")
    command.add_argument("--prefix", default="linegate/demo/line1/raceway", help="default: the demo's station")
    command.add_argument("--mqtt", choices=["5", "3.1.1"], default="5", help="protocol version (default: 5)")
    command.add_argument("--triggers", type=_at_least_one, default=100, help="how many to send (default: 100)")
    command.add_argument("--rate", type=_positive, default=10.0, metavar="HZ", help="per second (default: 10)")
    command.add_argument("--deadline-ms", type=int, default=1000, metavar="MS", help="window (default: 1000)")
    command.add_argument("--wait", type=_positive, default=30.0, metavar="S", help="for the station (default: 30)")
    command.add_argument("--json", action="store_true", help="one JSON object at the end, nothing else")
    command.add_argument("--username", help="user at the broker")
    command.add_argument("--password-file", type=Path, help="file with the user's password")
    command.add_argument("--tls", action="store_true", help="TLS; implied by the three below")
    command.add_argument("--ca", type=Path, help="authority of the broker's certificate (PEM)")
    command.add_argument("--cert", type=Path, help="client certificate (PEM)")
    command.add_argument("--key", type=Path, help="its private key (PEM)")
    command.set_defaults(run=main)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 10_000:
        raise argparse.ArgumentTypeError("must be above 0 and at most 10000")
    return value


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def main(args: argparse.Namespace) -> int:
    from transport.plc import Errand  # noqa: PLC0415 - `linegate --help` stays quick

    if not 20 <= args.deadline_ms <= 60_000:
        raise ConfigError("--deadline-ms must be 20..60000")
    errand = Errand(args.prefix.rstrip("/"), args.triggers, args.rate, args.deadline_ms, args.wait)
    return asyncio.run(_play(_broker(args), errand, args.json))


def _broker(args: argparse.Namespace) -> "BrokerConfig":
    from pydantic import ValidationError  # noqa: PLC0415

    from transport.mqtt.config import BrokerConfig  # noqa: PLC0415

    tls = {name: getattr(args, name) for name in ("ca", "cert", "key") if getattr(args, name)}
    try:
        return BrokerConfig.model_validate(
            {
                "host": args.host,
                "port": args.port,
                "version": args.mqtt,
                "username": args.username,
                "password_file": args.password_file,
                "tls": tls if tls or args.tls else None,
            },
        )
    except ValidationError as error:
        problem = error.errors()[0]
        raise ConfigError(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error


async def _play(broker: "BrokerConfig", errand: "Errand", as_json: bool) -> int:
    from transport.plc import Plc  # noqa: PLC0415

    show = (lambda _: None) if as_json else _Table(errand)
    plc = Plc(broker, errand, progress=show)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, plc.stop)
    report = await plc.run()
    if as_json:
        sys.stdout.write(json.dumps(report) + "\n")
    else:
        show(plc.account)
        sys.stdout.write("\n" + "\n".join(f"{name:>12}  {value}" for name, value in report.items()) + "\n")
    return int(bool(report["missing"] or report["late"] or report["duplicate"]) or not report["triggers"])


class _Table:
    """The account so far: one line kept up to date on a terminal, or a line each few seconds."""

    def __init__(self, errand: "Errand") -> None:
        self._errand = errand
        self._calls = 0
        self._live = sys.stdout.isatty()

    def __call__(self, account: "Account") -> None:
        self._calls += 1
        if not self._live and self._calls % _PLAIN_LINE_EVERY != 1:
            return
        report = account.summary(self._errand.deadline_ms / 1000)
        known = report["p50_ms"] is not None
        times = f"p50 {report['p50_ms']:.1f} ms  p99 {report['p99_ms']:.1f} ms" if known else ""
        text = (
            f"sent {report['triggers']}/{self._errand.triggers}  pass {report['pass']}  fail {report['fail']}  "
            f"no_verdict {sum(report['no_verdict'].values())}  late {report['late']}  "
            f"missing {report['missing']}  duplicate {report['duplicate']}  {times}  "
            f"{f'waiting: {account.waiting}' if account.waiting else account.last}"
        ).rstrip()
        sys.stdout.write(f"\r\x1b[K{text}" if self._live else f"{text}\n")
        sys.stdout.flush()
