"""Topics and payloads of the MQTT contract (docs/reference/mqtt.md). Bytes in, values out, and back; no I/O."""

import json
import math
import re
from dataclasses import asdict, dataclass
from typing import Any

from inspection.errors import ConfigError
from inspection.record import FrameFacts, Record
from inspection.verdict import Outcome, Verdict
from transport.payload import MAX_BYTES, PayloadError, read_object

VERSION = 1
MAX_VERDICT_BYTES = 254  # an S7 STRING
MAX_TRIGGER_BYTES = MAX_BYTES
MAX_ID_CHARS = 32
MAX_ID_INTEGER = 2**53 - 1  # exact in every JSON reader that uses doubles
MIN_WINDOW_MS = 20
MAX_WINDOW_MS = 60_000
SEQ_WRAP = 99_999_999  # keeps the longest verdict at 254 bytes

COMMANDS = ("promote", "rollback")

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
_ID = re.compile(r"[ !#-\[\]-~]{1,32}", re.ASCII)


class WireError(ValueError):
    """A payload that the contract does not allow. The text is short and safe to send back."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where one station lives on the broker. Raises ConfigError for a name that is no single topic level."""

    site: str
    line: str
    station: str

    def __post_init__(self) -> None:
        for name in (self.site, self.line, self.station):
            if not re.fullmatch(NAME_PATTERN, name):
                raise ConfigError(f"{name!r} is no topic name: 1..64 of A-Z a-z 0-9 _ . -")

    @property
    def prefix(self) -> str:
        return f"linegate/{self.site}/{self.line}/{self.station}"

    @property
    def client(self) -> str:
        """Part of a client id: a broker ends the older of two connections with one id."""
        return f"{self.site}-{self.line}-{self.station}"

    @property
    def trigger(self) -> str:
        return f"{self.prefix}/trigger"

    @property
    def verdict(self) -> str:
        return f"{self.prefix}/verdict"

    @property
    def refused(self) -> str:
        return f"{self.prefix}/refused"

    @property
    def record(self) -> str:
        return f"{self.prefix}/record"

    @property
    def state(self) -> str:
        return f"{self.prefix}/state"

    @property
    def heartbeat(self) -> str:
        return f"{self.prefix}/heartbeat"

    @property
    def command(self) -> str:
        return f"{self.prefix}/command"

    @property
    def command_result(self) -> str:
        return f"{self.prefix}/command/result"

    @property
    def ack(self) -> str:
        return f"{self.prefix}/ack"


@dataclass(frozen=True, slots=True)
class Request:
    """A well-formed trigger, not yet accepted. `sent` is Unix seconds; None where the PLC left a field out."""

    trigger: str | int
    part: str
    window_ms: int | None
    sent: float | None
    session: str | None


@dataclass(frozen=True, slots=True)
class Command:
    """A well-formed command, not yet carried out. `bundle` is the plain name of a folder; `id` is echoed."""

    name: str
    bundle: str | None
    id: str | None
    session: str


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=True).encode()


def _millis(utc: float) -> float:
    return round(utc, 3)


def _exact(score: float | None) -> float | None:
    """Every bit of it: an audit compares them."""
    return float(score) if score is not None and math.isfinite(score) else None


def _score(score: float | None) -> float | None:
    return round(float(score), 6) if score is not None and math.isfinite(score) else None


def wire_seq(seq: int) -> int:
    """The parts of a session as a PLC counts them: 1..99999999, then 1 again."""
    return (seq - 1) % SEQ_WRAP + 1


def encode_verdict(verdict: Verdict, *, session: str, left_s: float, utc: float) -> bytes:
    """The live verdict, at most 254 bytes. `left_s` is what is left to the deadline, `utc` the moment of sending.

    The score is written with six decimals, never with an exponent, and is null wherever there is no verdict: a
    PLC's JSON reader may know neither exponents nor half an answer.
    """
    part = verdict.part
    score = None if verdict.outcome is Outcome.NO_VERDICT else _score(verdict.score)
    fields = {
        "v": VERSION,
        "seq": wire_seq(part.seq),
        "trigger": part.trigger.id if part.trigger else None,
        "part": str(part.id)[:MAX_ID_CHARS],
        "verdict": verdict.outcome,
        "reason": verdict.reason,
        "score": None,
        "deadline_ms": max(0, min(MAX_WINDOW_MS, int(left_s * 1000))),
        "t": _millis(utc),
        "model": verdict.model[:12],
        "session": session,
    }
    body = _dump(fields)
    if score is not None:
        body = body.replace(b'"score":null', b'"score":%.6f' % score, 1)
    if len(body) > MAX_VERDICT_BYTES:
        raise WireError(f"a verdict of {len(body)} bytes")
    return body


def encode_refused(trigger: str | int | None, reason: str, detail: str, *, session: str, utc: float) -> bytes:
    return _dump(
        {
            "v": VERSION,
            "trigger": trigger,
            "reason": reason,
            "detail": detail[:80],
            "t": _millis(utc),
            "session": session,
        },
    )


def encode_state(state: str, reason: str, model: str, *, session: str, utc: float) -> bytes:
    return _dump(
        {"v": VERSION, "state": state, "reason": reason, "session": session, "model": model, "t": _millis(utc)},
    )


