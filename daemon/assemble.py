"""The only constructor: from a configuration to a daemon whose parts know each other."""

import errno
import secrets
import socket
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from camera.process import CameraProcess
from daemon.archive import Archive, ArchivingKeeper
from daemon.checks import public_key
from daemon.choice import Origin, at_start
from daemon.config import Config, StationConfig
from daemon.drift import Drift
from daemon.heard import Heard
from daemon.ledger import Ledger
from daemon.logs import Telling
from daemon.model import Model, Models, Voice
from daemon.recorder import Recorder
from daemon.shadow import Shadow
from daemon.station import Station, StationSettings
from daemon.tally import Tally
from daemon.version import version
from dashboard.serve import bind
from inspection.errors import ConfigError, UnavailableError
from inspection.frame import Crops, Missed
from inspection.part import Trigger
from inspection.probe import Probe
from transport.link import StationLink
from transport.records.records import Records
from transport.triggers import TriggerDesk
from transport.wire import Address
from vision.backends.choose import open_backend
from vision.batching import Batcher
from vision.bundle import Bundle, Thresholds
from vision.child import Opener
from vision.priority import Pace
from vision.recipe import read_recipe
from vision.worker import Worker


class MakeModel(Protocol):
    """Makes a model that is not running yet, whose worker will score with `bundle` at this `pace`."""

    def __call__(
        self, config: Config, bundle: Bundle, thresholds: Thresholds, metrics: Probe, *, pace: Pace = Pace.FULL
    ) -> Model: ...


@dataclass(frozen=True, slots=True)
class Unit:
    """One station with everything that is its own."""

    name: str
    config: StationConfig
    station: Station
    link: StationLink
    desk: TriggerDesk
    cameras: dict[str, CameraProcess]
    keeper: ArchivingKeeper | None
    recorder: Recorder


@dataclass(frozen=True, slots=True)
class Daemon:
    """Everything that runs, constructed and not yet started."""

    config: Config
    session: str
    version: str
    models: Models
    origin: Origin
    make_model: MakeModel
    shadow: Shadow
    drift: Drift
    metrics: Heard
    records: Records
    archive: Archive | None
    units: tuple[Unit, ...]
    page: socket.socket


def open_model(
    config: Config, bundle: Bundle, thresholds: Thresholds, metrics: Probe, *, pace: Pace = Pace.FULL
) -> Model:
    """The MakeModel of every daemon: the worker's child opens the bundle's fastest backend, or the configured one."""
    voice, key = Voice(metrics), public_key(config)

    def opener(rules: Thresholds) -> Opener:
        opening = partial(
            open_backend,
            bundle.path,
            choice=config.model.backend,
            threads=config.model.threads,
            cache_dir=config.state_dir / "cache",
            model=bundle.model_id,
            thresholds=rules,
            key=key,
        )
        return Telling(config.log.level, config.log.format, opening)

    worker = Worker(
        opener(thresholds),
        crop_shape=bundle.recipe.crop_shape[1:],
        max_batch=config.model.max_batch,
        probe=voice,
        model=bundle.model_id,
        hang_timeout_s=config.model.hang_timeout_s,
        pace=pace,
    )
    batcher = Batcher(worker, max_batch=config.model.max_batch, max_waiting=config.model.max_waiting, probe=voice)
    return Model(bundle, thresholds, worker=worker, batcher=batcher, voice=voice, opener=opener)


