"""The MQTT 5 properties of what we send."""

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


def of_connect(max_packet_bytes: int) -> Properties:
    """The largest packet that the broker may send us."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = max_packet_bytes
    return properties


def of_publish(expiry_s: int | None, response_topic: str | None, correlation: bytes | None) -> Properties | None:
    """The properties of a publish, None for none."""
    if expiry_s is None and response_topic is None and correlation is None:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if expiry_s is not None:
        properties.MessageExpiryInterval = max(1, expiry_s)
    if response_topic is not None:
        properties.ResponseTopic = response_topic
    if correlation is not None:
        properties.CorrelationData = correlation
    return properties
