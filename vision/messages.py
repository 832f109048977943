"""What the worker and its child say to each other.

A message is a line of JSON, `[kind, field, ...]`, and behind it the bytes of its scores. Nothing that is received can
name code.
"""

import json
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Opened:
    """The backend is open and warm. `seconds_by_batch`: index 0 is batch 1."""

    backend: str
    seconds_by_batch: list[float]


@dataclass(frozen=True, slots=True)
class NotOpened:
    """The child ends. `invalid`: the model is at fault, so that another try will hardly help."""

    detail: str
    invalid: bool


@dataclass(frozen=True, slots=True)
class Job:
    """A batch: the first `size` slots of `place`."""

    id: int
    place: int
    size: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What the backend gave for a job, unchecked: float32. `seconds` is the time of the computation."""

    id: int
    scores: NDArray[np.float32]
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The backend raised."""

    id: int
    detail: str


FromChild = Opened | NotOpened | Answer | Failed


def send(pipe: Connection, message: Job | FromChild) -> None:
    """Raises OSError when the other side is gone."""
    pipe.send_bytes(encode(message))


def receive(pipe: Connection) -> Job | FromChild:
    """The next message. Raises EOFError or OSError when the other side is gone, ValueError for what is no message."""
    return decode(pipe.recv_bytes())


def encode(message: Job | FromChild) -> bytes:
    fields: list[Any]
    scores = b""
    match message:
        case Job():
            fields = [message.id, message.place, message.size]
        case Answer():
            fields = [message.id, message.scores.shape, message.seconds]
            scores = message.scores.tobytes()
        case Failed():
            fields = [message.id, message.detail]
        case Opened():
            fields = [message.backend, message.seconds_by_batch]
        case NotOpened():
            fields = [message.detail, message.invalid]
        case _:
            assert_never(message)
    return json.dumps([type(message).__name__, *fields]).encode() + b"\n" + scores


def decode(data: bytes) -> Job | FromChild:
    """Raises ValueError for what is no message."""
    head, _, scores = data.partition(b"\n")
    try:
        return _message(*json.loads(head), scores=scores)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not a message: {head[:100]!r}") from error


def _message(kind: str, *fields: Any, scores: bytes) -> Job | FromChild:
    match kind:
        case "Job":
            return Job(*fields)
        case "Answer":
            number, shape, seconds = fields
            return Answer(number, np.frombuffer(scores, np.float32).reshape(shape), seconds)
        case "Failed":
            return Failed(*fields)
        case "Opened":
            return Opened(*fields)
        case "NotOpened":
            return NotOpened(*fields)
        case _:
            raise ValueError(f"no such message: {kind}")
