"""Server-sent events: every viewer gets the same snapshot, made at most four times a second.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
import json

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from dashboard.source import Source, to_json
from inspection import clock

PERIOD_S = 0.25
STUCK_S = 10.0
MOST_VIEWERS = 16


class Feed:
    """An ASGI application: one endless event stream for each viewer, until `close`."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._closing = asyncio.Event()
        self._viewers = 0
        self._event = b""
        self._made = float("-inf")

    def close(self) -> None:
        """Ends every stream at once."""
        self._closing.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._viewers >= MOST_VIEWERS:
            refusal = PlainTextResponse("too many viewers\n", 503, {"Retry-After": "10"})
            await refusal(scope, receive, send)
            return
        self._viewers += 1
        gone = asyncio.create_task(_disconnected(receive), name="viewer-gone")
        try:
            await self._stream(send, gone)
        except TimeoutError:
            return  # it takes nothing any more: its place is freed, the server closes the connection
        finally:
            self._viewers -= 1
            gone.cancel()

    async def _stream(self, send: Send, gone: "asyncio.Task[None]") -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        closing = asyncio.create_task(self._closing.wait(), name="feed-closing")
        try:
            while not (gone.done() or closing.done()):
                async with asyncio.timeout(STUCK_S):
                    await send({"type": "http.response.body", "body": self._latest(), "more_body": True})
                await asyncio.wait({gone, closing}, timeout=PERIOD_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            closing.cancel()
        if not gone.done():
            await send({"type": "http.response.body", "body": b""})

    def _latest(self) -> bytes:
        now = clock.monotonic()
        if now - self._made >= PERIOD_S:
            text = json.dumps(to_json(self._source.snapshot()), allow_nan=False, separators=(",", ":"))
            self._event = f"data: {text}\n\n".encode()
            self._made = now
        return self._event


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
