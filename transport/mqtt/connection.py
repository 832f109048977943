"""One connection to an MQTT broker: made, used, thrown away. Only this folder knows paho.

paho keeps unacknowledged messages and sends them again when it reconnects. Nothing live may ever be sent late, so
a client is never reconnected: each connection has its own, and what was unacknowledged when it ended is the
caller's to judge. The client runs on the event loop's own readers and writers, without a thread: a publish is on
its way to the kernel when the call returns. Only connecting and the TLS handshake, which block, run in a thread.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Literal

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from inspection import clock
from inspection.errors import LinegateError
from inspection.probe import SILENT, Probe
from transport.message import Incoming
from transport.mqtt import properties, sockets
from transport.mqtt.config import BrokerConfig, read_password
from transport.mqtt.freshness import PROBE_S, Freshness
from transport.mqtt.limits import Limits, limits_of, shortcoming
from transport.mqtt.packets import MAX_PACKET_BYTES, Client, Packets
from transport.tls import tls_context

LOST_AFTER_S = 2.25
"""A ping that is not answered for so long means that nobody is there."""
_STOOD_STILL_S = 1.0
"""This process was stopped, or its loop was: what has arrived meanwhile is read first."""

_READ_S = 0.01
"""So long a flood may keep the event loop from everything else at a time."""

log = logging.getLogger(__name__)


class BrokerError(LinegateError):
    """The broker cannot be reached, refuses us, or was lost. Trying again later is the remedy."""


class SubscriptionError(BrokerError):
    """The broker is there and does not let us read a topic. The connection stays."""


class Connection:
    """One MQTT connection with a clean session, on the running event loop.

    `on_message` hears what the subscriptions bring; `on_acked(mid, refusal)` each acknowledged QoS 1 publish,
    `refusal` why the broker refused it (MQTT 5 only), empty where it did not. Both run on the event loop; what they
    raise is counted, and costs that message alone.

    It pings the broker four times a second. So it notices within 3 s that nobody answers, knows how long a message
    takes, and how old a message that arrives may be.
    """

    def __init__(
        self,
        broker: BrokerConfig,
        client_id: str,
        *,
        link: str,
        will: tuple[str, bytes] | None = None,
        on_message: Callable[[Incoming], None] | None = None,
        on_acked: Callable[[int, str], None] | None = None,
        probe: Probe = SILENT,
    ) -> None:
        self._broker, self._id, self._link, self._probe = broker, client_id, link, probe
        self._on_message, self._on_acked = on_message, on_acked
        self._v5 = broker.version == "5"
        self._loop = asyncio.get_running_loop()
        self._socket: Any = None
        self._fd = -1  # the loop's name for the socket: paho has closed it by the time it tells of a loss
        self._writing = False
        self._reading = asyncio.Handle(self._readable, (), self._loop)
        self._unacked: dict[int, float] = {}
        self._drained = asyncio.Event()
        self._drained.set()
        self._suback: dict[int, asyncio.Future[bool]] = {}
        self._connack: asyncio.Future[None] = self._loop.create_future()
        self.lost = asyncio.Event()
        """Set once the connection has ended, for whatever reason."""
        self.why_lost = ""
        self.fresh = Freshness()
        self._limits, self._retains = Limits(), will is not None
        self._ping_sent: float | None = None
        self._ticked = 0.0
        self._ticking: asyncio.TimerHandle | None = None
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv5 if self._v5 else paho.MQTTv311,
            clean_session=None if self._v5 else True,
            reconnect_on_failure=False,
        )
        client = self._client
        client.connect_timeout = broker.connect_timeout_s
        client.max_inflight_messages_set(0)  # bounded by our own count and the broker's: paho would send late
        if will is not None:
            client.will_set(will[0], will[1], qos=1, retain=True)
        if broker.username is not None:
            password = None if broker.password_file is None else read_password(broker.password_file)
            client.username_pw_set(broker.username, password)
        if broker.tls is not None:
            client.tls_set_context(tls_context(broker.tls))
        client.packets = Packets(MAX_PACKET_BYTES, self._guard(self._cut))
        client.on_ping_answered = self._guard(self._ping_answered)
        client.on_connect = self._guard(self._connected)
        client.on_disconnect = self._guard(self._disconnected)
        client.on_subscribe = self._guard(self._subscribed)
        client.on_publish = self._guard(self._published)
        client.on_message = self._guard(self._received)

    @property
    def unacked(self) -> int:
        """QoS 1 publishes that the broker has not acknowledged."""
        return len(self._unacked)

    @property
    def room(self) -> int:
        """How many more QoS 1 publishes the broker takes now; what is published beyond waits for its answers."""
        return self._limits.unacked - len(self._unacked)

    @property
    def stuck(self) -> bool:
        """The kernel takes no more bytes: whatever is published now would leave late."""
        return self._client.want_write()

    def oldest_unacked_s(self) -> float:
        return clock.monotonic() - next(iter(self._unacked.values())) if self._unacked else 0.0

    def waiting_s(self) -> float:
        """For how long the broker has owed us an answer."""
        pinged = clock.monotonic() - self._ping_sent if self._ping_sent is not None else 0.0
        return max(pinged, self.oldest_unacked_s())

    async def all_acked(self) -> None:
        """Wait until the broker has acknowledged every QoS 1 publish, or the connection is lost."""
        await self._drained.wait()

    async def open(self) -> None:
        """Connect and wait for the broker's yes. Raises BrokerError."""
        broker = self._broker
        connecting = asyncio.ensure_future(asyncio.to_thread(self._dial))
        try:
            await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(self._dialled_in_vain)
            raise
        except (OSError, ValueError) as error:
            raise BrokerError(f"{broker.host}:{broker.port}: {error}") from error
        self._socket = self._client.socket()
        if self._socket is None:
            raise BrokerError(f"{broker.host}:{broker.port}: closed while connecting")
        self._fd = self._socket.fileno()
        self._loop.add_reader(self._fd, self._readable)
        self._flush()
        try:
            async with asyncio.timeout(broker.connect_timeout_s):
                await self._connack
        except TimeoutError as error:
            raise BrokerError(f"{broker.host}:{broker.port}: no CONNACK") from error
        self.fresh = Freshness()
        self._ticked = clock.monotonic()
        self._tick()

    def _dialled_in_vain(self, done: asyncio.Future[None]) -> None:
        if not done.cancelled():
            done.exception()
        self.abort()

    def _dial(self) -> None:
        broker = self._broker
        if self._v5:
            ours = properties.of_connect(MAX_PACKET_BYTES)
            self._client.connect(broker.host, broker.port, broker.keepalive_s, clean_start=True, properties=ours)
        else:
            self._client.connect(broker.host, broker.port, broker.keepalive_s)
        raw = self._client.socket()
        sockets.send_at_once(raw)

    async def subscribe(self, topic: str, *, retained: bool = False) -> None:
        """Subscribe at QoS 1 and wait for the answer. Raises BrokerError.

        `retained` asks for the retained message too; MQTT 3.1.1 sends it always.
        """
        if self._v5:
            handling = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE if retained else SubscribeOptions.RETAIN_DO_NOT_SEND
            options = SubscribeOptions(qos=1, retainAsPublished=True, retainHandling=handling)
            _, mid = self._client.subscribe(topic, options=options)
        else:
            _, mid = self._client.subscribe(topic, qos=1)
        if mid is None:
            raise BrokerError(f"{topic}: not connected")
        answer, sent = self._loop.create_future(), clock.monotonic()
        self._suback[mid] = answer
        self._flush()
        try:
            async with asyncio.timeout(self._broker.connect_timeout_s):
                granted = await answer
        except TimeoutError as error:
            raise BrokerError(f"{topic}: no SUBACK") from error
        finally:
            self._suback.pop(mid, None)
        self.fresh.answered(sent)
        if not granted:
            raise SubscriptionError(f"{topic}: subscription refused: may the user {self._broker.username} read there?")

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: Literal[0, 1] = 1,
        retain: bool = False,
        expiry_s: int | None = None,
        response_topic: str | None = None,
        correlation: bytes | None = None,
    ) -> int | None:
        """Hand a message to the kernel; its id, or None where the connection is gone (nothing is kept then).

        Raises PacketTooLargeError, and ValueError where MQTT cannot carry it.
        """
        if self.lost.is_set() or self._socket is None:
            return None
        more = properties.of_publish(expiry_s, response_topic, correlation) if self._v5 else None
        self._limits.check(topic, payload, more)
        info = self._client.publish(topic, payload, qos=qos, retain=retain, properties=more)
        self._flush()
        if info.rc != paho.MQTT_ERR_SUCCESS:
            self._lose(f"publish: {paho.error_string(info.rc)}")
            return None
        if qos:
            self._unacked[info.mid] = clock.monotonic()
            self._drained.clear()
        return info.mid

    def _tick(self) -> None:
        """Four times a second: ping, and end a connection on which nobody answers."""
        if self.lost.is_set():
            return
        now = clock.monotonic()
        stood_still, self._ticked = now - self._ticked > _STOOD_STILL_S, now
        if self._ping_sent is None:
            self._ping_sent = now
            self._client._send_pingreq()  # noqa: SLF001 - on its own paho pings only when nothing else is said
            self._flush()
        elif now - self._ping_sent > max(LOST_AFTER_S, 3 * self.fresh.trip.limit) and not stood_still:
            self._lose(f"no answer for {now - self._ping_sent:.1f} s")
            return
        self._ticking = self._loop.call_later(PROBE_S, self._guard(self._tick))

    def _ping_answered(self) -> None:
        if self._ping_sent is not None:
            self.fresh.answered(self._ping_sent)
            self._ping_sent = None

    def _cut(self, size: int) -> None:
        log.warning("%s: a message of %d bytes came; all but its beginning was dropped", self._link, size)

    async def close(self) -> None:
        """Say goodbye (the will is not sent) and end."""
        if not self.lost.is_set() and self._socket is not None:
            self._client.disconnect()
            self._flush()
            await asyncio.sleep(0)
        self._lose("closed")

    def abort(self) -> None:
        """End at once and drop what the kernel still holds (a reset): it must not arrive late."""
        raw = self._client.socket()
        if raw is not None:
            sockets.drop_on_close(raw)
        self._lose("aborted")

    def _lose(self, why: str) -> None:
        if not self.lost.is_set():
            self.why_lost = why
            self.lost.set()
            self._drained.set()
        if self._ticking is not None:
            self._ticking.cancel()
        if self._socket is not None:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._socket = None
        raw = self._client.socket()
        if raw is not None:
            raw.close()
        waits: list[asyncio.Future[Any]] = [self._connack, *self._suback.values()]
        for wait in waits:
            if not wait.done():
                wait.set_exception(BrokerError(self.why_lost))
                wait.exception()  # nobody may be waiting

    def _readable(self) -> None:
        if self.lost.is_set():
            return
        try:
            sockets.acknowledge_at_once(self._socket)
            self._read()
        except Exception:  # the outermost frame: a packet that paho cannot decode may raise anything
            self._probe.callback_failed(self._link)
            log.exception("%s: a packet was not readable", self._link)
            self._lose("a packet was not readable")
        self._flush()

    def _read(self) -> None:
        # More may have been read than is handled in time, or wait in the TLS library, where no poll shows it.
        until = clock.monotonic() + _READ_S
        self._client.may_read = True
        while not self.lost.is_set():
            self._client.loop_read()  # about one packet
            if not self._client.unhandled or clock.monotonic() > until:
                break
        pending = getattr(self._socket, "pending", None)
        if self._client.unhandled or (pending is not None and pending()):
            self._reading.cancel()
            self._reading = self._loop.call_soon(self._readable)

    def _writable(self) -> None:
        self._client.loop_write()
        self._flush()

    def _flush(self) -> None:
        """Write what paho queued inside a callback, and ask for a call when the kernel is full."""
        if self._socket is not None and self._client.want_write():
            self._client.loop_write()
        if self._socket is None:
            return
        want = self._client.want_write()
        if want and not self._writing:
            self._loop.add_writer(self._fd, self._writable)
        elif self._writing and not want:
            self._loop.remove_writer(self._fd)
        self._writing = want

    def _guard(self, callback: Callable[..., None]) -> Callable[..., None]:
        def guarded(*args: Any) -> None:
            try:
                callback(*args)
            except Exception:  # the outermost frame: what escaped would end paho's loop, and nothing would say so
                self._probe.callback_failed(self._link)
                log.exception("%s: a callback failed; the connection goes on", self._link)

        return guarded

    def _connected(self, _client: Any, _data: Any, _flags: Any, code: Any, connack: Any) -> None:
        if self._connack.done():
            return
        why = f"refused: {code}" if code.is_failure else shortcoming(connack, retains=self._retains)
        if why:
            self._lose(why)
            return
        self._limits = limits_of(connack)
        self._client.limit_unacked(self._limits.unacked)
        self._connack.set_result(None)

    def _disconnected(self, _client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        # What paho says where the broker gave no reason.
        silent = str(code) == "Unspecified error"
        why = f"the connection ended; does another client use the id {self._id}?" if silent else str(code)
        self._lose(self._client.unreadable or why)

    def _subscribed(self, _client: Any, _data: Any, mid: int, codes: Any, _properties: Any) -> None:
        waiting = self._suback.get(mid)
        if waiting is not None and not waiting.done():
            waiting.set_result(not any(code.is_failure for code in codes))

    def _published(self, _client: Any, _data: Any, mid: int, code: Any, _properties: Any) -> None:
        sent = self._unacked.pop(mid, None)
        if sent is not None:
            self.fresh.answered(sent)
        if not self._unacked:
            self._drained.set()
        if sent is not None and self._on_acked is not None:
            self._on_acked(mid, str(code) if code.is_failure else "")

    def _received(self, _client: Any, _data: Any, message: Any) -> None:
        if self._on_message is None:
            return
        more = getattr(message, "properties", None)
        self._on_message(
            Incoming(
                topic=message.topic,
                payload=bytes(message.payload),
                retained=bool(message.retain),
                response_topic=getattr(more, "ResponseTopic", None),
                correlation=getattr(more, "CorrelationData", None),
                earliest=self.fresh.earliest(),
            ),
        )
