"""Which triggers are accepted. Bounded memory, bounded answers, one refusal reason for each wrong trigger."""

import math
from collections import OrderedDict
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from inspection import clock
from inspection.part import PartId, Trigger
from inspection.probe import SILENT, Probe
from transport.message import Incoming
from transport.wire import MAX_TRIGGER_BYTES, Request, WireError, parse_trigger

MALFORMED = "malformed"
TOO_LARGE = "too_large"
DUPLICATE = "duplicate_trigger"
EXPIRED = "expired"
WRONG_SESSION = "wrong_session"
RETAINED = "retained"
FLOOD = "flood"
NOT_TRIGGERED = "not_triggered"

MAX_CORRELATION_BYTES = 1024  # each answer carries it

_WORTH_TELLING_S = 0.1
_OWN_TOPICS = (
    "/trigger",
    "/verdict",
    "/refused",
    "/record",
    "/state",
    "/heartbeat",
    "/ack",
    "/command",
    "/command/result",
)


class TriggerLimits(BaseModel):
    """What a station takes from its PLC."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    default_deadline_ms: int = Field(
        1000, ge=20, le=60_000, description="Window of a trigger that names none, milliseconds from receipt."
    )
    max_rate_hz: float = Field(
        200.0, gt=0, le=10_000, description="Triggers per second accepted in the long run; above it: flood."
    )
    burst: int = Field(200, ge=1, le=100_000, description="Triggers accepted at once before the rate counts.")
    remember_s: float = Field(
        600.0, gt=0, description="How long an id counts as a duplicate, seconds; then a counter may come round."
    )
    remember_count: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="How many of the last ids count as duplicates; an older one is forgotten, however recent.",
    )


@dataclass(frozen=True, slots=True)
class Refusal:
    """A trigger that opened no part. `answer` tells whether it is to be answered (floods are not, each)."""

    why: str
    detail: str
    trigger: str | int | None = None
    response_topic: str | None = None
    correlation: bytes | None = None
    answer: bool = True


class Bucket:
    """A token bucket: `rate` per second in the long run, `burst` at once."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, float(burst)
        self._tokens, self._filled = float(burst), clock.monotonic()

    def take(self) -> bool:
        now = clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class TriggerDesk:
    """Judges each message on one station's trigger topic. Not thread-safe: the event loop's."""

    def __init__(
        self,
        station: str,
        session: str,
        limits: TriggerLimits,
        *,
        probe: Probe = SILENT,
        triggered: bool = True,
    ) -> None:
        self._station, self._session, self._limits = station, session, limits
        self._probe, self._triggered = probe, triggered
        self._accepts = Bucket(limits.max_rate_hz, limits.burst)
        self._answers = Bucket(20.0, 50)
        self._recent: OrderedDict[str, float] = OrderedDict()

    def judge(self, message: Incoming) -> Trigger | Refusal:
        """Accept a trigger, or say why not; a refusal is counted here."""
        received = clock.monotonic()
        request: Request | None = None
        response, detail = _response_topic(message)
        if message.retained:
            why, detail = RETAINED, "a trigger must not be retained"
        elif len(message.payload) > MAX_TRIGGER_BYTES:
            why, detail = TOO_LARGE, f"more than {MAX_TRIGGER_BYTES} bytes"
        elif detail:
            why = MALFORMED
        elif message.correlation is not None and len(message.correlation) > MAX_CORRELATION_BYTES:
            why, detail = MALFORMED, f"correlation data of more than {MAX_CORRELATION_BYTES} bytes"
            response = None
        else:
            try:
                request = parse_trigger(message.payload)
            except WireError as error:
                why, detail = MALFORMED, str(error)
            else:
                verdict = self._admit(request, received, message, response)
                if isinstance(verdict, Trigger):
                    return verdict
                why, detail = verdict
        self._probe.trigger_refused(self._station, why)
        return Refusal(
            why=why,
            detail=detail,
            trigger=request.trigger if request else None,
            response_topic=response,
            correlation=message.correlation if response is not None else None,
            answer=self._answers.take(),
        )

    def _admit(
        self, request: Request, received: float, message: Incoming, response: str | None
    ) -> Trigger | tuple[str, str]:
        if not self._triggered:
            return NOT_TRIGGERED, "this station runs free"
        if request.session is not None and request.session != self._session:
            return WRONG_SESSION, f"the session is {self._session}"
        window_ms = request.window_ms or self._limits.default_deadline_ms
        opened = received if message.earliest is None else min(received, message.earliest)
        deadline = opened + window_ms / 1000
        if request.sent is not None:
            deadline = min(deadline, received + request.sent + window_ms / 1000 - clock.utc())
        if deadline <= received:
            return EXPIRED, f"its window had closed on receipt{_why_late(received - opened)}"
        self._forget(received)
        key = str(request.trigger)
        if key in self._recent:
            return DUPLICATE, "this id is already known"
        if not self._accepts.take():
            return FLOOD, f"more than {self._limits.max_rate_hz:g} triggers a second"
        self._recent[key] = received
        return Trigger(
            id=request.trigger,
            part=PartId(request.part),
            received=received,
            deadline=deadline,
            window_ms=window_ms,
            response_topic=response,
            correlation=message.correlation,
        )

    def _forget(self, now: float) -> None:
        while self._recent:
            oldest = next(iter(self._recent.values()))
            if now - oldest < self._limits.remember_s and len(self._recent) < self._limits.remember_count:
                return
            self._recent.popitem(last=False)


def _why_late(waited: float) -> str:
    if math.isinf(waited):
        return ": the connection is new, and the trigger may be old"
    return f": it may have waited {waited:.1f} s at the broker" if waited > _WORTH_TELLING_S else ""


def _response_topic(message: Incoming) -> tuple[str | None, str]:
    """The response topic where it may be used, and what is wrong with it otherwise.

    Our own topics are refused: an answer must not come back to us as a trigger, nor look like a verdict that
    we said to another station's PLC.
    """
    topic = message.response_topic
    if topic is None:
        return None, ""
    bad = (
        not 0 < len(topic.encode("utf-8", "replace")) <= 256
        or not topic.isprintable()
        or any(sign in topic for sign in "+#")
        or topic.startswith("$")
        or (topic.startswith("linegate/") and topic.endswith(_OWN_TOPICS))
    )
    return (None, "response topic not allowed") if bad else (topic, "")
