"""A message as it came, without any client library's types."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Incoming:
    """`retained` is MQTT's flag; `response_topic` and `correlation` are MQTT 5's, where the sender gave them.

    `earliest` is monotonic seconds: the broker did not send it before; None where that is not known.
    """

    topic: str
    payload: bytes
    retained: bool = False
    response_topic: str | None = None
    correlation: bytes | None = None
    earliest: float | None = None
