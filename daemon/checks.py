"""What a configuration names must be there and readable before a line depends on it."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import assert_never

from camera.folder import FolderConfig
from camera.genicam import GenicamConfig
from camera.opencv import OpencvConfig
from camera.simulated import SimulatedConfig
from daemon.config import Config
from inspection.errors import BundleError, ConfigError
from vision.backends.choose import not_installed
from vision.bundle import Bundle, Thresholds, load_bundle
from vision.golden import misjudged, refusal
from vision.signature import PublicKey, parse_key, read_key

_DOWN = ", so that camera will be down"


def inspect(config: Config) -> Bundle:
    """Look at everything on disk that `config` names; answers the verified bundle.

    Raises ConfigError naming the key. Nothing is opened on the network and no device is touched.
    """
    try:
        bundle = usable(config, config.model.bundle)
    except BundleError as error:
        raise ConfigError(f"model.bundle: {error}") from error
    golden_gate(bundle, thresholds(config, bundle))
    surroundings(config)
    return bundle


def usable(config: Config, path: Path) -> Bundle:
    """The bundle at `path`, verified to the last file, if the stations of `config` can use it.

    Raises BundleError, and ConfigError for a setting that does not fit it.
    """
    return fitting(config, load_bundle(path, public_key(config)))


def fitting(config: Config, bundle: Bundle) -> Bundle:
    """The same bundle, if it holds a model and the stations of `config` can use it. Raises as `usable` does."""
    # Every file can be as it was written, and hold nothing that can score.
    bundle.tensors()
    bundle.golden_crops()
    for station, settings in config.stations.items():
        crops = bundle.recipe.crop_shape[0] * len(settings.cameras)
        if crops > config.model.max_waiting:
            raise ConfigError(
                f"model.max_waiting: a part of station {station} gives {crops} crops, more than the "
                f"{config.model.max_waiting} that may wait: every part would be refused; raise it"
            )
    return bundle


def surroundings(config: Config) -> None:
    """That what `config` names beside the model is there. Raises ConfigError."""
    package = not_installed(config.model.backend)
    if package:
        raise ConfigError(f"model.backend: {config.model.backend} needs {package}, which is not installed")
    for station, settings in config.stations.items():
        for camera, kind in settings.cameras.items():
            if isinstance(kind, FolderConfig):
                _readable(kind.path, f"stations.{station}.cameras.{camera}.path")
    _readable(config.model.library, "model.library")
    _readable(config.mqtt.password_file, "mqtt.password_file")
    if config.mqtt.tls:
        for key in ("ca", "cert", "key"):
            _readable(getattr(config.mqtt.tls, key), f"mqtt.tls.{key}")


def public_key(config: Config) -> PublicKey | None:
    """The key that every bundle has to be signed with; None where none is configured. Raises ConfigError."""
    given = config.model.public_key
    try:
        match given:
            case None:
                return None
            case Path():
                return read_key(given)
            case _:
                return parse_key(given, "the line")
    except BundleError as error:
        raise ConfigError(f"model.public_key: {error}") from error


def lacking(config: Config) -> list[str]:
    """What is not on this machine and does not fail the start, and what will be missing for it."""
    told = _not_archived(config)
    for station, settings in config.stations.items():
        for camera, kind in settings.cameras.items():
            key = f"stations.{station}.cameras.{camera}"
            match kind:
                case GenicamConfig():
                    told += [f"{key}.cti: there is no {path}{_DOWN}" for path in kind.cti if not path.is_file()]
                    if find_spec("harvesters") is None:
                        told.append(f"{key}.kind: genicam needs harvesters: pip install 'linegate[genicam]'{_DOWN}")
                case OpencvConfig():
                    if kind.password_file and not kind.password_file.is_file():
                        told.append(f"{key}.password_file: there is no {kind.password_file}{_DOWN}")
                    if kind.source_type == "file" and not Path(kind.source).is_file():
                        told.append(f"{key}.source: there is no file {kind.source}{_DOWN}")
                case FolderConfig() | SimulatedConfig():
                    pass
                case _:
                    assert_never(kind)
    return told


def thresholds(config: Config, bundle: Bundle) -> Thresholds:
    """The bundle's thresholds, or those that the configuration puts over them. Raises ConfigError."""
    model = config.model
    pass_below = bundle.thresholds.pass_below if model.pass_below is None else model.pass_below
    fail_above = bundle.thresholds.fail_above if model.fail_above is None else model.fail_above
    if pass_below > fail_above:
        raise ConfigError(
            f"model: pass_below {pass_below:g} is above fail_above {fail_above:g} (of the bundle, where the "
            "configuration sets only one); set both"
        )
    return Thresholds(pass_below, fail_above)


def golden_gate(bundle: Bundle, rules: Thresholds) -> None:
    """That the golden parts' reference scores give the expected verdicts by these thresholds. Raises ConfigError."""
    wrong = misjudged(bundle, rules)
    if wrong:
        raise ConfigError(f"model.pass_below, model.fail_above: {refusal(wrong, rules)}")


def _not_archived(config: Config) -> list[str]:
    """No verdict or record waits for the archive, and so does not the start."""
    archive = config.records.archive
    if archive is None or archive.outcomes == "none":
        return []
    there = archive.folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return []
    return [f"records.archive.folder: {there} is no folder that this user can write to: no picture will be kept"]


def _readable(path: Path | None, key: str) -> None:
    if path is None:
        return
    try:
        if path.is_dir():
            next(path.iterdir(), None)
        else:
            path.open("rb").close()
    except OSError as error:
        raise ConfigError(f"{key}: {path} cannot be read: {error.strerror}") from error
