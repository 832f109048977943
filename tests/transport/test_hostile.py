"""Clients that do everything wrong: each gets the answer that docs/reference/mqtt.md gives, and the station goes on."""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from transport.mqtt.config import BrokerConfig
from transport.wire import Address

if TYPE_CHECKING:
    from tests.transport.conftest import Answering, Lab, Listener

demo_broker = pytest.mark.parametrize("broker", ["embedded-5", "embedded-3.1.1"], indirect=True)
five = pytest.mark.parametrize("broker", ["embedded-5", "mosquitto-5"], indirect=True)


@pytest.fixture
async def station(broker: BrokerConfig, address: Address, tmp_path: Path, lab: "Lab") -> AsyncIterator["Answering"]:
    station = lab.answering(broker, address, tmp_path / "outbox")
    async with lab.running(station):
        await lab.eventually(lambda: station.link.connected)
        yield station


async def answered(plc: "Listener", address: Address, name: str) -> None:
    """A trigger sent now gets its PASS: everybody is well."""
    plc.connection.publish(address.trigger, json.dumps({"trigger": name}).encode())
    async with asyncio.timeout(10):
        while name not in [said["trigger"] for said in plc.on(address.verdict)]:
            await asyncio.sleep(0.005)


@demo_broker
async def test_malformed_triggers_are_each_refused(
    station: "Answering", broker: BrokerConfig, address: Address, lab: "Lab"
) -> None:
    bodies = [
        *(b"", b"\xff\xfe", b"{", b"[]", b"null", b"7", b"{}", b'{"trigger":null}', b'{"trigger":true}'),
        *(b'{"trigger":1.0}', b'{"trigger":-1}', b'{"trigger":9007199254740992}', b'{"trigger":""}'),
        *(b'{"trigger":"a\\"b"}', b'{"trigger":"%s"}' % (b"x" * 33), '{"trigger":"ä"}'.encode()),
        *(b'{"trigger":1,"part":1}', b'{"trigger":1,"deadline_ms":19}', b'{"trigger":1,"deadline_ms":60001}'),
        *(b'{"trigger":1,"deadline_ms":"500"}', b'{"trigger":1,"session":5}', b'{"trigger":1,"t":"now"}'),
        *(b'{"trigger":1,"t":NaN}', b'{"trigger":1,"t":1e999}', b'{"trigger":1,"trigger":2}'),
        *(b'{"trigger":%s}' % (b"9" * 4000), b'{"trigger":1,"t":%s}' % (b"9" * 4000)),
        b'{"trigger":1,"x":%s%s}' % (b"[" * 2000, b"]" * 2000),
    ]
    plc = await lab.listen(broker, address.refused, address.verdict)
    for body in bodies:
        plc.connection.publish(address.trigger, body)
    answers = await plc.until(len(bodies), address.refused)
    assert [(said["trigger"], said["reason"]) for said in answers] == [(None, "malformed")] * len(bodies)
    await answered(plc, address, "1")
    assert lab.ears.failed_callbacks == 0


@demo_broker
async def test_a_large_trigger_is_refused_and_a_huge_one_ends_its_sender(
    station: "Answering", broker: BrokerConfig, address: Address, lab: "Lab"
) -> None:
    plc = await lab.listen(broker, address.refused, address.verdict)
    sender = await lab.listen(broker)
    sender.connection.publish(address.trigger, b"a" * 4097)
    sender.connection.publish(address.trigger, b"a" * 200_000)
    assert [said["reason"] for said in await plc.until(2, address.refused)] == ["too_large"] * 2
    sender.connection.publish(address.trigger, b"a" * 1_000_000)
    async with asyncio.timeout(10):
        await sender.connection.lost.wait()
    await answered(plc, address, "after")
    assert lab.ears.refused == ["too_large"] * 2


@pytest.mark.parametrize("broker", ["embedded-5"], indirect=True)  # Mosquitto itself drops most of a flood
async def test_a_flood_is_accounted_for_and_answered_within_bounds(
    station: "Answering", broker: BrokerConfig, address: Address, lab: "Lab"
) -> None:
    plc, flooding = await lab.listen(broker, address.refused, address.verdict), await lab.listen(broker)
    sent = 3000
    for number in range(sent):
        # The broker slows it down: each verdict lives long enough to be heard.
        body = json.dumps({"trigger": number, "deadline_ms": 60_000}).encode()
        flooding.connection.publish(address.trigger, body)
        if number % 50 == 0:
            await asyncio.sleep(0)
    accepted = 0

    def complete() -> bool:
        nonlocal accepted
        accepted = station.seen
        return accepted + len(lab.ears.refused) == sent

    await lab.eventually(complete, timeout_s=60)
    # What the flood itself has kept waiting for longer than its window is refused for that.
    refused = Counter(lab.ears.refused)
    assert refused["flood"] + refused["expired"] == sent - accepted
    assert refused["flood"] > 0
    assert 200 <= accepted < sent / 2
    await lab.eventually(lambda: len(plc.on(address.verdict)) + lab.ears.late == accepted)
    assert 50 <= len(plc.on(address.refused)) < 50 + 20 * 20
    names = [said["trigger"] for said in plc.on(address.verdict)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("qos", [0, 2])
async def test_a_trigger_at_another_qos_is_taken_once(
    station: "Answering", broker: BrokerConfig, address: Address, lab: "Lab", *, qos: Literal[0, 2]
) -> None:
    plc = await lab.listen(broker, address.verdict)
    await asyncio.to_thread(publish_by_other_client, broker, address.trigger, b'{"trigger":"odd"}', qos=qos)
    await plc.until(1, address.verdict)
    await answered(plc, address, "next")
    assert [said["trigger"] for said in plc.on(address.verdict)] == ["odd", "next"]


def publish_by_other_client(
    broker: BrokerConfig, topic: str, body: bytes, *, qos: Literal[0, 1, 2], retain: bool = False
) -> None:
    """With a client that is not ours: ours knows neither QoS 2 nor a live retained message."""
    version = paho.MQTTv5 if broker.version == "5" else paho.MQTTv311
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version)
    client.connect(broker.host, broker.port)
    client.loop_start()
    try:
        deadline = time.monotonic() + 5
        while not client.is_connected() and time.monotonic() < deadline:
            time.sleep(0.005)
        client.publish(topic, body, qos=qos, retain=retain).wait_for_publish(5)
    finally:
        client.disconnect()
        client.loop_stop()


