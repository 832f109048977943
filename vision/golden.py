"""What the golden parts of a bundle are expected to give, whoever scores them and whatever the thresholds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inspection.part import Label
from inspection.verdict import Outcome
from vision.bundle import Bundle, GoldenPart, Thresholds
from vision.classifier import Backend

_SHOWN = 3
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


def misjudged(
    bundle: Bundle, thresholds: Thresholds, scores: Sequence[float] | NDArray[np.floating] | None = None
) -> list[str]:
    """The golden parts that `thresholds` would judge wrongly, each in words for people; empty when all is as expected.

    `scores` are those of the backend in use, one for each part; the bundle's reference scores when left out. A good
    part is expected to PASS, a bad one to FAIL, for certain or as uncertain. A part that the bundle itself misjudges,
    by its own thresholds and reference scores, is known to be hard and may come out either way.
    """
    given = [part.score for part in bundle.golden] if scores is None else scores
    return [
        f"{part.path.name} ({part.label}, score {score:.4f}) would be {_outcome(score, thresholds)}"
        for part, score in zip(bundle.golden, given, strict=True)
        if _right(part, part.score, bundle.thresholds) and not _right(part, score, thresholds)
    ]


def refusal(wrong: Sequence[str], thresholds: Thresholds) -> str:
    """Why these thresholds do not go live."""
    more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return (
        f"golden parts would be judged wrongly with pass_below {thresholds.pass_below:g} and fail_above "
        f"{thresholds.fail_above:g}: {'; '.join(wrong[:_SHOWN])}{more}"
    )


def _outcome(score: float, thresholds: Thresholds) -> Outcome:
    if not np.isfinite(score):
        return Outcome.NO_VERDICT
    return Outcome.PASS if score < thresholds.pass_below else Outcome.FAIL


def _right(part: GoldenPart, score: float, thresholds: Thresholds) -> bool:
    return _outcome(score, thresholds) is (Outcome.PASS if part.label is Label.OK else Outcome.FAIL)
