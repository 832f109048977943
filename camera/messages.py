"""What a camera's child and its parent say to each other: one message a datagram, over a socket pair."""

import pickle
import socket
from dataclasses import dataclass

from camera.ring import Place
from inspection.frame import Missed
from inspection.part import Label
from inspection.verdict import Reason

MAX_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class Wanted:
    """Parent to child: a picture exposed at or after `since`, no use after `deadline` (monotonic seconds)."""

    request: int
    since: float
    deadline: float


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
    """A picture and, at `place`, its crops. `request` is the one it answers, 0 where none was asked."""

    request: int
    seen: Seen
    place: Place
    ready: float


@dataclass(frozen=True, slots=True)
class Unusable:
    """No picture, or one (`seen`) that must not be judged."""

    request: int
    missed: Missed
    seen: Seen | None = None


@dataclass(frozen=True, slots=True)
class Alive:
    """The camera streams, and nobody asked for its pictures."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The camera cannot go on and the child ends."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The source has no more pictures and the child ends."""


ToParent = Opened | Taken | Unusable | Alive | Gone | Ended


def send(sock: socket.socket, message: Wanted | ToParent) -> None:
    sock.send(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))


def receive(sock: socket.socket) -> Wanted | ToParent | None:
    """The next message; None when the other side is gone. Raises BlockingIOError on a non-blocking socket."""
    data = sock.recv(MAX_BYTES)
    # Both ends are this program's own processes on an unnamed socket pair.
    message: Wanted | ToParent | None = pickle.loads(data) if data else None  # noqa: S301
    return message
