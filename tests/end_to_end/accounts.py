"""What a drill heard of the parts, and how busy the machine was: the account of each station."""

import json
import math
import os
import re
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vision.bundle import Bundle
from vision.judge import outcome_of

EVERY_LINE = "linegate/test/line1/+"
_PRESSURE = Path("/proc/pressure/cpu")


class Hearing:
    """Everything that the stations tell of parts, from its entering on: a subscriber that writes to `file`."""

    def __init__(self, port: int, file: Path) -> None:
        self._file = file
        topics = [word for topic in ("record", "verdict") for word in ("-t", f"{EVERY_LINE}/{topic}")]
        self._words = ["mosquitto_sub", "-p", str(port), "-q", "1", "-v", *topics]

    def __enter__(self) -> Self:
        with self._file.open("w") as file:
            self._process = subprocess.Popen(self._words, stdout=file)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait()

    def heard(self, topic: str) -> dict[str, list[dict[str, Any]]]:
        """By station, in the order of parts; the record of a part once, though it may come more than once."""
        found: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        for row in self._file.read_text().splitlines(keepends=True):
            where, _, payload = row.partition(" ")
            if where.endswith(f"/{topic}") and payload.endswith("\n"):
                told = json.loads(payload)
                found[where.split("/")[-2]][told["seq"]] = told
        return {station: [rows[seq] for seq in sorted(rows)] for station, rows in sorted(found.items())}


class Load:
    """How busy the machine was, second by second: waiting processes, and the share of time in which some waited."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float, float]] = []
        self._over = threading.Event()
        self._looking = threading.Thread(target=self._look, name="load")

    def __enter__(self) -> Self:
        self._looking.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._looking.join()

    def at(self, moment: float) -> dict[str, float]:
        """At this moment, Unix seconds."""
        _, load, waited = min(self.seen, key=lambda seen: abs(seen[0] - moment))
        return {"load": load, "waited_%": waited}

    def summary(self) -> dict[str, list[float]]:
        """Least, median and most."""
        columns = {"load": [load for _, load, _ in self.seen], "waited_%": [waited for _, _, waited in self.seen]}
        return {name: _spread(values) for name, values in columns.items()}

    def _look(self) -> None:
        while not self._over.wait(1):
            self.seen.append((time.time(), round(os.getloadavg()[0], 1), _waited()))


def _waited() -> float:
    found = re.search(r"some avg10=([\d.]+)", _PRESSURE.read_text()) if _PRESSURE.exists() else None
    return float(found[1]) if found else math.nan


def account(
    hearing: Hearing, swaps: Sequence[tuple[float, float]], load: Load, bundles: Sequence[Bundle]
) -> dict[str, Any]:
    """Of parts that were not open when the daemon was told to end. `swaps` are (begun, ended), Unix seconds."""
    by_hash, live = {bundle.hash: bundle for bundle in bundles}, hearing.heard("verdict")
    stations, lost = {}, Counter[str]()
    for station, all_rows in hearing.heard("record").items():
        rows = [row for row in all_rows if row["reason"] != "shutdown"]
        told = {row["seq"]: row["model"] for row in live.get(station, [])}
        judged = [row for row in rows if row["verdict"] != "NO_VERDICT"]
        silent = [row for row in rows if row["verdict"] == "NO_VERDICT"]
        lost["no_record"] += rows[-1]["seq"] - len(rows)
        lost["no_verdict"] += len(silent)
        lost["mixed"] += sum(not _of_one_model(row, by_hash, told) for row in judged)
        stations[station] = {
            "parts": len(rows),
            "verdicts": Counter(row["verdict"] for row in rows),
            "models": Counter(row["model_hash"][:12] for row in rows),
            "turns": sum(a["model_hash"] != b["model_hash"] for a, b in pairwise(rows)),
            "no_verdict": _when_and_why(silent, swaps, load),
        }
    return {"lost": lost, "stations": stations, "machine": load.summary(), **_told(swaps)}


def _of_one_model(row: Mapping[str, Any], bundles: Mapping[str, Bundle], told: Mapping[int, str]) -> bool:
    """Its record and its live verdict name one bundle, and that bundle's thresholds gave the verdict."""
    bundle = bundles[row["model_hash"]]
    expected = (bundle.model_id, *outcome_of(row["score"], bundle.thresholds))
    return (row["model"], row["verdict"], row["reason"]) == expected and told.get(row["seq"]) == bundle.model_id


def _when_and_why(
    silent: Sequence[Mapping[str, Any]], swaps: Sequence[tuple[float, float]], load: Load
) -> list[dict[str, Any]]:
    """Parts without a verdict, those of one swap and one reason together; seconds from the first swap on."""
    groups: dict[tuple[int, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in silent:
        swap = sum(begun <= row["t"] for begun, _ in swaps)
        groups[swap, row["reason"], re.sub(r"[\d.]+", "N", row["detail"])].append(row)
    found = []
    for (swap, reason, _), rows in sorted(groups.items()):
        began = swaps[0][0] if swaps else rows[0]["t"]
        at = [round(row["t"] - began, 1) for row in rows]
        facts = {"parts": len(rows), "swap": swap, "from_s": min(at), "to_s": max(at)}
        found.append(facts | {"reason": reason, "detail": rows[0]["detail"]} | load.at(rows[0]["t"]))
    return found


def _told(swaps: Sequence[tuple[float, float]]) -> dict[str, Any]:
    seconds = [ended - begun for begun, ended in swaps]
    return {"swaps": len(swaps), "swap_s": _spread(seconds), "seconds": round(sum(seconds), 1)}


def _spread(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [round(ordered[at], 2) for at in (0, len(ordered) // 2, -1)] if ordered else []
