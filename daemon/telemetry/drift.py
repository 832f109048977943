"""The metrics of drift."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import product

from prometheus_client import CollectorRegistry, Gauge

from vision.drift import ALL_CAMERAS, OF_PICTURES, Alarm
from vision.watch import Readings


class DriftMetrics:
    """How far pictures and scores are from their reference, and the alarms that come of it."""

    def __init__(self, registry: CollectorRegistry, cameras: Mapping[str, Sequence[str]]) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"linegate_drift_{name}", text, ("station", "camera", "reason"), registry=registry)

        self._deviation = gauge("deviation", "How far live pictures or scores are from the reference.")
        self._limit = gauge("limit", "The deviation that raises the alarm.")
        self._alarm = gauge("alarm", "1 while the alarm lasts.")
        self.to_learn = Gauge(
            "linegate_drift_to_learn",
            "Pictures, or scores, until there is a reference.",
            ("station", "camera"),
            registry=registry,
        )
        for station, names in cameras.items():
            self._alarm.labels(station, ALL_CAMERAS, Alarm.SCORE_SHIFT)
            for camera, alarm in product(names, OF_PICTURES):
                self._alarm.labels(station, camera, alarm)

    def read(self, station: str, camera: str, readings: Readings) -> None:
        for alarm, reading in readings.items():
            self._deviation.labels(station, camera, alarm).set(reading.deviation)
            self._alarm.labels(station, camera, alarm).set(reading.raised)
            if reading.limit is not None:
                self._limit.labels(station, camera, alarm).set(reading.limit)

    def anew(self, station: str, camera: str) -> None:
        for alarm in (Alarm.SCORE_SHIFT,) if camera == ALL_CAMERAS else OF_PICTURES:
            for known in (self._deviation, self._limit):
                with suppress(KeyError):
                    known.remove(station, camera, alarm)
            self._alarm.labels(station, camera, alarm).set(0)
