"""A station's live side, over every broker and version."""

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from inspection import clock
from inspection.part import Trigger
from transport.link import StationLink
from transport.mqtt.config import BrokerConfig
from transport.mqtt.connection import Connection
from transport.triggers import TriggerDesk, TriggerLimits
from transport.wire import Address

if TYPE_CHECKING:
    from tests.transport.conftest import Lab


class Station:
    """A link whose triggers are kept, with the answers left to the test."""

    def __init__(self, broker: BrokerConfig, address: Address, lab: "Lab", **limits: Any) -> None:
        self.triggers: list[Trigger] = []
        desk = TriggerDesk(address.station, lab.session, TriggerLimits(**limits), probe=lab.ears)
        self.link = StationLink(
            broker, address, session=lab.session, triggers=desk, on_trigger=self.triggers.append, probe=lab.ears
        )
        self.run = self.link.run


@pytest.fixture
async def station(broker: BrokerConfig, address: Address, lab: "Lab") -> Station:
    return Station(broker, address, lab)


async def test_a_trigger_is_answered_by_its_verdict(
    station: Station, broker: BrokerConfig, address: Address, lab: "Lab"
) -> None:
    plc = await lab.listen(broker, address.verdict)
    async with lab.running(station):
        await lab.eventually(lambda: station.link.connected)
        plc.connection.publish(address.trigger, b'{"trigger":"A17","deadline_ms":900}')
        await lab.eventually(lambda: bool(station.triggers))

        assert station.link.say(lab.verdict(trigger=station.triggers[0]))

        (verdict,) = await plc.until(1, address.verdict)
    assert verdict["trigger"] == "A17"
    assert verdict["verdict"] == "PASS"
    assert verdict["session"] == lab.session


async def test_a_verdict_is_not_published_after_its_deadline(
    station: Station, broker: BrokerConfig, address: Address, lab: "Lab"
) -> None:
    plc = await lab.listen(broker, address.verdict)
    async with lab.running(station):
        await lab.eventually(lambda: station.link.connected)

        assert not station.link.say(lab.verdict(seq=1, window_s=-0.001))
        assert station.link.say(lab.verdict(seq=2))

        (verdict,) = await plc.until(1, address.verdict)
    assert verdict["seq"] == 2
    assert lab.ears.late == 1


async def test_state_tells_of_start_change_and_shutdown(
    station: Station, broker: BrokerConfig, address: Address, lab: "Lab"
) -> None:
    plc = await lab.listen(broker, address.state)
    async with lab.running(station):
        await plc.until(1, address.state)
        station.link.set_state("ready", "", "0123456789ab")
        await plc.until(2, address.state)
    said = await plc.until(3, address.state)
    assert [(s["state"], s["reason"]) for s in said] == [
        ("not_ready", "starting"),
        ("ready", ""),
        ("offline", "shutdown"),
    ]


async def test_the_will_says_offline_when_the_connection_breaks(
    station: Station, broker: BrokerConfig, address: Address, lab: "Lab"
) -> None:
    plc = await lab.listen(broker, address.state)
    async with lab.running(station):
        await plc.until(1, address.state)
        assert station.link._connection is not None
        station.link._connection.abort()
        said = await plc.until(3, address.state)
    assert [(s["state"], s["reason"]) for s in said] == [
        ("not_ready", "starting"),
        ("offline", "connection_lost"),
        ("not_ready", "starting"),
    ]


