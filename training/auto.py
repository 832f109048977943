"""`--recipe auto`: candidates compared on folds of train and val, and the winner taught from both.

1. Look: the frozen network sees each candidate's crops once; a linear probe is fitted on all folds but one, in turn.
2. Learn: layer4 of the best candidate from the probe, on the same folds; then all layers behind the first, from the
   plain picture, or from those pixels that prove in a short trial that they teach much more.
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
from training.candidates import (
    COMPARED,
    CROP,
    DEEP_EPOCHS,
    Candidate,
    Lesson,
    deep,
    geometry_candidates,
    kept,
    pixel_candidates,
    shallow,
    taste_of,
)
from training.dataset import SPLITS, Dataset, Sample, Split, require_classes
from training.features import inputs_of
from training.folds import Folded, folded
from training.inputs import Inputs
from training.learn import learn, learn_all, looks_to_learn, looks_to_learn_all, looks_to_taste
from training.look import look
from training.make import HeldOut, Made, finish
from training.recipes import smaller
from training.reference import comparable_reference
from training.search import Search, Skipped
from training.targets import Targets, require_provable
from training.trials import Choice, Trial, choose, choose_plain, far_ahead
from vision.reference import ReferencePicture
from vision.resnet import ResNet18

Taken = TypeVar("Taken", Candidate, Lesson)

FOLDS = 4
# A picture is in colour where one pixel in twenty has channels that are further apart than what JPEG makes of gray.
_COLOUR = 20
_COLOURED = 0.05
_SOME = 31  # pictures, to know the size and colour of all


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
    becomes the result. The same seed gives the same bundle where the budget skipped and cut nothing. Raises DataError,
    also where groups are too few for folds or pictures for `targets`, and BundleError where `out` cannot be written.
    """
    for split in ("train", "val"):
        require_classes(dataset, split)
    samples = tuple(sample for sample in dataset.samples if sample.split in ("train", "val"))
    require_provable(targets, samples, "train and val")
    pictures = folded(samples, FOLDS, seed)
    run = _Run(model.eval(), pictures, seed, budget, after=len(dataset.of("val")) + len(dataset.of("test")))
    lesson, trial = run.result(crop, run.reference(dataset))
    with tempfile.TemporaryDirectory(prefix="linegate-train-") as scratch:
        epochs = learn_all(model, pictures, lesson, Path(scratch), seed=seed, budget=budget)
        model.cpu()  # what is stored is scored where scores are the reference
        inputs: dict[Split, Inputs] = {
            split: inputs_of(model, some, lesson.recipe.plain(), Path(scratch) / split, quiet=True)
            for split in SPLITS
            if split != "train" and (some := dataset.of(split))
        }
        budget.close()
        return finish(
            model,
            inputs,
            dataset,
            out,
            lesson.recipe,
            epochs=epochs,
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

    def reference(self, dataset: Dataset) -> ReferencePicture | None:
        """One for all folds: the median of so many good pictures is hardly another without those of one fold."""
        try:
            return comparable_reference(dataset)
        except DataError as error:
            for name, _ in COMPARED:
                self._skip(name, str(error))
            return None

    def result(self, crop: int, reference: ReferencePicture | None) -> tuple[Lesson, Trial]:
        """First what is done to the pixels, then how much is seen and how large, then how deep the network learns."""
        width, height, colour = _kind(self._pictures.samples)
        looked = self._look(pixel_candidates(crop, colour=colour, reference=reference), None)
        pixels = self._taken(looked)
        best = self._taken([pixels, *self._look(geometry_candidates(pixels[0], width, height), pixels[0])])
        lesson, trial = self._learn(best, looked)
        self._budget.expect(self._to_finish(lesson))
        return lesson, trial

    def _look(self, candidates: Iterable[Candidate], best: Candidate | None) -> list[tuple[Candidate, Trial]]:
        """What is done to the pixels matters most: all of that is looked at before time is kept for learning.

        Then, with a `best`, a candidate has to leave time for what the best one has time for, see `_reserved`.
        """
        looked: list[tuple[Candidate, Trial]] = []
        for candidate in candidates:
            needed = len(self._pictures.samples) * candidate.cost + self._reserved(candidate, best)
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

    def _reserved(self, candidate: Candidate, best: Candidate | None) -> float:
        """To teach the candidate's layer4 and, as a whole frame, the layers behind the first, as time allows."""
        if best is not None:
            deepest = self._to_learn(deep(best, DEEP_EPOCHS[-1]))
            for reserved in (deepest, 0.0):
                if self._budget.allows(self._to_learn(shallow(best)) + reserved):
                    return self._to_learn(shallow(candidate)) + reserved
        return self._to_finish(kept(candidate))

    def _learn(self, best: tuple[Candidate, Trial], looked: Sequence[tuple[Candidate, Trial]]) -> tuple[Lesson, Trial]:
        """The probe of `best`, its layer4, and the whole network from the pixels that it learns from best.

        `looked` are whole frames, the plain picture first: where edges tell the frozen network most, that may teach it
        more.
        """
        probe = kept(best[0])
        looks = self._to_learn(probe)
        contenders = [(probe, self._learnt(probe, looks) if self._budget.allows(looks) else best[1])]
        self._study(shallow(best[0]), contenders)
        if not self._done("layer2 to 4", contenders) and self._affordable(
            "layer2 to 4", self._to_learn(deep(looked[0][0], DEEP_EPOCHS[-1]))
        ):
            pixels = self._tasted(looked)
            views = [best[0].with_pixels_of(pixels), pixels]
            lessons = [deep(view, epochs) for view in views for epochs in DEEP_EPOCHS]
            lesson = next((some for some in lessons if self._affordable(some.name, self._to_learn(some))), None)
            if lesson:
                contenders.append((lesson, self._learnt(lesson, self._to_learn(lesson))))
        return self._taken(contenders)

    def _tasted(self, looked: Sequence[tuple[Candidate, Trial]]) -> Candidate:
        """The first, which is plain, unless another is far ahead for the probe and in a short lesson on smaller crops.

        Time is kept for a long lesson. Without time to compare, the probe decides.
        """
        plain = looked[0]
        others = [pair for pair in looked[1:] if far_ahead(pair[1], plain[1])]
        if not others:
            return plain[0]
        long = self._to_learn(deep(plain[0], DEEP_EPOCHS[-1]))
        others.sort(key=lambda pair: -pair[1].mean("auroc"))
        tasted: list[tuple[Candidate, Trial]] = []
        for candidate, _ in (plain, *others):
            small = smaller(candidate.image.size)
            lesson = taste_of(candidate.seen_as(f"{candidate.geometry} at {small}", size=small, resize=max(small, 256)))
            needed = looks_to_taste(self._pictures, lesson)
            if not self._affordable(lesson.name, needed + long):
                continue
            tasted.append((candidate, self._learnt(lesson, needed + long, taste=True)))
        if len(tasted) < 2:
            return others[0][0]
        return self._noted(choose_plain([trial for _, trial in tasted]), tasted)[0]

    def _study(self, lesson: Lesson, contenders: list[tuple[Lesson, Trial]]) -> None:
        """Try one lesson, if there is time and something left to gain."""
        if self._done(lesson.name, contenders) or not self._affordable(lesson.name, self._to_learn(lesson)):
            return
        contenders.append((lesson, self._learnt(lesson, self._to_learn(lesson))))

    def _learnt(self, lesson: Lesson, looks: float, *, taste: bool = False) -> Trial:
        """`looks` are still to come, this lesson's among them."""
        self._budget.expect(looks)
        with tempfile.TemporaryDirectory(prefix="linegate-train-") as scratch:
            trial = learn(
                self._model, self._pictures, lesson, Path(scratch), seed=self._seed, budget=self._budget, taste=taste
            )
        self.search.trials.append(trial)
        return trial

    def _done(self, name: str, contenders: Sequence[tuple[Lesson, Trial]]) -> bool:
        """Whether nothing is left to gain by what is called `name`."""
        leader = max((trial for _, trial in contenders), key=lambda trial: trial.mean("auroc"))
        if leader.mean("auroc") < 1:
            return False
        self._skip(name, f"nothing is left to gain: {leader.name} tells all pictures apart")
        return True

    def _taken(self, contenders: Sequence[tuple[Taken, Trial]]) -> tuple[Taken, Trial]:
        return self._noted(choose([trial for _, trial in contenders]), contenders)

    def _noted(self, choice: Choice, contenders: Sequence[tuple[Taken, Trial]]) -> tuple[Taken, Trial]:
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
        """In folds, then what is left to do."""
        return looks_to_learn(self._pictures, lesson) + self._to_finish(lesson)

    def _to_finish(self, lesson: Lesson) -> float:
        """To learn from all folds, and to score `val` and `test`."""
        return looks_to_learn_all(self._pictures, lesson) + self._after * lesson.candidate.cost


def _kind(samples: Sequence[Sample]) -> tuple[int, int, bool]:
    """Of some of the pictures: width and height of the middle one, and whether the channels of one differ."""
    sizes, colour = [], False
    for sample in samples[:: -(-len(samples) // _SOME)]:
        try:
            pixels, _ = read_picture(sample.path)
        except PictureError as error:
            raise DataError(f"{error}; replace the picture or take it out of the data set") from error
        colour |= pixels.ndim == 3 and bool((pixels.max(axis=2) - pixels.min(axis=2) > _COLOUR).mean() > _COLOURED)
        sizes.append((pixels.shape[0] * pixels.shape[1], pixels.shape[1], pixels.shape[0]))
    _, width, height = sorted(sizes)[len(sizes) // 2]
    return width, height, colour
