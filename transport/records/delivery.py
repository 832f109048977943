"""One connection's worth of delivery: which rows are sent, which have arrived, which are refused."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

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
MAX_SENDS = 3  # of a record that its consumer does not acknowledge

BROKER, CONSUMER, CONNECTION = "broker", "consumer", "connection"
REFUSERS = (BROKER, CONSUMER, CONNECTION)
"""Who does not take a record; the last ends the connection instead."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that did not arrive: `by` is one of REFUSERS, `why` is for people."""

    row: Row
    by: str
    why: str


@dataclass(slots=True)
class _Sent:
    row: Row
    at: float
    times: int


class Delivery:
    """What it leaves unfinished, the next one sends again, marked historical."""

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
        self._opened = clock.steady()
        self._sent: OrderedDict[int, _Sent] = OrderedDict()  # by row number; not finished
        self._by_mid: dict[int, int] = {}
        self._by_id: dict[str, int] = {}
        self._last_ack: dict[str, float] = {}  # by topic, of a consumer
        self._finished: list[Row] = []
        self._refused: list[Refused] = []
        self.silent: set[str] = set()
        """Topics whose consumer acknowledges nothing: their rows would only take the others' places."""
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
        free = min(MAX_IN_FLIGHT - self._connection.unacked, self._connection.room)
        if self._config.await_ack:
            free = min(free, MAX_AWAITING_ACK - len(self._sent))
        return 0 if self._connection.stuck else max(0, free)

    def unacked(self) -> list[Row]:
        """Rows that were sent, and that the broker has not answered."""
        return [self._sent[n].row for n in self._by_mid.values() if n in self._sent]

    def send(self, row: Row, *, earlier: bool) -> None:
        """`earlier`: it is from before this process, or was set aside. Raises BrokerError."""
        now = clock.steady()
        late = row.entry.utc < self._opened or now - row.entry.utc > self._config.historical_after_s
        self.cursor = max(self.cursor, row.n)
        self._publish(_Sent(row, 0.0, 0), historical=late or earlier)

    def _publish(self, sent: _Sent, *, historical: bool) -> None:
        row = sent.row
        try:
            mid = self._connection.publish(row.entry.topic, wire.deliver_record(row.entry.body, historical=historical))
        except ValueError as error:  # too large, for MQTT or this broker, or no topic
            self._give_back(row, BROKER, f"it cannot be sent: {error}")
            return
        if mid is None:
            raise BrokerError(self._connection.why_lost)
        sent.at, sent.times = clock.monotonic(), sent.times + 1
        self._sent[row.n] = sent
        self._by_mid[mid] = row.n
        if self._config.await_ack:
            self._by_id[row.entry.id] = row.n

    def take_finished(self) -> list[Row]:
        """Rows that have arrived since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def take_refused(self) -> list[Refused]:
        """Rows that somebody refused since the last call."""
        refused, self._refused = self._refused, []
        return refused

    async def news(self, committed: asyncio.Event) -> None:
        """Wait for an acknowledgement, a new record or a second. Raises BrokerError when the broker is lost."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._news, committed, self._connection.lost)]
        try:
            await asyncio.wait(waits, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._news.clear()
        if self._connection.lost.is_set():
            raise BrokerError(self._connection.why_lost)
        if self._config.await_ack:
            self._send_again_where_due()

    def _send_again_where_due(self) -> None:
        now, crowded = clock.monotonic(), len(self._sent) >= MAX_AWAITING_ACK
        due = [sent for sent in self._sent.values() if now - sent.at > self._config.ack_timeout_s]
        for sent in due:
            topic = sent.row.entry.topic
            silent = self._last_ack.get(topic, 0.0) < sent.at
            if sent.row.n < 0 or sent.times >= MAX_SENDS or (crowded and silent):
                if silent:
                    self.silent.add(topic)
                self._give_back(sent.row, CONSUMER, f"no acknowledgement on …/ack for {self._config.ack_timeout_s:g} s")
            else:
                self._publish(sent, historical=True)

    def _acked_by_broker(self, mid: int, refusal: str) -> None:
        sent = self._sent.get(self._by_mid.pop(mid, 0))
        self._news.set()
        if sent is None:
            return
        if refusal:
            self._give_back(
                sent.row, BROKER, f"the broker refuses it ({refusal}): is the user allowed to publish there?"
            )
        elif not self._config.await_ack:
            self._finish(sent.row)

    def _acked_by_consumer(self, message: Incoming) -> None:
        try:
            identity = wire.parse_ack(message.payload)
        except wire.WireError as error:
            log.warning("%s: %s", message.topic, error)
            return
        sent = self._sent.get(self._by_id.get(identity, 0))
        if sent is not None:
            self._last_ack[sent.row.entry.topic] = clock.monotonic()
            self.silent.discard(sent.row.entry.topic)
            self._finish(sent.row)
            self._news.set()

    def _give_back(self, row: Row, by: str, why: str) -> None:
        self._forget(row)
        self._refused.append(Refused(row, by, why))

    def _finish(self, row: Row) -> None:
        self._forget(row)
        self._finished.append(row)

    def _forget(self, row: Row) -> None:
        self._sent.pop(row.n, None)
        self._by_id.pop(row.entry.id, None)
