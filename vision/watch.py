"""Watches live pictures and scores for drift: windows, hysteresis, and a reference learnt where there is none."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from inspection.impression import PICTURES, Impression
from vision.drift import LEARNT, OF_PICTURES, SCORES, WINDOW, Alarm, Reference, ScoreReference, deviations, size

_IN_A_ROW = 2
_CLEAR_BELOW = 0.7  # of the limit


class DriftConfig(BaseModel):
    """Alarms when pictures or scores are no longer what they were."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    on_alarm: Literal["warn", "not_ready"] = Field(
        "warn",
        description="`warn`: a metric, a line in the log, a mark on the page. `not_ready`: the station's state says so "
        "too, as long as the alarm lasts. No verdict is changed by either.",
    )
    reference: Literal["bundle", "live"] = Field(
        "bundle",
        description="`bundle`: pictures and scores are compared with those that the model was made from. `live`: with "
        "the first 300 of the station itself, which is also done where the bundle tells nothing of its pictures.",
    )


@dataclass(frozen=True, slots=True)
class Reading:
    """One alarm's state. `limit` None: not watched, since the reference itself wanders too far."""

    deviation: float
    limit: float | None
    raised: bool


Readings = Mapping[Alarm, Reading]


class _Latch:
    """Raised by two looks in a row beyond the limit, cleared by two in a row well below it."""

    def __init__(self) -> None:
        self.raised = False
        self._against = 0

    def look(self, value: float, limit: float) -> bool:
        contrary = value < _CLEAR_BELOW * limit if self.raised else value > limit
        self._against = self._against + 1 if contrary else 0
        if self._against >= _IN_A_ROW:
            self.raised, self._against = not self.raised, 0
        return self.raised


class PictureWatch:
    """The pictures of one camera. Without a `reference` it learns one from the first 300."""

    def __init__(self, reference: Reference | None) -> None:
        self.reference = reference
        self._before = reference.impression() if reference else None
        self._recent: deque[Impression] = deque(maxlen=WINDOW if reference else LEARNT)
        self._latches = {alarm: _Latch() for alarm in OF_PICTURES}

    @property
    def to_learn(self) -> int:
        """Pictures until there is a reference."""
        return 0 if self.reference else PICTURES * (LEARNT - len(self._recent))

    def add(self, impression: Impression) -> Readings:
        """Every alarm's state; empty while the window is not full, or a reference is being learnt."""
        self._recent.append(impression)
        if len(self._recent) < (self._recent.maxlen or 0):
            return {}
        if self.reference is None or self._before is None:
            self.reference = Reference.learn(list(self._recent))
            self._before = self.reference.impression() if self.reference else None
            self._recent = deque(maxlen=WINDOW)
            return {}
        readings = {}
        for alarm, deviation in deviations(Impression.of(list(self._recent)), self._before).items():
            limit = self.reference.limits.get(alarm)
            raised = limit is not None and self._latches[alarm].look(size(alarm, deviation), limit)
            readings[alarm] = Reading(deviation, limit, raised)
        return readings


class ScoreWatch:
    """The scores of one station's parts, those that failed left out: how many fail is the line's, not the model's.

    Without a `reference` it learns one from the first 300.
    """

    def __init__(self, reference: ScoreReference | None) -> None:
        self.reference = reference
        self._recent: deque[float] = deque(maxlen=SCORES if reference else LEARNT * PICTURES)
        self._since = 0
        self._latch = _Latch()

    @property
    def to_learn(self) -> int:
        """Scores until there is a reference."""
        return 0 if self.reference else LEARNT * PICTURES - len(self._recent)

    def add(self, score: float) -> Readings:
        """The alarm's state at every tenth score; empty between, while the window fills, and while it learns."""
        self._recent.append(score)
        self._since += 1
        if len(self._recent) < (self._recent.maxlen or 0):
            return {}
        if self.reference is None:
            self.reference = ScoreReference.learn(list(self._recent))
            self._recent = deque(maxlen=SCORES if self.reference else LEARNT * PICTURES)
            return {}
        if self._since < PICTURES:
            return {}
        self._since = 0
        deviation, limit = self.reference.deviation(list(self._recent)), self.reference.limit
        return {Alarm.SCORE_SHIFT: Reading(deviation, limit, self._latch.look(deviation, limit))}
