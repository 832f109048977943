"""Replays pictures of a manifest or a folder, with what they are known to show."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from camera.picture import SUFFIXES, read_picture
from camera.settings import CameraSettings
from inspection import clock
from inspection.errors import CameraError, PictureError
from inspection.frame import Capture, Frame, Missed
from inspection.part import Label
from inspection.verdict import Reason


class FolderConfig(CameraSettings):
    """A replay of picture files."""

    kind: Literal["folder"] = Field(description="Pictures from disk.")
    path: Path = Field(
        description="A manifest (CSV with the columns path, label and, where wanted, split; paths are relative to it) "
        "or a folder of pictures, sorted by name, where subfolders ok and ng give the label."
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
        self._entries = _from_folder(config.path) if config.path.is_dir() else _from_manifest(config.path, config.split)
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
            pixels, bit_depth = read_picture(entry.path, max_pixels=self._config.max_frame_mb * 2**20)
        except PictureError as error:
            return Missed(self._name, number, Reason.DECODE_ERROR, captured, str(error), entry.source)
        if bit_depth == 16:
            bit_depth = self._config.bit_depth
        return Frame(self._name, number, pixels, captured, bit_depth, entry.source, entry.label)


def _from_folder(folder: Path) -> tuple[_Entry, ...]:
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    labels = {label.value: label for label in Label}
    return tuple(_Entry(file, str(file.relative_to(folder)), labels.get(file.parent.name)) for file in files)


def _from_manifest(manifest: Path, split: str | None) -> tuple[_Entry, ...]:
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            columns = table.fieldnames or ()
            if "path" not in columns or (split is not None and "split" not in columns):
                missing = "path" if "path" not in columns else "split"
                raise CameraError(Reason.CAMERA_LOST, f"{manifest} has no column {missing}")
            return tuple(
                _entry(manifest, table.line_num, row) for row in table if split is None or row["split"] == split
            )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CameraError(Reason.CAMERA_LOST, f"{manifest}: {error}") from error


def _entry(manifest: Path, line: int, row: Mapping[str, str | None]) -> _Entry:
    text = row.get("label") or ""
    try:
        label = Label(text) if text else None
    except ValueError as error:
        raise CameraError(Reason.CAMERA_LOST, f"{manifest}:{line}: the label {text!r} is neither ok nor ng") from error
    path = row.get("path")
    if not path:
        raise CameraError(Reason.CAMERA_LOST, f"{manifest}:{line}: the path is missing")
    return _Entry(manifest.parent / path, path, label)
