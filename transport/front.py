"""One port for both MQTT versions before a broker that speaks only MQTT 5. For the embedded broker only.

MQTT 5 passes unchanged. A 3.1.1 client's packets get the empty property lists that MQTT 5 wants, and lose them on
the way back; everything else is the same in both versions (MQTT 5.0, section 3, against 3.1.1).

The front also keeps the keepalive, by which a silent client's will is sent: rumqttd takes its own messages to the
client for a sign of life, and refuses a client that asks for no keepalive.
"""

import asyncio
import contextlib
import logging
import socket
import uuid
from collections.abc import Awaitable, Callable

from transport.flood import BANNED_S, CHUNK, RECEIVE_BUFFER, Banned, FloodError, Meter, Valve

log = logging.getLogger(__name__)

MAX_PACKET = 262_144 + 1024

_CONNECT, _CONNACK, _PUBLISH, _SUBSCRIBE, _SUBACK, _UNSUBSCRIBE, _UNSUBACK, _DISCONNECT = 1, 2, 3, 8, 9, 10, 11, 14
_ACKS = (4, 5, 6, 7)  # PUBACK, PUBREC, PUBREL, PUBCOMP
_CLEAN, _WILL = 0x02, 0x04
_KEEPALIVE = slice(8, 10)  # of a CONNECT's body: after name, level and flags, big-endian seconds
_PATIENCE = 1.5  # keepalives (MQTT 5.0, section 3.1.2.10)
_REFUSED = {0x84: 1, 0x85: 2, 0x88: 3, 0x86: 4}  # MQTT 5 reason code → 3.1.1 return code; others: 5

Packet = tuple[int, bytes]


class _MalformedError(Exception):
    """The bytes are no MQTT packet, or one that is too large."""


