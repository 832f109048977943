"""Real brokers on free ports, a PLC's ears, and makers of parts and verdicts."""

import asyncio
import contextlib
import itertools
import json
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from inspection import clock
from inspection.part import Label, Part, PartId, Trigger
from inspection.probe import Probe
from inspection.record import FrameFacts, Record
from inspection.verdict import Outcome, Reason, Verdict
from tests.ports import free_port
from tests.programs import installed, need
from transport.broker import EmbeddedBroker
from transport.link import StationLink
from transport.message import Incoming
from transport.mqtt.config import BrokerConfig
from transport.mqtt.connection import Connection
from transport.records.records import Records
from transport.triggers import TriggerDesk, TriggerLimits
from transport.wire import Address

SESSION = "5e551011"
NUMBERS = itertools.count(1)  # a port that is free is no name: another test may have had it, and the broker remembers


@dataclass
class Ears(Probe):
    """Counts what the transport tells."""

    refused: list[str] = field(default_factory=list)
    unsent: list[str] = field(default_factory=list)
    late: int = 0
    failed_callbacks: int = 0
    stored: int = 0
    delivered: int = 0
    lost: int = 0
    aside: int = 0
    refused_records: list[str] = field(default_factory=list)
    links: list[tuple[str, bool]] = field(default_factory=list)

    def publish_refused(self, station: str, topic: str) -> None:
        self.unsent.append(topic)

    def trigger_refused(self, station: str, why: str) -> None:
        self.refused.append(why)

    def verdict_late(self, station: str) -> None:
        self.late += 1

    def callback_failed(self, link: str) -> None:
        self.failed_callbacks += 1

    def record_stored(self, count: int) -> None:
        self.stored += count

    def record_delivered(self, count: int) -> None:
        self.delivered += count

    def record_lost(self, count: int, why: str) -> None:
        self.lost += count

    def record_refused(self, count: int, by: str) -> None:
        self.refused_records.append(by)

    def records_aside(self, count: int) -> None:
        self.aside = count

    def broker_connected(self, link: str, up: bool) -> None:
        self.links.append((link, up))


class Mosquitto:
    """A real Mosquitto, started and killed at will on one port."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.host, self.port = "127.0.0.1", free_port()
        self._config = folder / f"mosquitto-{self.port}.conf"
        self._config.write_text("\n".join((f"listener {self.port} 127.0.0.1", *lines)) + "\n")
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> "Mosquitto":
        self._child = subprocess.Popen(
            ["mosquitto", "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 0.2):
                return self
            time.sleep(0.02)
        raise AssertionError("Mosquitto did not start")

    def reload(self) -> None:
        """Read the access list again, a moment later."""
        self._signal(signal.SIGHUP)

    def freeze(self) -> None:
        """As a machine that swaps, or whose disk hangs: the connections stay."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._child is not None
        self._child.send_signal(number)

    def stop(self) -> None:
        """SIGKILL: as a power cut of the broker's machine."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None


@pytest.fixture(scope="session")
def embedded() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


StartMosquitto = Callable[..., Mosquitto]


@pytest.fixture(scope="session")
def start_mosquitto() -> StartMosquitto:
    """`start_mosquitto(folder, *config_lines)`; whoever starts one stops it."""
    return lambda folder, *lines: Mosquitto(folder, *lines).start()


@pytest.fixture(scope="session")
def perhaps_mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto | None]:
    """None where it is not installed."""
    if not installed("mosquitto"):
        yield None
        return
    broker = Mosquitto(tmp_path_factory.mktemp("mosquitto"), "allow_anonymous true").start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def open_mosquitto(perhaps_mosquitto: Mosquitto | None) -> Mosquitto:
    need("mosquitto")
    assert perhaps_mosquitto
    return perhaps_mosquitto


@pytest.fixture(params=["embedded-5", "embedded-3.1.1", "mosquitto-5", "mosquitto-3.1.1"])
def broker(
    request: pytest.FixtureRequest, embedded: EmbeddedBroker, perhaps_mosquitto: Mosquitto | None
) -> BrokerConfig:
    """Each broker in each version: the contract holds for all of them."""
    kind, _, version = request.param.partition("-")
    if kind == "mosquitto":
        need(kind)
    peer = embedded if kind == "embedded" else perhaps_mosquitto
    assert peer
    return BrokerConfig(port=peer.port, version=version, client_id=f"t{free_port()}", keepalive_s=2)


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A Mosquitto that the test may kill and start again."""
    broker = Mosquitto(tmp_path, "allow_anonymous true").start()
    yield broker
    broker.stop()


@pytest.fixture
def address() -> Address:
    """A station of this test's own, so that tests may share a broker."""
    return Address("demo", "line1", f"s{next(NUMBERS)}")


