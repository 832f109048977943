"""What linegate says of a part."""

from dataclasses import dataclass
from enum import StrEnum

from inspection.part import Part


class Outcome(StrEnum):
    """Only PASS opens the gate."""

    PASS = "PASS"  # noqa: S105 - no password
    FAIL = "FAIL"
    NO_VERDICT = "NO_VERDICT"


class Reason(StrEnum):
    """Why the outcome is what it is."""

    SCORE = "score"
    UNCERTAIN = "uncertain"
    DEADLINE = "deadline"
    OVERLOAD = "overload"
    CAMERA_STALLED = "camera_stalled"
    CAMERA_LOST = "camera_lost"
    FRAME_FROZEN = "frame_frozen"
    FRAME_DARK = "frame_dark"
    FRAME_BLOWN = "frame_blown"
    DECODE_ERROR = "decode_error"
    WORKER_FAILED = "worker_failed"
    WORKER_HUNG = "worker_hung"
    NON_FINITE = "non_finite"
    SHUTDOWN = "shutdown"
    MISSED_TRIGGER = "missed_trigger"
    DUPLICATE_TRIGGER = "duplicate_trigger"
    MODEL_INVALID = "model_invalid"
    STORE_FAILED = "store_failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome, reason and score of one part.

    `score` is P(defect) in 0..1, or None where no model spoke. `decided` is monotonic seconds. `model` is the
    first 12 hex digits of the bundle's hash, empty where no model spoke.
    """

    part: Part
    outcome: Outcome
    reason: Reason
    score: float | None
    decided: float
    model: str = ""
    detail: str = ""
