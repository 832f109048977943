"""What a camera's child and its parent say to each other: one message a datagram, over a socket pair.

A message is a line of JSON, `[kind, field, ...]`, and behind it the bytes of its arrays. Nothing that is received can
name code: a child runs a camera maker's library, and its messages are read like anybody else's.
"""

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

import numpy as np

from camera.ring import Place
from inspection.frame import Missed
from inspection.impression import HISTOGRAM_BINS, SCENE_SIDE, Impression
from inspection.part import Label
from inspection.verdict import Reason

MAX_BYTES = 32 * 1024

_IN_A_FILE = b"file"
_MEANS = ("pictures", "brightness", "contrast", "texture", "sharpness")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Parent to child: a picture exposed at or after `since`, no use after `deadline` (monotonic seconds)."""

    request: int
    since: float
    deadline: float


@dataclass(frozen=True, slots=True)
class Make:
    """Parent to child: from the next picture on, crops by each of these recipes, told by name and text."""

    recipes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Making:
    """The answer to Make: every picture after this message has crops by these recipes."""

    recipes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """The camera is open; `streaming` as in camera.camera."""

    streaming: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """A whole picture that lies in the ring for frames."""

    place: Place
    number: int
    captured: float
    bit_depth: int
    source: str
    label: Label | None


@dataclass(frozen=True, slots=True)
class Taken:
    """A picture and, at `places`, its crops by recipe; `unmade`: why a recipe made none.

    `request` is the one it answers, 0 where none was asked.
    """

    request: int
    seen: Seen
    places: Mapping[str, Place]
    ready: float
    unmade: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unusable:
    """No picture, or one (`seen`) that must not be judged."""

    request: int
    missed: Missed
    seen: Seen | None = None


@dataclass(frozen=True, slots=True)
class Looked:
    """What the last pictures that were handed over looked like."""

    impression: Impression


@dataclass(frozen=True, slots=True)
class Alive:
    """The camera streams, and nobody asked for its pictures. `problem`: what is wrong with the last one."""

    problem: str = ""


@dataclass(frozen=True, slots=True)
class Gone:
    """The camera cannot go on and the child ends."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The source has no more pictures and the child ends."""


ToParent = Opened | Making | Taken | Unusable | Looked | Alive | Gone | Ended
ToChild = Wanted | Make

_PLAIN: dict[str, type[Wanted | Make | Opened | Alive | Ended]] = {
    kind.__name__: kind for kind in (Wanted, Make, Opened, Alive, Ended)
}
"""Those whose fields cross as they are."""


def send(sock: socket.socket, message: ToChild | ToParent) -> None:
    """Raises BlockingIOError on a non-blocking socket whose other side does not read, OSError when it is gone."""
    data = encode(message)
    if len(data) <= MAX_BYTES:
        sock.send(data)
        return
    with os.fdopen(os.memfd_create("linegate-message", os.MFD_CLOEXEC), "wb") as file:  # a recipe may hold a picture
        file.write(data)
        file.flush()
        socket.send_fds(sock, [_IN_A_FILE], [file.fileno()])


def receive(sock: socket.socket) -> ToChild | ToParent | None:
    """The next message; None when the other side is gone. Raises BlockingIOError on a non-blocking socket.

    Raises ValueError for what is no message.
    """
    data, files, _, _ = socket.recv_fds(sock, MAX_BYTES, 1)
    for fd in files:
        with os.fdopen(fd, "rb") as file:
            file.seek(0)
            data = file.read()
    return decode(data) if data else None


def encode(message: ToChild | ToParent) -> bytes:
    fields: list[Any]
    arrays = b""
    match message:
        case Taken():
            places = {recipe: _place(place) for recipe, place in message.places.items()}
            fields = [message.request, _seen(message.seen), places, message.ready, dict(message.unmade)]
        case Unusable(request, missed, seen):
            lost = [missed.camera, missed.number, missed.reason, missed.captured, missed.detail, missed.source]
            fields = [request, lost, seen and _seen(seen)]
        case Looked(impression):
            fields = [getattr(impression, name) for name in _MEANS]
            arrays = impression.histogram.tobytes() + impression.scene.tobytes()
        case Make():
            fields = [dict(message.recipes)]
        case Making():
            fields = [message.recipes]
        case Gone():
            fields = [message.reason, message.detail]
        case Wanted() | Opened() | Alive() | Ended():
            fields = [getattr(message, name) for name in message.__slots__]
        case _:
            assert_never(message)
    return json.dumps([type(message).__name__, *fields]).encode() + b"\n" + arrays


def decode(data: bytes) -> ToChild | ToParent:
    """Raises ValueError for what is no message."""
    head, _, arrays = data.partition(b"\n")
    try:
        return _message(*json.loads(head), arrays=arrays)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not a message: {head[:100]!r}") from error


def _message(kind: str, *fields: Any, arrays: bytes) -> ToChild | ToParent:
    match kind:
        case "Taken":
            request, seen, places, ready, unmade = fields
            return Taken(request, _seen_of(seen), {r: _place_of(p) for r, p in places.items()}, ready, unmade)
        case "Unusable":
            request, missed, seen = fields
            return Unusable(request, _missed_of(missed), seen and _seen_of(seen))
        case "Looked":
            return Looked(_impression(*fields, arrays=arrays))
        case "Making":
            return Making(tuple(*fields))
        case "Gone":
            reason, detail = fields
            return Gone(Reason(reason), detail)
        case _ if kind in _PLAIN:
            return _PLAIN[kind](*fields)
        case _:
            raise ValueError(f"no such message: {kind}")


def _place(place: Place) -> list[Any]:
    return [place.slot, place.generation, place.shape, place.dtype]


def _place_of(fields: list[Any]) -> Place:
    slot, generation, shape, dtype = fields
    return Place(slot, generation, tuple(shape), dtype)


def _seen(seen: Seen) -> list[Any]:
    return [_place(seen.place), seen.number, seen.captured, seen.bit_depth, seen.source, seen.label]


def _seen_of(fields: list[Any]) -> Seen:
    place, number, captured, bit_depth, source, label = fields
    return Seen(_place_of(place), number, captured, bit_depth, source, None if label is None else Label(label))


def _missed_of(fields: list[Any]) -> Missed:
    camera, number, reason, captured, detail, source = fields
    return Missed(camera, number, Reason(reason), captured, detail, source)


def _impression(pictures: int, *means: float, arrays: bytes) -> Impression:
    histogram = np.frombuffer(arrays, np.float64, HISTOGRAM_BINS)
    scene = np.frombuffer(arrays, np.float32, offset=histogram.nbytes).reshape(SCENE_SIDE, SCENE_SIDE)
    brightness, contrast, texture, sharpness = means
    return Impression(pictures, brightness, contrast, texture, sharpness, histogram, scene)
