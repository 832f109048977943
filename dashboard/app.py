"""The status page and the answers to Prometheus and systemd, as one ASGI application."""

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dashboard.connections import EVENTS
from dashboard.feed import Feed
from dashboard.guard import Guard
from dashboard.source import Source

T = TypeVar("T")
_STATIC = Path(__file__).with_name("static")
_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


def make_app(source: Source, hosts: Collection[str] = ()) -> Starlette:
    """`hosts` are the names, beside localhost and IP addresses, under which a browser may ask.

    `app.state.feed` is the event stream; `dashboard.serve` closes it.
    """
    feed = Feed(source)
    pictures, scrapes = asyncio.Lock(), asyncio.Lock()

    async def picture(request: Request) -> Response:
        names = request.path_params
        async with pictures:
            jpeg = await _in_a_thread(partial(source.picture, names["station"], names["camera"]))
        if jpeg is None:
            return PlainTextResponse("no picture\n", 404)
        return Response(jpeg, media_type="image/jpeg")

    async def metrics(_: Request) -> Response:
        async with scrapes:
            return Response(await _in_a_thread(source.metrics), headers={"content-type": _EXPOSITION})

    routes = [
        _file("/", "index.html", "text/html"),
        _file("/page.css", "page.css", "text/css"),
        _file("/page.js", "page.js", "text/javascript"),
        _file("/icon.svg", "icon.svg", "image/svg+xml"),
        Route(EVENTS, feed, methods=["GET"]),
        Route("/picture/{station}/{camera}.jpg", picture),
        Route("/metrics", metrics),
        _probe("/healthz", source.health),
        _probe("/readyz", source.ready),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(Guard, hosts=hosts)])
    app.router.redirect_slashes = False  # the address would be wrong behind a proxy that takes a prefix away
    app.state.feed = feed
    return app


async def _in_a_thread(ask: Callable[[], T]) -> T:
    """In a thread of its own: those that asyncio shares may all wait for a broker or a disk."""
    executor = ThreadPoolExecutor(1, "page")
    try:
        return await asyncio.get_running_loop().run_in_executor(executor, ask)
    finally:
        executor.shutdown(wait=False)


def _file(path: str, name: str, media_type: str) -> Route:
    body = (_STATIC / name).read_bytes()

    async def answer(_: Request) -> Response:
        return Response(body, media_type=media_type)

    return Route(path, answer)


def _probe(path: str, ask: Callable[[], tuple[bool, str]]) -> Route:
    async def answer(_: Request) -> Response:
        good, reason = ask()
        return JSONResponse({"ok": good, "reason": reason}, 200 if good else 503)

    return Route(path, answer)
