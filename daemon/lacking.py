"""What a station could start without, and would miss: said by `linegate check`, and no mistake."""

import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import assert_never

from camera.folder import FolderConfig, left_out, unusable
from camera.genicam import GenicamConfig
from camera.opencv import OpencvConfig
from camera.simulated import SimulatedConfig
from daemon.config import Config
from inspection.extras import how_to_add
from inspection.whole import open_file, what_is

_DOWN = ", so that camera will be down"
# What config.yaml names, which is an example of a real line; nobody has these cameras.
_EXAMPLES = ("/opt/vendor/lib/producer.cti", "rtsp://192.168.10.21:554/stream1")
# user:password@ of a URL, a GStreamer property, a parameter of a URL as some cameras take it.
_PASSWORD = re.compile(r"\w+://[^/\s@:]*:[^/\s@]+@|\b(?:user-)?(?:password|passwd|pwd|pw)=[^\s&]", re.IGNORECASE)


def lacking(config: Config) -> list[str]:
    """What is not on this machine and does not fail the start, and what will be missing for it."""
    told = _not_archived(config)
    for station, settings in config.stations.items():
        for camera, kind in settings.cameras.items():
            key = f"stations.{station}.cameras.{camera}"
            match kind:
                case GenicamConfig():
                    told += [f"{key}.cti: there is no {path}{_DOWN}" for path in kind.cti if what_is(path) != "file"]
                    if find_spec("harvesters") is None:
                        told.append(f"{key}.kind: genicam needs harvesters: {how_to_add('genicam')}{_DOWN}")
                case OpencvConfig():
                    told += [f"{key}.{missing}{_DOWN}" for missing in _not_opened(kind)]
                case FolderConfig():
                    why = unusable(kind)
                    told += [f"{key}.path: {why}{_DOWN}"] if why else []
                case SimulatedConfig():
                    pass
                case _:
                    assert_never(kind)
    return told


def unwise(config: Config) -> list[str]:
    """What works and should be otherwise. Never holds the password that it warns of."""
    told: list[str] = []
    for station, settings in config.stations.items():
        for camera, kind in settings.cameras.items():
            key = f"stations.{station}.cameras.{camera}"
            if isinstance(kind, OpencvConfig) and _PASSWORD.search(kind.source):
                told.append(
                    f"{key}.source: holds a password, which everybody who may read this file or a list of processes"
                    " sees; write USER:PASSWORD into a file that only linegate may read, and name it in password_file"
                )
            if isinstance(kind, FolderConfig):
                told += [f"{key}.path: left out: {note}" for note in left_out(kind.path)]
    return told


def is_example(config: Config) -> bool:
    """Whether every camera is one of the example's, which are invented."""
    named: list[str] = []
    for settings in config.stations.values():
        for kind in settings.cameras.values():
            match kind:
                case GenicamConfig():
                    named.append(str(kind.cti[0]))
                case OpencvConfig():
                    named.append(kind.source)
                case _:
                    return False
    return all(name in _EXAMPLES and not what_is(Path(name)) for name in named)


def _not_opened(camera: OpencvConfig) -> Iterator[str]:
    """What is wrong with a camera that OpenCV opens, as far as the disk tells."""
    source = camera.source
    if camera.password_file:
        try:
            open_file(camera.password_file).close()
        except FileNotFoundError:
            yield f"password_file: there is no {camera.password_file}"
        except OSError as error:
            yield f"password_file: {camera.password_file} cannot be read: {error.strerror}"
    if camera.source_type == "file" and what_is(Path(source)) != "file":
        yield f"source: there is no file {source}"
    if camera.source_type == "v4l2":
        device = Path(f"/dev/video{source}" if source.isdigit() else source)
        if what_is(device) != "device":
            yield f"source: there is no device {device}; `linegate cameras` lists those that are here"
        elif not os.access(device, os.R_OK | os.W_OK):
            yield f"source: this user may not open {device}; the user that runs linegate must be in its group"


def _not_archived(config: Config) -> list[str]:
    """No verdict or record waits for the archive, and so does not the start."""
    archive = config.records.archive
    if archive is None or archive.outcomes == "none":
        return []
    there = archive.folder
    while not what_is(there) and there != there.parent:
        there = there.parent
    if what_is(there) == "folder" and os.access(there, os.W_OK | os.X_OK):
        return []
    return [f"records.archive.folder: {there} is no folder that this user can write to: no picture will be kept"]
