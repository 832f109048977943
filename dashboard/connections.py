"""Open connections: few, each with a limit of time, and always one more for whoever asks now.

A client that sends nothing, one byte at a time, or reads nothing would otherwise hold the places that Prometheus,
systemd and a browser need.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from uvicorn.protocols.http.h11_impl import H11Protocol

EVENTS = "/events"
"""The path whose answer has no end. It bounds its readers itself."""
MAX_CONNECTIONS = 64
REQUEST_S = 5.0
"""From the connection, or the answer before, to the last byte of a request's head."""
ANSWER_S = 30.0
"""From there to the last byte that the client takes of the answer."""

T = TypeVar("T")


class Connection(H11Protocol):
    """One client's connection. When there are too many, the one that is of least use is closed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.since = 0.0
        self._limit: asyncio.TimerHandle | None = None
        self._half_closed = False

    @property
    def peer(self) -> str:
        return self.client[0] if self.client else ""

    @property
    def usefulness(self) -> int:
        """0: it asks nothing. 1: it reads for ever. 2: it is being answered."""
        if not self._answering():
            return 0
        return 1 if self._is_endless() else 2

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in H11Protocol
        super().connection_made(transport)
        self._wait(REQUEST_S)
        open_now = [one for one in self.connections if isinstance(one, Connection)]
        if len(open_now) > MAX_CONNECTIONS:
            least = min(one.usefulness for one in open_now if one is not self)
            idle = [one for one in open_now if one is not self and one.usefulness == least]
            longest_of_most(idle, peer=lambda one: one.peer, since=lambda one: one.since).drop()

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._answer()

    def eof_received(self) -> bool:  # type: ignore[override] # asyncio heeds the answer
        """A client may close its side behind the request, and still read the answer."""
        self._half_closed = self._answering() and not self._is_endless()
        return self._half_closed

    def on_response_complete(self) -> None:
        before = self.cycle
        self._wait(REQUEST_S)
        super().on_response_complete()
        if self._half_closed:
            self.transport.close()
        elif self.cycle is not before:  # it had sent the next request already
            self._answer()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._limit is not None:
            self._limit.cancel()
        super().connection_lost(exc)

    def drop(self) -> None:
        """Close it now, whatever the client still has to read."""
        self.transport.abort()
        self.connections.discard(self)

    def _answer(self) -> None:
        if self._is_endless():
            self._wait(None)
        elif self._answering():
            self._wait(ANSWER_S)

    def _wait(self, seconds: float | None) -> None:
        self.since = self.loop.time()
        if self._limit is not None:
            self._limit.cancel()
        self._limit = None if seconds is None else self.loop.call_later(seconds, self.drop)

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _is_endless(self) -> bool:
        return self._answering() and self.scope["path"] == EVENTS


def longest_of_most(members: Collection[T], *, peer: Callable[[T], str], since: Callable[[T], float]) -> T:
    """Of the peer that has most of `members`, the one that has been there longest.

    So one client that takes all places loses its own, and nobody else's.
    """
    counts = Counter(peer(member) for member in members)
    return min(members, key=lambda member: (-counts[peer(member)], since(member)))
