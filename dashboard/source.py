"""What the status page shows: frozen snapshots, and where they come from."""

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Protocol

from inspection.part import Label
from inspection.verdict import Outcome, Reason


@dataclass(frozen=True, slots=True)
class Count:
    """How many verdicts ended so in this session. Zero counts may be left out."""

    outcome: Outcome
    reason: Reason
    count: int


@dataclass(frozen=True, slots=True)
class LastVerdict:
    """The last verdict that a camera took part in. `age_s` is seconds since it was decided."""

    outcome: Outcome
    reason: Reason
    score: float | None
    part: str
    age_s: float
    source: str = ""
    label: Label | None = None


@dataclass(frozen=True, slots=True)
class CameraView:
    """`picture` changes whenever `Source.picture` would answer another picture; None while there is none.

    `alarms`: in what its pictures are no longer what they were. `trouble`: why it is not up, and what to do.
    """

    name: str
    up: bool
    picture: int | None = None
    last: LastVerdict | None = None
    alarms: tuple[str, ...] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How verdicts fit the labels of labelled pictures. `ok` and `ng` count the judged parts by their label.

    `escapes`: labelled ng and passed. `overkill`: labelled ok and failed.
    """

    ok: int
    ng: int
    escapes: int
    overkill: int


@dataclass(frozen=True, slots=True)
class StationView:
    """One station. `captured` = all `counts` + `opened`. `late` verdicts were not published.

    `mode` is triggered or free. `state` is ready, not_ready or offline, as the PLC is told; `state_reason`
    says why. `rate_per_s`, `p50_ms` and `p99_ms` are of a recent window (`dashboard.recent.Recent`); the
    latencies are None while it is empty. `alarms`: in what its scores are no longer what they were.
    """

    name: str
    mode: str
    state: str
    state_reason: str
    broker_up: bool
    captured: int
    opened: int
    late: int
    refused: int
    counts: tuple[Count, ...]
    rate_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    deadline_ms: float
    cameras: tuple[CameraView, ...]
    agreement: Agreement | None = None
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerView:
    """The process that owns the device. `detail` says why it isn't ready."""

    ready: bool
    backend: str
    model: str
    restarts: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class OutboxView:
    """Records kept for the consumer: waiting, the oldest one's age, and given up in this session."""

    depth: int
    oldest_age_s: float
    lost: int
    broker_up: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The daemon at one instant. Made on the event loop, so that its numbers belong together."""

    site: str
    line: str
    session: str
    version: str
    uptime_s: float
    worker: WorkerView
    outbox: OutboxView
    stations: tuple[StationView, ...]


class Source(Protocol):
    """Where the page reads. Nothing here may wait; an answer is made from what is known now."""

    def snapshot(self) -> Snapshot:
        """Called on the event loop, at most four times a second whatever the number of viewers."""
        ...

    def picture(self, station: str, camera: str) -> bytes | None:
        """The JPEG of the camera's last picture; None for an unknown camera or while there is none.

        Called in a worker thread, one call at a time. Best the picture that `CameraView.last` speaks of.
        """
        ...

    def metrics(self) -> bytes:
        """The Prometheus exposition. Called in a worker thread, one call at a time."""
        ...

    def health(self) -> tuple[bool, str]:
        """Whether the process makes progress (else: restart it), and a short reason. On the event loop."""
        ...

    def ready(self) -> tuple[bool, str]:
        """Whether verdicts can be given now, and a short reason. On the event loop."""
        ...


def to_json(snapshot: Snapshot) -> dict[str, Any]:
    """Plain values for `json.dumps(allow_nan=False)`: a non-finite number reads as null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return None if isinstance(value, float) and not isfinite(value) else value

    result: dict[str, Any] = plain(asdict(snapshot))
    return result
