"""The line's PLC, played from the contract page alone: triggers at a rate, opens the gate only as the rule says.

It knows topics and fields from docs/reference/mqtt.md and shares nothing with the daemon but the MQTT client, so
that it can judge the daemon. Times are those of its own clock.
"""

import asyncio
import json
import logging
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from inspection import clock
from inspection.backoff import Backoff
from inspection.errors import LinegateError
from transport.message import Incoming
from transport.mqtt.config import BrokerConfig
from transport.mqtt.connection import BrokerError, Connection

log = logging.getLogger(__name__)

HEARTBEAT_SILENT_S = 3.0
GRACE_S = 2.0
RECORDS_S = 5.0


class NotReadyError(LinegateError):
    """The station did not become ready in time."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What the PLC is to do. `wait_s` is how long it waits for the station, at the start and whenever it stops."""

    prefix: str = "linegate/demo/line1/raceway"
    triggers: int = 100
    rate_hz: float = 10.0
    deadline_ms: int = 1000
    wait_s: float = 30.0


@dataclass(slots=True)
class Asked:
    """One trigger and what came of it."""

    sent: float
    session: str
    verdict: str = ""
    reason: str = ""
    latency: float | None = None
    late: bool = False
    refused: str = ""
    label: str = ""
    recorded: bool = False

    @property
    def answered(self) -> bool:
        return bool(self.verdict or self.refused)


@dataclass
class Account:
    """Everything that was asked and answered."""

    asked: dict[str, Asked] = field(default_factory=dict)
    duplicate: int = 0
    opened: int = 0
    last: str = ""
    waiting: str = ""
    """Why nothing is sent now; empty while the station is ready."""

    def summary(self, window_s: float, *, final: bool = False) -> dict[str, Any]:
        """The report, with milliseconds. Before the end, what still may come in time is not missing."""
        asked = self.asked.values()
        on_time = [one for one in asked if one.verdict and not one.late]
        now = clock.monotonic()
        latencies = sorted(one.latency * 1000 for one in asked if one.latency is not None)
        labelled = [one for one in asked if one.label and one.verdict]
        return {
            "triggers": len(self.asked),
            "pass": sum(one.verdict == "PASS" for one in on_time),
            "fail": sum(one.verdict == "FAIL" for one in on_time),
            "no_verdict": dict(Counter(one.reason for one in on_time if one.verdict == "NO_VERDICT")),
            "late": sum(one.late for one in asked),
            "missing": sum(not one.answered and (final or now - one.sent > window_s + GRACE_S) for one in asked),
            "duplicate": self.duplicate,
            "false_pass": sum(one.verdict == "PASS" and one.label == "ng" for one in labelled),
            "p50_ms": _quantile(latencies, 0.50),
            "p99_ms": _quantile(latencies, 0.99),
            "false_fail": sum(one.verdict == "FAIL" and one.label == "ok" for one in labelled),
            "labelled": len(labelled),
            "refused": dict(Counter(one.refused for one in asked if one.refused)),
            "late_opens": sum(one.late and one.verdict == "PASS" for one in asked),
            "opened": self.opened,
        }


def _quantile(ordered: list[float], share: float) -> float | None:
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) if ordered else None


