"""Records from the pipeline to the disk, and from the disk to the broker: in order, at least once."""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from inspection import clock
from inspection.backoff import Backoff
from inspection.errors import StoreError
from inspection.probe import SILENT, Probe
from inspection.record import Record
from transport import wire
from transport.message import Incoming
from transport.mqtt.config import LONGEST_WAIT_S, BrokerConfig
from transport.mqtt.connection import BrokerError, Connection
from transport.outbox import Entry, Outbox, Row

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_IN_FLIGHT = 10
MAX_AWAITING_ACK = 100
_GROUP = 256
_RETRY_S = 0.5
_MEASURE_S = 1.0


class RecordsConfig(BaseModel):
    """How records are kept until they have arrived."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    require_record: bool = Field(
        False,
        description="Commit each record before its verdict goes out, and answer NO_VERDICT store_failed where that "
        "fails. False: the verdict goes first, and a full disk does not stop the line.",
    )
    max_mb: int = Field(256, ge=1, description="Cap of the outbox file, MiB; keep it well below the volume.")
    max_waiting: int = Field(
        10_000, ge=1, description="Records held in memory while the disk is full; beyond it they are lost, counted."
    )
    historical_after_s: float = Field(
        5.0, gt=0, description="A record sent later than this after its verdict is marked historical."
    )
    await_ack: bool = Field(
        False, description="Keep a record until its consumer says so on …/ack; false: until the broker's PUBACK."
    )
    ack_timeout_s: float = Field(
        30.0, gt=0, description="With await_ack: send again what was not acknowledged for so long."
    )


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
        """Return once the record is committed. Raises StoreError: then it is not kept, and is the caller's."""
        if len(self._waiting) >= self._config.max_waiting:
            raise StoreError("too many records wait for the disk")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        item = (_entry(record, topic), done)
        self._waiting.append(item)
        self._arrived.set()
        try:
            await done
        except asyncio.CancelledError:
            # Who gave up tells another story of this part: this one must not be stored, if it still can be stopped.
            if item in list(self._waiting)[self._being_written :]:
                self._waiting.remove(item)
            raise

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
            while self._waiting:
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
        self._being_written = len(group)
        try:
            await self._on_disk(lambda: self._outbox.add([entry for entry, _ in group]))
        except StoreError as error:
            for item in group:
                if item[1] is not None:
                    self._waiting.remove(item)
                    if not item[1].done():
                        item[1].set_exception(StoreError(str(error)))
            raise
        finally:
            self._being_written = 0
        for _, done in group:
            self._waiting.popleft()
            if done is not None and not done.done():
                done.set_result(None)
        self._probe.record_stored(len(group))
        self._committed.set()

    async def _last_commit(self) -> None:
        try:
            while self._waiting:
                await self._commit()
        except StoreError as error:
            self._probe.record_lost(len(self._waiting), "shutdown")
            log.error("%d records are lost at the end: %s", len(self._waiting), error)  # noqa: TRY400
        await self._on_disk(self._outbox.close)

    async def _deliver(self) -> None:
        backoff = Backoff(LONGEST_WAIT_S, spread=True)
        while True:
            began = clock.monotonic()
            delivery = _Delivery(self._broker, self._config, self._name, self._ack_topics, self._probe)
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

    async def _deliver_some(self, delivery: "_Delivery") -> None:
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


class _Delivery:
    """One connection's worth of delivery. What it leaves unfinished, the next one sends again, marked historical."""

    def __init__(
        self,
        broker: BrokerConfig,
        config: RecordsConfig,
        name: str,
        ack_topics: Sequence[str],
        probe: Probe,
    ) -> None:
        self._config, self._ack_topics = config, ack_topics
        self._connection = Connection(
            broker,
            f"{broker.client_id}-{name}",
            link="records",
            on_message=self._acked_by_consumer,
            on_acked=self._acked_by_broker,
            probe=probe,
        )
        self._news = asyncio.Event()
        self._opened_utc = clock.utc()
        self._sent: OrderedDict[int, float] = OrderedDict()  # row number → when sent; not finished
        self._by_mid: dict[int, int] = {}
        self._by_id: dict[str, int] = {}
        self._finished: list[int] = []
        self._refused = False
        self._again = False
        self.cursor = 0
        """Number of the last row that was sent."""

    async def open(self) -> None:
        """Raises BrokerError."""
        await self._connection.open()
        for topic in self._ack_topics:
            await self._connection.subscribe(topic)

    async def close(self) -> None:
        await self._connection.close()
        self._connection.abort()

    def room(self) -> int:
        """How many more rows may be sent now."""
        free = MAX_IN_FLIGHT - self._connection.unacked
        if self._config.await_ack:
            free = min(free, MAX_AWAITING_ACK - len(self._sent))
        return 0 if self._connection.stuck else max(0, free)

    def send(self, row: Row) -> None:
        """Raises BrokerError where the connection is gone."""
        entry = row.entry
        late = entry.utc < self._opened_utc or clock.utc() - entry.utc > self._config.historical_after_s
        mid = self._connection.publish(entry.topic, wire.deliver_record(entry.body, historical=late or self._again))
        if mid is None:
            raise BrokerError(self._connection.why_lost)
        self.cursor = row.n
        self._sent[row.n] = clock.monotonic()
        self._by_mid[mid] = row.n
        if self._config.await_ack:
            self._by_id[entry.id] = row.n

    def take_finished(self) -> list[int]:
        """Rows that have arrived since the last call."""
        finished, self._finished = self._finished, []
        return finished

    async def news(self, committed: asyncio.Event) -> None:
        """Wait for an acknowledgement, a new record or a second. Raises BrokerError when the broker is lost."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._news, committed, self._connection.lost)]
        try:
            await asyncio.wait(waits, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._news.clear()
        self._connection.tick()
        if self._connection.lost.is_set():
            raise BrokerError(self._connection.why_lost)
        if self._refused:
            raise BrokerError("the broker refuses records: is the user allowed to publish on …/record?")
        self._send_again_if_due()

    def _send_again_if_due(self) -> None:
        """Without the consumer's acknowledgement for too long, begin again at the first unfinished row."""
        if not self._config.await_ack or not self._sent:
            return
        first, when = next(iter(self._sent.items()))
        if clock.monotonic() - when > self._config.ack_timeout_s:
            self.cursor, self._again = first - 1, True
            self._sent.clear()

    def _acked_by_broker(self, mid: int, ok: bool) -> None:
        n = self._by_mid.pop(mid, None)
        self._news.set()
        if not ok:
            self._refused = True
        elif n is not None and not self._config.await_ack:
            self._finish(n)

    def _acked_by_consumer(self, message: Incoming) -> None:
        try:
            identity = wire.parse_ack(message.payload)
        except wire.WireError as error:
            log.warning("%s: %s", message.topic, error)
            return
        n = self._by_id.pop(identity, None)
        if n is not None:
            self._finish(n)
            self._news.set()

    def _finish(self, n: int) -> None:
        self._sent.pop(n, None)
        self._finished.append(n)