def _varint(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = divmod(value, 128)
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def _skip_properties(body: bytes, at: int) -> int:
    length, shift = 0, 0
    while True:
        byte = body[at]
        at += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return at + length


def _skip_text(body: bytes, at: int) -> int:
    return at + 2 + int.from_bytes(body[at : at + 2])


def patience_of(connect: bytes) -> float | None:
    """How many seconds the client may be silent; None where it asks for no keepalive."""
    return _PATIENCE * int.from_bytes(connect[_KEEPALIVE]) or None


def with_keepalive(connect: bytes) -> bytes:
    """The longest keepalive, 18 hours, in place of none."""
    if any(connect[_KEEPALIVE]):
        return connect
    return connect[: _KEEPALIVE.start] + b"\xff\xff" + connect[_KEEPALIVE.stop :]


def identity_of(connect: bytes) -> bytes:
    """The client identifier; empty where the broker is to choose one."""
    at = _skip_text(connect, 0) + 4
    at = _skip_properties(connect, at) if connect[6] == 5 else at
    return connect[at + 2 : _skip_text(connect, at)]


def connect_to_5(body: bytes) -> bytes:
    """CONNECT 3.1.1 → 5. A session that is not clean lives for a day."""
    at = _skip_text(body, 0)
    flags = body[at + 1]
    properties = b"\x00" if flags & _CLEAN else b"\x05\x11" + (86_400).to_bytes(4)
    end = _skip_text(body, at + 4)
    identity = body[at + 4 : end]
    if identity == b"\x00\x00":
        name = f"auto-{uuid.uuid4().hex[:12]}".encode()
        identity = len(name).to_bytes(2) + name
    will = b"\x00" if flags & _WILL else b""
    return body[:at] + b"\x05" + body[at + 1 : at + 4] + properties + identity + will + body[end:]


def to_5(kind: int, body: bytes) -> bytes:
    """A client's packet after CONNECT, 3.1.1 → 5. `kind` is the whole first byte."""
    match kind >> 4:
        case 3:
            at = _skip_text(body, 0) + (2 if kind & 0x06 else 0)
            return body[:at] + b"\x00" + body[at:]
        case 8 | 10:
            return body[:2] + b"\x00" + body[2:]
    return body


def to_4(kind: int, body: bytes) -> bytes | None:
    """The broker's packet, 5 → 3.1.1; None for one that 3.1.1 says by closing."""
    code = kind >> 4
    if code == _CONNACK:
        return bytes((body[0], 0 if body[1] == 0 else _REFUSED.get(body[1], 5)))
    if code == _PUBLISH:
        at = _skip_text(body, 0) + (2 if kind & 0x06 else 0)
        return body[:at] + body[_skip_properties(body, at) :]
    if code in _ACKS or code == _UNSUBACK:
        return body[:2]
    if code == _SUBACK:
        codes = body[_skip_properties(body, 2) :]
        return body[:2] + bytes(min(code, 0x80) for code in codes)
    if code == _DISCONNECT:
        return None
    return body


def _acknowledge_at_once(broker: socket.socket) -> None:
    """Or rumqttd, with Nagle's algorithm on, keeps its next message back for up to 40 ms."""
    broker.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class _Quick:
    """Reads from the broker and acknowledges at once."""

    def __init__(self, reader: asyncio.StreamReader, raw: socket.socket) -> None:
        self._reader, self._raw = reader, raw

    async def readexactly(self, count: int) -> bytes:
        data = await self._reader.readexactly(count)
        _acknowledge_at_once(self._raw)
        return data


Reader = asyncio.StreamReader | _Quick


async def _read(reader: Reader) -> Packet:
    kind = (await reader.readexactly(1))[0]
    length = 0
    for shift in (0, 7, 14, 21):
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        if not byte & 0x80:
            break
    else:
        raise _MalformedError("length")
    if length > MAX_PACKET:
        raise _MalformedError(f"{length} bytes")
    return kind, await reader.readexactly(length)


def _pack(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + _varint(len(body)) + body


class _Passing(asyncio.Protocol):
    """Passes on to `other` what comes, as it comes; reads no more while `other` takes no more.

    Without asyncio's streams, whose buffers and tasks took a seventh of the whole broker's CPU time.
    """

    def __init__(self, other: asyncio.Transport, reading: Valve, ended: asyncio.Event) -> None:
        """`reading` is that of `other`."""
        self._other, self._reading, self._ended = other, reading, ended
        self._broker: socket.socket | None = None
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()

    def connection_made(self, broker: asyncio.BaseTransport) -> None:
        """Only of the connection to the broker; the client's is there already."""
        self._broker = broker.get_extra_info("socket")

    def data_received(self, data: bytes) -> None:
        if self._broker is not None:
            _acknowledge_at_once(self._broker)
        self._heard = self._loop.time()
        self._other.write(data)

    async def over(self, patience: float | None) -> None:
        """Returns when either side has left, or nothing has come for `patience` seconds."""
        while not self._ended.is_set():
            left = None if patience is None else self._heard + patience - self._loop.time()
            if left is not None and left <= 0:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._ended.wait()

    def pause_writing(self) -> None:
        self._reading.close("full")

    def resume_writing(self) -> None:
        self._reading.open("full")

    def connection_lost(self, _why: Exception | None) -> None:
        self._ended.set()


class _FromClient(_Passing, asyncio.BufferedProtocol):
    """Also counts what the client publishes, and slows it down."""

    def __init__(self, broker: asyncio.Transport, client: Valve, meter: Meter, ended: asyncio.Event) -> None:
        super().__init__(broker, Valve(broker), ended)
        self._client, self._meter = client, meter
        self._buffer = bytearray(CHUNK)
        self.flood: FloodError | None = None

    def get_buffer(self, _sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        try:
            wait = self._meter.take(data, self._loop.time())
        except FloodError as flood:
            self.flood = flood
            self._ended.set()
            return
        if wait:
            self._client.close("too fast")
            self._loop.call_later(wait, self._read_on)

    def _read_on(self) -> None:
        self._heard = self._loop.time()  # it was silent because nobody listened
        self._client.open("too fast")


async def _pass_through(
    connect: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: int
) -> None:
    """Join a client that began with `connect` and the broker, until either leaves. Raises FloodError."""
    client, ended, loop = writer.transport, asyncio.Event(), asyncio.get_running_loop()
    assert isinstance(client, asyncio.Transport)
    reading = Valve(client)
    broker, _ = await loop.create_connection(lambda: _Passing(client, reading, ended), "127.0.0.1", upstream)
    try:
        reading.close("taking over")
        reader.feed_eof()  # what it holds is all that it gets
        passing = _FromClient(broker, reading, Meter(client.get_extra_info("socket"), loop.time()), ended)
        broker.write(_pack(_CONNECT << 4, with_keepalive(connect)))
        passing.data_received(await reader.read())
        client.set_protocol(passing)
        reading.open("taking over")
        await passing.over(patience_of(connect))
        if passing.flood is not None:
            raise passing.flood
    finally:
        broker.close()


async def _translate(
    reader: Reader,
    writer: asyncio.StreamWriter,
    change: Callable[[int, bytes], bytes | None],
    patience: float | None = None,
    meter: Meter | None = None,
) -> None:
    """Until either side leaves. Raises TimeoutError when nothing has come for `patience` seconds, or FloodError."""
    loop = asyncio.get_running_loop()
    while True:
        async with asyncio.timeout(patience):
            kind, body = await _read(reader)
        changed = change(kind, body)
        if changed is None:
            return
        writer.write(_pack(kind, changed))
        await writer.drain()
        if meter is not None:
            await asyncio.sleep(meter.take(_pack(kind, body), loop.time()))


class Front:
    """Listens on `host`:`port` (0: a free one) and passes clients on to 127.0.0.1:`upstream`."""

    def __init__(self, host: str, port: int, *, upstream: int) -> None:
        self.host, self.port, self._upstream = host, port, upstream
        self._server: asyncio.Server | None = None
        self._banned = Banned()
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self) -> None:
        """Raises OSError where the port is taken."""
        self._server = await asyncio.start_server(self._client, self.host, self.port)
        for sock in self._server.sockets:  # accepted sockets inherit it: what waits in them is part of a flood
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Take no more clients, and end with those there are."""
        if self._server is not None:
            self._server.close()
        for writer in self._clients.values():
            writer.transport.abort()
        if self._clients:
            await asyncio.wait(self._clients)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients[task] = writer
        task.add_done_callback(self._clients.pop)
        try:
            await self._pass_on(reader, writer)
        except (OSError, EOFError, IndexError, TimeoutError, _MalformedError) as error:
            log.debug("client ended: %s", error)
        finally:
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(10):
            kind, body = await _read(reader)
        if kind != _CONNECT << 4 or body[:6] != b"\x00\x04MQTT" or body[6] not in (4, 5):
            if kind == _CONNECT << 4:
                writer.write(_pack(_CONNACK << 4, b"\x00\x01"))  # unacceptable protocol version
            return
        five, now = body[6] == 5, asyncio.get_running_loop().time()
        identity = identity_of(body)
        if self._banned.has(identity, now):
            writer.write(_pack(_CONNACK << 4, b"\x00\x97\x00" if five else b"\x00\x03"))
            return
        try:
            if five:
                await _pass_through(body, reader, writer, self._upstream)
            else:
                await self._pass_translated(body, reader, writer)
        except FloodError:
            if identity:
                self._banned.add(identity, asyncio.get_running_loop().time())
            if five:
                writer.write(_pack(_DISCONNECT << 4, b"\x96"))  # message rate too high
            log.warning("client %r publishes too much: disconnected for %g s", identity[:64], BANNED_S)

    async def _pass_translated(
        self, connect: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        quick = _Quick(up_reader, up_writer.get_extra_info("socket"))
        meter = Meter(writer.get_extra_info("socket"), asyncio.get_running_loop().time())
        try:
            up_writer.write(_pack(_CONNECT << 4, connect_to_5(with_keepalive(connect))))
            inwards = _translate(reader, up_writer, to_5, patience_of(connect), meter)
            await _first_to_end(inwards, _translate(quick, writer, to_4))
        finally:
            up_writer.close()


async def _first_to_end(*directions: Awaitable[None]) -> None:
    """Run both directions until either ends; raises what it raised."""
    tasks = [asyncio.ensure_future(direction) for direction in directions]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError, OSError, EOFError, IndexError, _MalformedError):
                await task