def assemble(config: Config, *, page: socket.socket | None = None, make_model: MakeModel = open_model) -> Daemon:
    """Construct the daemon; the caller holds the state directory. `page` is a bound socket, if there is one yet.

    Raises ConfigError for what the configuration names and is not usable, UnavailableError for what is not now.
    """
    origin = at_start(config)
    session = secrets.token_hex(4)
    metrics = _metrics(config)
    page = page or _bound(config)
    models = Models(make_model(config, origin.bundle, origin.thresholds, metrics))
    addresses = [Address(config.site, config.line, station) for station in config.stations]
    records = Records(
        config.state_dir / "outbox.sqlite",
        config.mqtt,
        config=config.records,
        ack_topics=[address.ack for address in addresses],
        # The line may have other daemons at this broker, but none with this station.
        name=f"{addresses[0].client}-records",
        probe=metrics,
    )
    shadow = Shadow(config.state_dir, session, metrics)
    drift = Drift(config.drift, models, config.state_dir, metrics)
    archive = Archive(config.records.archive, metrics) if config.records.archive else None
    shared = _Shared(config, session, models, shadow, drift, metrics, records, archive)
    units = tuple(shared.unit(name, settings) for name, settings in config.stations.items())
    program = version()
    return Daemon(
        config, session, program, models, origin, make_model, shadow, drift, metrics, records, archive, units, page
    )


def _metrics(config: Config) -> Heard:
    return Heard(
        cameras={name: tuple(station.cameras) for name, station in config.stations.items()},
        deadlines={name: station.usual_deadline_ms / 1000 for name, station in config.stations.items()},
        links=(*config.stations, "records"),
        max_batch=config.model.max_batch,
        version=version(),
        site=config.site,
        line=config.line,
    )


def _bound(config: Config) -> socket.socket:
    host, port = config.http.host, config.http.port
    try:
        return bind(host, port)
    except (TypeError, ValueError) as error:  # a name that no host can have
        raise ConfigError(f"{host!r} is no address or name of a host", key="http.host") from error
    except OSError as error:
        told = f"{host}:{port} cannot be used: {error.strerror}"
        if error.errno in (errno.EACCES, errno.EPERM, errno.EAFNOSUPPORT, errno.EINVAL):
            raise ConfigError(f"{told}; choose another", key="http.port") from error
        # The address comes with its interface, the name with its name server, the port when its holder ends.
        raise UnavailableError(f"{told}; free it, or choose another", key="http.port") from error


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all stations of a daemon share."""

    config: Config
    session: str
    models: Models
    shadow: Shadow
    drift: Drift
    metrics: Heard
    records: Records
    archive: Archive | None

    def unit(self, name: str, settings: StationConfig) -> Unit:
        config, triggered = self.config, settings.mode == "triggered"
        address = Address(config.site, config.line, name)
        desk = TriggerDesk(name, self.session, settings.trigger, probe=self.metrics, triggered=triggered)

        # The station knows its cameras and its link, and both hand it what comes in.
        def trigger(wanted: Trigger) -> None:
            station.trigger(wanted)

        def captured(capture: Crops | Missed) -> None:
            station.captured(capture)

        live = self.models.live
        cameras = {
            camera: CameraProcess(
                name,
                camera,
                kind,
                {live.recipe: live.bundle.recipe.model_dump_json()},
                read_recipe,
                triggered=triggered,
                probe=self.metrics,
                on_capture=captured,
                recall_bytes=config.records.archive.memory_mb << 20 if config.records.archive else 0,
                on_look=partial(self.drift.looked, name, camera),
            )
            for camera, kind in settings.cameras.items()
        }
        link = StationLink(
            config.mqtt,
            address,
            session=self.session,
            triggers=desk,
            on_trigger=trigger,
            probe=self.metrics,
        )
        recorder = Recorder(self.records, link, address.record)
        recalls = {name: camera.recall for name, camera in cameras.items()}
        archiving = ArchivingKeeper(recorder, self.archive, recalls) if self.archive else None
        station = Station(
            StationSettings(
                name=name,
                session=self.session,
                window=settings.deadline_ms / 1000,
                require_record=config.records.require_record,
                config_hash=config.hash,
            ),
            ledger=Ledger(
                name, max_open=settings.max_open, margin=settings.answer_margin_ms / 1000, probe=self.metrics
            ),
            cameras=tuple(cameras.values()),
            live=lambda: self.models.live,
            teller=link,
            keeper=archiving or recorder,
            tally=Tally(),
            onlookers=(self.metrics, self.shadow, self.drift),
            probe=self.metrics,
        )
        return Unit(name, settings, station, link, desk, cameras, archiving, recorder)