async def test_the_retained_copy_of_a_trigger_is_never_acted_on(
    broker: BrokerConfig, address: Address, tmp_path: Path, lab: "Lab"
) -> None:
    await asyncio.to_thread(publish_by_other_client, broker, address.trigger, b'{"trigger":"kept"}', qos=1, retain=True)
    station = lab.answering(broker, address, tmp_path / "outbox")
    plc = await lab.listen(broker, address.verdict)
    async with lab.running(station):
        await lab.eventually(lambda: station.link.connected)
        await answered(plc, address, "live")
    assert [said["trigger"] for said in plc.on(address.verdict)] == ["live"]
    assert set(lab.ears.refused) <= {"retained"}


async def test_a_trigger_published_retained_is_refused_where_the_flag_arrives_and_else_taken_once(
    station: "Answering", broker: BrokerConfig, address: Address, lab: "Lab", request: pytest.FixtureRequest
) -> None:
    plc = await lab.listen(broker, address.verdict, address.refused)
    await asyncio.to_thread(publish_by_other_client, broker, address.trigger, b'{"trigger":"kept"}', qos=1, retain=True)
    await answered(plc, address, "next")
    verdicts = [said["trigger"] for said in plc.on(address.verdict)]
    if "mosquitto-5" in request.node.name:
        assert verdicts == ["next"]
        assert [(said["trigger"], said["reason"]) for said in plc.on(address.refused)] == [(None, "retained")]
    else:
        assert verdicts == ["kept", "next"]
        assert lab.ears.refused == []


@five
@pytest.mark.parametrize("topic", ["$SYS/x", "linegate/demo/line1/other/verdict", "linegate/a/b/c/trigger", "a" * 257])
async def test_a_response_topic_that_could_do_harm_gets_no_answer(
    station: "Answering", broker: BrokerConfig, address: Address, lab: "Lab", *, topic: str
) -> None:
    plc = await lab.listen(broker, address.refused, address.verdict)
    victim = await lab.listen(broker, "linegate/demo/line1/other/verdict", "linegate/a/b/c/trigger")
    plc.connection.publish(address.trigger, b'{"trigger":"x"}', response_topic=topic)
    (answer,) = await plc.until(1, address.refused)
    assert (answer["trigger"], answer["reason"]) == (None, "malformed")
    await answered(plc, address, "next")
    assert victim.heard == []


GARBAGE = [
    b"GET / HTTP/1.0\r\n\r\n",
    bytes(range(256)) * 4,
    b"\x10\xff\xff\xff\x7f",
    b"\x10\xff\xff\xff\xff\xff",
    b"\x10\x05\x00\x04MQ",
    b"\x10\x0c\x00\x04MQTT\x09\x02\x00\x3c\x00\x00",
    b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\xff\xff" + b"\xff" * 100,
    b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01x" + b"\x30\x03\x00\xff\xff" + b"\xff" * 100,
    b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x" + b"\x30\x03\x00\xff\xff" + b"\x00" * 100,
    b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x" + b"\x82\x02\x00\x01",
    b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x" + b"\x32\x00",
]


@demo_broker
async def test_bytes_that_are_no_mqtt_cost_their_sender_alone(
    station: "Answering", broker: BrokerConfig, address: Address, lab: "Lab"
) -> None:
    plc = await lab.listen(broker, address.verdict)
    for data in GARBAGE:
        reader, writer = await asyncio.open_connection(broker.host, broker.port)
        writer.write(data)
        writer.write_eof()
        with contextlib.suppress(OSError):
            async with asyncio.timeout(10):
                await reader.read()
        writer.close()
    await answered(plc, address, "after")
    assert station.link.connected


@pytest.mark.parametrize("broker", ["embedded-5"], indirect=True)
async def test_a_subscriber_that_never_reads_holds_up_nobody(
    station: "Answering", broker: BrokerConfig, address: Address, lab: "Lab"
) -> None:
    reader, writer = await asyncio.open_connection(broker.host, broker.port, limit=1024)
    topic = f"{address.prefix}/#".encode()
    writer.write(b"\x10\x12\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x05" + address.station[:5].encode())
    writer.write(b"\x82" + bytes((6 + len(topic),)) + b"\x00\x01\x00" + len(topic).to_bytes(2) + topic + b"\x01")
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    plc = await lab.listen(broker, address.verdict)
    for number in range(20):
        plc.connection.publish(f"{address.prefix}/bulk", b"a" * 100_000, qos=0)
        await answered(plc, address, f"n{number}")
    assert station.link.connected
    assert lab.ears.late == 0
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await reader.read()
