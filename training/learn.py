"""The second step of `auto`: layer4 learns on all folds but one, in turn; what wins learns once more, from all.

Fold models are not averaged once layer4 has learnt: their mean was no better than one of them on the set that was
tried, and worse than their vote, which would cost four times as much on the line.
"""

import copy
from pathlib import Path

import numpy as np

from training.budget import Budget
from training.candidates import CROP, Lesson
from training.features import FLIPS, features_of
from training.fit import learning, margins
from training.folds import Folded
from training.probe import fit_probe, mean_probe, pooled_features
from training.trials import Trial, scored_fold
from vision.resnet import ResNet18

# In looks: 0.41 of 1.81 GMAC are in layer4 and as many in layer3; a little more, because looking may be in bfloat16.
_LAYER = 0.27
_BACKWARD = 2  # times what the same layers take forward
_PICTURES_AT_ONCE = 64
# One fold may be the odd one out, and two are half of the work.
_BEFORE_GIVING_UP = 2


class BehindError(Exception):
    """Given up: worse than the rival on every one of the first folds."""


def learn(
    backbone: ResNet18,
    pictures: Folded,
    lesson: Lesson,
    scratch: Path,
    *,
    seed: int,
    budget: Budget,
    rival: Trial,
) -> Trial:
    """From a probe of the same folds, for the recipe's epochs.

    Features lie in the empty folder `scratch`. The same arguments, library versions and number of threads give
    the same result. Raises DataError, and BehindError instead of going
    on behind `rival`.
    """
    budget.doing(lesson.name)
    before = budget.spent
    recipe, candidate = lesson.recipe, lesson.candidate
    features = features_of(backbone, pictures.samples, recipe, scratch / "features", quick=True, quiet=True)
    pooled = pooled_features(backbone, features.values)
    budget.did(_looks_once(pictures, lesson))
    held_out = np.empty(len(pictures.samples))
    scores = []
    for others, own in pictures.splits():
        model = copy.deepcopy(backbone)
        fit_probe(pooled[others], pictures.labels[others]).into(model)
        for _ in learning(model, features, others, recipe, seed):
            budget.did(len(others) * _looks_of_a_step(lesson))
        for start in range(0, len(own), _PICTURES_AT_ONCE):
            some = own[start : start + _PICTURES_AT_ONCE]
            held_out[some] = margins(model, features.values[some])
        scores.append(scored_fold(held_out[own], pictures.truth[own]))
        if len(scores) == _BEFORE_GIVING_UP < pictures.count:
            gaps = [b.auroc - a.auroc for a, b in zip(scores, rival.folds, strict=False)]
            if min(gaps) > 0:
                raise BehindError(f"behind {rival.name} on each of {len(gaps)} folds, by {np.mean(gaps):.3f} of AUROC")
    return Trial(lesson.name, candidate.cost, budget.spent - before, tuple(scores), held_out)


def learn_all(model: ResNet18, pictures: Folded, lesson: Lesson, scratch: Path, *, seed: int, budget: Budget) -> None:
    """Teach `model`, in place, the lesson from all pictures, from the mean of the probes of the folds."""
    budget.doing(f"{lesson.name}, from all folds")
    features = features_of(model, pictures.samples, lesson.recipe, scratch / "features", quick=True, quiet=True)
    pooled = pooled_features(model, features.values)
    probes = [fit_probe(pooled[others], pictures.labels[others]) for others, _ in pictures.splits()]
    mean_probe(probes).into(model)
    budget.did(_looks_once(pictures, lesson))
    if lesson.recipe.epochs:
        for _ in learning(model, features, np.arange(len(pictures.samples)), lesson.recipe, seed):
            budget.did(len(pictures.samples) * _looks_of_a_step(lesson))


def looks_to_learn(pictures: Folded, lesson: Lesson) -> float:
    """What `learn` takes; nothing where the lesson keeps the probe, which looking has fitted already."""
    if lesson.recipe.epochs == 0:
        return 0.0
    return (pictures.count - 1) * _looks_of_all(pictures, lesson) + _looks_once(pictures, lesson)


def looks_to_learn_all(pictures: Folded, lesson: Lesson) -> float:
    """What `learn_all` takes."""
    return _looks_of_all(pictures, lesson) + _looks_once(pictures, lesson)


def _looks_of_all(pictures: Folded, lesson: Lesson) -> float:
    return len(pictures.samples) * lesson.recipe.epochs * _looks_of_a_step(lesson)


def _looks_once(pictures: Folded, lesson: Lesson) -> float:
    """Features of all views, and all folds scored."""
    views = 1 + len(FLIPS) * lesson.recipe.flips
    return len(pictures.samples) * lesson.candidate.cost * (views + _layers(lesson) * _LAYER)


def _looks_of_a_step(lesson: Lesson) -> float:
    """With tiles the worst is found first, and it alone learns."""
    tiles, _, size, _ = lesson.candidate.image.crop_shape
    forward = _layers(lesson) * _LAYER * (size / CROP) ** 2
    return forward * (1 + _BACKWARD + (tiles if tiles > 1 else 0))


def _layers(lesson: Lesson) -> int:
    return 2 if lesson.recipe.unfreeze == "layer3" else 1
