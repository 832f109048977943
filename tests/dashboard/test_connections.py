"""Clients that hold connections for nothing: whoever asks now is answered all the same."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import pytest

from dashboard import connections
from dashboard.connections import MAX_CONNECTIONS, longest_of_most
from tests.dashboard.conftest import FakeSource

Page = Callable[[], AbstractAsyncContextManager[int]]
STREAM = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"
HOGS = {
    "silent": b"",
    "one header short": b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-a: ",
    "a body that does not come": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n",
    "idle after an answer": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "event streams": STREAM,
    "garbage": b"\x16\x03\x01",
}


async def status(port: int, path: str) -> bytes:
    """The status line, asked from another address than the hogs'."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(20):
        line = await reader.readline()
        await reader.read()
    writer.close()
    return line


@asynccontextmanager
async def hogging(
    port: int, count: int, first: bytes, address: str = "127.0.0.1"
) -> AsyncIterator[list[socket.socket]]:
    loop, held = asyncio.get_running_loop(), []
    try:
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", port), source_address=(address, 0))
            sock.setblocking(False)
            held.append(sock)
            await loop.sock_sendall(sock, first)
            await asyncio.sleep(0)
        yield held
    finally:
        for sock in held:
            sock.close()


@pytest.mark.parametrize("hog", HOGS)
async def test_monitoring_is_answered_while_all_connections_are_held(port: int, hog: str) -> None:
    async with hogging(port, 2 * MAX_CONNECTIONS, HOGS[hog]):
        for path in ("/healthz", "/readyz", "/metrics", "/"):
            assert await status(port, path) == b"HTTP/1.1 200 OK\r\n", path


@pytest.fixture
def short(page: Page, monkeypatch: pytest.MonkeyPatch) -> Page:
    """The page, with limits of time that a test can wait for."""
    monkeypatch.setattr(connections, "REQUEST_S", 0.5)
    monkeypatch.setattr(connections, "ANSWER_S", 0.5)
    return page


@pytest.mark.parametrize("hog", ["silent", "one header short", "a body that does not come", "idle after an answer"])
async def test_a_client_that_asks_nothing_is_closed_however_many_bytes_it_sends(short: Page, hog: str) -> None:
    async with short() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HOGS[hog])
        dribble = asyncio.create_task(_dribble(writer))
        async with asyncio.timeout(20):
            with pytest.raises((ConnectionError, EOFError)):
                await reader.readuntil(b"never sent")
        dribble.cancel()
        writer.close()


async def _dribble(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"b")
        await asyncio.sleep(0.05)


async def test_a_client_that_does_not_read_its_answer_is_closed(short: Page, source: FakeSource) -> None:
    source.metrics = lambda: b"#" * 50_000_000  # type: ignore[method-assign]
    loop, got = asyncio.get_running_loop(), 0
    async with short() as port, hogging(port, 1, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n") as held:
        for _ in range(40):  # it reads a little all the time
            got += len(await loop.sock_recv(held[0], 1000))
            await asyncio.sleep(0.05)
        with suppress(ConnectionResetError):
            while data := await loop.sock_recv(held[0], 1 << 20):
                got += len(data)
    assert 0 < got < 50_000_000


async def test_an_event_stream_outlives_every_limit_of_time(short: Page) -> None:
    async with short() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(STREAM)
        async with asyncio.timeout(20):
            for _ in range(8):  # a quarter of a second each: four times the limit
                await reader.readuntil(b"\n\n")
        writer.close()


async def test_a_client_may_close_its_side_behind_the_request(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
    writer.write_eof()
    async with asyncio.timeout(20):
        answer = await reader.read()
    assert answer.endswith(b"linegate_ready 1.0\n")
    writer.close()


async def test_many_requests_at_once_on_one_connection_are_all_answered(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    writer.write(199 * request + request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    async with asyncio.timeout(20):
        answer = await reader.read()
    assert answer.count(b"HTTP/1.1 200 OK") == 200
    writer.close()


async def test_one_address_that_takes_all_places_loses_none_but_its_own(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(STREAM)
    await reader.readuntil(b"\n\n")
    async with hogging(port, 2 * MAX_CONNECTIONS, STREAM, address="127.0.0.2"):
        async with asyncio.timeout(20):
            for _ in range(3):
                await reader.readuntil(b"\n\n")
    writer.close()


def test_who_goes_first_is_the_oldest_of_the_peer_that_has_most() -> None:
    members = [("alone", 0), ("many", 3), ("many", 2), ("two", 1), ("two", 4), ("many", 5)]
    assert longest_of_most(members, peer=lambda one: one[0], since=lambda one: one[1]) == ("many", 2)
