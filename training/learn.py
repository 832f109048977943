"""The second step of `auto`: layer4 learns on all folds but one, in turn, and the fold models become one.

Wortsman et al.: Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
inference time, ICML 2022.
"""

import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from training.budget import Budget
from training.candidates import Candidate, Lesson
from training.fit import Features, learning, margins
from training.folds import Folded
from training.probe import Pooled, fit_probe
from training.recipes import TrainingRecipe
from training.trials import Trial, scored_folds
from vision.resnet import ResNet18

# In looks: layer4 and its classifier forward, 0.41 of 1.81 GMAC, and a step of learning, three times as much.
_TOP = 0.23
_STEP = 3 * _TOP
_PICTURES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Seen:
    """What the frozen network makes of all pictures: `pooled` is of the plain view, [pictures, tiles, 512]."""

    candidate: Candidate
    features: Features
    pooled: Pooled


@dataclass(frozen=True, slots=True)
class Learnt:
    """`state` is the mean of the fold models.

    `margins`, float64 [pictures], are of the fold model that did not see the picture.
    """

    trial: Trial
    recipe: TrainingRecipe
    state: dict[str, Tensor]
    margins: NDArray[np.float64]


def looks_to_learn(pictures: Folded, candidate: Candidate, lesson: Lesson) -> float:
    """What `learn` takes."""
    steps = (pictures.count - 1) * len(pictures.samples) * lesson.recipe.epochs
    return steps * _step(candidate) + len(pictures.samples) * _TOP * candidate.cost


def learn(backbone: ResNet18, pictures: Folded, seen: Seen, lesson: Lesson, *, seed: int, budget: Budget) -> Learnt:
    """From a probe of the same folds, for the recipe's epochs; with 0 of them the probe itself is the result.

    The same arguments, library versions and number of threads give the same result.
    """
    budget.doing(lesson.name)
    before = budget.spent
    held_out = np.empty(len(pictures.samples))
    total: dict[str, Tensor] = {}
    for others, own in pictures.splits():
        model = copy.deepcopy(backbone)
        fit_probe(seen.pooled[others], pictures.labels[others]).into(model)
        if lesson.recipe.epochs:
            for _ in learning(model, seen.features, others, lesson.recipe, seed):
                budget.did(len(others) * _step(seen.candidate))
        for start in range(0, len(own), _PICTURES_AT_ONCE):
            some = own[start : start + _PICTURES_AT_ONCE]
            held_out[some] = margins(model, seen.features.values[some])
        budget.did(len(own) * _TOP * seen.candidate.cost)
        for key, value in model.state_dict().items():
            total[key] = total[key] + value if key in total else value.clone()
    folds = scored_folds(held_out, pictures.truth, pictures.folds)
    return Learnt(
        Trial(lesson.name, seen.candidate.cost, budget.spent - before, folds),
        lesson.recipe,
        {key: value / pictures.count for key, value in total.items()},
        held_out,
    )


def _step(candidate: Candidate) -> float:
    """With tiles the worst is found first, and it alone learns."""
    tiles, _, size, _ = candidate.image.crop_shape
    one = (size / 224) ** 2
    return one * (_STEP + (_TOP * tiles if tiles > 1 else 0))
