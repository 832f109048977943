"""Hears what every picture and every score is like, and raises alarms when they no longer are as they were.

No verdict depends on it. Windows begin anew with the daemon; references that were learnt from live pictures and scores
are kept in the state directory.
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from daemon.model import Models
from inspection.files import STATE
from inspection.frame import Crops, Missed
from inspection.impression import Impression
from inspection.sealed import sealed, unsealed
from inspection.verdict import Outcome, Reason, Verdict
from inspection.whole import put_file
from vision.drift import ALL_CAMERAS, Alarm, BundleReference, Reference, ScoreReference
from vision.watch import DriftConfig, PictureWatch, Readings, ScoreWatch

LOG = logging.getLogger(__name__)

FILE = "drift.json"
_MOST_WAITING = 64


class Telling(Protocol):
    """Who is told."""

    def drifted(self, station: str, camera: str, readings: Readings) -> None: ...
    def drift_to_learn(self, station: str, camera: str, missing: int) -> None: ...
    def drift_begun_anew(self, station: str, camera: str) -> None: ...


class _Learnt(BaseModel):
    """What the state directory keeps: by STATION/CAMERA, and by STATION with the model whose scores they are.

    `instead` names stations that compare with it although the bundle has references, as long as this model is live.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pictures: dict[str, Reference]
    scores: dict[str, tuple[str, ScoreReference]]
    instead: dict[str, str] = Field(default_factory=dict)


