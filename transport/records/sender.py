"""Takes records from the outbox to the broker, over one connection after another."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from inspection import clock
from inspection.backoff import Backoff
from inspection.errors import ConfigError, StoreError
from inspection.probe import Probe
from inspection.repeats import RepeatedTrouble
from transport.mqtt.connection import BrokerError
from transport.records.delivery import CONNECTION, CONSUMER, Delivery, Refused
from transport.records.entry import Entry, Row
from transport.records.outbox import Outbox
from transport.records.retries import LethalSizes, Retries, Suspects

log = logging.getLogger(__name__)

_SCANNED = 8  # rows that are set aside, read at once


class Sender:
    """Sends rows in their order, at least once. A row that is refused is set aside, and holds up no other.

    `on_disk` runs something in the thread of the outbox; `committed` is set when there are new rows.
    """

    def __init__(
        self,
        outbox: Outbox,
        on_disk: Callable[[Callable[[], Any]], Awaitable[Any]],
        connect: Callable[[], Delivery],
        committed: asyncio.Event,
        *,
        backoff: Backoff,
        probe: Probe,
    ) -> None:
        self._outbox, self._on_disk, self._connect, self._committed = outbox, on_disk, connect, committed
        self._backoff, self._probe = backoff, probe
        self._suspects, self._retries, self._lethal = Suspects(), Retries(), LethalSizes()
        # What the disk has not been told yet, by id: a row is not sent again because the disk is full.
        self._arrived: dict[str, Row] = {}
        self._aside: dict[str, Row] = {}
        self._broker_trouble = RepeatedTrouble(log, "records")
        self._disk_trouble = RepeatedTrouble(log, "the outbox cannot be read or written", level=logging.ERROR)
        self._refusals: dict[str, RepeatedTrouble] = {}
        self.answered = 0
        """Records that have arrived or were refused: counts up while there is progress."""

    @property
    def owed(self) -> int:
        """Records on disk that are to be sent now; none while the disk fails."""
        waiting = self._outbox.depth - len(self._arrived) - len(self._aside)
        return 0 if self._disk_trouble.lasts else max(0, waiting)

    async def run(self) -> None:
        """Until cancelled."""
        backoff = self._backoff
        while True:
            began = clock.monotonic()
            try:
                delivery = self._connect()
            except ConfigError as error:  # a password may be replaced while parts move
                self._broker_trouble.occurred(str(error))
                await asyncio.sleep(backoff.after(0))
                continue
            try:
                await delivery.open()
                self._probe.broker_connected("records", True)
                while True:
                    await self._send_some(delivery)
            except BrokerError as error:
                self._broker_trouble.occurred(str(error))
                self._lost(delivery)
            finally:
                self._probe.broker_connected("records", False)
                await delivery.close()
            await self._settle(delivery)
            await asyncio.sleep(backoff.after(clock.monotonic() - began))

    async def _send_some(self, delivery: Delivery) -> None:
        """Write down what was answered, send what there is room for, then wait for news, a second at most."""
        settled = await self._settle(delivery)
        self._committed.clear()
        try:
            for row in await self._next(delivery):
                self._send(row, delivery)
            await self._retry(delivery)
            if settled:
                self._disk_trouble.over()
        except StoreError as error:
            self._disk_trouble.occurred(str(error))
        await delivery.news(self._committed)
        self._broker_trouble.over()

    def _send(self, row: Row, delivery: Delivery) -> None:
        if row.entry.id not in self._arrived and row.entry.id not in self._aside:
            if row.entry.topic in delivery.silent:
                self._note(Refused(row, CONSUMER, "its consumer acknowledges nothing"))
            elif self._lethal.holds(row):
                self._note(Refused(row, CONNECTION, "the connection ended upon others of its size"))
            else:
                delivery.send(row, earlier=row.n <= self._outbox.earlier_n)
                return
        delivery.cursor = row.n
        self._committed.set()  # there may be others behind it

    async def _next(self, delivery: Delivery) -> list[Row]:
        room = delivery.room()
        if self._suspects.alone:
            room = min(room, 1 - len(delivery.unacked()))
        if room <= 0:
            return []
        cursor = delivery.cursor
        rows: list[Row] = await self._on_disk(lambda: self._outbox.after(cursor, room))
        return rows

    async def _retry(self, delivery: Delivery) -> None:
        while self._outbox.aside and self._retries.wanted() and delivery.room():
            cursor = self._retries.cursor
            rows: list[Row] = await self._on_disk(lambda: self._outbox.aside_after(cursor, _SCANNED))  # noqa: B023 - awaited
            row = self._retries.choose(rows)
            if row is not None:
                delivery.send(row, earlier=True)
            elif not rows:
                return

    async def _settle(self, delivery: Delivery) -> bool:
        """Take note of what was answered; False where the disk cannot."""
        finished, refused = delivery.take_finished(), delivery.take_refused()
        self._suspects.cleared([*finished, *(one.row for one in refused)])
        self._retries.arrived(finished)
        for one in refused:
            self._note(one)
        if finished:
            self.answered += len(finished)
            self._probe.record_delivered(len(finished))
            self._lethal.arrived(finished)
            self._arrived |= {row.entry.id: _without_body(row) for row in finished}
            for topic in {row.entry.topic for row in finished} & self._refusals.keys():
                self._refusals[topic].over()
        try:
            await self._write_down()
        except StoreError as error:
            self._disk_trouble.occurred(str(error))
            return False
        return True

    async def _write_down(self) -> None:
        arrived, aside = list(self._arrived.values()), list(self._aside.values())
        if arrived:
            await self._on_disk(lambda: self._outbox.remove(arrived))
            self._arrived.clear()
        if aside:
            await self._on_disk(lambda: self._outbox.set_aside(aside))
            self._aside.clear()

    def _note(self, refused: Refused) -> None:
        row, topic = refused.row, refused.row.entry.topic
        if topic not in self._refusals:
            self._refusals[topic] = RepeatedTrouble(log, f"a record on {topic} is set aside and tried again later")
        self._refusals[topic].occurred(refused.why)
        self._retries.refused(row)
        if row.n > 0:  # it was not set aside before
            self.answered += 1
            self._aside[row.entry.id] = _without_body(row)
            self._probe.record_refused(1, refused.by)

    def _lost(self, delivery: Delivery) -> None:
        self._retries.lost()
        for row in self._suspects.lost([row for row in delivery.unacked() if row.n > 0]):
            self._lethal.blamed(row)
            self._note(Refused(row, CONNECTION, "the connection ended each time that it was sent"))


def _without_body(row: Row) -> Row:
    return Row(row.n, Entry(row.entry.id, row.entry.topic, b"", row.entry.utc))
