"""Do pictures and scores still look as they did when the model was made? Alarms for people; no verdict depends on them.

Each alarm compares a window of live pictures with a reference. How far windows of good pictures wander by themselves
is measured on the reference, each window against the rest, and an alarm's limit lies clear of that.
"""

import base64
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from inspection.impression import HISTOGRAM_BINS, SCENE_SIDE, Impression
from vision.align import shift

WINDOW = 5
"""Impressions that are compared with the reference."""

LEARNT = 30
"""Impressions that make a reference from live pictures."""

SCORES = 100
"""Scores that are compared with the reference."""


class Alarm(StrEnum):
    """What has changed, the one that tells most of the cause first. docs/reference/alarms.md says what to do."""

    CAMERA_MOVED = "camera_moved"
    FOCUS_LOSS = "focus_loss"
    EXPOSURE_SHIFT = "exposure_shift"
    CONTRAST_SHIFT = "contrast_shift"
    SCENE_CHANGED = "scene_changed"
    TEXTURE_SHIFT = "texture_shift"
    HISTOGRAM_SHIFT = "histogram_shift"
    SCORE_SHIFT = "score_shift"


ALL_CAMERAS = "all"
"""Stands for the camera where an alarm is about a station's scores."""

OF_PICTURES: tuple[Alarm, ...] = tuple(alarm for alarm in Alarm if alarm is not Alarm.SCORE_SHIFT)

_CLEARANCE = 1.5  # of a limit above the farthest window of the reference

LEAST: Mapping[Alarm, float] = {
    Alarm.EXPOSURE_SHIFT: 0.1,
    Alarm.CONTRAST_SHIFT: 0.1,
    Alarm.TEXTURE_SHIFT: 0.1,
    Alarm.FOCUS_LOSS: 0.1,
    Alarm.HISTOGRAM_SHIFT: 0.25,
    Alarm.CAMERA_MOVED: 0.005,
    Alarm.SCENE_CHANGED: 0.25,
    Alarm.SCORE_SHIFT: 0.25,
}
"""The least deviation that is worth an alarm."""

# Where good parts wander so far by themselves that a limit would lie beyond this, the alarm is not given at all.
_MOST: Mapping[Alarm, float] = {
    Alarm.EXPOSURE_SHIFT: 0.5,
    Alarm.CONTRAST_SHIFT: 0.5,
    Alarm.TEXTURE_SHIFT: 0.6,
    Alarm.FOCUS_LOSS: 0.5,
    Alarm.HISTOGRAM_SHIFT: 3.0,
    Alarm.CAMERA_MOVED: 0.05,
    Alarm.SCENE_CHANGED: 2.0,
}

_SMOOTHED = 2.0  # pixels of a scene
_CHANGED_SHARE = 99  # percent of a scene that may differ less
_RARE = 1e-3  # keeps the logarithm of an empty bin finite

_SCORE_BINS = 5
# Quantiles of chi-squared at 0.9999 for 1 to 4 degrees of freedom. A population stability index of counts that come
# from one distribution is (1/n + 1/m) times such a number. Yurdakul, Naranjo: Statistical properties of the population
# stability index, Journal of Risk Model Validation 14 (2020).
_CHI_SQUARED = (0.0, 15.14, 18.42, 21.11, 23.51)

Deviations = Mapping[Alarm, float]


def stability_index(now: NDArray[np.float64], before: NDArray[np.float64]) -> float:
    """The population stability index of two histograms of one shape: 0 where they agree; above 0.25 counts as changed.

    Siddiqi: Credit Risk Scorecards, 2006.
    """
    p, q = (((shares + _RARE) / (shares + _RARE).sum()) for shares in (now, before))
    return float(((p - q) * np.log(p / q)).sum())


def deviations(live: Impression, reference: Impression) -> Deviations:
    """How far `live` is from `reference`, 0 where they agree.

    Exposure, contrast and texture: relative, with a sign; focus: the share that is lost, negative where it is gained;
    histogram: a stability index; camera: the distance in sides of the picture; scene: in standard deviations of the
    reference picture, what its most changed hundredth differs by once light and contrast are taken out.
    """
    return {
        Alarm.EXPOSURE_SHIFT: _relative(live.brightness, reference.brightness),
        Alarm.CONTRAST_SHIFT: _relative(live.contrast, reference.contrast),
        Alarm.TEXTURE_SHIFT: _relative(live.texture, reference.texture),
        Alarm.FOCUS_LOSS: -_relative(live.sharpness, reference.sharpness),
        Alarm.HISTOGRAM_SHIFT: stability_index(live.histogram, reference.histogram),
        Alarm.CAMERA_MOVED: _moved(live.scene, reference.scene),
        Alarm.SCENE_CHANGED: _changed(live.scene, reference.scene),
    }


