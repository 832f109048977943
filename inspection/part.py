"""The thing inspected, and the request to inspect it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

PartId = NewType("PartId", str)


class Label(StrEnum):
    """What a picture is known to show; comes only with labelled replays, never from a live camera."""

    OK = "ok"
    NG = "ng"


@dataclass(frozen=True, slots=True)
class Trigger:
    """An accepted request to inspect one part.

    `id` is echoed exactly as the PLC sent it (text or integer). `deadline` is monotonic seconds; `window_ms` is
    what the PLC asked for. `response_topic` and `correlation` are MQTT 5's, where the PLC gave them.
    """

    id: str | int
    part: PartId
    received: float
    deadline: float
    window_ms: int
    response_topic: str | None = None
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One part in inspection: what is opened in the ledger and closed by exactly one verdict.

    `opened` and `deadline` are monotonic seconds. `trigger` is None on a free-running station. `seq` counts the
    parts of one station in one session from 1.
    """

    station: str
    id: PartId
    seq: int
    opened: float
    deadline: float
    trigger: Trigger | None = None
