"""The daemon as a service: where it stands, whether its stations are ready, what configuration it has read."""

from collections.abc import Collection

from prometheus_client import CollectorRegistry, Gauge, Histogram

from inspection import clock

_SCORES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)


class ServiceMetrics:
    """Each station's readiness and scores, the line's name, and the last reading of the configuration."""

    def __init__(self, registry: CollectorRegistry, stations: Collection[str], *, site: str, line: str) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"linegate_{name}", text, labels, registry=registry)

        self._ready = gauge("ready", "1 while the station gives verdicts and its broker is there.", "station")
        self._score = Histogram(
            "linegate_score", "P(defect) of judged parts.", ("station",), registry=registry, buckets=_SCORES
        )
        gauge("line_info", "The line that this daemon serves; always 1.", "site", "line").labels(site, line).set(1)
        self._reload = gauge("config_last_reload_successful", "1 where the configuration was good when last read.")
        self._reloaded = gauge(
            "config_last_reload_success_timestamp_seconds", "When the configuration was last read and good."
        )
        self._config = gauge("config_info", "The configuration last read and good; always 1.", "hash")
        for station in stations:
            self._ready.labels(station)
            self._score.labels(station)

    def set_ready(self, station: str, *, ready: bool) -> None:
        self._ready.labels(station).set(ready)

    def score(self, station: str, score: float) -> None:
        self._score.labels(station).observe(score)

    def config_read(self, config_hash: str) -> None:
        """The configuration was read, at the start or again, and is in use."""
        self._config.clear()
        self._config.labels(config_hash).set(1)
        self._reload.set(1)
        self._reloaded.set(clock.utc())

    def config_refused(self) -> None:
        """It was to be read again and was not good; the one before stays in use."""
        self._reload.set(0)
