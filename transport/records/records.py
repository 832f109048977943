"""Records from the pipeline to the disk, and from the disk to the broker: in order, at least once."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from inspection import clock
from inspection.backoff import Backoff
from inspection.errors import StoreError
from inspection.probe import SILENT, Probe
from inspection.record import Record
from transport import wire
from transport.mqtt.config import LONGEST_WAIT_S, BrokerConfig
from transport.mqtt.connection import BrokerError
from transport.records.config import RecordsConfig
from transport.records.delivery import Delivery
from transport.records.entry import Entry
from transport.records.outbox import Outbox

log = logging.getLogger(__name__)

T = TypeVar("T")

_GROUP = 256
_RETRY_S = 0.5
_MEASURE_S = 1.0


class Records:
    """Keeps records and delivers them. `keep` never blocks: a group commit follows in a thread of its own."""

    def __init__(
        self,
        outbox_path: Path,
        broker: BrokerConfig,
        *,
        config: RecordsConfig | None = None,
        ack_topics: Sequence[str] = (),
        name: str = "records",
        probe: Probe = SILENT,
    ) -> None:
        self._config = config or RecordsConfig()
        self._broker, self._name, self._probe = broker, name, probe
        self._ack_topics = ack_topics if self._config.await_ack else ()
        self._outbox = Outbox(outbox_path, max_bytes=self._config.max_mb * 2**20)
        # One thread for all of SQLite: its connection has one owner, and commits come one after another.
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._waiting: deque[tuple[Entry, asyncio.Future[None] | None]] = deque()
        self._arrived = asyncio.Event()
        self._committed = asyncio.Event()
        self._being_written = 0  # from the head of the queue
        self._withdrawn: set[str] = set()
        self._damaged = 0
        self.failure = ""
        """Why records wait in memory; empty while the disk takes them."""

    @property
    def backlog(self) -> int:
        """Records taken and not yet on disk."""
        return len(self._waiting)

    def keep(self, record: Record, topic: str) -> None:
        """Take a record; it is on disk a moment later. Beyond `max_waiting` it is lost, and counted."""
        if len(self._waiting) >= self._config.max_waiting:
            self._probe.record_lost(1, "overflow")
            return
        self._waiting.append((_entry(record, topic), None))
        self._arrived.set()

    async def kept(self, record: Record, topic: str) -> None:
        """Return once the record is committed. Raises StoreError: then it is not kept, and is the caller's.

        Whoever gave up records another verdict under the same id. Its row is not delivered before this returns,
        and is deleted where it does not.
        """
        if len(self._waiting) >= self._config.max_waiting:
            raise StoreError("too many records wait for the disk")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        item = (_entry(record, topic), done)
        self._waiting.append(item)
        self._outbox.held.add(record.id)
        self._arrived.set()
        try:
            await done
        except (StoreError, asyncio.CancelledError):
            if item in list(self._waiting)[self._being_written :]:
                self._waiting.remove(item)
                self._outbox.held.discard(record.id)
            else:  # also after an error: a failed commit may have reached the disk
                self._withdrawn.add(record.id)
                self._arrived.set()
            raise
        self._outbox.held.discard(record.id)
        self._committed.set()

    async def run(self) -> None:
        """Write and deliver until cancelled; commits what still waits before it ends."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write(), name="records: write")
                group.create_task(self._deliver(), name="records: deliver")
                group.create_task(self._measure(), name="records: measure")
        finally:
            await self._last_commit()
            self._disk.shutdown(wait=True)

    async def _on_disk(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)

    async def _write(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting or self._withdrawn:
                try:
                    await self._commit()
                    self.failure = ""
                except StoreError as error:
                    self.failure = str(error)
                    log.error("records wait in memory: %s", error)  # noqa: TRY400 - the text says it all
                    await asyncio.sleep(_RETRY_S)

    async def _commit(self) -> None:
        """One group commit from the head of the queue; entries stay there until it has succeeded."""
        group = [self._waiting[i] for i in range(min(_GROUP, len(self._waiting)))]
        self._being_written, withdrawn = len(group), tuple(self._withdrawn)
        try:
            await self._on_disk(lambda: self._outbox.add([entry for entry, _ in group], without=withdrawn))
        except StoreError as error:
            for item in group:
                if item[1] is not None:
                    self._waiting.remove(item)
                    if not item[1].done():
                        item[1].set_exception(StoreError(str(error)))
            raise
        finally:
            self._being_written = 0
        self._withdrawn.difference_update(withdrawn)
        self._outbox.held.difference_update(withdrawn)
        for _, done in group:
            self._waiting.popleft()
            if done is not None and not done.done():
                done.set_result(None)
        self._probe.record_stored(len(group))
        self._committed.set()

    async def _last_commit(self) -> None:
        try:
            while self._waiting or self._withdrawn:
                await self._commit()
        except StoreError as error:
            self._probe.record_lost(len(self._waiting), "shutdown")
            log.error("%d records are lost at the end: %s", len(self._waiting), error)  # noqa: TRY400
        await self._on_disk(self._outbox.close)

    async def _deliver(self) -> None:
        backoff = Backoff(LONGEST_WAIT_S, spread=True)
        while True:
            began = clock.monotonic()
            delivery = Delivery(self._broker, self._config, self._name, self._ack_topics, self._probe)
            try:
                await delivery.open()
                self._probe.broker_connected("records", True)
                while True:
                    await self._deliver_some(delivery)
            except (BrokerError, StoreError) as error:
                log.warning("records: %s", error)
            finally:
                self._probe.broker_connected("records", False)
                await delivery.close()
            await asyncio.sleep(backoff.after(clock.monotonic() - began))

    async def _deliver_some(self, delivery: "Delivery") -> None:
        """Send what there is room for, delete what has arrived, then wait for news, a second at most."""
        finished = delivery.take_finished()
        if finished:
            await self._on_disk(lambda: self._outbox.remove(finished))
            self._probe.record_delivered(len(finished))
        self._committed.clear()
        room = delivery.room()
        if room:
            cursor = delivery.cursor
            for row in await self._on_disk(lambda: self._outbox.after(cursor, room)):
                delivery.send(row)
        await delivery.news(self._committed)

    async def _measure(self) -> None:
        """Tell how much waits, whether or not there is a broker to take it."""
        used = 0.0
        while True:
            try:
                stored, used = await self._on_disk(lambda: (self._outbox.oldest_utc(), self._outbox.used()))
            except StoreError:  # told by whoever writes; what waits in memory is still known
                stored = None
            waiting = self._waiting[0][0].utc if self._waiting else None
            oldest = min((utc for utc in (stored, waiting) if utc is not None), default=clock.utc())
            self._probe.outbox(self._outbox.depth + len(self._waiting), max(0.0, clock.utc() - oldest), used)
            if self._outbox.damaged > self._damaged:
                self._probe.record_lost(self._outbox.damaged - self._damaged, "damaged")
                self._damaged = self._outbox.damaged
            await asyncio.sleep(_MEASURE_S)


def _entry(record: Record, topic: str) -> Entry:
    return Entry(record.id, topic, wire.encode_record(record), record.utc)