def encode_heartbeat(seq: int, *, ready: bool, session: str, utc: float) -> bytes:
    return _dump({"v": VERSION, "seq": seq, "ready": ready, "session": session, "t": _millis(utc)})


def _frame(facts: FrameFacts, decided: float, utc: float) -> dict[str, Any]:
    return {
        "camera": facts.camera,
        "number": facts.number,
        "t": _millis(utc - (decided - facts.captured)),
        "source": facts.source,
        "label": facts.label,
        "missed": facts.missed,
        "picture": asdict(facts.picture) if facts.picture else None,
    }


def encode_record(record: Record) -> bytes:
    """The record as it is stored: everything but `v` and `historical`, which `deliver_record` puts in front.

    Monotonic times become UTC by the one pair (decided, utc) that the record carries.
    """
    verdict, part = record.verdict, record.verdict.part
    return _dump(
        {
            "id": record.id,
            "seq": wire_seq(part.seq),
            "trigger": part.trigger.id if part.trigger else None,
            "part": part.id,
            "verdict": verdict.outcome,
            "reason": verdict.reason,
            "score": _exact(verdict.score),
            "detail": verdict.detail,
            "t": _millis(record.utc),
            "opened": _millis(record.utc - (verdict.decided - part.opened)),
            "window_ms": round((part.deadline - part.opened) * 1000),
            "said": record.said,
            "session": record.session,
            "station": part.station,
            "model": verdict.model,
            "model_hash": record.model_hash,
            "config_hash": record.config_hash,
            "backend": record.backend,
            "archive": record.archive,
            "frames": [_frame(facts, verdict.decided, record.utc) for facts in record.frames],
            "stages_ms": {name: round(seconds * 1000, 3) for name, seconds in record.stages.items()},
        },
    )


def deliver_record(stored: bytes, *, historical: bool) -> bytes:
    """What goes out for a stored record."""
    return b'{"v":%d,"historical":%s,' % (VERSION, b"true" if historical else b"false") + stored[1:]


def _object(payload: bytes) -> dict[str, Any]:
    try:
        return read_object(payload)
    except PayloadError as error:
        raise WireError(str(error)) from error


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise WireError(f'{name} must be 1..32 printable ASCII characters without " and \\')
    return value


def _integer(name: str, value: Any, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        remedy = ", without quotes" if isinstance(value, str) else ", not a REAL" if isinstance(value, float) else ""
        raise WireError(f"{name} must be an integer {low}..{high}{remedy}")
    return value


def parse_trigger(payload: bytes) -> Request:
    """Read `…/trigger`. Unknown fields are ignored. Raises WireError."""
    fields = _object(payload)
    if "trigger" not in fields:
        raise WireError("trigger is missing")
    raw = fields["trigger"]
    trigger = _text("trigger", raw) if isinstance(raw, str) else _integer("trigger", raw, 0, MAX_ID_INTEGER)
    window, sent, session = fields.get("deadline_ms"), fields.get("t"), fields.get("session")
    if sent is not None and (not isinstance(sent, int | float) or isinstance(sent, bool) or not -1e12 < sent < 1e12):
        remedy = ", without quotes" if isinstance(sent, str) else ""
        raise WireError(f"t must be a number of Unix seconds{remedy}")
    return Request(
        trigger=trigger,
        part=str(trigger) if fields.get("part") is None else _text("part", fields["part"]),
        window_ms=None if window is None else _integer("deadline_ms", window, MIN_WINDOW_MS, MAX_WINDOW_MS),
        sent=None if sent is None else float(sent),
        session=None if session is None else _text("session", session),
    )


def parse_ack(payload: bytes) -> str:
    """Read `…/ack`: the record's id. Raises WireError."""
    identity = _object(payload).get("id")
    if not isinstance(identity, str) or not 0 < len(identity) <= 128:
        raise WireError("id must be a record's id")
    return identity


def parse_command(payload: bytes) -> Command:
    """Read `…/command`. Unknown fields are ignored. Raises WireError."""
    fields = _object(payload)
    name, bundle, identity = fields.get("command"), fields.get("bundle"), fields.get("id")
    if name not in COMMANDS:
        raise WireError(f"command must be one of {', '.join(COMMANDS)}")
    if name == "rollback":
        bundle = None
    elif not isinstance(bundle, str) or not re.fullmatch(NAME_PATTERN, bundle):
        raise WireError("bundle must be the name of a folder: 1..64 of A-Z a-z 0-9 _ . -")
    return Command(
        name=name,
        bundle=bundle,
        id=None if identity is None else _text("id", identity),
        session=_text("session", fields.get("session")),
    )


def encode_command_result(
    name: str, identity: str | None, state: str, detail: str, model: str, *, session: str, utc: float
) -> bytes:
    """`state` is running, done or refused; `model` is the one that is live now."""
    return _dump(
        {
            "v": VERSION,
            "id": identity,
            "command": name,
            "state": state,
            "detail": detail[:200],
            "model": model,
            "t": _millis(utc),
            "session": session,
        },
    )
