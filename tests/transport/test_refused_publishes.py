"""What the broker's access list forbids is counted, told, and never taken for said."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from transport.link import StationLink
from transport.mqtt.config import BrokerConfig
from transport.mqtt.connection import Connection, SubscriptionError
from transport.triggers import TriggerDesk, TriggerLimits
from transport.wire import Address

if TYPE_CHECKING:
    from tests.transport.conftest import Lab, Mosquitto, StartMosquitto

TOPICS = ("trigger", "verdict", "refused", "state", "heartbeat", "command/result")


class Guarded:
    """A broker whose access list names the topics of a station, all but some; it can be changed while it runs."""

    def __init__(self, start: "StartMosquitto", folder: Path, address: Address) -> None:
        self._acl, self._address = folder / "acl", address
        self._write(())
        self.broker: Mosquitto = start(folder, "allow_anonymous true", f"acl_file {self._acl}", "user root")

    def _write(self, forbidden: tuple[str, ...]) -> None:
        allowed = [f"{self._address.prefix}/{topic}" for topic in TOPICS if topic not in forbidden]
        self._acl.write_text("".join(f"topic readwrite {topic}\n" for topic in allowed))

    async def forbid(self, *topics: str) -> None:
        """Returns once the broker keeps to it, which it does not say by itself."""
        self._write(topics)
        self.broker.reload()
        answers: list[str] = []
        asking = Connection(self.config(), "asking", link="test", on_acked=lambda _, refusal: answers.append(refusal))
        await asking.open()
        try:
            async with asyncio.timeout(10):
                while [bool(answer) for answer in answers] != [topic in topics for topic in TOPICS]:
                    answers.clear()
                    for topic in TOPICS:
                        asking.publish(f"{self._address.prefix}/{topic}", b"{}")
                    await asking.all_acked()
                    await asyncio.sleep(0)
        finally:
            await asking.close()

    def config(self, version: str = "5") -> BrokerConfig:
        return BrokerConfig.model_validate({"port": self.broker.port, "version": version})


@pytest.fixture
def guarded(start_mosquitto: "StartMosquitto", tmp_path: Path, address: Address) -> Iterator[Guarded]:
    guarded = Guarded(start_mosquitto, tmp_path, address)
    yield guarded
    guarded.broker.stop()


def station(broker: BrokerConfig, address: Address, lab: "Lab") -> StationLink:
    desk = TriggerDesk(address.station, lab.session, TriggerLimits(), probe=lab.ears)
    return StationLink(broker, address, session=lab.session, triggers=desk, on_trigger=lambda _: None, probe=lab.ears)


async def test_a_refused_verdict_was_not_said_and_the_station_is_not_ready(
    guarded: Guarded, address: Address, lab: "Lab", caplog: pytest.LogCaptureFixture
) -> None:
    link = station(guarded.config(), address, lab)
    async with lab.running(link):
        await lab.eventually(lambda: link.connected)
        taken = lab.verdict(seq=1)
        assert link.say(taken)
        told = link.told(taken)
        assert told is not None
        assert await told is True
        await guarded.forbid("verdict")

        for seq in range(2, 7):
            refused = lab.verdict(seq=seq)
            assert link.say(refused)
            told = link.told(refused)
            assert told is not None
            assert await told is False

        assert link.obstacle == "publish_refused: verdict"
        assert lab.ears.unsent == ["verdict"] * 5
        warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
        assert [text for text in warnings if "verdict" in text and "Not authorized" in text] == warnings
        assert len(warnings) == 1

        await guarded.forbid()
        again = lab.verdict(seq=7)
        assert link.say(again)
        await lab.eventually(lambda: link.obstacle == "")


async def test_a_station_whose_plc_asks_for_nothing_is_tried_again_after_a_while(
    guarded: Guarded, address: Address, lab: "Lab", monkeypatch: pytest.MonkeyPatch
) -> None:
    link = station(guarded.config(), address, lab)
    await guarded.forbid("verdict")
    async with lab.running(link):
        await lab.eventually(lambda: link.connected)
        link.say(lab.verdict())
        await lab.eventually(lambda: link.obstacle == "publish_refused: verdict")
        monkeypatch.setattr("transport.refusals.TRY_AGAIN_S", 0.0)
        assert link.obstacle == ""


@pytest.mark.parametrize("topic", ["state", "heartbeat"])
async def test_a_refused_state_or_heartbeat_is_an_obstacle_until_the_broker_takes_it(
    guarded: Guarded, address: Address, lab: "Lab", monkeypatch: pytest.MonkeyPatch, *, topic: str
) -> None:
    monkeypatch.setattr("transport.link.HEARTBEAT_S", 0.05)
    await guarded.forbid(topic)
    link = station(guarded.config(), address, lab)
    async with lab.running(link):
        await lab.eventually(lambda: link.obstacle == f"publish_refused: {topic}")
        await guarded.forbid()
        await lab.eventually(lambda: link.obstacle == "")


async def test_a_right_that_is_taken_away_from_an_idle_station_is_noticed(
    guarded: Guarded, address: Address, lab: "Lab", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transport.link.HEARTBEAT_S", 0.05)
    monkeypatch.setattr("transport.link.STATE_EVERY", 5)
    link = station(guarded.config(), address, lab)
    async with lab.running(link):
        await lab.eventually(lambda: link.connected)
        await guarded.forbid("heartbeat")
        await lab.eventually(lambda: link.obstacle == "publish_refused: heartbeat")


async def test_a_refusal_and_a_strangers_response_topic_that_are_refused_are_counted_and_stop_nothing(
    guarded: Guarded, address: Address, lab: "Lab"
) -> None:
    await guarded.forbid("refused")
    link = station(guarded.config(), address, lab)
    plc = await lab.listen(guarded.config())
    async with lab.running(link):
        await lab.eventually(lambda: link.connected)
        plc.connection.publish(address.trigger, b"garbage", response_topic="not/allowed")
        await lab.eventually(lambda: sorted(lab.ears.unsent) == ["refused", "response"])
        assert link.obstacle == ""


async def test_what_the_broker_does_not_acknowledge_stays_unknown(
    own_broker: "Mosquitto", address: Address, lab: "Lab"
) -> None:
    link = station(BrokerConfig(port=own_broker.port), address, lab)
    async with lab.running(link):
        await lab.eventually(lambda: link.connected)
        own_broker.freeze()
        verdict = lab.verdict()
        assert link.say(verdict)
        told = link.told(verdict)
        assert told is not None
        assert await told is None
        own_broker.thaw()
    assert link.told(verdict) is None


async def test_mqtt_311_shows_no_refusal(guarded: Guarded, address: Address, lab: "Lab") -> None:
    """The contract says so: whoever wants to know uses MQTT 5."""
    await guarded.forbid("verdict")
    link = station(guarded.config("3.1.1"), address, lab)
    plc = await lab.listen(guarded.config(), address.verdict)
    async with lab.running(link):
        await lab.eventually(lambda: link.connected)
        verdict = lab.verdict()
        assert link.say(verdict)
        told = link.told(verdict)
        assert told is not None
        assert await told is True
    assert plc.heard == []


@pytest.mark.parametrize("broker", ["mosquitto-5", "mosquitto-3.1.1"], indirect=True)
async def test_a_refused_subscription_leaves_the_connection_and_is_tried_again(
    broker: BrokerConfig, address: Address, lab: "Lab", monkeypatch: pytest.MonkeyPatch
) -> None:
    refused, subscribe = True, Connection.subscribe

    async def guarded_subscribe(connection: Connection, topic: str, *, retained: bool = False) -> None:
        if refused and topic == address.trigger:
            raise SubscriptionError(f"{topic}: subscription refused")
        await subscribe(connection, topic, retained=retained)

    monkeypatch.setattr("transport.link.HEARTBEAT_S", 0.02)
    monkeypatch.setattr(Connection, "subscribe", guarded_subscribe)
    link = station(broker, address, lab)
    plc = await lab.listen(broker)
    async with lab.running(link):
        await lab.eventually(lambda: link.connected and link.obstacle == "subscription_refused: trigger")
        refused = False
        await lab.eventually(lambda: link.obstacle == "")
        plc.connection.publish(address.trigger, b"garbage")
        await lab.eventually(lambda: lab.ears.refused == ["malformed"])
