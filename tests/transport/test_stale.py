"""What waited while the broker or the network stood still is refused, and a slow link is not taken for a dead one."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from inspection import clock
from inspection.part import Trigger
from transport.link import StationLink
from transport.mqtt.config import BrokerConfig
from transport.triggers import TriggerDesk, TriggerLimits
from transport.wire import Address

if TYPE_CHECKING:
    from tests.transport.conftest import Lab, Mosquitto

WINDOW_S = 0.4
versions = pytest.mark.parametrize("version", ["5", "3.1.1"])


class Eager:
    """A station that passes every part at once: nothing but the link keeps it from doing so too late."""

    def __init__(self, broker: BrokerConfig, address: Address, lab: "Lab") -> None:
        self._lab, self.taken = lab, list[Trigger]()
        desk = TriggerDesk(address.station, lab.session, TriggerLimits(), probe=lab.ears)
        self.link = StationLink(
            broker, address, session=lab.session, triggers=desk, on_trigger=self._pass, probe=lab.ears
        )
        self.run = self.link.run

    def _pass(self, trigger: Trigger) -> None:
        self.taken.append(trigger)
        self.link.say(self._lab.verdict(trigger=trigger, seq=len(self.taken)))


class Asking:
    """A PLC that sends triggers whatever the station says, and measures by its own timer."""

    def __init__(self, lab: "Lab", broker: BrokerConfig, address: Address, window_s: float) -> None:
        self._lab, self._broker, self._address, self.window_s = lab, broker, address, window_s
        self.sent: dict[int, float] = {}

    async def start(self) -> "Asking":
        topics = (self._address.verdict, self._address.refused)
        self._ears = await self._lab.listen(self._broker, *topics)
        return self

    def ask(self) -> int:
        number = len(self.sent) + 1
        self.sent[number] = clock.monotonic()
        body = {"trigger": number, "deadline_ms": int(self.window_s * 1000)}
        self._ears.connection.publish(self._address.trigger, json.dumps(body).encode())
        return number

    async def ask_for(self, seconds: float) -> list[int]:
        asked, end = [], clock.monotonic() + seconds
        while clock.monotonic() < end:
            asked.append(self.ask())
            await asyncio.sleep(0.05)
        return asked

    def heard(self, topic: str) -> dict[int, float]:
        """Seconds from sending to the answer."""
        answers = [(at, json.loads(m.payload)["trigger"]) for at, m in self._ears.heard if m.topic == topic]
        return {number: at - self.sent[number] for at, number in answers}

    def late(self, asked: list[int]) -> list[int]:
        verdicts = self.heard(self._address.verdict)
        return [number for number in asked if verdicts.get(number, 0.0) > self.window_s]

    async def until_answered(self) -> None:
        """Ask until a verdict comes in time."""
        async with asyncio.timeout(30):
            while True:
                number = self.ask()
                await asyncio.sleep(0.1)
                if self.heard(self._address.verdict).get(number, 999.0) <= self.window_s:
                    return


@versions
@pytest.mark.parametrize("stop_s", [0.8, 1.5])
async def test_no_trigger_of_a_time_in_which_the_broker_stood_still_is_judged_after_its_window(
    own_broker: "Mosquitto", address: Address, lab: "Lab", *, version: str, stop_s: float
) -> None:
    broker = BrokerConfig.model_validate({"port": own_broker.port, "version": version})
    station = Eager(broker, address, lab)
    plc = await Asking(lab, broker, address, WINDOW_S).start()
    async with lab.running(station):
        await lab.eventually(lambda: station.link.connected)
        await plc.until_answered()
        own_broker.freeze()
        asked = await plc.ask_for(stop_s)
        own_broker.thaw()
        await plc.until_answered()
        # The broker answers in order: what it had to say of the others it has said.
        assert plc.late(asked) == []
    assert "expired" in lab.ears.refused


async def test_no_trigger_of_a_longer_stop_is_judged_after_the_link_has_come_back(
    own_broker: "Mosquitto", address: Address, lab: "Lab"
) -> None:
    broker = BrokerConfig(port=own_broker.port, reconnect_max_s=0.5, connect_timeout_s=30)
    station = Eager(broker, address, lab)
    patient = BrokerConfig(port=own_broker.port, keepalive_s=60)
    plc = await Asking(lab, patient, address, WINDOW_S).start()
    async with lab.running(station):
        await lab.eventually(lambda: station.link.connected)
        await plc.until_answered()
        own_broker.freeze()
        asked = []
        while station.link.connected:
            asked += await plc.ask_for(0.1)
        own_broker.thaw()
        plc = await rejoined(plc)
        await plc.until_answered()
        assert plc.late(asked) == []


async def rejoined(plc: Asking) -> Asking:
    """Its own connection may have been lost too."""
    if plc._ears.connection.lost.is_set():
        heard = plc._ears.heard
        await plc.start()
        plc._ears.heard[:0] = heard
    return plc


class Delaying:
    """A TCP proxy that keeps every byte for a while, each way; `cut` keeps them for good and tells nobody."""

    def __init__(self, upstream: int, delay_s: float) -> None:
        self.port, self._upstream, self.delay_s = 0, upstream, delay_s
        self.open = asyncio.Event()
        self.open.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> "Delaying":
        self._server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        self._writers += [writer, up_writer]
        for source, sink in ((reader, up_writer), (up_reader, writer)):
            held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
            for work in (self._read(source, held), self._write(held, sink)):
                self._tasks.add(asyncio.create_task(work))

    async def _read(self, source: asyncio.StreamReader, held: "asyncio.Queue[tuple[float, bytes]]") -> None:
        while data := await source.read(65_536):
            held.put_nowait((clock.monotonic() + self.delay_s, data))
        held.put_nowait((clock.monotonic() + self.delay_s, b""))

    async def _write(self, held: "asyncio.Queue[tuple[float, bytes]]", sink: asyncio.StreamWriter) -> None:
        while True:
            due, data = await held.get()
            await asyncio.sleep(due - clock.monotonic())
            await self.open.wait()
            if not data:
                sink.close()
                return
            sink.write(data)


@pytest.fixture
async def delaying(open_mosquitto: "Mosquitto") -> AsyncIterator[Delaying]:
    proxy = await Delaying(open_mosquitto.port, 0.0).start()
    yield proxy
    await proxy.stop()


@versions
@pytest.mark.parametrize("delay_s", [0.1, 0.3])
async def test_a_slow_link_publishes_its_verdicts_and_none_that_cannot_arrive(
    delaying: Delaying, open_mosquitto: "Mosquitto", address: Address, lab: "Lab", *, version: str, delay_s: float
) -> None:
    delaying.delay_s = delay_s
    broker = BrokerConfig.model_validate({"port": delaying.port, "version": version})
    station = Eager(broker, address, lab)
    plc = await Asking(lab, BrokerConfig(port=open_mosquitto.port), address, 3.0).start()
    async with lab.running(station):
        await lab.eventually(lambda: station.link.connected)
        asked = await plc.ask_for(2.0)
        await lab.eventually(lambda: len(plc.heard(address.verdict)) == len(asked))
        assert lab.ears.late == 0
        assert lab.ears.refused == []
        assert not station.link.say(lab.verdict(seq=9, window_s=delay_s * 0.9))


async def test_a_link_that_becomes_slow_is_followed(
    delaying: Delaying, open_mosquitto: "Mosquitto", address: Address, lab: "Lab"
) -> None:
    station = Eager(BrokerConfig(port=delaying.port), address, lab)
    plc = await Asking(lab, BrokerConfig(port=open_mosquitto.port), address, 3.0).start()
    async with lab.running(station):
        await lab.eventually(lambda: station.link.connected)
        delaying.delay_s = 0.25
        await plc.ask_for(1.5)
        dropped = lab.ears.late
        asked = await plc.ask_for(1.5)
        await lab.eventually(lambda: len(plc.heard(address.verdict).keys() & set(asked)) == len(asked))
        assert lab.ears.late == dropped


async def test_a_half_open_connection_is_noticed_long_before_the_keepalive(
    delaying: Delaying, address: Address, lab: "Lab"
) -> None:
    station = Eager(BrokerConfig(port=delaying.port, keepalive_s=600), address, lab)
    async with lab.running(station):
        await lab.eventually(lambda: station.link.connected)
        delaying.open.clear()
        await lab.eventually(lambda: not station.link.connected, 20)
        delaying.open.set()
        await lab.eventually(lambda: station.link.connected, 20)
