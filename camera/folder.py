"""Replays pictures of a manifest or a folder, with what they are known to show."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from camera.files import MANIFEST, counted, find_pictures, label_of
from camera.manifest import read_manifest
from camera.names import shown
from camera.picture import read_picture
from camera.settings import CameraSettings
from inspection import clock
from inspection.errors import CameraError, DataError, PictureError
from inspection.frame import Capture, Frame, Missed
from inspection.part import Label
from inspection.verdict import Reason


class FolderConfig(CameraSettings):
    """A replay of picture files."""

    kind: Literal["folder"] = Field(description="Pictures from disk.")
    path: Path = Field(
        description="A manifest (CSV with the columns path, label and, where wanted, split; paths are relative to it) "
        "or a folder of pictures, sorted by name, where folders ok and ng in it give the label."
    )
    split: str | None = Field(default=None, description="Only the manifest's rows with this split.")
    loop: bool = Field(default=True, description="Begin again after the last picture.")
    rate_hz: float = Field(default=2.0, gt=0, le=1000, description="Pictures a second on a free-running station.")
    bit_depth: Literal[10, 12, 16] = Field(
        default=16,
        description="Of 16-bit files: 10 or 12 where they hold the values of such a sensor, right-aligned.",
    )

    @property
    def pace_hz(self) -> float | None:
        return self.rate_hz

    @property
    def frozen_after(self) -> int:
        return 0

    @property
    def same_size(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    source: str
    label: Label | None


class FolderCamera:
    """One picture for each `next()`, in the order of the manifest. `source` is the path as the manifest has it."""

    streaming = False

    def __init__(self, name: str, config: FolderConfig) -> None:
        """Raises CameraError (camera_lost) for a manifest or folder that cannot be used."""
        self._name = name
        self._config = config
        self._entries = _entries(config)
        if not self._entries:
            raise CameraError(
                Reason.CAMERA_LOST,
                f"{config.path} has no pictures" + (f" of split {config.split}" if config.split else ""),
            )

    def captures(self) -> Iterator[Capture]:
        number = 0
        while True:
            for entry in self._entries:
                number += 1
                yield self._capture(number, entry)
            if not self._config.loop:
                return

    def close(self) -> None:
        """Nothing is held between two pictures."""

    def _capture(self, number: int, entry: _Entry) -> Capture:
        captured = clock.monotonic()
        try:
            pixels, bit_depth = read_picture(entry.path, max_decoded_bytes=self._config.max_frame_mb * 2**20)
        except PictureError as error:
            return Missed(self._name, number, Reason.DECODE_ERROR, captured, str(error), entry.source)
        if bit_depth == 16:
            bit_depth = self._config.bit_depth
        return Frame(self._name, number, pixels, captured, bit_depth, entry.source, entry.label)


def left_out(path: Path) -> tuple[str, ...]:
    """What is not played of the folder or manifest `path`, each with a count and examples."""
    try:
        return tuple(_not_in_folder(path) if path.is_dir() else _not_in_manifest(path))
    except (DataError, OSError):  # told by `unusable`
        return ()


def unusable(config: FolderConfig) -> str:
    """Why the camera does not open; empty where it does."""
    try:
        FolderCamera("", config)
    except CameraError as error:
        return error.detail
    return ""


def _not_in_folder(folder: Path) -> Iterator[str]:
    yield from find_pictures(folder).notes()
    manifests = sorted(path.name for path in folder.iterdir() if path.name.casefold() == MANIFEST and path.is_file())
    if manifests:
        yield f"what {shown(manifests[0])} says: name that file, not its folder, to play it with its labels"


def _not_in_manifest(file: Path) -> Iterator[str]:
    manifest = read_manifest(file)
    if manifest.ignored:
        yield f"columns that are not read: {', '.join(manifest.ignored)}"
    away = [row.name for row in manifest.rows if not os.path.isfile(row.path)]  # noqa: PTH113 - takes any name
    if away:
        yield counted("pictures that are not there", away)


def _entries(config: FolderConfig) -> tuple[_Entry, ...]:
    try:
        return _from_folder(config.path) if config.path.is_dir() else _from_manifest(config.path, config.split)
    except DataError as error:
        raise CameraError(Reason.CAMERA_LOST, str(error)) from error


def _from_folder(folder: Path) -> tuple[_Entry, ...]:
    return tuple(
        _Entry(file, shown(file.relative_to(folder)), label_of(file, folder, named=True))
        for file in find_pictures(folder).pictures
    )


def _from_manifest(file: Path, split: str | None) -> tuple[_Entry, ...]:
    manifest = read_manifest(file, ("path",) if split is None else ("path", "split"))
    return tuple(
        _Entry(row.path, shown(row.name), row.label)
        for row in manifest.rows
        if split is None or row.split == split.casefold()
    )
