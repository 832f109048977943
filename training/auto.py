"""`--recipe auto`: candidates compared on folds of train and val, and the winner taught from both.

1. Look: the frozen network sees each candidate's crops once; a linear probe is fitted on all folds but one, in turn.
2. Learn: layer4 of the best candidate and of its close rivals, then layer3 too, from the probe, on the same folds.
3. The winner learns once more, from all folds. Each picture was scored by a model that had seen neither it nor its
   group: those scores calibrate and set the thresholds. Test pictures take no part.
"""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from camera.picture import read_picture
from inspection.errors import DataError, PictureError
from training.budget import Budget
from training.candidates import CROP, Candidate, Lesson, geometry_candidates, lessons, pixel_candidates
from training.dataset import SPLITS, Dataset, Sample, Split, require_classes
from training.features import features_of
from training.fit import Features
from training.folds import Folded, folded
from training.learn import BehindError, learn, learn_all, looks_to_learn, looks_to_learn_all
from training.look import look
from training.make import HeldOut, Made, finish
from training.search import Search, Skipped
from training.targets import Targets, require_provable
from training.trials import Trial, choose
from vision.resnet import ResNet18

Taken = TypeVar("Taken", Candidate, Lesson)

FOLDS = 4
# Standard errors. The probe misleads where only deeper learning tells the classes apart.
_FAR = 2.0
_RIVALS = 1
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
    crop: int = CROP,
) -> Made:
    """Search on folds of `train` and `val`, measure the result on `test`, write it to `out`.

    `crop` is the side of the crops that the search begins with, in pixels. `model` holds the backbone's weights and
    becomes the result. The same seed gives the same bundle where the budget skipped nothing. Raises DataError, also
    where groups are too few for folds or pictures for `targets`, and BundleError where `out` cannot be written.
    """
    for split in ("train", "val"):
        require_classes(dataset, split)
    samples = tuple(sample for sample in dataset.samples if sample.split in ("train", "val"))
    require_provable(targets, samples, "train and val")
    pictures = folded(samples, FOLDS, seed)
    run = _Run(model.eval(), pictures, seed, budget, after=len(dataset.of("val")) + len(dataset.of("test")))
    lesson, trial = run.result(crop)
    with tempfile.TemporaryDirectory(prefix="linegate-train-") as scratch:
        learn_all(model, pictures, lesson, Path(scratch), seed=seed, budget=budget)
        features: dict[Split, Features] = {
            split: features_of(model, some, lesson.recipe.plain(), Path(scratch) / split, quiet=True)
            for split in SPLITS
            if split != "train" and (some := dataset.of(split))
        }
        budget.close()
        return finish(
            model,
            features,
            dataset,
            out,
            lesson.recipe,
            epochs=lesson.recipe.epochs,
            seed=seed,
            notes=notes,
            targets=targets,
            held_out=HeldOut(samples, trial.margins),
            search=run.search,
        )


