"""What the golden parts of a bundle are expected to give, whoever scores them and whatever the thresholds.

That was written into the bundle when it was made. It never follows from the thresholds that it is to gate.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inspection.part import Label
from vision.bundle import Bundle, GoldenPart, Thresholds, expected_of
from vision.classifier import Backend

_SHOWN = 3
_WORDS = {Label.OK: "good", Label.NG: "bad"}
_AT_ONCE = 7  # odd: a backend may score the one that is left over in another way than pairs


def golden_scores(backend: Backend, bundle: Bundle) -> NDArray[np.float64]:
    """P(defect) of every golden part, the maximum over its tiles: float64 [parts]."""
    crops = bundle.golden_crops()
    if not len(crops):
        return np.empty(0, np.float64)
    flat = crops.reshape(-1, *crops.shape[2:])
    scores = np.concatenate([backend.score(flat[at : at + _AT_ONCE]) for at in range(0, len(flat), _AT_ONCE)])
    parts: NDArray[np.float64] = scores.reshape(len(crops), -1).max(axis=1).astype(np.float64)
    return parts


def few(parts: int) -> int:
    """How many golden parts of one class, out of so many, a bundle may excuse, and a new model may misjudge."""
    return parts // 4


def weakness(bundle: Bundle) -> str:
    """Why the golden parts of `bundle` cannot gate anything, in words for people; empty where they can.

    A gate that the bundle itself could empty would be none: good and bad parts are there, and few are excused. A bank
    may have been made where nobody has seen a bad part yet.
    """
    if not bundle.golden:
        return "holds no golden parts, so nothing can show that it judges as expected: make it with linegate train"
    for label in Label:
        parts = [part for part in bundle.golden if part.label is label]
        excused = sum(part.excused for part in parts)
        if not parts and not (bundle.arch == "resnet18-bank" and label is Label.NG):
            return (
                f"holds no golden part labelled {label}, so nothing can show that it judges {_WORDS[label]} parts as "
                "expected: train it again, with pictures of that kind in val that it judges rightly"
            )
        if excused > few(len(parts)):
            return (
                f"excuses {excused} of its {len(parts)} {_WORDS[label]} golden parts, and no more than "
                f"{few(len(parts))} may be: its thresholds do not suit its scores: train it again, or take a copy that "
                "nobody has edited"
            )
    return ""


def misjudged(
    bundle: Bundle, thresholds: Thresholds, scores: Sequence[float] | NDArray[np.floating] | None = None
) -> list[str]:
    """The golden parts that `thresholds` would judge wrongly, each in words for people; empty when all is as expected.

    `scores` are those of the backend in use, one for each part; the bundle's reference scores when left out. A good
    part is expected to PASS, a bad one to FAIL, for certain or as uncertain; an excused one may come out either way.
    """
    given = [part.score for part in bundle.golden] if scores is None else scores
    return [
        _told(part, score, thresholds)
        for part, score in zip(bundle.golden, given, strict=True)
        if not part.excused and thresholds.outcome(score) is not part.expected
    ]


def refusal(wrong: Sequence[str], thresholds: Thresholds) -> str:
    """Why these thresholds do not go live."""
    return (
        f"golden parts would be judged wrongly with pass_below {thresholds.pass_below:g} and fail_above "
        f"{thresholds.fail_above:g}: {_first(wrong)}"
    )


def succession(live: Bundle, thresholds: Thresholds, scores: Sequence[float]) -> str:
    """Why a model does not take the place of `live`, in words for people; empty where it may.

    `scores` are those that the new model gives the golden parts of `live`, `thresholds` those that it judges by. It may
    be wrong about few of each class, whether `live` excuses them or not: another model finds other parts hard.
    """
    for label in Label:
        parts = [(part, score) for part, score in zip(live.golden, scores, strict=True) if part.label is label]
        wrong = [
            _told(part, score, thresholds)
            for part, score in parts
            if thresholds.outcome(score) is not expected_of(label)
        ]
        if len(wrong) > few(len(parts)):
            return (
                f"it misjudges {len(wrong)} of the {len(parts)} {_WORDS[label]} golden parts of the live model "
                f"{live.model_id}, and no more than {few(len(parts))} may be: {_first(wrong)}; if what the cameras see "
                "has changed for good, name the new bundle in model.bundle and restart"
            )
    return ""


def _told(part: GoldenPart, score: float, thresholds: Thresholds) -> str:
    return f"{part.path.name} ({part.label}, score {score:.4f}) would be {thresholds.outcome(score)}"


def _first(wrong: Sequence[str]) -> str:
    more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return "; ".join(wrong[:_SHOWN]) + more
