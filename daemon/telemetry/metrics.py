"""Everything that linegate counts, as Prometheus sees it.

Conventions: https://prometheus.io/docs/practices/naming/ (one prefix, base units, `_total`). Every series
that can be named at the start is there at 0, so that a rate over the first event is right.
"""

import platform
from collections.abc import Collection, Mapping, Sequence
from itertools import product

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from daemon.telemetry.accounts import Account, Accounts
from daemon.telemetry.children import ChildProcesses
from daemon.telemetry.drift import DriftMetrics
from daemon.telemetry.labels import BoundedLabel
from daemon.telemetry.records import RecordMetrics
from daemon.telemetry.service import ServiceMetrics
from inspection.probe import Probe
from inspection.verdict import Outcome, Reason
from vision.watch import Readings

STAGES = ("capture", "prepare", "queue", "infer", "publish", "total")
REFUSALS = (
    "malformed",
    "too_large",
    "duplicate_trigger",
    "expired",
    "wrong_session",
    "retained",
    "flood",
    "not_triggered",
)
PUBLISHES = ("verdict", "state", "heartbeat", "refused", "command_result", "response")
COMMAND_RESULTS = ("done", "refused", "failed")
COMPARISONS = ("same", "candidate_passes", "candidate_fails", "dropped", "unscored")
PICTURE_LOSSES = ("overwritten", "overload", "disk", "shutdown")

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.04, 0.06, 0.1, 0.15, 0.25, 0.4, 0.6, 1.0, 2.5, 5.0)
_UNSEEN = tuple(r for r in Reason if r.startswith(("camera_", "frame_", "decode_", "missed_")))

disable_created_metrics()  # type: ignore[no-untyped-call] # their time stamps read as metrics without a unit


