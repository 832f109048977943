"""One station's way into the records that all stations share."""

import asyncio
from collections import deque
from dataclasses import replace
from typing import Protocol

from inspection.record import Record
from inspection.verdict import Verdict


class Outgoing(Protocol):
    """Where records go."""

    def keep(self, record: Record, topic: str) -> None: ...
    async def kept(self, record: Record, topic: str) -> None: ...


class Teller(Protocol):
    """Who sent the verdict, and hears within a second whether the broker took it."""

    def told(self, verdict: Verdict) -> "asyncio.Future[bool | None] | None": ...


class Recorder:
    """Passes a station's records on in the order of `keep`, each as soon as it is known what became of its verdict.

    A record whose `said` is true waits for the broker's answer, a second at most: the queue holds what one second of
    the line brings.
    """

    def __init__(self, records: Outgoing, teller: Teller, topic: str) -> None:
        self._records, self._teller, self._topic = records, teller, topic
        self._waiting: deque[tuple[Record, asyncio.Future[bool | None] | None]] = deque()
        self._empty = asyncio.Event()
        self._empty.set()

    def keep(self, record: Record) -> None:
        told = None
        if record.said:
            told = self._teller.told(record.verdict)
            record = replace(record, said=None)  # until the broker has answered
        self._waiting.append((record, told))
        self._empty.clear()
        if told is not None:
            told.add_done_callback(lambda _: self._pass_on())
        self._pass_on()

    async def kept(self, record: Record) -> None:
        await self._records.kept(record, self._topic)

    async def close(self) -> None:
        """Returns when all records have been passed on."""
        await self._empty.wait()

    def _pass_on(self) -> None:
        while self._waiting:
            record, told = self._waiting[0]
            if told is not None and not told.done():
                return
            self._waiting.popleft()
            self._records.keep(record if told is None else replace(record, said=told.result()), self._topic)
        self._empty.set()
