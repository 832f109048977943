"""What quality and traceability keep of one part: never lost, late is fine."""

from dataclasses import dataclass, field

from inspection.frame import Crops, Missed
from inspection.part import Label, Part
from inspection.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Kept:
    """A picture in the archive: its file there, the `digest` of its pixels, and how many bits a value has."""

    file: str
    sha256: str
    bit_depth: int


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """One picture of the part, without its pixels. `missed` is the reason code where there was none."""

    camera: str
    number: int
    captured: float
    source: str = ""
    label: Label | None = None
    missed: str = ""
    picture: Kept | None = None

    @classmethod
    def of(cls, capture: Crops | Missed) -> "FrameFacts":
        if isinstance(capture, Missed):
            return cls(capture.camera, capture.number, capture.captured, capture.source, None, capture.reason)
        return cls(capture.camera, capture.number, capture.captured, capture.source, capture.label)


def record_id(session: str, part: Part) -> str:
    """The name of a part's record: the same in every delivery, and in whatever else speaks of the part."""
    return f"{session}-{part.station}-{part.seq}"


@dataclass(frozen=True, slots=True)
class Record:
    """A verdict with all that is known of how it came about.

    `id` is the idempotency key: the same in every delivery of this record. `utc` is when the verdict was
    decided; `stages` holds seconds by stage name (capture, prepare, queue, infer, publish, total). `said` tells
    whether the live verdict went out before its deadline and the broker took it; None where that is not known: the
    broker has not answered, or the record had to be committed first.
    """

    id: str
    session: str
    verdict: Verdict
    frames: tuple[FrameFacts, ...]
    utc: float
    said: bool | None
    model_hash: str = ""
    config_hash: str = ""
    backend: str = ""
    archive: str = ""
    stages: dict[str, float] = field(default_factory=dict)
