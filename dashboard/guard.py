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


MONITORING = ("/metrics", "/healthz", "/readyz")
_METHODS = ("GET", "HEAD")


class Guard:
    """Refuses what is not a read, and host names that are not ours.

    A page of the internet can make its own name point at 127.0.0.1 and read us through the operator's browser
    (DNS rebinding). It cannot do so with an address, so any IP literal is taken. A request without a host name comes
    from no browser. What monitoring reads is answered under every name.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = {_plain(host) for host in hosts} | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refusal: PlainTextResponse | None = None
        host = _name(Headers(scope=scope).get("host", ""))
        if scope["method"] not in _METHODS:
            refusal = PlainTextResponse("only GET and HEAD\n", 405, {"Allow": ", ".join(_METHODS)})
        elif scope["path"] not in MONITORING and not self._ours(host):
            refusal = PlainTextResponse(
                f"unknown host name {host[:253]!r}: add it to http.hosts in the configuration, or ask by the address\n",
                421,
            )

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await (refusal or self._app)(scope, receive, with_headers)

    def _ours(self, host: str) -> bool:
        if not host or host in self._hosts:
            return True
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True


def _name(header: str) -> str:
    """The host of a Host header, without its port."""
    name, _, port = header.rpartition(":")
    if not name or not port.isdigit():
        name = header
    return _plain(name.removeprefix("[").removesuffix("]"))


def _plain(name: str) -> str:
    return name.lower().removesuffix(".")
