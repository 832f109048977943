"""One connection's worth of delivery: which rows are sent, which have arrived."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence

from inspection import clock
from inspection.probe import Probe
from transport import wire
from transport.message import Incoming
from transport.mqtt.config import BrokerConfig
from transport.mqtt.connection import BrokerError, Connection
from transport.records.config import RecordsConfig
from transport.records.entry import Row

log = logging.getLogger(__name__)

MAX_IN_FLIGHT = 10
MAX_AWAITING_ACK = 100


class Delivery:
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
        self._finished: list[Row] = []
        self._rows: dict[int, Row] = {}
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
        self._rows[row.n] = row
        self._by_mid[mid] = row.n
        if self._config.await_ack:
            self._by_id[entry.id] = row.n

    def take_finished(self) -> list[Row]:
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
        self._finished.append(self._rows.pop(n))
