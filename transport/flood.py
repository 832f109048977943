"""How much one client of the embedded broker may publish: rumqttd itself takes all that comes.

What it has taken it delivers, so that a flood of seconds would keep a slower subscriber busy for minutes. A client that
is too fast is read more slowly, which TCP tells it; one that goes on all the same is disconnected and kept out for a
while. A client that waits for acknowledgements, as with QoS 1, is only slowed down.
"""

import asyncio
import fcntl
import socket
import struct
import termios
from collections import OrderedDict

RATE_HZ = 500.0
"""Messages a second in the long run; a large one counts as several."""
BURST = 1000
BYTES_OF_ONE = 8192
PATIENCE_S = 5.0
MAX_WAITING = 200
"""Messages unread in the socket after so long. Whoever waits for acknowledgements has fewer under way."""
CHUNK = 8192
"""Bytes read at once: the most by which a client is ahead before it is slowed down."""
RECEIVE_BUFFER = 131_072
BANNED_S = 10.0
MAX_BANNED = 1000

_PUBLISH = 3


class FloodError(Exception):
    """The client publishes more than it may, and does not slow down."""


class Meter:
    """Counts what one client publishes, in chunks as they come from its socket, and tells how long to read no more."""

    def __init__(self, sock: socket.socket, now: float) -> None:
        self._socket = sock
        self._tokens, self._filled = float(BURST), now
        self._too_fast_since: float | None = None
        self._head = b""
        self._rest = 0
        self._publishes = self._bytes = 0

    def take(self, data: bytes, now: float) -> float:
        """Seconds to wait before more is read. Raises FloodError."""
        count = self._begun(data)
        self._publishes += count
        self._bytes += len(data)
        cost = count + len(data) / BYTES_OF_ONE
        self._tokens = min(BURST, self._tokens + (now - self._filled) * RATE_HZ) - cost
        self._filled = now
        if self._tokens >= BURST / 2:
            self._too_fast_since = None
        if self._tokens >= 0:
            return 0.0
        if self._too_fast_since is None:
            self._too_fast_since = now
        elif now - self._too_fast_since >= PATIENCE_S and self._waiting() > MAX_WAITING:
            raise FloodError
        return -self._tokens / RATE_HZ

    def _begun(self, data: bytes) -> int:
        """PUBLISH packets that begin in `data`; a chunk may end anywhere in a packet."""
        count = 0
        data = self._head + data
        at, end = self._rest, len(data)
        while at < end:
            after = _after(data, at)
            if after is None:
                break
            count += data[at] >> 4 == _PUBLISH
            at = after
        self._head = data[at:] if at < end else b""
        self._rest = max(0, at - end)
        return count

    def _waiting(self) -> float:
        """About how many messages wait in the socket, by their mean size so far."""
        answer = fcntl.ioctl(self._socket.fileno(), termios.FIONREAD, struct.pack("i", 0))
        return int(struct.unpack("i", answer)[0]) * self._publishes / self._bytes


def _after(data: bytes, at: int) -> int | None:
    """Where the packet that begins at `at` ends, also beyond `data`; None where its length is not whole."""
    length = 0
    for place, byte in enumerate(data[at + 1 : at + 5]):
        length |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return at + 2 + place + length
    return at + 5 if len(data) >= at + 5 else None


class Valve:
    """Reads from a client only while nobody has a reason not to."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client
        self._reasons: set[str] = set()

    def close(self, reason: str) -> None:
        self._reasons.add(reason)
        self._client.pause_reading()

    def open(self, reason: str) -> None:
        self._reasons.discard(reason)
        if not self._reasons and not self._client.is_closing():
            self._client.resume_reading()


class Banned:
    """Client identifiers that were disconnected for a flood; each for a while, and not too many."""

    def __init__(self) -> None:
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def add(self, identity: bytes, now: float) -> None:
        self._until[identity] = now + BANNED_S
        self._until.move_to_end(identity)
        if len(self._until) > MAX_BANNED:
            self._until.popitem(last=False)

    def has(self, identity: bytes, now: float) -> bool:
        return self._until.get(identity, 0.0) > now
