"""What the page and the health endpoints may see of a running daemon."""

import math
from typing import Literal

import cv2

from daemon.assemble import Daemon, Unit
from daemon.watchdog import Watchdog
from dashboard.source import CameraView, Count, OutboxView, Snapshot, StationView, WorkerView
from inspection import clock
from inspection.frame import Frame
from vision.drift import ALL_CAMERAS

Readiness = Literal["ready", "not_ready"]


class View:
    """The page's `Source`: answers from what is known now, and never waits."""

    def __init__(self, daemon: Daemon, watchdog: Watchdog) -> None:
        self._daemon = daemon
        self._watchdog = watchdog
        self._began = clock.monotonic()
        self._units = {unit.name: unit for unit in daemon.units}

    def snapshot(self) -> Snapshot:
        daemon = self._daemon
        model, heard = daemon.models.live, daemon.metrics
        return Snapshot(
            daemon.config.site,
            daemon.config.line,
            daemon.session,
            daemon.version,
            clock.monotonic() - self._began,
            WorkerView(
                model.worker.ready.is_set(),
                model.worker.backend_name,
                model.bundle.model_id,
                heard.worker_restarts,
                model.worker.failure,
            ),
            OutboxView(heard.outbox_depth, heard.outbox_oldest_age, heard.records_lost, heard.records_link_up),
            tuple(self._station(unit) for unit in daemon.units),
        )

    def _station(self, unit: Unit) -> StationView:
        now, tally = clock.monotonic(), unit.station.tally
        account = self._daemon.metrics.account(unit.name)
        state, reason = readiness(self._daemon, unit)
        return StationView(
            name=unit.name,
            mode=unit.config.mode,
            state=state,
            state_reason=reason,
            broker_up=unit.link.connected,
            captured=account.captured,
            opened=account.opened,
            late=tally.late,
            refused=self._daemon.metrics.refused[unit.name],
            counts=tuple(Count(*key, count) for key, count in account.verdicts.items() if count),
            rate_per_s=tally.recent.rate(now),
            p50_ms=_ms(tally.recent.quantile(now, 0.5)),
            p99_ms=_ms(tally.recent.quantile(now, 0.99)),
            deadline_ms=unit.config.usual_deadline_ms,
            cameras=tuple(
                CameraView(
                    name,
                    camera.up,
                    camera.frames or None,
                    tally.last(name),
                    self._daemon.drift.raised(unit.name, name),
                    camera.trouble,
                )
                for name, camera in unit.cameras.items()
            ),
            agreement=tally.agreement,
            alarms=self._daemon.drift.raised(unit.name, ALL_CAMERAS),
        )

    def picture(self, station: str, camera: str) -> bytes | None:
        unit = self._units.get(station)
        process = unit.cameras.get(camera) if unit else None
        frame = process.picture() if process else None
        return _jpeg(frame) if frame else None

    def metrics(self) -> bytes:
        return self._daemon.metrics.render()

    def health(self) -> tuple[bool, str]:
        stuck = self._watchdog.stuck()
        return not stuck, stuck or "parts move"

    def ready(self) -> tuple[bool, str]:
        for unit in self._daemon.units:
            state, reason = readiness(self._daemon, unit)
            if state != "ready":
                return False, f"{unit.name}: {reason}"
            if not unit.link.connected:
                return False, f"{unit.name}: no broker"
        return True, "ready"


def readiness(daemon: Daemon, unit: Unit) -> tuple[Readiness, str]:
    """What the PLC is told of a station: ready or not_ready, and why."""
    worker = daemon.models.live.worker
    if not worker.ready.is_set():
        return "not_ready", worker.state
    for name, camera in unit.cameras.items():
        if not camera.up:
            return "not_ready", "starting" if camera.opening else f"camera_lost: {name}"
        if camera.usable.problem:
            return "not_ready", f"decode_error: {name}"
    if daemon.config.records.require_record and daemon.records.failure:
        return "not_ready", "store_failed"
    if unit.link.obstacle:
        return "not_ready", unit.link.obstacle
    drifted = daemon.drift.obstacle(unit.name)
    if drifted:
        return "not_ready", drifted
    return "ready", ""


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _jpeg(frame: Frame) -> bytes | None:
    """At most 960 pixels wide; deeper pictures by their upper eight bits."""
    pixels = frame.pixels
    shown = (pixels >> (frame.bit_depth - 8)).astype("uint8") if frame.bit_depth > 8 else pixels
    scale = 960 / shown.shape[1]
    if scale < 1:
        size = (960, max(1, math.floor(shown.shape[0] * scale)))
        shown = cv2.resize(shown, size, interpolation=cv2.INTER_AREA)
    encoded, data = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return data.tobytes() if encoded else None
