# ruff: noqa: T201 - it talks to whoever runs it
"""`make drill-swap`: two models take each other's place 200 times while a PLC asks for parts as fast as the line takes.

A second station runs freely beside it. The models have different recipes, so that the cameras change too, and different
thresholds, so that a verdict tells whose they were. Prints the account of the parts: none may be missing, late, doubled
or without a verdict, and each must be judged by the model that its record names; no swap may be refused. Where a part
has no verdict, the account says when, why, during which swap, and how busy the machine was.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from daemon.asking import ask
from inspection.errors import ModelRefused
from tests.end_to_end.accounts import Hearing, Load, account
from tests.end_to_end.conftest import BUNDLE, Line, until
from tests.end_to_end.test_swap import like_the_first
from transport.broker import EmbeddedBroker
from vision.bundle import load_bundle

LENIENT = {"pass_below": 0.45, "fail_above": 0.6}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=200, help="default: 200")
    parser.add_argument("--most-s", type=float, default=float("inf"), help="begin no further swap after so long")
    parser.add_argument("--rate", type=float, default=20.0, help="parts that the PLC asks for a second (default: 20)")
    parser.add_argument("--free-rate", type=float, default=5.0, help="pictures a second of the other (default: 5)")
    parser.add_argument("--deadline-ms", type=int, default=1000, help="the parts' window (default: 1000)")
    parser.add_argument("--backend", default="auto", help="as model.backend")
    parser.add_argument("--threads", type=int, default=0, help="as model.threads")
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="linegate-swaps-") as folder,
        EmbeddedBroker() as broker,
        Line(Path(folder), broker) as line,
    ):
        told = _drilled(line, args)
    print(json.dumps(told, indent=1))
    return int(bool(told["refused"]) or any(told["lost"].values()))


def _drilled(line: Line, args: argparse.Namespace) -> dict[str, Any]:
    other = like_the_first(line.folder / "other", thresholds=LENIENT)
    line.settings["model"] = {"bundle": str(BUNDLE), "backend": args.backend, "threads": args.threads}
    stations = line.settings["stations"]
    del stations["press"]["answer_margin_ms"]
    camera = {**stations["press"]["cameras"]["top"], "rate_hz": args.free_rate}
    stations["belt"] = {"mode": "free_running", "deadline_ms": args.deadline_ms, "cameras": {"top": camera}}
    with Hearing(line.broker.port, line.folder / "heard") as hearing, Load() as load:
        line.start()
        plc = line.plc(10**7, args.rate, args.deadline_ms)
        until(lambda: line.metric("linegate_verdicts_total", station="press") > 2 * args.rate, "the line runs")
        swaps: list[tuple[float, float]] = []
        refused: list[str] = []
        ends = time.monotonic() + args.most_s
        with suppress(KeyboardInterrupt):  # sent to this process alone, it ends the drill with what was done so far
            for bundle in tqdm([(other, BUNDLE)[number % 2] for number in range(args.swaps)], unit="swap"):
                if time.monotonic() > ends:
                    break
                try:
                    swaps.append(_swapped(line, bundle))
                except ModelRefused as error:  # the old model stays, and the line goes on
                    refused.append(str(error))
        plc.send_signal(signal.SIGINT)
        report = json.loads(plc.communicate(timeout=120)[0])
        captured = line.metric("linegate_parts_captured_total", station="press")
        verdicts = line.metric("linegate_verdicts_total", station="press")
        until(lambda: len(hearing.heard("record")["press"]) >= captured, "every record has come")
        line.stop()
    found = account(hearing, swaps, load, [load_bundle(BUNDLE), load_bundle(other)])
    lost = {name: report[name] for name in ("missing", "late", "duplicate")} | {"unbalanced": captured - verdicts}
    warnings = [row for row in line.log.splitlines() if "WARNING" in row or "ERROR" in row]
    return {**found, "refused": refused, "lost": lost | found["lost"], "plc": report, "warnings": warnings[:50]}


def _swapped(line: Line, bundle: Path) -> tuple[float, float]:
    """When it began and ended, Unix seconds."""
    began = time.time()
    ask(line.folder / "state", {"command": "promote", "bundle": str(bundle)}, lambda _: None)
    return began, time.time()


if __name__ == "__main__":
    sys.exit(main())