class Listener:
    """A subscriber with its own connection that keeps what it hears."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.heard: list[tuple[float, Incoming]] = []
        self._news = asyncio.Condition()

    def take(self, message: Incoming) -> None:
        self.heard.append((clock.monotonic(), message))

    def on(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(message.payload) for _, message in self.heard if message.topic == topic]

    async def until(self, count: int, topic: str, timeout_s: float = 10.0) -> list[dict[str, Any]]:
        await _eventually(lambda: len(self.on(topic)) >= count, timeout_s)
        return self.on(topic)


async def _eventually(holds: Callable[[], bool], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.005)


Listen = Callable[..., Awaitable[Listener]]


@pytest.fixture
async def listen() -> AsyncIterator[Listen]:
    opened: list[Connection] = []

    async def start(config: BrokerConfig, *topics: str) -> Listener:
        heard: list[Listener] = []
        connection = Connection(
            config,
            f"listener-{next(NUMBERS)}",
            link="test",
            on_message=lambda message: heard[0].take(message),  # noqa: PLW0108 - not there yet
        )
        heard.append(Listener(connection))
        await connection.open()
        opened.append(connection)
        for topic in topics:
            await connection.subscribe(topic)
        return heard[0]

    yield start
    for connection in opened:
        await connection.close()


class Lab:
    """What every test of this floor wants at hand."""

    session = SESSION

    def __init__(self, listen: Listen) -> None:
        self.listen = listen
        self.ears = Ears()

    @staticmethod
    @contextlib.asynccontextmanager
    async def running(*jobs: Any) -> AsyncIterator[None]:
        """Run things until the block ends, then cancel them; an error of theirs is raised."""
        tasks = [asyncio.ensure_future(job.run()) for job in jobs]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result

    @staticmethod
    async def eventually(holds: Callable[[], bool], timeout_s: float = 10.0) -> None:
        await _eventually(holds, timeout_s)

    @staticmethod
    def trigger(identity: str | int = "T1", *, window_s: float = 5.0, **more: Any) -> Trigger:
        now = clock.monotonic()
        return Trigger(identity, PartId(str(identity)), now, now + window_s, int(window_s * 1000), **more)

    @staticmethod
    def verdict(
        outcome: Outcome = Outcome.PASS,
        reason: Reason = Reason.SCORE,
        score: float | None = 0.125,
        *,
        trigger: Trigger | None = None,
        station: str = "raceway",
        seq: int = 1,
        window_s: float = 5.0,
    ) -> Verdict:
        now = clock.monotonic()
        name = trigger.part if trigger else PartId(f"P{seq}")
        deadline = trigger.deadline if trigger else now + window_s
        part = Part(station, name, seq, now, deadline, trigger)
        return Verdict(part, outcome, reason, score, now, "0123456789ab")

    def answering(self, *args: Any, **more: Any) -> "Answering":
        return Answering(self, *args, **more)

    def record(self, number: int, *, label: Label | None = None, **more: Any) -> Record:
        verdict = self.verdict(seq=number, **more)
        crop = FrameFacts("top", number, verdict.decided, "pictures/a.jpg", label)
        return Record(f"{SESSION}-{number}", SESSION, verdict, (crop,), clock.utc(), True, stages={"infer": 0.01})


class Answering:
    """A whole station without camera and model: each trigger gets a verdict and a record, as the script says.

    `script(n)` gives outcome, label and how often the n-th trigger is answered; n counts from 1.
    """

    def __init__(
        self,
        lab: Lab,
        broker: BrokerConfig,
        address: Address,
        outbox: Path,
        script: Callable[[int], tuple[Outcome, Label, int]] = lambda _: (Outcome.PASS, Label.OK, 1),
    ) -> None:
        desk = TriggerDesk(address.station, SESSION, TriggerLimits(), probe=lab.ears)
        self.link = StationLink(
            broker, address, session=SESSION, triggers=desk, on_trigger=self._answer, probe=lab.ears
        )
        self.records = Records(outbox, broker, name=f"records-{address.station}", probe=lab.ears)
        self.delay_s = 0.0
        self._lab, self._address, self._script, self.seen = lab, address, script, 0

    def _answer(self, trigger: Trigger) -> None:
        self.seen += 1
        outcome, label, times = self._script(self.seen)
        asyncio.get_running_loop().call_later(self.delay_s, self._say, trigger, self.seen, outcome, label, times)

    def _say(self, trigger: Trigger, seq: int, outcome: Outcome, label: Label, times: int) -> None:
        reason = Reason.DEADLINE if outcome is Outcome.NO_VERDICT else Reason.SCORE
        verdict = self._lab.verdict(outcome, reason, trigger=trigger, seq=seq)
        for _ in range(times):
            self.link.say(verdict)
        crop = FrameFacts("top", seq, verdict.decided, "a.jpg", label)
        self.records.keep(
            Record(f"{SESSION}-{self._address.station}-{seq}", SESSION, verdict, (crop,), clock.utc(), True),
            self._address.record,
        )

    async def run(self) -> None:
        self.link.set_state("ready", "", "0123456789ab")
        async with asyncio.TaskGroup() as group:
            group.create_task(self.link.run())
            group.create_task(self.records.run())


@pytest.fixture
def lab(listen: Listen) -> Lab:
    return Lab(listen)
