"""`--recipe auto`: candidates compared on folds of train and val, and one model out of the winner's fold models.

1. Look: the frozen network sees each candidate's crops once; a linear probe is fitted on all folds but one, in turn.
2. Learn: layer4 of the best candidate, from the probe, again on all folds but one, in turn.
3. The weights are the mean of the fold models. Each picture was scored by a model that had seen neither it nor its
   group: those scores calibrate and set the thresholds. Test pictures take no part.
"""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from camera.picture import read_picture
from inspection.errors import DataError, PictureError
from training.budget import Budget
from training.candidates import Candidate, Lesson, geometry_candidates, lessons, pixel_candidates
from training.dataset import SPLITS, Dataset, Sample, Split, require_classes
from training.features import FLIPS, features_of
from training.fit import Features
from training.folds import Folded, folded
from training.learn import Learnt, Seen, learn, looks_to_learn
from training.look import look
from training.make import HeldOut, Made, finish
from training.probe import Pooled, pooled_features
from training.search import Search, Skipped
from training.targets import Targets, require_provable
from training.trials import Choice, Trial, choose
from vision.resnet import ResNet18

FOLDS = 4
_PICTURES_AT_ONCE = 32
# A picture is in colour where one pixel in twenty has channels that are further apart than what JPEG makes of gray.
_COLOUR = 20
_COLOURED = 0.05


def make_auto_bundle(
    dataset: Dataset,
    out: Path,
    model: ResNet18,
    *,
    seed: int,
    notes: Mapping[str, Any],
    targets: Targets,
    budget: Budget,
) -> Made:
    """Search on folds of `train` and `val`, measure the result on `test`, write it to `out`.

    `model` holds the backbone's weights and becomes the result. The same seed gives the same bundle where the budget
    skipped nothing. Raises DataError, also where groups are too few for folds or pictures for `targets`, and
    BundleError where `out` cannot be written.
    """
    for split in ("train", "val"):
        require_classes(dataset, split)
    samples = tuple(sample for sample in dataset.samples if sample.split in ("train", "val"))
    require_provable(targets, samples, "train and val")
    run = _Run(model.eval(), folded(samples, FOLDS, seed), seed, budget)
    candidate = run.look()
    with tempfile.TemporaryDirectory(prefix="linegate-train-") as scratch:
        learnt = run.learn(candidate, Path(scratch))
        model.load_state_dict(learnt.state)
        features: dict[Split, Features] = {
            split: features_of(model, some, candidate.image, Path(scratch) / split, quiet=True)
            for split in SPLITS
            if split != "train" and (some := dataset.of(split))
        }
        budget.close()
        return finish(
            model,
            features,
            dataset,
            out,
            learnt.recipe,
            epochs=learnt.recipe.epochs,
            seed=seed,
            notes=notes,
            targets=targets,
            held_out=HeldOut(samples, learnt.margins),
            search=run.search,
        )


class _Run:
    """One search: what is tried and what it may cost."""

    def __init__(self, model: ResNet18, pictures: Folded, seed: int, budget: Budget) -> None:
        self._model = model
        self._pictures = pictures
        self._seed = seed
        self._budget = budget
        self.search = Search(pictures.count)

    def look(self) -> Candidate:
        """First what is done to the pixels, then how much is seen and how large: the best of each goes on."""
        width, height, colour = _kind(self._pictures.samples[0])
        best = self._best([], pixel_candidates(colour=colour))
        return self._best([best], geometry_candidates(best[0], width, height))[0]

    def learn(self, candidate: Candidate, scratch: Path) -> Learnt:
        """Every lesson that there is time for, on features that are computed once."""
        planned: list[Lesson] = []
        for lesson in lessons(candidate):
            if planned and not self._affordable(lesson.name, self._to_learn(candidate, lesson)):
                continue
            planned.append(lesson)
        flips = any(lesson.recipe.flips for lesson in planned)
        self._budget.expect(sum(self._to_learn(candidate, lesson) for lesson in planned))
        self._budget.doing(f"{candidate.name}: features")
        samples = self._pictures.samples
        features = features_of(self._model, samples, candidate.image, scratch / "all", flips=flips, quiet=True)
        seen = Seen(candidate, features, _pooled(self._model, features))
        self._budget.did(len(samples) * candidate.cost * (1 + len(FLIPS) * flips))
        learnt = [
            learn(self._model, self._pictures, seen, lesson, seed=self._seed, budget=self._budget) for lesson in planned
        ]
        self.search.trials.extend(result.trial for result in learnt)
        choice = self._chosen([result.trial for result in learnt])
        return next(result for result in learnt if result.trial is choice.trial)

    def _best(
        self, contenders: list[tuple[Candidate, Trial]], candidates: Iterable[Candidate]
    ) -> tuple[Candidate, Trial]:
        for candidate in candidates:
            needed = len(self._pictures.samples) * candidate.cost
            # Looking leaves time for learning.
            needed += max(self._to_learn(candidate, lesson) for lesson in lessons(candidate))
            if contenders and not self._affordable(candidate.name, needed):
                continue
            self._budget.expect(needed)
            try:
                trial = look(self._model, self._pictures, candidate, self._budget)
            except DataError as error:  # pictures of other sizes than the first may be too long for these tiles
                if not contenders:
                    raise
                self.search.skipped.append(Skipped(candidate.name, str(error)))
                continue
            self.search.trials.append(trial)
            contenders.append((candidate, trial))
        choice = self._chosen([trial for _, trial in contenders])
        return next(pair for pair in contenders if pair[1] is choice.trial)

    def _chosen(self, trials: list[Trial]) -> Choice:
        choice = choose(trials)
        self.search.choices.append(choice)
        return choice

    def _affordable(self, name: str, needed: float) -> bool:
        if self._budget.allows(needed):
            return True
        minutes = self._budget.seconds_for(needed) / 60
        self.search.skipped.append(Skipped(name, f"no time: to go on with it takes {minutes:.1f} min"))
        return False

    def _to_learn(self, candidate: Candidate, lesson: Lesson) -> float:
        views = 1 + len(FLIPS) * lesson.recipe.flips
        once = len(self._pictures.samples) * candidate.cost * views
        return once + looks_to_learn(self._pictures, candidate, lesson)


def _pooled(model: ResNet18, features: Features) -> Pooled:
    parts = range(0, len(features.labels), _PICTURES_AT_ONCE)
    return np.concatenate([pooled_features(model, features.values[i : i + _PICTURES_AT_ONCE]) for i in parts])


def _kind(sample: Sample) -> tuple[int, int, bool]:
    """Width, height, and whether the channels of a picture differ."""
    try:
        pixels, _ = read_picture(sample.path)
    except PictureError as error:
        raise DataError(f"{error}; replace the picture or take it out of the data set") from error
    colour = pixels.ndim == 3 and bool((pixels.max(axis=2) - pixels.min(axis=2) > _COLOUR).mean() > _COLOURED)
    return pixels.shape[1], pixels.shape[0], colour
