"""What a broker can do less than MQTT allows, as MQTT 5 brokers say when they accept a connection."""

from dataclasses import dataclass
from typing import Any

from paho.mqtt.properties import Properties

_MOST = 65_535  # MQTT 5.0, section 3.2.2.3.3: what holds where the broker says nothing
_AROUND = 5 + 2 + 2 + 1
"""Bytes of a publish besides topic, payload and properties: header, topic length, packet id, empty properties."""


class PacketTooLargeError(ValueError):
    """The broker takes no packet of this size, and would end the connection upon it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`unacked`: how many QoS 1 publishes may be unanswered. `packet_bytes` 0: no limit."""

    unacked: int = _MOST
    packet_bytes: int = 0

    def check(self, topic: str, payload: bytes, properties: Properties | None) -> None:
        """Raises PacketTooLargeError."""
        size = len(topic.encode()) + len(payload) + _AROUND
        if properties is not None:
            size += len(properties.pack())  # type: ignore[no-untyped-call]
        if 0 < self.packet_bytes < size:
            raise PacketTooLargeError(
                f"{size} bytes are more than the broker takes ({self.packet_bytes}): raise its largest packet size"
            )


def limits_of(connack: Any) -> Limits:
    """`connack` holds the properties of the broker's CONNACK; None with MQTT 3.1.1, which knows no limits."""
    return Limits(getattr(connack, "ReceiveMaximum", _MOST), getattr(connack, "MaximumPacketSize", 0))


def shortcoming(connack: Any, *, retains: bool) -> str:
    """Why this broker cannot serve us, in words for people; empty where it can. `retains`: we publish retained."""
    if getattr(connack, "MaximumQoS", 1) < 1:
        return "the broker takes QoS 0 only, and linegate needs QoS 1: allow it there"
    if retains and not getattr(connack, "RetainAvailable", 1):
        return "the broker keeps no retained messages, and the station's state needs them: allow them there"
    return ""
