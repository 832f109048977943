"""What linegate's users may take for granted of a broker, the embedded one included."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from transport.mqtt.config import BrokerConfig

if TYPE_CHECKING:
    from tests.transport.conftest import Lab

VERSIONS = {"5": paho.MQTTv5, "3.1.1": paho.MQTTv311}


def client(broker: BrokerConfig, name: str, keepalive: int, on_message: Callable[[bytes], None]) -> paho.Client:
    """Connected to everything below the topic `name`; it sends and hears only what `loop` is called for."""
    made = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=VERSIONS[broker.version])
    made.will_set(f"{name}/will", b"gone", qos=1)
    made.on_message = lambda _client, _data, message: on_message(bytes(message.payload))
    made.connect(broker.host, broker.port, keepalive=keepalive)
    acknowledged: list[bool] = []
    made.on_subscribe = lambda *_: acknowledged.append(True)
    while not made.is_connected():
        assert made.loop(1.0) == paho.MQTT_ERR_SUCCESS
    made.subscribe(f"{name}/#", qos=1)
    while not acknowledged:
        assert made.loop(1.0) == paho.MQTT_ERR_SUCCESS
    return made


async def test_a_silent_client_is_declared_gone_although_messages_flow_to_it(
    broker: BrokerConfig, lab: "Lab", request: pytest.FixtureRequest
) -> None:
    name = f"silent-{request.node.callspec.id}"
    silent = client(broker, name, 1, lambda _payload: None)
    watcher = await lab.listen(broker, f"{name}/will")
    try:
        async with asyncio.timeout(10):
            while not watcher.heard:
                watcher.connection.publish(f"{name}/chatter", b"{}")
                await asyncio.sleep(0.05)
    finally:
        held = silent.socket()
        assert held is not None
        held.close()

    assert watcher.heard[0][1].payload == b"gone"


async def test_a_client_may_ask_for_no_keepalive(broker: BrokerConfig, request: pytest.FixtureRequest) -> None:
    heard: list[bytes] = []
    name = f"patient-{request.node.callspec.id}"
    patient = client(broker, name, 0, heard.append)

    patient.publish(f"{name}/own", b"echo", qos=1)
    while not heard:
        assert patient.loop(1.0) == paho.MQTT_ERR_SUCCESS

    assert heard == [b"echo"]
    patient.disconnect()
