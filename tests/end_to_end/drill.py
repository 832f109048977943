# ruff: noqa: T201 - it talks to whoever runs it
"""`make drill-swap`: two models take each other's place 200 times while a PLC asks for parts as fast as the line takes.

They have different recipes, so that the cameras change too. Prints the account of the parts: none may be missing, late,
doubled or without a verdict, and each must be judged by the model that its record names.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from daemon.asking import ask
from tests.end_to_end.conftest import BUNDLE, Line, until
from tests.end_to_end.test_swap import PREFIX, like_the_first
from transport.broker import EmbeddedBroker


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=200, help="default: 200")
    parser.add_argument("--rate", type=float, default=20.0, help="parts a second (default: 20)")
    parser.add_argument("--deadline-ms", type=int, default=1000, help="the parts' window (default: 1000)")
    parser.add_argument("--backend", default="auto", help="as model.backend")
    parser.add_argument("--threads", type=int, default=0, help="as model.threads")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="linegate-swaps-") as folder, EmbeddedBroker() as broker:
        told = _drilled(Line(Path(folder), broker), args)
    print(json.dumps(told, indent=1))
    lost = [told["missing"], told["late"], told["duplicate"], told["no_verdict"], told["mixed"], told["unbalanced"]]
    return int(any(lost))


def _drilled(line: Line, args: argparse.Namespace) -> dict[str, Any]:
    other = like_the_first(line.folder / "other")
    line.settings["model"] = {"bundle": str(BUNDLE), "backend": args.backend, "threads": args.threads}
    del line.settings["stations"]["press"]["answer_margin_ms"]
    line.start()
    records = line.folder / "records"
    with records.open("w") as file:
        words = ["mosquitto_sub", "-p", str(line.broker.port), "-q", "1", "-t", f"{PREFIX}/record"]
        hearing = subprocess.Popen(words, stdout=file)
    try:
        plc = line.plc(10**7, args.rate, args.deadline_ms)
        until(lambda: line.metric("linegate_verdicts_total") > args.rate, "the line runs")
        times: list[float] = []
        with suppress(KeyboardInterrupt):  # sent to this process alone, it ends the drill with what was done so far
            times.extend(_swapped(line, (other, BUNDLE)[n % 2]) for n in tqdm(range(args.swaps), unit="swap"))
        plc.send_signal(signal.SIGINT)
        report = json.loads(plc.communicate(timeout=120)[0])
        captured = line.metric("linegate_parts_captured_total")
        until(lambda: records.read_text().count("\n") >= captured, "every record has come")
        verdicts = line.metric("linegate_verdicts_total")
        line.stop()
    finally:
        hearing.terminate()
        hearing.wait()
    rows = sorted((json.loads(row) for row in records.read_text().splitlines()), key=lambda row: row["seq"])
    return {
        **report,
        "swaps": len(times),
        "swap_s": [round(min(times), 2), round(sorted(times)[len(times) // 2], 2), round(max(times), 2)],
        "unbalanced": captured - verdicts,
        "models": Counter(row["model"] for row in rows),
        "mixed": sum(row["model"] != row["model_hash"][:12] for row in rows if row["verdict"] != "NO_VERDICT"),
        "turns": sum(a["model_hash"] != b["model_hash"] for a, b in pairwise(rows)),
    }


def _swapped(line: Line, bundle: Path) -> float:
    began = time.monotonic()
    ask(line.folder / "state", {"command": "promote", "bundle": str(bundle)}, lambda _: None)
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
