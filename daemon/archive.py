"""Pictures of judged parts on disk: as the camera gave them, beside their records, within a cap.

docs/adr/0019-a-record-does-not-wait-for-its-picture.md tells why a record does not wait for its picture to be
written, and why no explanation is made here.
"""

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from camera.picture import png
from inspection.errors import PictureError
from inspection.frame import Frame, Pixels, digest
from inspection.probe import Probe
from inspection.record import FrameFacts, Kept, Record
from inspection.verdict import Outcome, Reason
from inspection.whole import meant_for, put_file

LOG = logging.getLogger(__name__)

_MOST_WAITING_BYTES = 256 << 20  # pictures in memory that the disk has not taken yet
_PATIENCE_S = 2.0  # with a disk that is slow when the daemon ends
_OURS = re.compile(r"[A-Za-z0-9_-]+/\d{4}-\d\d-\d\d/[0-9a-f]{8}-[A-Za-z0-9_-]+\.png")

Recall = Callable[[int], Frame | None]
"""A camera's picture by its number, while it is still in memory."""


class ArchiveConfig(BaseModel):
    """Pictures of judged parts, as PNG without loss. They are what `linegate replay` and `explain` work from."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    folder: Path = Field(description="Where the pictures go. linegate removes the oldest of its own there.")
    outcomes: Literal["fail", "uncertain", "all", "none"] = Field(
        "fail",
        description="Of which parts: `fail` (for certain or uncertain), `uncertain` alone, `all` that have a picture.",
    )
    max_mb: int = Field(10_240, ge=16, description="Cap of all pictures together, MiB; the oldest go first.")
    memory_mb: int = Field(
        128,
        ge=1,
        le=4096,
        description="Memory of each camera for pictures whose parts are not judged yet, MiB; at most 64 pictures.",
    )


class Keeper(Protocol):
    """See daemon.station."""

    def keep(self, record: Record) -> None: ...
    async def kept(self, record: Record) -> None: ...


@dataclass(frozen=True, slots=True)
class _Shot:
    """A picture on its way: of frame `index` of its record, to `file` in the archive."""

    index: int
    file: str
    frame: Frame


class Archive:
    """The folder, shared by all stations. What it cannot take is counted and forgotten: no verdict or record waits."""

    def __init__(self, config: ArchiveConfig, probe: Probe) -> None:
        self._config = config
        self._probe = probe
        self._store = Store(config.folder, config.max_mb << 20)
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="archive")
        self._writes: set[asyncio.Future[int]] = set()
        self._waiting = 0
        self._failure = ""

    def take(self, record: Record, cameras: Mapping[str, Recall]) -> list[_Shot]:
        """Copies of the pictures of a part, where they are to be kept and are still in memory."""
        if not self._wants(record):
            return []
        day = datetime.fromtimestamp(record.utc, UTC).strftime("%Y-%m-%d")
        station, shots = record.verdict.part.station, []
        for index, facts in enumerate(record.frames):
            if facts.missed:
                continue
            frame = cameras[facts.camera](facts.number)
            if frame is None:
                self._probe.picture_lost(station, "overwritten")
            elif self._waiting + frame.pixels.nbytes > _MOST_WAITING_BYTES:
                self._probe.picture_lost(station, "overload")
            else:
                self._waiting += frame.pixels.nbytes
                shots.append(_Shot(index, f"{station}/{day}/{record.id}-{facts.camera}.png", frame))
        return shots

    async def named(self, record: Record, shots: list[_Shot]) -> Record:
        """The record with the place and the sum of each picture, which is not written yet."""
        if not shots:
            return record
        frames: list[FrameFacts] = list(record.frames)
        for shot in shots:
            # A millisecond for each megabyte or two: not on the event loop.
            kept = Kept(shot.file, await asyncio.to_thread(digest, shot.frame.pixels), shot.frame.bit_depth)
            frames[shot.index] = replace(frames[shot.index], picture=kept)
        return replace(record, frames=tuple(frames), archive=str(self._config.folder))

    def write(self, station: str, shots: list[_Shot]) -> None:
        """Hand them to the disk's thread."""
        loop = asyncio.get_running_loop()
        for shot in shots:
            write = loop.run_in_executor(self._disk, self._store.write, shot.file, shot.frame.pixels)
            self._writes.add(write)
            write.add_done_callback(partial(self._written, station, shot))

    def forget(self, shots: list[_Shot]) -> None:
        """They are not to be written after all."""
        self._waiting -= sum(shot.frame.pixels.nbytes for shot in shots)

    async def close(self) -> None:
        """Returns when the disk has all that was handed over, or after a moment without the rest."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=_PATIENCE_S)
        for write in self._writes:
            write.cancel()
        await asyncio.sleep(0)  # they are counted
        self._disk.shutdown(wait=False)

    def _wants(self, record: Record) -> bool:
        match self._config.outcomes:
            case "all":
                return True
            case "fail":
                return record.verdict.outcome is Outcome.FAIL
            case "uncertain":
                return record.verdict.reason is Reason.UNCERTAIN
            case "none":
                return False

    def _written(self, station: str, shot: _Shot, write: "asyncio.Future[int]") -> None:
        self._writes.discard(write)
        self.forget([shot])
        if write.cancelled():
            self._probe.picture_lost(station, "shutdown")
            return
        error = write.exception()
        if isinstance(error, OSError | PictureError):
            self._probe.picture_lost(station, "disk")
            failure = getattr(error, "strerror", "") or str(error)
            if failure != self._failure:
                LOG.warning("the archive %s takes no pictures: %s", self._config.folder, failure)
            self._failure = failure
            return
        self._probe.picture_kept(station, write.result())
        if self._failure:
            LOG.info("the archive %s takes pictures again", self._config.folder)
        self._failure = ""


class ArchivingKeeper:
    """One station's keeper: each record goes on with what the archive says of its pictures, in the order of `keep`."""

    def __init__(self, keeper: Keeper, archive: Archive, cameras: Mapping[str, Recall]) -> None:
        self._keeper = keeper
        self._archive = archive
        self._cameras = cameras
        self._last: asyncio.Task[None] | None = None

    def keep(self, record: Record) -> None:
        shots = self._archive.take(record, self._cameras)
        if not shots and (self._last is None or self._last.done()):
            self._keeper.keep(record)
            return
        # The sums take a moment, and one station's records are stored as its verdicts were decided.
        before, station = self._last, record.verdict.part.station
        self._last = asyncio.create_task(self._in_turn(before, record, shots), name=f"archive {station}")

    async def kept(self, record: Record) -> None:
        shots = self._archive.take(record, self._cameras)
        with ExitStack() as undo:  # if not kept, the part is told another verdict, and recorded anew with its picture
            undo.callback(self._archive.forget, shots)
            await self._keeper.kept(await self._archive.named(record, shots))
            undo.pop_all()
        self._archive.write(record.verdict.part.station, shots)

    async def close(self) -> None:
        """Returns when all records have gone on."""
        if self._last is not None:
            await asyncio.wait({self._last})

    async def _in_turn(self, before: "asyncio.Task[None] | None", record: Record, shots: list[_Shot]) -> None:
        named = await self._archive.named(record, shots)
        if before is not None:
            await asyncio.wait({before})
        self._keeper.keep(named)
        self._archive.write(record.verdict.part.station, shots)


