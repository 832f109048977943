"""A broker that can do less than MQTT allows, or sends more than anybody can read."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt import client as paho

from transport.link import StationLink
from transport.mqtt.config import BrokerConfig
from transport.mqtt.connection import BrokerError, Connection
from transport.triggers import TriggerDesk, TriggerLimits
from transport.wire import Address

if TYPE_CHECKING:
    from tests.transport.conftest import Lab, StartMosquitto

CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP = 2, 3, 4, 8, 9, 12, 13


class Slow:
    """A broker that says some limits in its CONNACK, and acknowledges publishes when it is told to."""

    def __init__(self, properties: bytes) -> None:
        self._properties = properties
        self._owed: list[bytes] = []
        self._writer: asyncio.StreamWriter | None = None
        self.most, self.topics = 0, list[str]()
        self.acknowledges = True
        self.gone = asyncio.Event()

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.gone.clear()
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self._take(*await self._packet(reader))
        writer.close()
        self.gone.set()

    async def _packet(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        first, size, shift = (await reader.readexactly(1))[0], 0, 0
        while True:
            byte = (await reader.readexactly(1))[0]
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return first, await reader.readexactly(size)

    def _take(self, first: int, body: bytes) -> None:
        kind = first >> 4
        if kind == 1:
            self._send(CONNACK, b"\0\0" + bytes((len(self._properties),)) + self._properties)
        elif kind == SUBSCRIBE:
            self._send(SUBACK, body[:2] + b"\0\1")
        elif kind == PINGREQ:
            self._send(PINGRESP, b"")
        elif kind == PUBLISH and first & 6:
            end = 2 + int.from_bytes(body[:2])
            self.topics.append(body[2:end].decode().rsplit("/", 1)[-1])
            self._owed.append(body[end : end + 2])
            self.most = max(self.most, len(self._owed))
            if self.acknowledges:
                self.acknowledge()

    def acknowledge(self) -> None:
        for mid in self._owed:
            self._send(PUBACK, mid)
        self._owed.clear()

    def _send(self, kind: int, body: bytes) -> None:
        self.send(bytes((kind << 4, len(body))) + body)

    def send(self, data: bytes) -> None:
        assert self._writer is not None
        self._writer.write(data)


@asynccontextmanager
async def slow(properties: bytes) -> AsyncIterator[tuple[Slow, BrokerConfig]]:
    broker = Slow(properties)
    server = await asyncio.start_server(broker.client, "127.0.0.1", 0)
    try:
        yield broker, BrokerConfig(port=server.sockets[0].getsockname()[1])
        await broker.gone.wait()
    finally:
        server.close()


def station(broker: BrokerConfig, address: Address, lab: "Lab") -> StationLink:
    desk = TriggerDesk(address.station, lab.session, TriggerLimits(), probe=lab.ears)
    return StationLink(broker, address, session=lab.session, triggers=desk, on_trigger=lambda _: None, probe=lab.ears)


async def test_no_more_publishes_are_unanswered_than_the_broker_bears(address: Address, lab: "Lab") -> None:
    async with slow(b"\x21\x00\x05") as (broker, config):
        link = station(config, address, lab)
        async with lab.running(link):
            await lab.eventually(lambda: link.connected and "heartbeat" in broker.topics)
            broker.acknowledges = False
            triggers = [lab.trigger(seq, response_topic="answers") for seq in range(1, 10)]
            said = [link.say(lab.verdict(trigger=trigger, seq=int(trigger.id))) for trigger in triggers]
            assert said == [True] * 3 + [False] * 6
            assert lab.ears.late == 6
            assert lab.ears.unsent == ["response"]
            link.set_state("not_ready", "camera_lost", "m")
            await lab.eventually(lambda: broker.topics[-1] == "verdict" and broker.topics.count("verdict") == 3)
            assert broker.topics.count("answers") == 2
            broker.acknowledges = True
            broker.acknowledge()
            await lab.eventually(lambda: broker.topics[-1] == "state")
            assert link.say(lab.verdict(seq=20))
            await lab.eventually(lambda: broker.topics[-1] == "verdict")
            assert link.connected
        assert broker.most == 5


async def test_a_verdict_that_is_larger_than_the_broker_takes_is_not_said(
    tmp_path: Path, address: Address, lab: "Lab", start_mosquitto: "StartMosquitto", caplog: pytest.LogCaptureFixture
) -> None:
    broker = start_mosquitto(tmp_path, "allow_anonymous true", "max_packet_size 190")
    try:
        link = station(BrokerConfig(port=broker.port), address, lab)
        async with lab.running(link):
            await lab.eventually(lambda: link.connected)
            assert not link.say(lab.verdict(seq=1))
            assert link.obstacle == "publish_refused: verdict"
            assert lab.ears.unsent == ["verdict"]
            assert link.connected
        assert "more than the broker takes (190)" in caplog.text
    finally:
        broker.stop()


@pytest.mark.parametrize(
    ("properties", "will", "why"),
    [
        (b"\x24\x00", None, "QoS 0 only"),
        (b"\x25\x00", ("t", b"w"), "no retained messages"),
    ],
)
async def test_a_broker_that_cannot_serve_us_is_told_apart(
    properties: bytes, will: tuple[str, bytes] | None, why: str
) -> None:
    async with slow(properties) as (_, config):
        connection = Connection(config, "c", link="l", will=will)
        with pytest.raises(BrokerError, match=why):
            await connection.open()
        connection.abort()


async def test_a_broker_without_retained_messages_takes_records() -> None:
    async with slow(b"\x25\x00") as (_, config):
        connection = Connection(config, "c", link="l")
        await connection.open()
        await connection.close()


def flood(count: int) -> bytes:
    return b"".join(b"\x30" + bytes((2 + 1 + 1 + 6,)) + b"\0\1t\0" + b"%06d" % number for number in range(count))


async def test_a_flood_leaves_the_event_loop_to_others(monkeypatch: pytest.MonkeyPatch, lab: "Lab") -> None:
    heard, reads, most = list[bytes](), 0, 0
    recv, readable = paho.Client._sock_recv, Connection._readable

    def counted(self: Any, size: int) -> Any:
        nonlocal reads
        reads += 1
        return recv(self, size)

    def measured(self: Connection) -> None:
        nonlocal reads, most
        reads = 0
        readable(self)
        most = max(most, reads)

    monkeypatch.setattr(paho.Client, "_sock_recv", counted)
    monkeypatch.setattr(Connection, "_readable", measured)
    monkeypatch.setattr("transport.mqtt.connection._READ_S", 60.0)
    async with slow(b"") as (broker, config):
        broker.acknowledges = False
        connection = Connection(config, "c", link="l", on_message=lambda message: heard.append(message.payload))
        await connection.open()
        for _ in range(30):
            connection.publish("x", b"")
        broker.send(flood(15_000))
        await lab.eventually(lambda: len(heard) == 15_000, 60)
        assert [int(body) for body in heard] == list(range(15_000))
        assert most == 1
        await connection.close()


async def test_what_was_read_at_once_is_handled_bit_by_bit_and_completely(
    monkeypatch: pytest.MonkeyPatch, lab: "Lab"
) -> None:
    heard, turns = list[int](), list[int]()
    monkeypatch.setattr("transport.mqtt.connection._READ_S", 0.0)
    async with slow(b"") as (broker, config):
        turn = 0
        connection = Connection(config, "c", link="l", on_message=lambda message: heard.append(int(message.payload)))
        await connection.open()
        broker.send(flood(2000))
        while len(heard) < 2000:
            turn += 1
            turns.append(len(heard))
            await asyncio.sleep(0)
        assert heard == list(range(2000))
        assert max(after - before for before, after in itertools.pairwise(turns)) <= 4
        await connection.close()
