"""The broker's bytes, cut into packets of bounded size before paho sees them."""

from collections import deque
from collections.abc import Callable

from paho.mqtt import client as paho

MAX_PACKET_BYTES = 256 * 1024
"""Larger than anything that is meant for us. MQTT 5 tells the broker so; MQTT 3.1.1 cannot."""

_READ_BYTES = 65_536
_PUBLISH = 3
_PINGRESP = 13
_LONGEST_LENGTH = 4  # bytes of a packet's length


class PacketError(ConnectionError):
    """The broker sent what cannot be read; the connection has to end."""


class Packets:
    """Takes bytes as they come and gives whole packets. Of a message that is too large only its beginning is kept.

    A message is cut and not refused: it is still acknowledged, so that the broker goes on, and whoever gets it refuses
    it for its size. `on_cut(size)` hears of each one.
    """

    def __init__(self, max_bytes: int, on_cut: Callable[[int], None]) -> None:
        self._max, self._on_cut = max_bytes, on_cut
        self._buffer = bytearray()
        self._skip = 0
        self._ready: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._ready)

    def feed(self, data: bytes) -> None:
        """Raises PacketError."""
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        self._buffer += memoryview(data)[skipped:]
        while (packet := self._next()) is not None:
            self._ready.append(packet)

    def pop(self) -> bytes:
        return self._ready.popleft()

    def _next(self) -> bytes | None:
        head = _length(self._buffer)
        if head is None:
            return None
        begin, size = head
        kept = min(size, self._max)
        if size > kept and self._buffer[0] >> 4 != _PUBLISH:
            raise PacketError(f"a packet of {size} bytes that is no message")
        if len(self._buffer) < begin + kept:
            return None
        body = bytes(self._buffer[begin : begin + kept])
        first = self._buffer[0]
        there = min(len(self._buffer), begin + size)
        self._skip = begin + size - there
        del self._buffer[:there]
        if size > kept:
            self._on_cut(size)
        return bytes((first,)) + _encoded(kept) + body


def _length(buffer: bytearray) -> tuple[int, int] | None:
    """Where a packet's body begins and how long it is; None while that has not arrived."""
    size = 0
    for position, byte in enumerate(buffer[1 : 2 + _LONGEST_LENGTH]):
        if position == _LONGEST_LENGTH:
            raise PacketError("a packet's length is not readable")
        size |= (byte & 127) << (7 * position)
        if byte < 128:
            return 2 + position, size
    return None


def _encoded(size: int) -> bytes:
    encoded = bytearray()
    while size > 127:
        encoded.append(size & 127 | 128)
        size >>= 7
    encoded.append(size)
    return bytes(encoded)


class Client(paho.Client):
    """paho's client, fed with whole packets: on its own it keeps a packet of any announced size.

    `_sock_recv` is not public; the exact version of paho is pinned, and tests of this file notice a change.
    """

    on_ping_answered: Callable[[], None]
    packets: Packets
    unreadable = ""
    """Why the connection had to end, where a packet was to blame."""

    may_read = True
    """Whether the socket may be read once more: under a flood there is always something to read."""

    _current = b""

    @property
    def unhandled(self) -> bool:
        """Whether packets have arrived that `loop_read` has not handled."""
        return bool(len(self.packets) or self._current)

    def limit_unacked(self, count: int) -> None:
        """Publish no more at QoS 1 than the broker bears unanswered; the rest waits. To be called before any."""
        self._max_inflight_messages = count

    def _sock_recv(self, bufsize: int) -> bytes:
        if not self._current:
            if not self.packets and self.may_read:
                self.may_read = False
                data = super()._sock_recv(_READ_BYTES)
                if not data:
                    return b""
                self._feed(data)
            if not self.packets:
                raise BlockingIOError
            self._current = self.packets.pop()
            if self._current[0] >> 4 == _PINGRESP:
                self.on_ping_answered()
        part, self._current = self._current[:bufsize], self._current[bufsize:]
        return part

    def _feed(self, data: bytes) -> None:
        try:
            self.packets.feed(data)
        except PacketError as error:
            self.unreadable = str(error)
            raise
