"""Hears what every picture and every score is like, and raises alarms when they no longer are as they were.

No verdict depends on it. Windows begin anew with the daemon; references that were learnt from live pictures and scores
are kept in the state directory.
"""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from daemon.model import Models
from inspection.frame import Crops, Missed
from inspection.impression import Impression
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


class _Learnt(BaseModel):
    """What the state directory keeps: by STATION/CAMERA, and by STATION with the model whose scores they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pictures: dict[str, Reference]
    scores: dict[str, tuple[str, ScoreReference]]


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
        self._heed(station, ALL_CAMERAS, self._scores[station].add(verdict.score))

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
        self._heed(station, camera, await asyncio.to_thread(watch.add, impression))
        await self._keep()

    def _heed(self, station: str, camera: str, readings: Readings) -> None:
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

    def _picture_reference(self, station: str, camera: str) -> Reference | None:
        return self._of_bundle.pictures or self._learnt.pictures.get(f"{station}/{camera}")

    def _score_reference(self, station: str) -> ScoreReference | None:
        model, learnt = self._learnt.scores.get(station, ("", None))
        return self._of_bundle.scores or (learnt if model == self._model else None)

    async def _keep(self) -> None:
        """Write down what was learnt since."""
        pictures, scores = dict(self._learnt.pictures), dict(self._learnt.scores)
        if self._of_bundle.pictures is None:
            found = {f"{station}/{camera}": watch.reference for (station, camera), watch in self._pictures.items()}
            pictures |= {name: reference for name, reference in found.items() if reference}
        if self._of_bundle.scores is None:
            watched = {station: watch.reference for station, watch in self._scores.items()}
            scores |= {station: (self._model, reference) for station, reference in watched.items() if reference}
        if pictures == self._learnt.pictures and scores == self._learnt.scores:
            return
        self._learnt = _Learnt(pictures=pictures, scores=scores)
        await asyncio.to_thread(_write, self._file, self._learnt)


def _read(file: Path) -> _Learnt:
    nothing = _Learnt(pictures={}, scores={})
    try:
        return _Learnt.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return nothing
    except (OSError, ValidationError) as error:
        LOG.warning("%s: not used, references are learnt anew: %s", file, error)
        return nothing


def _write(file: Path, learnt: _Learnt) -> None:
    try:
        put_file(file, learnt.model_dump_json().encode())
    except OSError as error:
        LOG.warning("%s: not written, so references are learnt anew after a restart: %s", file, error)
