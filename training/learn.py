"""The second step of `auto`: the network learns on all folds but one, in turn; what wins learns once more, from all.

Fold models are not averaged once layer4 has learnt: their mean was no better than one of them on the set that was
tried, and worse than their vote, which would cost four times as much on the line.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.budget import Budget
from training.candidates import CROP, Lesson
from training.features import FLIPS, inputs_of
from training.fit import learning, one_epoch
from training.folds import Folded
from training.inputs import Inputs, views_in
from training.probe import Pooled, fit_probe, mean_probe
from training.trials import Trial, scored_fold
from vision.resnet import ResNet18

# In looks: 0.41 of 1.81 GMAC are in layer4 and as many in layer3; a little more, because looking may be in bfloat16.
_LAYER = 0.27
_BACKWARD = 2  # times what the same layers take forward
# A step of a deep lesson with a crop of 224 x 224, both ways, its picture drawn: measured in bfloat16 on two cores.
_DEEP = 2.2
# Of that, where most of the steps are at 5/7 of the side.
_SMALL_FIRST = 0.6
_FLOAT32 = 2.0  # scored as production does
# Folds, and pictures to learn from in each: enough to see which pixels the network can learn from.
_TASTE_FOLDS, _TASTE_PICTURES = 2, 600


@dataclass(frozen=True, slots=True)
class _Course:
    """One lesson for many copies of one backbone; `pooled` is what the backbone makes of the inputs."""

    backbone: ResNet18
    inputs: Inputs
    pooled: Pooled
    lesson: Lesson
    seed: int
    budget: Budget

    def taught(self, some: NDArray[np.intp], *, whole: bool) -> tuple[ResNet18, int]:
        """A copy that has learnt the lesson from some of the pictures, and in how many passes."""
        model = copy.deepcopy(self.backbone)
        fit_probe(self.pooled[some], self.inputs.labels[some]).into(model)
        return model, self.teach(model, some, whole=whole)

    def teach(self, model: ResNet18, some: NDArray[np.intp], *, whole: bool = False) -> int:
        """In place, from its classifier on, in as many passes as the recipe has epochs; fewer where time is short.

        `whole` lessons are never cut.
        """
        passes = 0
        stride = one_epoch if whole else self._stride
        looks = len(some) * _looks_of_a_step(self.lesson)
        for _, epochs in learning(model, self.inputs, some, self.lesson.recipe, self.seed, stride=stride):
            self.budget.did(looks, instead_of=looks * epochs)
            passes += 1
        return passes

    def _stride(self, left: float) -> float:
        """So that what is left of the epochs is a number of equal passes."""
        return left / max(1, round(left / self.budget.hurry()))


def learn(
    backbone: ResNet18,
    pictures: Folded,
    lesson: Lesson,
    scratch: Path,
    *,
    seed: int,
    budget: Budget,
    taste: bool = False,
) -> Trial:
    """From a probe of the same folds, for the recipe's epochs.

    A `taste` learns on two folds, from some of the pictures: its scores compare with those of other tastes only, and
    its `margins` are NaN for the pictures of other folds. It is never cut short. What is learnt from lies in the empty
    folder `scratch`. The same arguments, library versions and number of threads give the same result where nothing is
    cut. Raises DataError.
    """
    budget.doing(lesson.name)
    before = budget.spent
    course = _begun(backbone, pictures, lesson, scratch, seed=seed, budget=budget)
    views = None if taste else views_in(pictures.samples, lesson.recipe, scratch / "views", seed=seed)
    held_out = np.full(len(pictures.samples), np.nan)
    scores, changed, passes = [], [], []
    for others, own in list(pictures.splits())[: _TASTE_FOLDS if taste else None]:
        model, had = course.taught(_some_of(others, pictures, seed) if taste else others, whole=taste)
        passes.append(had)
        held_out[own] = course.inputs.margins(model, own)
        scores.append(scored_fold(held_out[own], pictures.truth[own]))
        if views:
            changed.append(scored_fold(views.margins(model, own), pictures.truth[own]).auroc)
            budget.did(_looks_at_views(len(own), lesson))
    seconds = budget.spent - before
    cut = () if min(passes) == lesson.recipe.epochs else tuple(passes)
    return Trial(lesson.name, lesson.candidate.cost, seconds, tuple(scores), held_out, tuple(changed), cut)


def learn_all(model: ResNet18, pictures: Folded, lesson: Lesson, scratch: Path, *, seed: int, budget: Budget) -> int:
    """Teach `model`, in place, the lesson from all pictures, from the mean of the probes of the folds.

    Gives the passes that it had.
    """
    budget.doing(f"{lesson.name}, from all folds")
    course = _begun(model, pictures, lesson, scratch, seed=seed, budget=budget)
    probes = [fit_probe(course.pooled[others], pictures.labels[others]) for others, _ in pictures.splits()]
    mean_probe(probes).into(model)
    return course.teach(model, np.arange(len(pictures.samples)))


def looks_to_learn(pictures: Folded, lesson: Lesson) -> float:
    """What `learn` takes."""
    steps = (pictures.count - 1) * _looks_of_all(pictures, lesson)
    return steps + _looks_once(pictures, lesson) + _looks_at_views(len(pictures.samples), lesson)


def looks_to_taste(pictures: Folded, lesson: Lesson) -> float:
    """What `learn` takes for a taste."""
    steps = _TASTE_FOLDS * min(len(pictures.samples), _TASTE_PICTURES) * lesson.recipe.epochs
    return steps * _looks_of_a_step(lesson) + _looks_once(pictures, lesson)


def looks_to_learn_all(pictures: Folded, lesson: Lesson) -> float:
    """What `learn_all` takes."""
    return _looks_of_all(pictures, lesson) + _looks_once(pictures, lesson)


def _begun(
    backbone: ResNet18, pictures: Folded, lesson: Lesson, scratch: Path, *, seed: int, budget: Budget
) -> _Course:
    inputs = inputs_of(backbone, pictures.samples, lesson.recipe, scratch / "inputs", quick=True, quiet=True)
    pooled = inputs.pooled(backbone)
    budget.did(_looks_once(pictures, lesson))
    return _Course(backbone, inputs, pooled, lesson, seed, budget)


def _some_of(numbers: NDArray[np.intp], pictures: Folded, seed: int) -> NDArray[np.intp]:
    """As many of the pictures as a taste learns from; all of them where the rare class is too rare to be left out."""
    some = np.random.default_rng(seed).permutation(numbers)[:_TASTE_PICTURES]
    return some if len(np.unique(pictures.truth[some])) == len(np.unique(pictures.truth)) else numbers


def _looks_at_views(count: int, lesson: Lesson) -> float:
    return count * lesson.candidate.cost * _FLOAT32


def _looks_of_all(pictures: Folded, lesson: Lesson) -> float:
    return len(pictures.samples) * lesson.recipe.epochs * _looks_of_a_step(lesson)


def _looks_once(pictures: Folded, lesson: Lesson) -> float:
    """All pictures through the frozen layers in all views, or once for the probe, and all folds scored."""
    if lesson.recipe.unfreeze == "layer2":
        looks = 1 + _FLOAT32
    else:
        looks = 1 + len(FLIPS) * lesson.recipe.flips + _layers(lesson) * _LAYER
    return len(pictures.samples) * lesson.candidate.cost * looks


def _looks_of_a_step(lesson: Lesson) -> float:
    """With tiles the worst is found first, and it alone learns."""
    tiles, _, size, _ = lesson.candidate.image.crop_shape
    area = (size / CROP) ** 2
    finding = tiles if tiles > 1 else 0
    if lesson.recipe.unfreeze == "layer2":
        return (_DEEP + finding) * area * (_SMALL_FIRST if lesson.recipe.small_first else 1)
    return _layers(lesson) * _LAYER * area * (1 + _BACKWARD + finding)


def _layers(lesson: Lesson) -> int:
    return 2 if lesson.recipe.unfreeze == "layer3" else 1
