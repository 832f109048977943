"""A client of the embedded broker that publishes more than a subscriber can take."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator

import pytest

from tests.transport.conftest import Lab
from transport import flood
from transport.broker import EmbeddedBroker
from transport.flood import BURST, Banned, Meter
from transport.front import Front
from transport.mqtt.config import BrokerConfig

VERSIONS = {"5": (5, b"\x00"), "3.1.1": (4, b"")}


def packet(kind: int, body: bytes) -> bytes:
    length = bytearray()
    left = len(body)
    while True:
        left, low = divmod(left, 128)
        length.append(low | (0x80 if left else 0))
        if not left:
            return bytes((kind,)) + bytes(length) + body


def connect(name: str, version: str) -> bytes:
    level, properties = VERSIONS[version]
    head = b"\x00\x04MQTT" + bytes((level, 2)) + (60).to_bytes(2) + properties
    return packet(0x10, head + len(name).to_bytes(2) + name.encode())


def publish(topic: str, payload: bytes, version: str) -> bytes:
    return packet(0x30, len(topic).to_bytes(2) + topic.encode() + VERSIONS[version][1] + payload)


@pytest.fixture
async def front(embedded: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Front]:
    """Before the embedded broker, with limits that a test can wait for."""
    monkeypatch.setattr(flood, "RATE_HZ", 200.0)
    monkeypatch.setattr(flood, "BURST", 100)
    monkeypatch.setattr(flood, "PATIENCE_S", 0.5)
    made = Front("127.0.0.1", 0, upstream=embedded.port)
    await made.start()
    yield made
    await made.close()


async def answer_to(front: Front, name: str, version: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(connect(name, version))
    async with asyncio.timeout(20):
        kind, length = await reader.readexactly(2)
        body = await reader.readexactly(length)
    assert kind == 0x20
    return reader, writer, body


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_that_floods_is_disconnected_and_kept_out_and_others_are_served(
    front: Front, lab: Lab, version: str
) -> None:
    plc = await lab.listen(BrokerConfig(port=front.port, version="5"), "flood/#")
    _, writer, body = await answer_to(front, f"hog-{version}", version)
    assert body[1] == 0
    messages = publish("flood/a", b"x" * 20, version) * 1000

    async def pour() -> None:
        while True:
            writer.write(messages)
            await writer.drain()

    with pytest.raises(ConnectionError):
        async with asyncio.timeout(20):
            await pour()
    async with asyncio.timeout(20):
        plc.connection.publish("flood/ping", b"{}")
        while not plc.on("flood/ping"):
            await asyncio.sleep(0.01)

    assert 100 <= len(plc.heard) < 2000
    refused = {"5": 0x97, "3.1.1": 3}[version]
    for name, code in ((f"hog-{version}", refused), ("another", 0)):
        _, another, body = await answer_to(front, name, version)
        assert body[1] == code
        another.close()
    writer.close()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_that_waits_for_acknowledgements_is_only_slowed_down(
    front: Front, lab: Lab, version: str
) -> None:
    broker = BrokerConfig(port=front.port, version=version)
    plc = await lab.listen(broker, "slow/#")
    sent = 0
    async with asyncio.timeout(60):
        while sent < 500:
            while plc.connection.unacked < 20 and sent < 500:
                assert plc.connection.publish("slow/a", b"x" * 2000) is not None
                sent += 1
            await asyncio.sleep(0.005)
        while len(plc.heard) < sent:
            await asyncio.sleep(0.005)
    assert not plc.connection.lost.is_set()


def test_publishes_are_counted_wherever_a_chunk_ends() -> None:
    sizes = [0, 1, 100, 127, 128, 300, 20_000]
    chance = random.Random(7)
    stream, publishes = b"", 0
    for _ in range(100):
        kind = chance.choice([0x30, 0x32, 0x40, 0xC0])
        publishes += kind >> 4 == 3
        stream += packet(kind, bytes(chance.choice(sizes)))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for most in (3, 50, 10_000):
            meter, at, count = Meter(ours, 0.0), 0, 0
            while at < len(stream):
                step = chance.randint(1, most)
                count += meter._begun(stream[at : at + step])
                at += step
            assert count == publishes


def test_a_burst_is_free_and_what_follows_is_as_slow_as_the_rate() -> None:
    ours, theirs = socket.socketpair()
    one = publish("t", b"", "5")
    with ours, theirs:
        meter = Meter(ours, 0.0)
        assert meter.take(one * (BURST - 10), 0.0) == 0
        assert meter.take(one * 510, 0.0) == pytest.approx(500 / flood.RATE_HZ, rel=0.02)
        assert meter.take(one, 60.0) == 0


def test_who_is_kept_out_may_come_back_later_and_is_not_remembered_for_ever() -> None:
    banned = Banned()
    banned.add(b"first", 0.0)
    assert banned.has(b"first", flood.BANNED_S - 1)
    assert not banned.has(b"first", flood.BANNED_S + 1)
    for number in range(flood.MAX_BANNED):
        banned.add(str(number).encode(), 0.0)
    assert not banned.has(b"first", 0.0)
