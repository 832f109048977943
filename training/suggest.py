"""Which pictures to label next: those that the model is unsure of, and that are unlike those chosen before."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.bank import nearest
from training.calibrate import sigmoid
from training.unlabelled import Looked, Unlabelled
from vision.bundle import Thresholds
from vision.classifier import probability

Why = Literal["uncertain", "unlike the others"]
Floats = NDArray[np.float64]

_SUREST = 1e-9  # of a threshold: 0 and 1 have no logit
_CANDIDATES = 10  # for each picture asked for
_FURTHEST = 2.0  # of two directions


@dataclass(frozen=True, slots=True)
class Suggestion:
    """`why` names what speaks more for the picture."""

    picture: Unlabelled
    score: float
    why: Why


def suggest(looked: Looked, thresholds: Thresholds, count: int) -> list[Suggestion]:
    """At most `count` of the pictures, the one that teaches most first. The same pictures give the same list."""
    margins = np.array([picture.margin for picture in looked.pictures], np.float64)
    features = np.stack([picture.features for picture in looked.pictures])
    chosen, whys = choose(uncertainty(margins, thresholds), features, looked.known, count)
    scores = probability(margins[chosen])
    return [
        Suggestion(looked.pictures[number], float(score), why)
        for number, score, why in zip(chosen, scores, whys, strict=True)
    ]


def uncertainty(margins: Floats, thresholds: Thresholds) -> Floats:
    """Of P(defect) given as logits: 0.5 between the thresholds, and towards 0 beyond them.

    Where both are 0.5 this is the probability of the less likely class: what a wrong verdict would be, if the score
    is calibrated.
    """
    limits = np.clip([thresholds.pass_below, thresholds.fail_above], _SUREST, 1 - _SUREST)
    low, high = np.log(limits / (1 - limits))
    beyond = np.maximum(np.maximum(low - margins, margins - high), 0)
    return sigmoid(-beyond)


def choose(
    unsure: Floats, features: NDArray[np.float32], known: NDArray[np.float32], count: int
) -> tuple[list[int], list[Why]]:
    """Numbers of the pictures, the best first, and what spoke more for each.

    `features` [pictures, width] and `known` [labelled pictures, width] say what is alike. Of ten times as many as are
    asked for, the most uncertain (Zhdanov: Diverse mini-batch Active Learning, arXiv:1901.05954), each is the one
    with the greatest product of its rank by uncertainty and its distance from the nearest one that is labelled or
    chosen (as in `training.bank.spread_out`). A rank, as probabilities of a young model say more of order than of
    size.
    """
    most = np.argsort(-unsure, kind="stable")[: _CANDIDATES * count]
    centre = features.mean(axis=0)
    points, labelled = _directions(features[most] - centre), _directions(known - centre) if len(known) else known
    weight = np.linspace(1, 0, len(most), endpoint=False)
    distance = nearest(points, labelled) if len(labelled) else np.full(len(points), _FURTHEST, np.float32)
    chosen: list[int] = []
    whys: list[Why] = []
    free = np.ones(len(points), np.bool_)
    while len(chosen) < min(count, len(points)):
        worth = np.where(free, weight * distance, -1)
        best = int(worth.argmax())
        further = float((distance[free] < distance[best]).mean())
        whys.append("uncertain" if float((weight[free] < weight[best]).mean()) >= further else "unlike the others")
        chosen.append(best)
        free[best] = False
        distance = np.minimum(distance, np.linalg.norm(points - points[best], axis=1))
    return most[chosen].tolist(), whys


def _directions(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of length 1: how alike two pictures are is not to depend on how much there is to see in them."""
    directions: NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return directions
