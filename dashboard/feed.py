"""Server-sent events: every viewer gets the same snapshot, made at most four times a second.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
import json
from dataclasses import dataclass, field

from starlette.types import Receive, Scope, Send

from dashboard.connections import longest_of_most
from dashboard.source import Source, to_json
from inspection import clock

PERIOD_S = 0.25
STUCK_S = 10.0
MAX_VIEWERS = 16
_COME_BACK_LATER = b"retry: 10000\n\n"
_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]


@dataclass(eq=False, slots=True)
class _Viewer:
    peer: str
    since: float
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Feed:
    """An ASGI application: one endless event stream for each viewer, until `close`.

    One viewer more than there are places ends the stream that has lasted longest, of the address that has most.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._closed = False
        self._viewers: set[_Viewer] = set()
        self._event = b""
        self._made = float("-inf")

    def close(self) -> None:
        """Ends every stream at once."""
        self._closed = True
        for viewer in self._viewers:
            viewer.over.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        viewer = self._enter(scope)
        gone = asyncio.create_task(_disconnected(receive), name="viewer-gone")
        try:
            await self._stream(send, viewer, gone)
        except TimeoutError:
            return  # it takes nothing any more: its place is freed, the server closes the connection
        finally:
            self._viewers.discard(viewer)
            gone.cancel()

    def _enter(self, scope: Scope) -> _Viewer:
        staying = [viewer for viewer in self._viewers if not viewer.over.is_set()]
        if len(staying) >= MAX_VIEWERS:
            longest_of_most(staying, peer=lambda one: one.peer, since=lambda one: one.since).over.set()
        viewer = _Viewer((scope.get("client") or ("",))[0], clock.monotonic())
        if self._closed:
            viewer.over.set()
        self._viewers.add(viewer)
        return viewer

    async def _stream(self, send: Send, viewer: _Viewer, gone: "asyncio.Task[None]") -> None:
        over = asyncio.create_task(viewer.over.wait(), name="viewer-over")
        try:
            while not (gone.done() or over.done()):
                await _sent(send, self._latest())
                await asyncio.wait({gone, over}, timeout=PERIOD_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
        if not gone.done():
            await _sent(send, b"" if self._closed else _COME_BACK_LATER, more=False)

    def _latest(self) -> bytes:
        now = clock.monotonic()
        if now - self._made >= PERIOD_S:
            text = json.dumps(to_json(self._source.snapshot()), allow_nan=False, separators=(",", ":"))
            self._event = f"data: {text}\n\n".encode()
            self._made = now
        return self._event


async def _sent(send: Send, body: bytes, *, more: bool = True) -> None:
    async with asyncio.timeout(STUCK_S):
        await send({"type": "http.response.body", "body": body, "more_body": more})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
