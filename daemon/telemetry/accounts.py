"""The account of parts: captured = verdicts + open, in every scrape."""

import threading
from collections import Counter as Tally
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from inspection.verdict import Outcome, Reason

_SCORED = {Outcome.PASS: (Reason.SCORE,), Outcome.FAIL: (Reason.SCORE, Reason.UNCERTAIN)}
_NEVER_NO_VERDICT = (Reason.SCORE, Reason.UNCERTAIN, Reason.DUPLICATE_TRIGGER)  # the last one refuses triggers
_UNSCORED = tuple(reason for reason in Reason if reason not in _NEVER_NO_VERDICT)
_VERDICTS: Mapping[Outcome, tuple[Reason, ...]] = {**_SCORED, Outcome.NO_VERDICT: _UNSCORED}


@dataclass(frozen=True, slots=True)
class Account:
    """The parts of one station at one instant: `captured` = the sum of `verdicts` + `opened`."""

    captured: int
    opened: int
    verdicts: Mapping[tuple[Outcome, Reason], int]


class Accounts(Collector):
    """Counts parts so that the account balances in every scrape: one lock around all three numbers."""

    def __init__(self, stations: Collection[str]) -> None:
        self._lock = threading.Lock()
        self._captured: Tally[str] = Tally(dict.fromkeys(stations, 0))
        self._verdicts: Tally[tuple[str, Outcome, Reason]] = Tally()
        for station in stations:
            for outcome, reasons in _VERDICTS.items():
                self._verdicts.update({(station, outcome, reason): 0 for reason in reasons})

    def open(self, station: str) -> None:
        with self._lock:
            self._captured[station] += 1

    def close(self, station: str, outcome: Outcome, reason: Reason) -> None:
        with self._lock:
            self._verdicts[station, outcome, reason] += 1

    def of(self, station: str) -> Account:
        with self._lock:
            captured = self._captured[station]
            verdicts = {key[1:]: count for key, count in self._verdicts.items() if key[0] == station}
        return Account(captured, captured - sum(verdicts.values()), verdicts)

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            captured, verdicts = dict(self._captured), dict(self._verdicts)
        parts = CounterMetricFamily(
            "linegate_parts_captured",
            "Parts opened: accepted triggers and free-running frames.",
            labels=["station"],
        )
        closed = CounterMetricFamily(
            "linegate_verdicts",
            "Parts closed, by outcome and reason.",
            labels=["station", "outcome", "reason"],
        )
        still = GaugeMetricFamily(
            "linegate_parts_open",
            "Parts that wait for their verdict: captured minus verdicts.",
            labels=["station"],
        )
        for station, count in captured.items():
            parts.add_metric([station], count)
            still.add_metric([station], count - sum(n for key, n in verdicts.items() if key[0] == station))
        for (station, outcome, reason), count in verdicts.items():
            closed.add_metric([station, outcome, reason], count)
        yield from (parts, closed, still)
