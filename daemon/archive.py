"""Pictures of judged parts on disk: as the camera gave them, beside their records, within a cap.

docs/adr/0019-a-record-does-not-wait-for-its-picture.md tells why a record does not wait for its picture to be
written, and why no explanation is made here.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from daemon.archive_store import Store
from inspection.errors import PictureError
from inspection.frame import Frame, digest
from inspection.probe import Probe
from inspection.record import FrameFacts, Kept, Record
from inspection.verdict import Outcome, Reason

LOG = logging.getLogger(__name__)

_MOST_WAITING_BYTES = 256 << 20  # pictures in memory that the disk has not taken yet
_GIVES_WAY_S = 5.0
_PATIENCE_S = 2.0  # with a disk that is slow when the daemon ends

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
    min_free_mb: int = Field(
        512,
        ge=0,
        description="Room that the archive leaves on its volume, MiB. Where there is less, the oldest pictures go and "
        "no new ones come, so that records find room.",
    )
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
        self._store = Store(config.folder, config.max_mb << 20, min_free=config.min_free_mb << 20)
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="archive")
        self._writes: set[asyncio.Future[int]] = set()
        self._waiting = 0
        self._failure = ""
        self._closed = False

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

    async def run(self) -> None:
        """Until cancelled: gives way to whoever else fills the volume, also while no picture comes."""
        while not self._closed:
            with suppress(OSError):  # told when the next picture is written
                await asyncio.get_running_loop().run_in_executor(self._disk, self._store.give_way)
            await asyncio.sleep(_GIVES_WAY_S)

    async def close(self) -> None:
        """Returns when the disk has all that was handed over, or after a moment without the rest."""
        self._closed = True
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
