"""A station's live side: verdicts out, triggers in, state with its will, heartbeat. Nothing here is sent late."""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable
from typing import Any, Literal

from inspection import clock
from inspection.backoff import Backoff
from inspection.errors import ConfigError
from inspection.part import Trigger
from inspection.probe import SILENT, Probe
from inspection.repeats import RepeatedTrouble
from inspection.verdict import Verdict
from transport import wire
from transport.message import Incoming
from transport.mqtt.config import BrokerConfig
from transport.mqtt.connection import LOST_AFTER_S, BrokerError, Connection, SubscriptionError
from transport.mqtt.limits import PacketTooLargeError
from transport.refusals import Publishes, Told
from transport.triggers import Refusal, TriggerDesk

log = logging.getLogger(__name__)

State = Literal["ready", "not_ready", "offline"]

MAX_UNACKED = 1000
HEARTBEAT_S = 1.0
STATE_EVERY = 60
"""Heartbeats. Whoever else wrote on the topic, the will of an older connection too, is put right then."""
TRY_AGAIN_EVERY = 5
"""Heartbeats, while the broker refuses a topic."""
SETTLE_S = 1.0
"""After a reconnect, a broker that stood still hands on what it had not read yet, triggers of long ago among it."""


class StationLink:
    """One MQTT connection for one station, so that the station has a will of its own.

    Each connection has a new client and a clean session: what was unacknowledged when a connection ended is
    never sent again, and a trigger that waited at the broker while we were away is never acted on.
    `on_trigger` is called on the event loop for each accepted trigger. With `triggers` None the station takes
    none and does not subscribe. `on_command`, where it is set before `run`, is called for each message on the
    command topic, which is not subscribed to otherwise.
    """

    def __init__(
        self,
        broker: BrokerConfig,
        address: wire.Address,
        *,
        session: str,
        triggers: TriggerDesk | None,
        on_trigger: Callable[[Trigger], None],
        probe: Probe = SILENT,
    ) -> None:
        self._broker, self._address, self._session = broker, address, session
        self._desk, self._on_trigger, self._probe = triggers, on_trigger, probe
        self._connection: Connection | None = None
        self._state: tuple[State, str, str] = ("not_ready", "starting", "")
        self._beats = 0
        self._publishes = Publishes(address.station, probe)
        self._trouble = RepeatedTrouble(log, f"{address.station}: broker")
        self._deaf = False
        self.on_command: Callable[[Incoming], None] | None = None

    @property
    def connected(self) -> bool:
        """The broker answers and has taken our subscription and our state."""
        return self._connection is not None and not self._connection.lost.is_set()

    @property
    def obstacle(self) -> str:
        """Why the station cannot serve its PLC though the broker is there: a reason of `…/state`, or empty."""
        if self._deaf:
            return "subscription_refused: trigger"
        topic = self._publishes.obstacle
        return f"publish_refused: {topic}" if topic else ""

    def told(self, verdict: Verdict) -> Told | None:
        """Whether the broker took a verdict that `say` has sent; known within a second, None where it stays unknown.

        To be asked once for each verdict, by whoever records it.
        """
        return self._publishes.told(verdict.part.seq)

    def set_state(self, state: State, reason: str, model: str) -> None:
        """Say what the station can do; kept, and said again at every connect."""
        if (state, reason, model) != self._state:
            self._state = (state, reason, model)
            self._publish_state()

    def say(self, verdict: Verdict) -> bool:
        """Publish a live verdict now. False: it was not sent, will never be, and is counted.

        That is so where it could not reach the broker before its deadline, with the broker away, and while the broker
        owes us an answer for longer than it usually takes or the kernel takes no bytes: it would arrive late.
        """
        connection = self._connection
        left = verdict.part.deadline - clock.monotonic()
        if connection is None or connection.lost.is_set() or left <= connection.fresh.trip.one_way or _slow(connection):
            self._probe.verdict_late(verdict.part.station)
            return False
        body = wire.encode_verdict(verdict, session=self._session, left_s=left, utc=clock.utc())
        expiry = math.ceil(left)
        try:
            mid = connection.publish(self._address.verdict, body, expiry_s=expiry)
        except PacketTooLargeError as error:
            self._publishes.refused("verdict", str(error))
            mid = None
        if mid is None:
            self._probe.verdict_late(verdict.part.station)
            return False
        self._publishes.verdict_sent(mid, verdict.part.seq)
        trigger = verdict.part.trigger
        if trigger is not None and trigger.response_topic is not None:
            self._respond(connection, trigger.response_topic, body, expiry_s=expiry, correlation=trigger.correlation)
        return True

    def _respond(self, connection: Connection, topic: str, body: bytes, **how: Any) -> None:
        if connection.room > 0:
            self._publish(connection, "response", topic, body, **how)
        else:
            self._publishes.refused("response", "the broker still owes answers, and takes no more until then")

    def _publish(self, connection: Connection, kind: str, topic: str, body: bytes, **how: Any) -> None:
        try:
            mid = connection.publish(topic, body, **how)
        except PacketTooLargeError as error:
            self._publishes.refused(kind, str(error))
            return
        if mid is not None and how.get("qos", 1):
            self._publishes.sent(mid, kind)

    async def run(self) -> None:
        """Connect, serve, come back; until cancelled, which says offline/shutdown and leaves."""
        backoff = Backoff(self._broker.reconnect_max_s, spread=self._broker.reconnect_jitter)
        settle_s = 0.0
        while True:
            began = clock.monotonic()
            try:
                await self._once(settle_s)
            except (BrokerError, ConfigError) as error:  # a password may be replaced while parts move
                self._trouble.occurred(str(error))
            settle_s = SETTLE_S
            await asyncio.sleep(backoff.after(clock.monotonic() - began))

    async def _once(self, settle_s: float) -> None:
        state = wire.encode_state("offline", "connection_lost", "", session=self._session, utc=clock.utc())
        connection = Connection(
            self._broker,
            f"{self._broker.client_id}-{self._address.client}",
            link=self._address.station,
            will=(self._address.state, state),
            on_message=self._incoming,
            on_acked=self._publishes.answered,
            probe=self._probe,
        )
        try:
            await connection.open()
            connection.fresh.doubt_for(settle_s)
            await self._subscribe(connection)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settle_s):
                    await connection.lost.wait()
            self._connection = connection
            self._probe.broker_connected(self._address.station, True)
            self._publish_state()
            await self._beat(connection)
        except asyncio.CancelledError:
            await self._goodbye(connection)
            raise
        finally:
            self._connection = None
            self._probe.broker_connected(self._address.station, False)
            connection.abort()
            self._publishes.lost()

    async def _subscribe(self, connection: Connection) -> None:
        """Raises BrokerError. Where the broker refuses, the connection stays: the state tells the PLC."""
        if self._desk is not None:
            self._deaf = not await self._may_read(connection, self._address.trigger)
        if self.on_command is not None:
            await self._may_read(connection, self._address.command)

    async def _may_read(self, connection: Connection, topic: str) -> bool:
        try:
            await connection.subscribe(topic)
        except SubscriptionError as error:
            self._trouble.occurred(str(error))
            return False
        return True

    async def _beat(self, connection: Connection) -> None:
        """A heartbeat each second until the connection is lost: raises BrokerError then."""
        beats = 0
        while not connection.lost.is_set():
            due = beats % (TRY_AGAIN_EVERY if self.obstacle else STATE_EVERY) == 0
            if not connection.stuck:
                self._heartbeat(connection, answered=due)
                if due and beats:
                    self._publish_state()
                    await self._subscribe(connection)
            if due and not self.obstacle:
                self._trouble.over()
            beats += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    await connection.lost.wait()
            if connection.oldest_unacked_s() > LOST_AFTER_S:
                raise BrokerError("no acknowledgement")
        raise BrokerError(connection.why_lost)

    def _heartbeat(self, connection: Connection, *, answered: bool) -> None:
        """With `answered` at QoS 1: the broker tells whether it takes heartbeats at all."""
        self._beats += 1
        body = wire.encode_heartbeat(
            self._beats, ready=self._state[0] == "ready", session=self._session, utc=clock.utc()
        )
        asks = answered and connection.room > 0
        self._publish(connection, "heartbeat", self._address.heartbeat, body, qos=1 if asks else 0)

    async def _goodbye(self, connection: Connection) -> None:
        if connection.lost.is_set():
            return
        self._state = ("offline", "shutdown", self._state[2])
        self._publish_state()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await connection.all_acked()
        await connection.close()

    def _publish_state(self) -> None:
        if self._connection is not None:
            body = wire.encode_state(*self._state, session=self._session, utc=clock.utc())
            self._publish(self._connection, "state", self._address.state, body, retain=True)

    def answer_command(self, body: bytes) -> None:
        """Publish on `…/command/result`; nothing is kept for later where the broker is away."""
        if self._connection is not None:
            self._publish(self._connection, "command_result", self._address.command_result, body)

    def _incoming(self, message: Incoming) -> None:
        if message.topic == self._address.command:
            if self.on_command is not None:
                self.on_command(message)
            return
        if self._desk is None:
            return
        judged = self._desk.judge(message)
        if isinstance(judged, Refusal):
            self._refuse(judged)
        else:
            self._on_trigger(judged)

    def _refuse(self, refusal: Refusal) -> None:
        if refusal.answer:  # a flood fills no log either
            log.info("%s: trigger refused: %s: %s", self._address.station, refusal.why, refusal.detail)
        connection = self._connection
        if not refusal.answer or connection is None or _slow(connection):
            return
        body = wire.encode_refused(refusal.trigger, refusal.why, refusal.detail, session=self._session, utc=clock.utc())
        self._publish(connection, "refused", self._address.refused, body)
        if refusal.response_topic is not None:
            self._respond(connection, refusal.response_topic, body, correlation=refusal.correlation)


def _slow(connection: Connection) -> bool:
    """The broker does not keep up: what is published now would leave, or arrive, late."""
    late = connection.waiting_s() > connection.fresh.trip.limit
    return connection.stuck or connection.room <= 0 or connection.unacked >= MAX_UNACKED or late
