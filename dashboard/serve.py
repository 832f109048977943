"""Runs the application beside the pipeline, on the same event loop."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette

from dashboard.connections import MAX_CONNECTIONS, REQUEST_S, Connection

_STUCK_MS = 10_000


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one. Raises OSError when the port is taken.

    Who connects before `serve` runs is answered once it does.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # A viewer that takes nothing for so long is cut off by the kernel; accepted sockets inherit it.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STUCK_MS)
        sock.bind((host, port))
        sock.listen(MAX_CONNECTIONS)
    except (OSError, TypeError, ValueError):  # the latter two: a name that no host can have
        sock.close()
        raise
    return sock


async def serve(app: Starlette, sock: socket.socket) -> None:
    """Until cancelled; then open streams end and the socket is closed, within about a second."""
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        http=Connection,
        proxy_headers=False,
        timeout_keep_alive=int(REQUEST_S),
        timeout_graceful_shutdown=1,
        ws="none",
    )
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # a port scan is no trouble of ours
    server = _Server(config)
    running = asyncio.create_task(server.serve([sock]), name="http")
    try:
        await asyncio.shield(running)
    finally:
        app.state.feed.close()
        server.should_exit = True
        await running


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the daemon's business."""
        yield
