"""What a camera's child and its parent say to each other: one message a datagram, over a socket pair."""

import os
import pickle
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from camera.ring import Place
from inspection.frame import CropMaker, Missed
from inspection.impression import Impression
from inspection.part import Label
from inspection.verdict import Reason

MAX_BYTES = 32 * 1024

_IN_A_FILE = b"file"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Parent to child: a picture exposed at or after `since`, no use after `deadline` (monotonic seconds)."""

    request: int
    since: float
    deadline: float


@dataclass(frozen=True, slots=True)
class Make:
    """Parent to child: from the next picture on, crops by each of these recipes."""

    makers: Mapping[str, CropMaker]


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
    """The camera streams, and nobody asked for its pictures."""


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


def send(sock: socket.socket, message: ToChild | ToParent) -> None:
    """Raises BlockingIOError on a non-blocking socket whose other side does not read, OSError when it is gone."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    if len(data) <= MAX_BYTES:
        sock.send(data)
        return
    with os.fdopen(os.memfd_create("linegate-message", os.MFD_CLOEXEC), "wb") as file:  # a recipe may hold a picture
        file.write(data)
        file.flush()
        socket.send_fds(sock, [_IN_A_FILE], [file.fileno()])


def receive(sock: socket.socket) -> ToChild | ToParent | None:
    """The next message; None when the other side is gone. Raises BlockingIOError on a non-blocking socket."""
    data, files, _, _ = socket.recv_fds(sock, MAX_BYTES, 1)
    for fd in files:
        with os.fdopen(fd, "rb") as file:
            file.seek(0)
            data = file.read()
    # Both ends are this program's own processes on an unnamed socket pair.
    message: ToChild | ToParent | None = pickle.loads(data) if data else None  # noqa: S301
    return message