class Metrics(Probe):
    """A registry of its own, filled by what the pipeline tells.

    `cameras` holds the camera names by station, `deadlines` each station's usual deadline in seconds: each is
    an edge of the stage histograms, so that the share in time is read exactly. `links` names the MQTT
    connections, `version` is the program's, `site` and `line` are those of the configuration.
    `part_opened`, `part_closed` and `render` may be called from any thread.
    """

    def __init__(
        self,
        *,
        cameras: Mapping[str, Sequence[str]],
        deadlines: Mapping[str, float],
        links: Sequence[str] = (),
        max_batch: int = 8,
        version: str = "",
        site: str = "",
        line: str = "",
    ) -> None:
        self._registry = registry = CollectorRegistry()
        self._accounts = Accounts(cameras)
        registry.register(self._accounts)
        ProcessCollector(registry=registry)
        self.service = ServiceMetrics(registry, cameras, site=site, line=line)
        self.children = ChildProcesses()
        registry.register(self.children)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"linegate_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"linegate_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, edges: Sequence[float], *labels: str) -> Histogram:
            return Histogram(f"linegate_{name}", text, labels, registry=registry, buckets=edges)

        edges = tuple(sorted({*_SECONDS, *deadlines.values()}))
        sizes = tuple(sorted({*(2**n for n in range(max_batch.bit_length())), max_batch}))
        self._late = counter("verdicts_late", "Verdicts not published: ready too late, or no broker.", "station")
        self._unsent = counter("publishes_refused", "Publishes that the broker refused.", "station", "topic")
        self._refused = counter("triggers_refused", "Triggers refused, by reason.", "station", "reason")
        self._stage = histogram("stage_seconds", "Time of one part in a stage.", edges, "station", "stage")
        self._deadline = gauge("deadline_seconds", "The usual deadline of the station's parts.", "station")
        self._batch = histogram("batch_size", "Crops scored together.", sizes)
        self._inference = histogram("inference_seconds", "Time of one batch on the device.", edges)
        self._curve = gauge("batch_latency_seconds", "Latency that the batcher expects, by batch size.", "batch")
        self._queue = gauge("queue_depth", "Things that wait in a bounded queue.", "queue")
        self._restarts = counter("child_restarts", "Child processes started again.", "child", "reason")
        self._up = gauge("camera_up", "1 while the camera gives pictures.", "station", "camera")
        self._frames = counter("frames", "Usable pictures.", "station", "camera")
        self._missed = counter("frames_missed", "Lost or unusable pictures.", "station", "camera", "reason")
        self._unmatched = counter("frames_unmatched", "Pictures that no trigger announced.", "station", "camera")
        self._broker = gauge("broker_connected", "1 while the MQTT link is up.", "link")
        self._callbacks = counter("callback_failures", "Errors caught in MQTT callbacks.", "link")
        self._records = RecordMetrics(registry)
        self._pictures = counter("pictures_archived", "Pictures written to the archive.", "station")
        self._pictures_lost = counter(
            "pictures_lost", "Pictures that were to be archived and were not, by reason.", "station", "reason"
        )
        self._archive_bytes = gauge("archive_bytes", "What the pictures in the archive take.")
        self._model = gauge("model_info", "The model in use; always 1.", "hash", "backend", "recipe")
        self._asked = counter("commands", "What was asked of the daemon, and how it ended.", "command", "result")
        self._shadow = gauge("shadow_info", "The candidate that scores in the shadow; 1 while there is one.", "hash")
        self._compared = counter(
            "shadow_parts", "Judged parts, by what the candidate in the shadow made of them.", "station", "result"
        )
        gauge("build_info", "This program; always 1.", "version", "python").labels(
            version, platform.python_version()
        ).set(1)

        self._why_refused = BoundedLabel(REFUSALS)
        self._why_picture_lost = BoundedLabel(PICTURE_LOSSES)
        self._why_restarted = BoundedLabel([*Reason])
        self._stages = BoundedLabel(STAGES)
        self._links = BoundedLabel(links, room=64)
        self._queues = BoundedLabel((), room=64)
        self._children = BoundedLabel((), room=256)
        self._begin(cameras, deadlines, links)
        self._drift = DriftMetrics(registry, cameras)

    def _begin(
        self, cameras: Mapping[str, Sequence[str]], deadlines: Mapping[str, float], links: Sequence[str]
    ) -> None:
        """Make every series that can be named now."""
        for station, names in cameras.items():
            self._late.labels(station)
            for why in REFUSALS:
                self._refused.labels(station, why)
            for stage in STAGES:
                self._stage.labels(station, stage)
            for camera in names:
                self.camera_up(station, camera, up=False)
                self._frames.labels(station, camera)
                self._unmatched.labels(station, camera)
                for reason in _UNSEEN:
                    self._missed.labels(station, camera, reason)
                self._restarts.labels(self._children(f"camera:{station}/{camera}"), Reason.CAMERA_STALLED)
        for station, seconds in deadlines.items():
            self._deadline.labels(station).set(seconds)
        for reason in (Reason.WORKER_FAILED, Reason.WORKER_HUNG):
            self._restarts.labels(self._children("worker"), reason)
        self._begin_links(cameras, links)
        self._begin_models(cameras)

    def _begin_links(self, stations: Collection[str], links: Sequence[str]) -> None:
        for link in links:
            self.broker_connected(link, up=False)
            self._callbacks.labels(link)
        for station, topic in product(stations, PUBLISHES):
            self._unsent.labels(station, topic)

    def _begin_models(self, stations: Collection[str]) -> None:
        for station, result in product(stations, COMPARISONS):
            self._compared.labels(station, result)
        for station, why in product(stations, PICTURE_LOSSES):
            self._pictures.labels(station)
            self._pictures_lost.labels(station, why)

    def render(self) -> bytes:
        """The text exposition, format 0.0.4, UTF-8."""
        return generate_latest(self._registry)

    def account(self, station: str) -> Account:
        return self._accounts.of(station)

    def set_model(self, bundle_hash: str, backend: str, recipe: str) -> None:
        """Replaces the model named before."""
        self._model.clear()
        self._model.labels(bundle_hash, backend, recipe).set(1)

    def expect_commands(self, names: Collection[str]) -> None:
        """Make the series of all that may be asked."""
        for command, result in product(names, COMMAND_RESULTS):
            self._asked.labels(command, result)

    def asked(self, command: str, result: str) -> None:
        """`result` is one of COMMAND_RESULTS."""
        self._asked.labels(command, result).inc()

    def set_shadow(self, bundle_hash: str) -> None:
        """The candidate that scores in the shadow; empty for none."""
        self._shadow.clear()
        if bundle_hash:
            self._shadow.labels(bundle_hash).set(1)

    def shadowed(self, station: str, result: str) -> None:
        """`result` is one of COMPARISONS."""
        self._compared.labels(station, result).inc()

    def part_opened(self, station: str) -> None:
        self._accounts.open(station)

    def part_closed(self, station: str, outcome: Outcome, reason: Reason) -> None:
        self._accounts.close(station, outcome, reason)

    def verdict_late(self, station: str) -> None:
        self._late.labels(station).inc()

    def publish_refused(self, station: str, topic: str) -> None:
        self._unsent.labels(station, topic).inc()

    def trigger_refused(self, station: str, why: str) -> None:
        self._refused.labels(station, self._why_refused(why)).inc()

    def stage(self, station: str, stage: str, seconds: float) -> None:
        self._stage.labels(station, self._stages(stage)).observe(seconds)

    def frame(self, station: str, camera: str) -> None:
        self._frames.labels(station, camera).inc()

    def frame_missed(self, station: str, camera: str, reason: Reason) -> None:
        self._missed.labels(station, camera, reason).inc()

    def frame_unmatched(self, station: str, camera: str) -> None:
        self._unmatched.labels(station, camera).inc()

    def camera_up(self, station: str, camera: str, up: bool) -> None:
        self._up.labels(station, camera).set(up)

    def child_restarted(self, child: str, why: str) -> None:
        reason = self._why_restarted(why.partition(" ")[0])  # what follows is detail
        self._restarts.labels(self._children(child), reason).inc()

    def batch(self, size: int, seconds: float) -> None:
        self._batch.observe(size)
        self._inference.observe(seconds)

    def queue_depth(self, queue: str, depth: int) -> None:
        self._queue.labels(self._queues(queue)).set(depth)

    def latency_curve(self, seconds_by_batch: Sequence[float]) -> None:
        for batch, seconds in enumerate(seconds_by_batch, start=1):
            self._curve.labels(str(batch)).set(seconds)

    def broker_connected(self, link: str, up: bool) -> None:
        self._broker.labels(self._links(link)).set(up)

    def callback_failed(self, link: str) -> None:
        self._callbacks.labels(self._links(link)).inc()

    def outbox(self, depth: int, oldest_age: float, used: float) -> None:
        self._records.waiting.set(depth)
        self._records.oldest.set(oldest_age)
        self._records.used.set(used)

    def record_stored(self, count: int) -> None:
        self._records.stored.inc(count)

    def record_delivered(self, count: int) -> None:
        self._records.delivered.inc(count)

    def record_lost(self, count: int, why: str) -> None:
        self._records.lose(count, why)

    def record_refused(self, count: int, by: str) -> None:
        self._records.refuse(count, by)

    def records_aside(self, count: int) -> None:
        self._records.aside.set(count)

    def picture_kept(self, station: str, archive_bytes: int) -> None:
        self._pictures.labels(station).inc()
        self._archive_bytes.set(archive_bytes)

    def picture_lost(self, station: str, why: str) -> None:
        self._pictures_lost.labels(station, self._why_picture_lost(why)).inc()

    def drifted(self, station: str, camera: str, readings: Readings) -> None:
        self._drift.read(station, camera, readings)

    def drift_to_learn(self, station: str, camera: str, missing: int) -> None:
        self._drift.to_learn.labels(station, camera).set(missing)

    def drift_begun_anew(self, station: str, camera: str) -> None:
        self._drift.anew(station, camera)
