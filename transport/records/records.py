"""Records from the pipeline to the disk, and from the disk to the broker: in order, at least once."""

import asyncio
import itertools
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
from inspection.repeats import RepeatedTrouble
from transport import wire
from transport.mqtt.config import BrokerConfig
from transport.records.config import RecordsConfig
from transport.records.delivery import Delivery
from transport.records.entry import Entry
from transport.records.outbox import Outbox
from transport.records.sender import Sender

log = logging.getLogger(__name__)

T = TypeVar("T")

_GROUP = 256
_RETRY_S = 0.5
_MEASURE_S = 1.0
_HANGS_S = 5.0


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
        self._probe = probe
        self._ack_topics = ack_topics if self._config.await_ack else ()
        self._outbox = Outbox(outbox_path, max_bytes=self._config.max_mb * 2**20)
        # One thread for all of SQLite: its connection has one owner, and commits come one after another.
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._waiting: deque[tuple[Entry, asyncio.Future[None] | None]] = deque()
        self._arrived = asyncio.Event()
        self._committed = asyncio.Event()
        self._being_written = 0  # from the head of the queue
        self._withdrawn: set[str] = set()
        self._told = {"damaged": 0, "refused": 0}
        self._numbers = itertools.count()
        self._calls: dict[int, float] = {}  # of the disk, and since when
        self._trouble = RepeatedTrouble(log, "records wait in memory", level=logging.ERROR)
        self._failure = ""
        self._sender = Sender(
            self._outbox,
            self._on_disk,
            lambda: Delivery(broker, self._config, name, self._ack_topics, probe),
            self._committed,
            backoff=Backoff(broker.reconnect_max_s, spread=broker.reconnect_jitter),
            probe=probe,
        )

    @property
    def backlog(self) -> int:
        """Records taken and not yet on disk."""
        return len(self._waiting)

    @property
    def failure(self) -> str:
        """Why records wait in memory; empty while the disk takes them."""
        hangs = clock.monotonic() - min(self._calls.values(), default=clock.monotonic())
        return self._failure or (f"the disk has not answered for {hangs:.0f} s" if hangs > _HANGS_S else "")

    @property
    def owed(self) -> int:
        """Records on disk that the broker is to take now: not those that are set aside, none while the disk fails."""
        return 0 if self.failure else self._sender.owed

    @property
    def answered(self) -> int:
        """Counts the records that the broker or their consumer has answered."""
        return self._sender.answered

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
                group.create_task(self._sender.run(), name="records: deliver")
                group.create_task(self._measure(), name="records: measure")
        finally:
            await self._last_commit()
            self._disk.shutdown(wait=True)

    async def _on_disk(self, work: Callable[[], T]) -> T:
        call = next(self._numbers)
        self._calls[call] = clock.monotonic()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._disk, work)
        finally:
            del self._calls[call]

    async def _write(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting or self._withdrawn:
                try:
                    await self._commit()
                    self._failure = ""
                    self._trouble.over()
                except StoreError as error:
                    self._failure = str(error)
                    self._trouble.occurred(self._failure)
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

    async def _measure(self) -> None:
        """Tell how much waits, whether or not there is a broker to take it."""
        used = 0.0
        while True:
            try:
                stored, used = await self._on_disk(lambda: (self._outbox.oldest_utc(), self._outbox.used()))
            except StoreError:  # told by whoever writes; what waits in memory is still known
                stored = None
            waiting = self._waiting[0][0].utc if self._waiting else None
            now, outbox = clock.steady(), self._outbox
            oldest = min((utc for utc in (stored, waiting) if utc is not None), default=now)
            self._probe.outbox(outbox.depth + outbox.aside + len(self._waiting), max(0.0, now - oldest), used)
            self._probe.records_aside(outbox.aside)
            for why, count in (("damaged", outbox.damaged), ("refused", outbox.given_up)):
                if count > self._told[why]:
                    self._probe.record_lost(count - self._told[why], why)
                    self._told[why] = count
            await asyncio.sleep(_MEASURE_S)


def _entry(record: Record, topic: str) -> Entry:
    # Not record.utc: the wall clock may be set while the record waits.
    return Entry(record.id, topic, wire.encode_record(record), clock.steady(record.verdict.decided))
