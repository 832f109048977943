"""A model that scores parts, and which one does so now."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from inspection import clock
from inspection.errors import NotScored
from inspection.frame import CropPixels
from inspection.probe import Probe
from inspection.verdict import Reason
from vision.batching import Batcher
from vision.bundle import Bundle, Thresholds
from vision.child import Opener
from vision.classifier import Scored
from vision.recipe import Recipe
from vision.worker import Worker

_GOLDEN_S = 60.0


class Voice(Probe):
    """What a worker and its queue tell. Heard while `heard`: two of them at once would contradict each other."""

    def __init__(self, metrics: Probe) -> None:
        self.heard = False
        self._metrics = metrics

    def child_restarted(self, child: str, why: str) -> None:
        if self.heard:
            self._metrics.child_restarted(child, why)

    def batch(self, size: int, seconds: float) -> None:
        if self.heard:
            self._metrics.batch(size, seconds)

    def queue_depth(self, queue: str, depth: int) -> None:
        if self.heard:
            self._metrics.queue_depth(queue, depth)

    def latency_curve(self, seconds_by_batch: Sequence[float]) -> None:
        if self.heard:
            self._metrics.latency_curve(seconds_by_batch)


class Model:
    """A bundle with its worker, its queue and its thresholds.

    A part is one model's from its opening to its verdict: its crops, its scores and its thresholds. Thresholds alone
    may change under it, between two verdicts.
    """

    def __init__(
        self,
        bundle: Bundle,
        thresholds: Thresholds,
        *,
        worker: Worker,
        batcher: Batcher,
        voice: Voice,
        opener: Callable[[Thresholds], Opener],
    ) -> None:
        """`opener` makes what opens the backend for these thresholds, in the worker's process."""
        self.bundle = bundle
        self.thresholds = thresholds
        self.worker = worker
        self.batcher = batcher
        self.voice = voice
        self.hash = bundle.hash
        self.recipe = recipe_key(bundle.recipe)
        self._opener = opener

    async def score(self, crops: CropPixels, deadline: float) -> Scored:
        return await self.batcher.score(crops, deadline)

    async def scores_of(self, golden: CropPixels) -> list[float]:
        """The scores of golden parts by the backend that runs now, part by part behind all that is more urgent.

        `golden` is as `Bundle.golden_crops` gives it. Raises NotScored.
        """
        scores = []
        for crops in golden:
            scored = await self.batcher.score(crops, clock.monotonic() + _GOLDEN_S)
            if not np.isfinite(scored.scores).all():
                raise NotScored(Reason.NON_FINITE, "of a golden part")
            scores.append(float(scored.scores.max()))
        return scores

    def takes_as_long_as(self, other: "Model") -> bool:
        """The same network on the same device: only its weights differ."""
        ours, theirs = self.worker, other.worker
        return (self.bundle.arch, self.bundle.weights_size, ours.backend_name, ours.crop_shape, ours.max_batch) == (
            other.bundle.arch,
            other.bundle.weights_size,
            theirs.backend_name,
            theirs.crop_shape,
            theirs.max_batch,
        )

    def retune(self, thresholds: Thresholds) -> None:
        """Other thresholds, from the next verdict on, and for the golden check of the next child."""
        self.thresholds = thresholds
        self.worker.reopen_with(self._opener(thresholds))


class Models:
    """The model that is live. Whoever opens a part asks once."""

    def __init__(self, live: Model) -> None:
        self.live = live
        live.voice.heard = True

    def swap(self, model: Model) -> Model:
        """Between two parts: those opened from now on are `model`'s. Answers the one before, whose parts go on."""
        before, self.live = self.live, model
        model.worker.take_over(before.worker.latency if model.takes_as_long_as(before) else ())
        before.voice.heard = False
        model.voice.heard = True
        model.voice.latency_curve(model.worker.latency)
        return before


def recipe_key(recipe: Recipe) -> str:
    """Names a recipe: two bundles of the same recipe share their crops."""
    return hashlib.sha256(recipe.model_dump_json().encode()).hexdigest()[:12]
