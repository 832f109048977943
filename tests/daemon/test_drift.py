"""From what cameras and scores are like to alarms in metrics, log and state."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from daemon.drift import FILE, Drift
from daemon.model import Models
from daemon.telemetry.metrics import Metrics
from inspection.impression import HISTOGRAM_BINS, PICTURES, SCENE_SIDE, Impression
from inspection.part import Part, PartId
from inspection.verdict import Outcome, Reason, Verdict
from tests.daemon.test_metrics import total
from vision.drift import ALL_CAMERAS, LEARNT, SCORES, WINDOW, Alarm, BundleReference, Reference, ScoreReference
from vision.watch import DriftConfig

RNG = np.random.default_rng(4)
SCENE = RNG.uniform(50, 200, (SCENE_SIDE, SCENE_SIDE)).astype(np.float32)


def look(brightness: float = 120.0) -> Impression:
    histogram = np.full(HISTOGRAM_BINS, 1 / HISTOGRAM_BINS)
    jitter = float(RNG.normal(1, 0.01))
    return Impression(PICTURES, brightness * jitter, 40 * jitter, 15 * jitter, 0.2 * jitter, histogram, SCENE)


def good_scores(number: int) -> list[float]:
    return [float(score) for score in RNG.beta(1, 12, number)]


def bundle_reference() -> BundleReference:
    return BundleReference(
        pictures=Reference.learn([look() for _ in range(LEARNT)]), scores=ScoreReference.learn(good_scores(500))
    )


def verdict(score: float, outcome: Outcome = Outcome.PASS, reason: Reason = Reason.SCORE) -> Verdict:
    part = Part(seq=1, id=PartId("p"), station="s", opened=0.0, deadline=1.0, trigger=None)
    return Verdict(part, outcome, reason, score, 0.5)


@dataclass
class Rig:
    drift: Drift
    metrics: Metrics
    models: SimpleNamespace
    alarms: dict[str, list[float]] = field(default_factory=dict)

    async def show(self, *looks: Impression) -> None:
        """Return when all of them have been looked at."""
        for one in looks:
            self.drift.looked("s", "top", one)
        async with asyncio.timeout(10):
            await self.drift.seen()

    def score(self, *scores: float, outcome: Outcome = Outcome.PASS) -> None:
        for score in scores:
            self.drift.judged(verdict(score, outcome), ())

    def alarm(self, reason: Alarm, camera: str = "top") -> float:
        return total(self.metrics, "linegate_drift_alarm", station="s", camera=camera, reason=str(reason))

    def to_learn(self, camera: str) -> float:
        return total(self.metrics, "linegate_drift_to_learn", station="s", camera=camera)


Start = Callable[..., AbstractAsyncContextManager[Rig]]


def model(metrics: dict[str, Any], name: str = "a") -> SimpleNamespace:
    return SimpleNamespace(hash=name * 64, bundle=SimpleNamespace(path=Path("bundle"), metrics=metrics))


@pytest.fixture
def start(tmp_path: Path) -> Start:
    @asynccontextmanager
    async def started(config: DriftConfig | None = None, **bundle: Any) -> AsyncIterator[Rig]:
        metrics = Metrics(cameras={"s": ["top"]}, deadlines={"s": 1.0})
        models = SimpleNamespace(live=model(bundle))
        drift = Drift(config or DriftConfig(), cast("Models", models), tmp_path, metrics)
        task = asyncio.create_task(drift.run(), name="drift")
        try:
            yield Rig(drift, metrics, models)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return started


async def test_an_alarm_is_told_in_metrics_log_page_and_over_when_it_is(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with start(drift=bundle_reference().model_dump(mode="json")) as rig:
        await rig.show(*(look() for _ in range(WINDOW)))
        assert rig.alarm(Alarm.EXPOSURE_SHIFT) == 0

        await rig.show(*(look(80) for _ in range(WINDOW + 1)))
        assert rig.alarm(Alarm.EXPOSURE_SHIFT) == 1
        assert rig.drift.raised("s", "top") == (Alarm.EXPOSURE_SHIFT,)
        assert rig.drift.raised("s", "other") == ()
        assert rig.drift.obstacle("s") == ""

        await rig.show(*(look() for _ in range(WINDOW + 1)))
        assert rig.alarm(Alarm.EXPOSURE_SHIFT) == 0
        assert rig.drift.raised("s", "top") == ()
    told = [record.getMessage() for record in caplog.records if "exposure_shift" in record.getMessage()]
    assert len(told) == 2
    assert told[0].startswith("station s, camera top: exposure_shift: -0.")
    assert told[1] == "station s, camera top: exposure_shift is over"


async def test_a_station_is_not_ready_while_an_alarm_lasts_where_that_is_wanted(start: Start) -> None:
    reference = bundle_reference().model_dump(mode="json")
    async with start(DriftConfig(on_alarm="not_ready"), drift=reference) as rig:
        await rig.show(*(look(80) for _ in range(WINDOW + 1)))
        assert rig.drift.obstacle("s") == "exposure_shift: top"
        assert rig.drift.obstacle("another") == ""
        await rig.show(*(look() for _ in range(WINDOW + 1)))
        assert rig.drift.obstacle("s") == ""


async def test_scores_that_creep_up_raise_an_alarm_and_failed_parts_do_not(start: Start) -> None:
    async with start(drift=bundle_reference().model_dump(mode="json")) as rig:
        rig.score(*good_scores(SCORES))
        rig.score(*[0.99] * SCORES, outcome=Outcome.FAIL)
        assert rig.alarm(Alarm.SCORE_SHIFT, ALL_CAMERAS) == 0
        rig.score(*(score + 0.1 for score in good_scores(SCORES)))
        assert rig.alarm(Alarm.SCORE_SHIFT, ALL_CAMERAS) == 1


async def test_what_is_learnt_live_is_known_after_a_restart(start: Start, tmp_path: Path) -> None:
    async with start() as rig:
        rig.score(*good_scores(LEARNT * PICTURES))
        await rig.show(*(look() for _ in range(LEARNT)))
    assert (tmp_path / FILE).exists()

    async with start() as rig:
        await rig.show(*(look(80) for _ in range(WINDOW + 1)))
        assert rig.alarm(Alarm.EXPOSURE_SHIFT) == 1
        rig.score(*[0.5] * (SCORES + PICTURES))
        assert rig.alarm(Alarm.SCORE_SHIFT, ALL_CAMERAS) == 1


async def test_the_scores_of_another_model_are_learnt_anew(start: Start) -> None:
    async with start() as rig:
        rig.score(*good_scores(LEARNT * PICTURES))
        rig.models.live = model({}, "b")
        rig.score(*[0.5] * (SCORES + PICTURES))
        assert rig.alarm(Alarm.SCORE_SHIFT, ALL_CAMERAS) == 0


@pytest.mark.parametrize("text", ["", "{", '{"pictures": {"s/top": {"scene": "x"}}, "scores": {}}'])
async def test_a_damaged_file_is_said_so_and_learnt_anew(
    start: Start, tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_text(text)
    async with start() as rig:
        assert "learnt anew" in caplog.text
        await rig.show(*(look() for _ in range(LEARNT)))
    assert (tmp_path / FILE).stat().st_size > len(text)


async def test_a_bundle_whose_reference_cannot_be_read_is_said_so(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    async with start(drift={"pictures": {"scene": "x"}}) as rig:
        await rig.show(look())
    assert "is not used" in caplog.text


async def test_the_stations_own_pictures_are_the_reference_where_that_is_wanted(start: Start) -> None:
    async with start(DriftConfig(reference="live"), drift=bundle_reference().model_dump(mode="json")) as rig:
        await rig.show(*(look(80) for _ in range(LEARNT + WINDOW + 2)))
        assert rig.alarm(Alarm.EXPOSURE_SHIFT) == 0


async def test_after_a_change_that_was_meant_the_next_pictures_are_the_reference_until_another_model(
    start: Start,
) -> None:
    of_bundle = bundle_reference().model_dump(mode="json")
    async with start(DriftConfig(on_alarm="not_ready"), drift=of_bundle) as rig:
        await rig.show(*(look(80) for _ in range(WINDOW + 1)))
        assert rig.alarm(Alarm.EXPOSURE_SHIFT) == 1

        await rig.drift.relearn("s")
        assert rig.alarm(Alarm.EXPOSURE_SHIFT) == 0
        assert (rig.drift.raised("s", "top"), rig.drift.obstacle("s")) == ((), "")
        await rig.show(look(80))
        rig.score(0.5)
        still = LEARNT * PICTURES
        assert (rig.to_learn("top"), rig.to_learn(ALL_CAMERAS)) == (still - PICTURES, still - 1)
        await rig.show(*(look(80) for _ in range(LEARNT - 1)))
        rig.score(*(score + 0.1 for score in good_scores(LEARNT * PICTURES - 1)))
        await rig.show(look(80))
        assert rig.to_learn("top") == rig.to_learn(ALL_CAMERAS) == 0

    async with start(drift=of_bundle) as rig:  # after a restart
        await rig.show(*(look(80) for _ in range(WINDOW + 1)))
        rig.score(*(score + 0.1 for score in good_scores(SCORES + PICTURES)))
        assert rig.alarm(Alarm.EXPOSURE_SHIFT) == rig.alarm(Alarm.SCORE_SHIFT, ALL_CAMERAS) == 0
        await rig.show(*(look() for _ in range(WINDOW + 1)))
        assert rig.alarm(Alarm.EXPOSURE_SHIFT) == 1

        before, rig.models.live = rig.models.live, model({"drift": of_bundle}, "b")
        await rig.show(*(look(80) for _ in range(WINDOW + 1)))
        assert rig.alarm(Alarm.EXPOSURE_SHIFT) == 1
        rig.models.live = before
        await rig.show(*(look(80) for _ in range(WINDOW + 2)))
        assert rig.alarm(Alarm.EXPOSURE_SHIFT) == 0

        await rig.drift.unlearn("s")
        await rig.show(*(look(80) for _ in range(WINDOW + 1)))
        assert rig.alarm(Alarm.EXPOSURE_SHIFT) == 1
