"""What every answer of the page passes through: read-only methods, the host check, the headers."""

import ipaddress
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Refuses what is not a read, and host names that are not ours.

    A page of the internet can make its own name point at 127.0.0.1 and read us through the operator's browser
    (DNS rebinding). It cannot do so with an address, so any IP literal is taken.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts} | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refusal: PlainTextResponse | None = None
        if scope["method"] != "GET":
            refusal = PlainTextResponse("only GET\n", 405, {"Allow": "GET"})
        elif not self._ours(Headers(scope=scope).get("host", "")):
            refusal = PlainTextResponse("unknown host name\n", 421)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await (refusal or self._app)(scope, receive, with_headers)

    def _ours(self, header: str) -> bool:
        name, _, port = header.rpartition(":")
        if not name or not port.isdigit():
            name = header
        name = name.removeprefix("[").removesuffix("]").lower()
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
