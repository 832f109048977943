"""A student beside the teacher whose answers it learnt: size, AUROC, verdicts, speed, and the two of them together."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from inspection import clock
from inspection.frame import CropPixels
from training.export import in_int8
from training.metrics import auroc
from training.targets import Scores, Truth
from vision.bundle import Thresholds
from vision.classifier import Backend

MAY_LOSE = 0.005
"""Of AUROC, against the teacher."""
_TURNS = 8


@dataclass(frozen=True, slots=True)
class Rates:
    """Crops a second of one core in one runtime, both in INT8."""

    backend: str
    teacher: float
    student: float

    @property
    def ratio(self) -> float:
        return self.student / self.teacher


@dataclass(frozen=True, slots=True)
class Errors:
    """Defective parts passed, and good parts rejected for sure or as uncertain."""

    escapes: int
    overkill: int


@dataclass(frozen=True, slots=True)
class Cascade:
    """If the student decided what it is sure of, and the teacher the rest.

    Sure are scores below `low`, which no defective part of val has that the teacher rejects, and those from `high` on,
    which no good part of val has that the teacher passes: on val the pair errs nowhere but where the teacher does. The
    student decides `sure` parts; `errors` are those of the pair.
    """

    low: float
    high: float
    sure: int
    errors: Errors


@dataclass(frozen=True, slots=True)
class Compared:
    """Of the `parts` of one split: AUROC of the teacher in float32 and of the student. `differ` counts other verdicts.

    `teacher_errors` and `student_errors` are those of each model alone, by its own `pass_below`.
    """

    teacher: float
    student: float
    parts: int
    differ: int
    teacher_errors: Errors
    student_errors: Errors
    cascade: Cascade

    @property
    def lost(self) -> float:
        return self.teacher - self.student


@dataclass(frozen=True, slots=True)
class Scored:
    """What a model makes of the parts of one split: P(defect), float64 [parts], and the thresholds that it meets."""

    scores: Scores
    thresholds: Thresholds

    @property
    def rejected(self) -> Truth:
        return self.scores >= self.thresholds.pass_below

    @property
    def verdicts(self) -> Any:
        return np.digitize(self.scores, [self.thresholds.pass_below, self.thresholds.fail_above])


@dataclass(frozen=True, slots=True)
class Versus:
    """`sizes` are those of ResNet18 in float32 and of the student as it is stored, bytes."""

    target: float
    sizes: tuple[int, int]
    splits: dict[str, Compared]
    rates: tuple[Rates, ...]

    @property
    def ratio(self) -> float:
        return self.sizes[0] / self.sizes[1]

    @property
    def missed(self) -> list[str]:
        """What was to be reached and was not, in words. Speed is told, not asked for."""
        split = "test" if "test" in self.splits else "val"
        lost = self.splits[split].lost
        found = []
        if self.ratio < self.target:
            found.append(f"size: {self.ratio:.1f} times smaller, asked for {self.target:g}")
        if lost > MAY_LOSE:
            found.append(f"AUROC on {split}: {lost:.4f} below the teacher's, {MAY_LOSE} is allowed")
        return found

    def to_json(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "bytes": {"resnet18_fp32": self.sizes[0], "stored": self.sizes[1], "ratio": self.ratio},
            "splits": {name: asdict(found) for name, found in self.splits.items()},
            "int8_crops_per_second": {
                r.backend: {"teacher": r.teacher, "student": r.student, "ratio": r.ratio} for r in self.rates
            },
            "missed": self.missed,
        }


def cuts(student: Scored, teacher: Scored, truth: Truth) -> tuple[float, float]:
    """`low` and `high` of a cascade, by the parts of one split."""
    caught = student.scores[truth & teacher.rejected]
    passed = student.scores[~truth & ~teacher.rejected]
    low = float(caught.min(initial=1.0))
    return low, max(low, float(np.nextafter(passed.max(initial=0.0), 2.0)))


def compared(student: Scored, teacher: Scored, truth: Truth, chosen: tuple[float, float]) -> Compared:
    """Of the same parts, with a cascade's cuts."""
    low, high = chosen
    passes, fails = student.scores < low, student.scores >= high
    by_pair = np.where(passes | fails, fails, teacher.rejected)
    return Compared(
        teacher=auroc(teacher.scores[~truth], teacher.scores[truth]),
        student=auroc(student.scores[~truth], student.scores[truth]),
        parts=len(truth),
        differ=int((student.verdicts != teacher.verdicts).sum()),
        teacher_errors=_errors(teacher.rejected, truth),
        student_errors=_errors(student.rejected, truth),
        cascade=Cascade(low, high, int((passes | fails).sum()), _errors(by_pair, truth)),
    )


def _errors(rejected: Truth, truth: Truth) -> Errors:
    return Errors(int((truth & ~rejected).sum()), int((~truth & rejected).sum()))


def rates(teacher: bytes, student: bytes, crops: CropPixels) -> Iterator[Rates]:
    """Of two INT8 graphs, in each runtime that is there, on a batch of `crops`, uint8 [n, channels, size, size].

    In turns, and the best turn of each counts: what else the machine does slows some turns of either.
    """
    for mine, other in zip(in_int8(teacher, 1), in_int8(student, 1), strict=True):
        turns = [(_seconds(mine, crops), _seconds(other, crops)) for _ in range(_TURNS)]
        best = [min(times) for times in zip(*turns, strict=True)]
        yield Rates(mine.name, len(crops) / best[0], len(crops) / best[1])


def _seconds(backend: Backend, crops: CropPixels) -> float:
    began = clock.monotonic()
    backend.score(crops)
    return max(clock.monotonic() - began, 1e-9)