class Plc:
    """One PLC on one station. `progress` is called about once a second while it runs."""

    def __init__(
        self, broker: BrokerConfig, errand: Errand, *, progress: Callable[[Account], None] = lambda _: None
    ) -> None:
        self._broker, self._errand, self._progress = broker, errand, progress
        self._window = errand.deadline_ms / 1000
        self._run = secrets.token_hex(3)
        self.account = Account()
        self._stop = asyncio.Event()
        self._connection: Connection | None = None
        self._trouble = f"not connected to {broker.host}:{broker.port} yet"
        self._state, self._session, self._model = "unknown", "", ""
        self._beat = float("-inf")

    def stop(self) -> None:
        """Send no more; `run` returns once what was asked is answered, or its window is over."""
        self._stop.set()

    async def run(self) -> dict[str, Any]:
        """Send all triggers, wait for their answers and records; the report. Raises NotReadyError, BrokerError."""
        link = asyncio.create_task(self._stay_connected(), name="plc: link")
        show = asyncio.create_task(self._show(), name="plc: progress")
        try:
            await self._send_all()
            asked = self.account.asked
            await self._until(lambda: all(one.answered for one in asked.values()), self._window + GRACE_S)
            if not self._stop.is_set():
                await self._until(lambda: all(one.recorded or not one.verdict for one in asked.values()), RECORDS_S)
        finally:
            for task in (link, show):
                task.cancel()
            await asyncio.gather(link, show, return_exceptions=True)
        return self.account.summary(self._window, final=True)

    @property
    def ready(self) -> bool:
        """The rule's first half: the station is ready, says so every second, and we are there to hear it."""
        connection = self._connection
        return (
            connection is not None
            and not connection.lost.is_set()
            and self._state == "ready"
            and clock.monotonic() - self._beat < HEARTBEAT_SILENT_S
        )

    async def _send_all(self) -> None:
        due = clock.monotonic()
        for number in range(1, self._errand.triggers + 1):
            await self._until(lambda: self.ready or self._stop.is_set(), self._errand.wait_s)
            if self._stop.is_set():
                return
            if not self.ready:
                raise NotReadyError(f"{self._why_not()}; waited {self._errand.wait_s:g} s")
            due = max(due, clock.monotonic() - 1 / self._errand.rate_hz)  # after a stop, no burst to catch up
            await self._until(self._stop.is_set, due - clock.monotonic())
            if self._stop.is_set():
                return
            due += 1 / self._errand.rate_hz
            self._ask(f"{self._run}-{number}")

    def _why_not(self) -> str:
        errand, connection = self._errand, self._connection
        if connection is None or connection.lost.is_set():
            return f"no broker: {self._trouble}"
        if self._state == "unknown":
            return f"nobody says {errand.prefix}/state: is the prefix right and the daemon running?"
        silent = "" if self._state != "ready" else ", but its heartbeat is silent"
        return f"{errand.prefix} is {self._state}{silent}"

    def _ask(self, identity: str) -> None:
        connection = self._connection
        if connection is None or not self.ready:
            return
        body = json.dumps({"trigger": identity, "deadline_ms": self._errand.deadline_ms, "session": self._session})
        self.account.asked[identity] = Asked(clock.monotonic(), self._session)
        connection.publish(f"{self._errand.prefix}/trigger", body.encode())

    async def _until(self, holds: Callable[[], bool], timeout_s: float) -> None:
        """Wait until something holds or the time is over."""
        end = clock.monotonic() + timeout_s
        while not holds() and (left := end - clock.monotonic()) > 0:  # noqa: ASYNC110 - looks at what has no event
            await asyncio.sleep(min(0.02, left))

    async def _show(self) -> None:
        while True:
            self.account.waiting = "" if self.ready else self._why_not()
            self._progress(self.account)
            await asyncio.sleep(1.0)

    async def _stay_connected(self) -> None:
        backoff = Backoff(self._broker.reconnect_max_s, spread=self._broker.reconnect_jitter)
        while True:
            began = clock.monotonic()
            connection = Connection(self._broker, f"plc-{secrets.token_hex(4)}", link="plc", on_message=self._heard)
            try:
                await connection.open()
                for name in ("verdict", "refused", "heartbeat", "record", "state"):
                    await connection.subscribe(f"{self._errand.prefix}/{name}", retained=name == "state")
                self._connection = connection
                await connection.lost.wait()
                self._trouble = f"{self._broker.host}:{self._broker.port}: {connection.why_lost}"
            except BrokerError as error:
                self._trouble = str(error)
                log.info("plc: %s", error)
            finally:
                self._connection = None
                await connection.close()
                connection.abort()
            await asyncio.sleep(backoff.after(clock.monotonic() - began))

    def _heard(self, message: Incoming) -> None:
        now = clock.monotonic()
        said = json.loads(message.payload)
        match message.topic.rpartition("/")[2]:
            case "verdict":
                self._judge(said, now)
            case "refused":
                self._refused(said)
            case "record":
                self._recorded(said)
            case "heartbeat":
                self._beat = now
            case "state":
                self._state, self._session, self._model = said["state"], said["session"], said["model"]

    def _judge(self, said: dict[str, Any], now: float) -> None:
        """The rule: only a PASS for this trigger and this session, inside the window, opens the gate."""
        one = self.account.asked.get(str(said["trigger"]))
        if one is None or said["session"] != one.session:
            return  # another PLC's part, or another life of the daemon
        if one.verdict:
            self.account.duplicate += 1
            return
        one.verdict, one.reason, one.latency = said["verdict"], said["reason"], now - one.sent
        one.late = one.latency > self._window
        self.account.opened += one.verdict == "PASS" and not one.late
        self.account.last = f"{said['trigger']} {one.verdict} {one.reason}"

    def _refused(self, said: dict[str, Any]) -> None:
        one = self.account.asked.get(str(said["trigger"]))
        if one is not None and not one.answered:
            one.refused = said["reason"]

    def _recorded(self, said: dict[str, Any]) -> None:
        one = self.account.asked.get(str(said["trigger"]))
        if one is None or said["session"] != one.session:
            return
        labels = {frame["label"] for frame in said["frames"]} - {None}
        one.label = "ng" if "ng" in labels else "ok" if labels else ""
        one.recorded = True