class Drift:
    """One for all stations. `run` does the work; what it is told meanwhile waits, or is left out of the windows."""

    def __init__(self, config: DriftConfig, models: Models, state_dir: Path, telling: Telling) -> None:
        self._config = config
        self._models = models
        self._file = state_dir / FILE
        self._telling = telling
        self._learnt = _read(self._file)
        self._model = ""
        self._of_bundle = BundleReference()
        self._pictures: dict[tuple[str, str], PictureWatch] = {}
        self._scores: dict[str, ScoreWatch] = {}
        self._raised: dict[tuple[str, str], frozenset[Alarm]] = {}
        self._writing = asyncio.Lock()
        self._waiting: asyncio.Queue[tuple[str, str, Impression]] = asyncio.Queue(_MOST_WAITING)

    def raised(self, station: str, camera: str) -> tuple[Alarm, ...]:
        """The alarms that last, the one that tells most first; those of the scores with ALL_CAMERAS."""
        lasting = self._raised.get((station, camera), frozenset())
        return tuple(alarm for alarm in Alarm if alarm in lasting)

    def obstacle(self, station: str) -> str:
        """Why the station is not ready, as `alarm: camera`; empty where it is, or where alarms only warn."""
        if self._config.on_alarm == "warn":
            return ""
        cameras = (camera for of, camera in self._raised if of == station)
        return next((f"{alarm}: {camera}" for camera in cameras for alarm in self.raised(station, camera)), "")

    def looked(self, station: str, camera: str, impression: Impression) -> None:
        """What the last pictures of a camera looked like."""
        if not self._waiting.full():
            self._waiting.put_nowait((station, camera, impression))

    async def seen(self) -> None:
        """Returns when all that was told of pictures has been looked at."""
        await self._waiting.join()

    def judged(self, verdict: Verdict, _captures: Sequence[Crops | Missed]) -> None:
        """A part has its verdict. How many fail is the line's doing: it says nothing of the model."""
        if verdict.score is None or (verdict.outcome, verdict.reason) == (Outcome.FAIL, Reason.SCORE):
            return
        self._renew()
        station = verdict.part.station
        if station not in self._scores:
            self._scores[station] = ScoreWatch(self._score_reference(station))
        watch = self._scores[station]
        self._heed(station, ALL_CAMERAS, watch.add(verdict.score), watch.to_learn)

    async def relearn(self, station: str) -> None:
        """Its next 300 pictures and scores are what it is compared with, until another model is live."""
        self._renew()
        await self._anew(station, {**self._learnt.instead, station: self._model})

    async def unlearn(self, station: str) -> None:
        """What it has learnt is forgotten: the bundle's references are used, or others learnt where it has none."""
        await self._anew(station, {of: model for of, model in self._learnt.instead.items() if of != station})

    async def _anew(self, station: str, instead: dict[str, str]) -> None:
        self._learnt = _Learnt(
            pictures={name: one for name, one in self._learnt.pictures.items() if name.split("/")[0] != station},
            scores={of: one for of, one in self._learnt.scores.items() if of != station},
            instead=instead,
        )
        for of, camera in [*self._pictures, (station, ALL_CAMERAS)]:
            if of == station:
                self._pictures.pop((of, camera), None)
                self._raised.pop((of, camera), None)
                self._telling.drift_begun_anew(of, camera)
        self._scores.pop(station, None)
        await self._written()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            station, camera, impression = await self._waiting.get()
            try:
                await self._look(station, camera, impression)
            finally:
                self._waiting.task_done()

    async def _look(self, station: str, camera: str, impression: Impression) -> None:
        self._renew()
        watch = self._pictures.get((station, camera))
        if watch is None:
            watch = self._pictures[station, camera] = PictureWatch(self._picture_reference(station, camera))
        readings = await asyncio.to_thread(watch.add, impression)
        if self._pictures.get((station, camera)) is watch:  # or it was told to learn anew meanwhile
            self._heed(station, camera, readings, watch.to_learn)
            await self._keep()

    def _heed(self, station: str, camera: str, readings: Readings, to_learn: int) -> None:
        self._telling.drift_to_learn(station, camera, to_learn)
        if not readings:
            return
        self._telling.drifted(station, camera, readings)
        before = self._raised.get((station, camera), frozenset())
        now = frozenset(alarm for alarm, reading in readings.items() if reading.raised)
        self._raised[station, camera] = now
        for alarm in sorted(now - before):
            reading = readings[alarm]
            LOG.warning(
                "station %s, camera %s: %s: %.3g, limit %.3g", station, camera, alarm, reading.deviation, reading.limit
            )
        for alarm in sorted(before - now):
            LOG.info("station %s, camera %s: %s is over", station, camera, alarm)

    def _renew(self) -> None:
        """With another model, other references: what it was made from, or its own first scores."""
        live = self._models.live
        if live.hash == self._model:
            return
        self._model = live.hash
        self._of_bundle = BundleReference()
        if self._config.reference == "bundle":
            try:
                self._of_bundle = BundleReference.model_validate(live.bundle.metrics.get("drift") or {})
            except ValidationError as error:
                LOG.warning("%s: what it tells of its pictures is not used: %s", live.bundle.path, error)
        self._pictures.clear()
        self._scores.clear()

    def _by_itself(self, station: str) -> bool:
        return self._learnt.instead.get(station) == self._model

    def _picture_reference(self, station: str, camera: str) -> Reference | None:
        learnt = self._learnt.pictures.get(f"{station}/{camera}")
        return learnt if self._by_itself(station) else self._of_bundle.pictures or learnt

    def _score_reference(self, station: str) -> ScoreReference | None:
        model, learnt = self._learnt.scores.get(station, ("", None))
        learnt = learnt if model == self._model else None
        return learnt if self._by_itself(station) else self._of_bundle.scores or learnt

    async def _keep(self) -> None:
        """Write down what was learnt since."""
        pictures, scores = dict(self._learnt.pictures), dict(self._learnt.scores)
        for (station, camera), watch in self._pictures.items():
            if watch.reference and (self._of_bundle.pictures is None or self._by_itself(station)):
                pictures[f"{station}/{camera}"] = watch.reference
        for station, scored in self._scores.items():
            if scored.reference and (self._of_bundle.scores is None or self._by_itself(station)):
                scores[station] = (self._model, scored.reference)
        if pictures == self._learnt.pictures and scores == self._learnt.scores:
            return
        self._learnt = _Learnt(pictures=pictures, scores=scores, instead=self._learnt.instead)
        await self._written()

    async def _written(self) -> None:
        async with self._writing:
            await asyncio.to_thread(_write, self._file, self._learnt)


def _read(file: Path) -> _Learnt:
    nothing = _Learnt(pictures={}, scores={})
    try:
        return _Learnt.model_validate_json(json.dumps(unsealed(file.read_bytes())))
    except FileNotFoundError:
        return nothing
    except (OSError, ValueError) as error:
        LOG.warning("%s: not used, references are learnt anew: %s", file, error)
        return nothing


def _write(file: Path, learnt: _Learnt) -> None:
    try:
        put_file(file, sealed(learnt.model_dump(mode="json")), modes=STATE)
    except OSError as error:
        LOG.warning("%s: not written, so references are learnt anew after a restart: %s", file, error)