async def test_a_state_that_somebody_else_retained_is_put_right(
    *, station: Station, broker: BrokerConfig, address: Address, lab: "Lab", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transport.link.HEARTBEAT_S", 0.02)
    monkeypatch.setattr("transport.link.STATE_EVERY", 5)
    stranger = await lab.listen(broker, address.state)
    async with lab.running(station):
        await stranger.until(1, address.state)
        stranger.connection.publish(address.state, b'{"state":"ready","session":"another"}', retain=True)
        await lab.eventually(
            lambda: [s["session"] == lab.session for s in stranger.on(address.state)][-2:] == [False, True]
        )
        plc = await lab.listen(broker, address.state)
        (now, *_) = await plc.until(1, address.state)
    assert (now["state"], now["session"]) == ("not_ready", lab.session)


async def test_a_wrong_trigger_is_answered_on_refused(
    station: Station, broker: BrokerConfig, address: Address, lab: "Lab"
) -> None:
    plc = await lab.listen(broker, address.refused)
    async with lab.running(station):
        await lab.eventually(lambda: station.link.connected)
        plc.connection.publish(address.trigger, b"garbage")
        plc.connection.publish(address.trigger, json.dumps({"trigger": 7, "session": "00000000"}).encode())
        plc.connection.publish(address.trigger, b'{"trigger":8}')
        plc.connection.publish(address.trigger, b'{"trigger":8}')
        plc.connection.publish(address.trigger, json.dumps({"trigger": 9, "t": clock.utc() - 60}).encode())
        answers = await plc.until(4, address.refused)
    assert [(a["trigger"], a["reason"]) for a in answers] == [
        (None, "malformed"),
        (7, "wrong_session"),
        (8, "duplicate_trigger"),
        (9, "expired"),
    ]
    assert lab.ears.refused == [a["reason"] for a in answers]


async def test_a_trigger_that_waited_while_we_were_away_is_never_acted_on(
    station: Station, broker: BrokerConfig, address: Address, lab: "Lab"
) -> None:
    plc = await lab.listen(broker, address.verdict)
    async with lab.running(station):
        await lab.eventually(lambda: station.link.connected)
    plc.connection.publish(address.trigger, b'{"trigger":"away"}')
    await plc.connection.all_acked()
    async with lab.running(station):
        await lab.eventually(lambda: station.link.connected)
        plc.connection.publish(address.trigger, b'{"trigger":"here"}')
        await lab.eventually(lambda: bool(station.triggers))
    assert [t.id for t in station.triggers] == ["here"]


async def test_a_failing_callback_costs_its_message_and_not_the_link(
    broker: BrokerConfig, address: Address, lab: "Lab"
) -> None:
    heard: list[Trigger] = []

    def fragile(trigger: Trigger) -> None:
        if trigger.id == "boom":
            raise RuntimeError("a fault of the station")
        heard.append(trigger)

    desk = TriggerDesk(address.station, lab.session, TriggerLimits(), probe=lab.ears)
    link = StationLink(broker, address, session=lab.session, triggers=desk, on_trigger=fragile, probe=lab.ears)
    plc = await lab.listen(broker)
    async with lab.running(link):
        await lab.eventually(lambda: link.connected)
        plc.connection.publish(address.trigger, b'{"trigger":"boom"}')
        plc.connection.publish(address.trigger, b'{"trigger":"next"}')
        await lab.eventually(lambda: bool(heard))
        assert link.connected
    assert [t.id for t in heard] == ["next"]
    assert lab.ears.failed_callbacks == 1


@pytest.mark.parametrize("broker", ["embedded-5", "mosquitto-5"], indirect=True)
async def test_an_mqtt5_response_topic_gets_the_verdict_with_its_correlation(
    station: Station, broker: BrokerConfig, address: Address, lab: "Lab"
) -> None:
    reply = f"plc/{address.station}/reply"
    plc = await lab.listen(broker, address.verdict, reply)
    async with lab.running(station):
        await lab.eventually(lambda: station.link.connected)
        plc.connection.publish(address.trigger, b'{"trigger":"A"}', response_topic=reply, correlation=b"\x00\x01seven")
        await lab.eventually(lambda: bool(station.triggers))
        station.link.say(lab.verdict(trigger=station.triggers[0]))
        (answer,) = await plc.until(1, reply)
        (verdict,) = await plc.until(1, address.verdict)
        plc.connection.publish(address.trigger, b'{"trigger":"A"}', response_topic=reply, correlation=b"again")
        refusal = (await plc.until(2, reply))[1]
    assert answer == verdict
    assert refusal["reason"] == "duplicate_trigger"
    assert [m.correlation for _, m in plc.heard if m.topic == reply] == [b"\x00\x01seven", b"again"]


async def test_a_connection_that_another_client_took_over_says_so(broker: BrokerConfig) -> None:
    first, second = (Connection(broker, broker.client_id, link="test") for _ in range(2))
    await first.open()
    await second.open()
    async with asyncio.timeout(10):
        await first.lost.wait()
    assert broker.client_id in first.why_lost or "taken over" in first.why_lost.lower()
    assert not second.lost.is_set()
    for connection in (first, second):
        await connection.close()
        connection.abort()