def size(alarm: Alarm, deviation: float) -> float:
    """What is held against the limit: either direction counts, but of focus only the loss."""
    return deviation if alarm is Alarm.FOCUS_LOSS else abs(deviation)


class Reference(BaseModel):
    """What good pictures look like. `limits` lack what wanders too far in them to be watched."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    pictures: Annotated[int, Field(ge=1)]
    brightness: float
    contrast: float
    texture: float
    sharpness: float
    histogram: Annotated[tuple[float, ...], Field(min_length=HISTOGRAM_BINS, max_length=HISTOGRAM_BINS)]
    scene: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+=*$", max_length=2 * SCENE_SIDE**2)]
    limits: dict[Alarm, float]

    @classmethod
    def learn(cls, impressions: Sequence[Impression]) -> Self | None:
        """From impressions in the order of the pictures; None of fewer than two windows."""
        if len(impressions) < 2 * WINDOW:
            return None
        whole = Impression.of(impressions)
        wander: dict[Alarm, float] = dict.fromkeys(OF_PICTURES, 0.0)
        for start in range(len(impressions) - WINDOW + 1):
            window = impressions[start : start + WINDOW]
            rest = [*impressions[:start], *impressions[start + WINDOW :]]
            for alarm, deviation in deviations(Impression.of(window), Impression.of(rest)).items():
                wander[alarm] = max(wander[alarm], size(alarm, deviation))
        limits = {alarm: max(LEAST[alarm], _CLEARANCE * far) for alarm, far in wander.items()}
        return cls(
            pictures=whole.pictures,
            brightness=whole.brightness,
            contrast=whole.contrast,
            texture=whole.texture,
            sharpness=whole.sharpness,
            histogram=tuple(whole.histogram.tolist()),
            scene=base64.b64encode(np.rint(whole.scene).astype(np.uint8).tobytes()).decode(),
            limits={alarm: limit for alarm, limit in limits.items() if limit <= _MOST[alarm]},
        )

    @field_validator("scene")
    @classmethod
    def _whole(cls, scene: str) -> str:
        if len(base64.b64decode(scene)) != SCENE_SIDE**2:
            raise ValueError(f"is no picture of {SCENE_SIDE} x {SCENE_SIDE} pixels")
        return scene

    def impression(self) -> Impression:
        """The pictures of the reference together."""
        scene = np.frombuffer(base64.b64decode(self.scene), np.uint8).reshape(SCENE_SIDE, SCENE_SIDE)
        return Impression(
            self.pictures,
            self.brightness,
            self.contrast,
            self.texture,
            self.sharpness,
            np.array(self.histogram),
            scene.astype(np.float32),
        )


class ScoreReference(BaseModel):
    """How the scores of good parts are spread: `shares` of them lie between `edges`, the outer ones beyond."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    scores: Annotated[int, Field(ge=1)]
    edges: tuple[float, ...]
    shares: tuple[float, ...]

    @classmethod
    def learn(cls, scores: Sequence[float]) -> Self | None:
        """None of fewer scores than a window holds, and where they are all the same."""
        values = np.asarray(scores, np.float64)
        if len(values) < SCORES:
            return None
        edges = np.unique(np.quantile(values, np.arange(1, _SCORE_BINS) / _SCORE_BINS))
        shares = _shares(values, edges)
        if np.count_nonzero(shares) < 2:
            return None
        return cls(scores=len(values), edges=tuple(edges.tolist()), shares=tuple(shares.tolist()))

    @property
    def limit(self) -> float:
        chance = _CHI_SQUARED[len(self.edges)] * (1 / SCORES + 1 / self.scores)
        return max(LEAST[Alarm.SCORE_SHIFT], chance)

    def deviation(self, scores: Sequence[float]) -> float:
        """The stability index of `scores`."""
        live = _shares(np.asarray(scores, np.float64), np.array(self.edges))
        return stability_index(live, np.array(self.shares))


class BundleReference(BaseModel):
    """What a bundle tells of the pictures and scores of good parts that it was made from: `metrics.drift`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pictures: Reference | None = None
    scores: ScoreReference | None = None


def _relative(now: float, before: float) -> float:
    return now / before - 1 if before > 0 else 0.0


def _moved(live: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    return min(float(np.hypot(*shift(reference, live))), 1.0)


def _changed(live: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    difference = cv2.GaussianBlur(_levelled(live) - _levelled(reference), (0, 0), _SMOOTHED)
    return float(np.percentile(np.abs(difference), _CHANGED_SHARE))


def _levelled(scene: NDArray[np.float32]) -> NDArray[np.float32]:
    spread = float(scene.std())
    levelled: NDArray[np.float32] = (scene - scene.mean()) / np.float32(spread if spread > 0 else 1.0)
    return levelled


def _shares(scores: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    counts = np.bincount(np.searchsorted(edges, scores, side="right"), minlength=len(edges) + 1)
    return counts / len(scores)
