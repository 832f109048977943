"""The page's answers, asked over a real socket."""

import asyncio
import json
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from dashboard.app import make_app
from dashboard.feed import MAX_VIEWERS
from dashboard.serve import bind, serve

Ask = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
def ask(port: int) -> Ask:
    async def call(path: str, method: str = "GET", **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            return await client.request(method, path, headers=headers)

    return call


async def event(reader: asyncio.StreamReader) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while not (line := await reader.readline()).startswith(b"data: "):
            assert line, "the stream ended"
    return dict(json.loads(line[6:]))


async def viewer(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return reader, writer


async def raw(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js", "/icon.svg"])
async def test_the_page_comes_whole_and_asks_nothing_of_other_hosts(ask: Ask, path: str) -> None:
    answer = await ask(path)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "https:" not in answer.text
    assert "//" not in answer.text.replace("http://www.w3.org/2000/svg", "").replace("// ", "")


async def test_metrics_come_in_the_text_format_of_prometheus(ask: Ask) -> None:
    answer = await ask("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text == "linegate_ready 1.0\n"


async def test_a_picture_comes_as_jpeg_and_an_unknown_camera_is_not_found(ask: Ask) -> None:
    answer = await ask("/picture/raceway/top.jpg")
    assert (answer.headers["content-type"], answer.content[:2]) == ("image/jpeg", b"\xff\xd8")
    for path in ["/picture/raceway/none.jpg", "/picture/..%2f..%2fetc/passwd.jpg", "/picture/a/b/c.jpg"]:
        assert (await ask(path)).status_code == 404


@pytest.mark.parametrize(("path", "field"), [("/healthz", "well"), ("/readyz", "is_ready")])
async def test_health_and_readiness_say_why_not(ask: Ask, source: Any, path: str, field: str) -> None:
    assert (await ask(path)).json() == {"ok": True, "reason": ""}
    setattr(source, field, (False, "worker is starting"))
    answer = await ask(path)
    assert (answer.status_code, answer.json()) == (503, {"ok": False, "reason": "worker is starting"})


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/no-such-page"])
async def test_nothing_but_reading_is_allowed(ask: Ask, method: str, path: str) -> None:
    answer = await ask(path, method)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


PATHS = ["/", "/page.css", "/metrics", "/healthz", "/readyz", "/picture/raceway/top.jpg", "/no-such-page"]


@pytest.mark.parametrize("path", PATHS)
async def test_head_is_answered_as_get_without_the_body(ask: Ask, path: str) -> None:
    whole, head = await ask(path), await ask(path, "HEAD")
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert head.headers["content-length"] == whole.headers["content-length"] == str(len(whole.content))


async def test_head_of_the_event_stream_ends(ask: Ask) -> None:
    answer = await ask("/events", "HEAD")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[evil", "e" * 9000])
@pytest.mark.parametrize("path", ["/", "/events", "/page.js", "/picture/raceway/top.jpg"])
async def test_a_foreign_host_name_is_refused_with_the_key_that_allows_it(ask: Ask, host: str, path: str) -> None:
    answer = await ask(path, host=host)
    assert answer.status_code == 421
    assert "http.hosts" in answer.text
    assert len(answer.text) < 400


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_what_monitoring_reads_is_answered_under_every_name(ask: Ask, path: str) -> None:
    assert (await ask(path, host="linebox1:9580")).status_code == 200


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9580", "localhost.", "127.0.0.1", "[::1]:9580", "10.0.0.7:9580", ""]
)
async def test_loopback_addresses_and_no_name_at_all_are_ours(ask: Ask, host: str) -> None:
    assert (await ask("/", host=host)).status_code == 200


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics"])
async def test_http_1_0_without_a_host_is_answered(port: int, path: str) -> None:
    answer = await raw(port, f"GET {path} HTTP/1.0\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("host", ["LineBox.plant:9580", "linebox.plant", "linebox.plant."])
async def test_a_configured_host_name_is_ours(source: Any, host: str) -> None:
    transport = httpx.ASGITransport(app=make_app(source, hosts=["Linebox.plant"]))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        assert (await client.get("/", headers={"host": host})).status_code == 200
        assert (await client.get("/", headers={"host": "plant"})).status_code == 421


async def test_a_name_in_a_forwarded_header_counts_for_nothing(ask: Ask) -> None:
    forwarded = {"x-forwarded-host": "localhost", "forwarded": "host=localhost"}
    assert (await ask("/", host="evil.example", **forwarded)).status_code == 421


async def test_a_failing_source_shows_no_trace_to_the_reader(source: Any) -> None:
    def fail() -> bytes:
        raise RuntimeError("secret detail")

    source.metrics = fail
    transport = httpx.ASGITransport(app=make_app(source), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get("/metrics")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")


async def test_a_change_reaches_the_viewer_as_an_event(port: int, source: Any) -> None:
    reader, writer = await viewer(port)
    first = await event(reader)
    assert first["stations"][0]["cameras"][0]["last"]["outcome"] == "FAIL"
    source.now = replace(source.now, session="0badcafe")
    while (await event(reader))["session"] != "0badcafe":
        pass
    writer.close()
    await writer.wait_closed()


async def test_a_number_that_json_has_no_word_for_reads_as_null(port: int, source: Any) -> None:
    station = replace(source.now.stations[0], rate_per_s=float("nan"), p99_ms=float("inf"))
    source.now = replace(source.now, stations=(station,))
    reader, writer = await viewer(port)
    seen = (await event(reader))["stations"][0]
    assert (seen["rate_per_s"], seen["p99_ms"]) == (None, None)
    writer.close()
    await writer.wait_closed()


async def test_one_viewer_too_many_ends_the_stream_that_has_lasted_longest(port: int) -> None:
    viewers = [await viewer(port) for _ in range(MAX_VIEWERS)]
    for reader, _ in viewers:
        await event(reader)
    last, _ = viewers[-1]
    newest, writer = await viewer(port)
    await event(newest)
    async with asyncio.timeout(10):
        rest = await viewers[0][0].read()
    assert b"retry: 10000" in rest
    await event(last)
    for each in [writer, *(writer for _, writer in viewers)]:
        each.close()
        await each.wait_closed()


async def test_many_viewers_cost_no_more_snapshots_than_one(port: int, source: Any) -> None:
    viewers = [await viewer(port) for _ in range(MAX_VIEWERS)]
    for reader, _ in viewers:
        for _ in range(3):
            await event(reader)
    assert source.asked < 2 * MAX_VIEWERS  # one each would have made three times as many
    for _, writer in viewers:
        writer.close()
        await writer.wait_closed()


async def test_serving_ends_at_once_although_viewers_stay(source: Any) -> None:
    sock = bind("127.0.0.1", 0)
    port = sock.getsockname()[1]
    page = asyncio.create_task(serve(make_app(source), sock))
    reader, writer = await viewer(port)
    await event(reader)
    page.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait({page})
        while await reader.read(4096):
            pass
    assert page.cancelled()
    writer.close()
    await writer.wait_closed()


async def test_serving_leaves_the_signal_handlers_alone(page: Any) -> None:
    def ours(*_: object) -> None: ...

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, ours) for number in numbers]
    try:
        async with page() as port:
            reader, writer = await viewer(port)
            await event(reader)
            assert [signal.getsignal(number) for number in numbers] == [ours, ours]
        assert [signal.getsignal(number) for number in numbers] == [ours, ours]
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    writer.close()
    await writer.wait_closed()


def test_a_taken_port_is_said_and_port_0_takes_a_free_one() -> None:
    with bind("127.0.0.1", 0) as first:
        taken = first.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            bind("127.0.0.1", taken)
        with bind("127.0.0.1", 0) as second:
            assert second.getsockname()[1] not in (0, taken)
            assert second.family is socket.AF_INET