class Store:
    """The files, for one thread. Only what bears the name of an archived picture is counted, and removed."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._files: deque[tuple[Path, int]] | None = None  # the oldest first
        self._bytes = 0

    def write(self, name: str, pixels: Pixels) -> int:
        """Put `pixels` there as PNG, whole or not at all; the bytes of all pictures. Raises OSError or PictureError."""
        if self._files is None:
            self._files = self._found()
            self._bytes = sum(size for _, size in self._files)
        file = self._folder / name
        picture = png(pixels)
        put_file(file, picture)
        self._files.append((file, len(picture)))
        self._bytes += len(picture)
        while self._bytes > self._max_bytes and len(self._files) > 1:
            self._remove(*self._files.popleft())
        return self._bytes

    def _found(self) -> "deque[tuple[Path, int]]":
        known = []
        for file in self._folder.glob("*/*/*"):
            name = file.relative_to(self._folder).as_posix()
            if _OURS.fullmatch(meant_for(name)):
                if meant_for(name) != name:
                    file.unlink(missing_ok=True)
                    continue
                stat = file.stat()
                known.append((stat.st_mtime_ns, file, stat.st_size))
        return deque((file, size) for _, file, size in sorted(known))

    def _remove(self, file: Path, size: int) -> None:
        file.unlink(missing_ok=True)
        self._bytes -= size
        with suppress(OSError):  # there are pictures of that day left
            file.parent.rmdir()