class _Run:
    """One search: what is tried and what it may cost. `after` is how many pictures are scored when it is over."""

    def __init__(self, model: ResNet18, pictures: Folded, seed: int, budget: Budget, *, after: int) -> None:
        self._model = model
        self._pictures = pictures
        self._seed = seed
        self._budget = budget
        self._after = after
        self.search = Search(pictures.count)

    def result(self, crop: int) -> tuple[Lesson, Trial]:
        """First what is done to the pixels, then how much is seen and how large, then how deep the network learns."""
        width, height, colour = _kind(self._pictures.samples[0])
        looked = self._look(pixel_candidates(crop, colour=colour), None)
        pixels = self._taken(looked)
        best = self._taken([pixels, *self._look(geometry_candidates(pixels[0], width, height), pixels[0])])
        rivals = sorted((pair for pair in looked if pair is not pixels), key=lambda pair: -pair[1].mean("auroc"))
        close = [best[0].with_pixels_of(pair[0]) for pair in rivals if _close(pair[1], pixels[1])]
        return self._learn(best, close[:_RIVALS])

    def _look(self, candidates: Iterable[Candidate], best: Candidate | None) -> list[tuple[Candidate, Trial]]:
        """What is done to the pixels matters most: all of that is looked at before time is kept for learning.

        Then, with a `best`, a candidate has to leave time to teach its layer4, if there is time for that of the best.
        """
        looked: list[tuple[Candidate, Trial]] = []
        for candidate in candidates:
            learns = best is not None and self._budget.allows(self._to_learn(lessons(best)[1]))
            needed = len(self._pictures.samples) * candidate.cost + self._to_learn(lessons(candidate)[int(learns)])
            if (looked or best) and not self._affordable(candidate.name, needed):  # the first look tells the pace
                continue
            self._budget.expect(needed)
            try:
                trial = look(self._model, self._pictures, candidate, self._budget)
            except DataError as error:  # pictures of other sizes than the first may be too long for these tiles
                if best is None:
                    raise
                self._skip(candidate.name, str(error))
                continue
            self.search.trials.append(trial)
            looked.append((candidate, trial))
        return looked

    def _learn(self, best: tuple[Candidate, Trial], rivals: Sequence[Candidate]) -> tuple[Lesson, Trial]:
        kept, shallow, _ = lessons(best[0])
        contenders: list[tuple[Lesson, Trial]] = [(kept, best[1])]
        for lesson in (shallow, *(lessons(rival)[1] for rival in rivals)):
            self._study(lesson, contenders)
        leading, _ = max(contenders, key=_auroc)
        self._study(lessons(leading.candidate)[2], contenders)
        return self._taken(contenders)

    def _study(self, lesson: Lesson, contenders: list[tuple[Lesson, Trial]]) -> None:
        """Try one lesson, if there is time and as long as it keeps up with the best so far."""
        _, leader = max(contenders, key=_auroc)
        if leader.mean("auroc") == 1:
            self._skip(lesson.name, f"nothing is left to gain: {leader.name} tells all pictures apart")
            return
        if not self._affordable(lesson.name, self._to_learn(lesson)):
            return
        self._budget.expect(self._to_learn(lesson))
        try:
            with tempfile.TemporaryDirectory(prefix="linegate-train-") as scratch:
                trial = learn(
                    self._model,
                    self._pictures,
                    lesson,
                    Path(scratch),
                    rival=leader,
                    seed=self._seed,
                    budget=self._budget,
                )
        except BehindError as error:
            self._skip(lesson.name, str(error))
            return
        self.search.trials.append(trial)
        contenders.append((lesson, trial))

    def _taken(self, contenders: Sequence[tuple[Taken, Trial]]) -> tuple[Taken, Trial]:
        choice = choose([trial for _, trial in contenders])
        self.search.choices.append(choice)
        return next(pair for pair in contenders if pair[1] is choice.trial)

    def _affordable(self, name: str, looks: float) -> bool:
        if self._budget.allows(looks):
            return True
        self._skip(name, f"no time: it and what follows take {self._budget.seconds_for(looks) / 60:.1f} min")
        return False

    def _skip(self, name: str, why: str) -> None:
        self.search.skipped.append(Skipped(name, why))

    def _to_learn(self, lesson: Lesson) -> float:
        """In folds, then from all, and what is to be done then."""
        pictures, after = self._pictures, self._after * lesson.candidate.cost
        return looks_to_learn(pictures, lesson) + looks_to_learn_all(pictures, lesson) + after


def _auroc(pair: tuple[Lesson, Trial]) -> float:
    return pair[1].mean("auroc")


def _close(trial: Trial, best: Trial) -> bool:
    """Not far enough behind on the probe to be sure that it stays behind when layer4 learns."""
    gap, error = trial.behind(best)
    return gap <= _FAR * error


def _kind(sample: Sample) -> tuple[int, int, bool]:
    """Width, height, and whether the channels of a picture differ."""
    try:
        pixels, _ = read_picture(sample.path)
    except PictureError as error:
        raise DataError(f"{error}; replace the picture or take it out of the data set") from error
    colour = pixels.ndim == 3 and bool((pixels.max(axis=2) - pixels.min(axis=2) > _COLOUR).mean() > _COLOURED)
    return pixels.shape[1], pixels.shape[0], colour
