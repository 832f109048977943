"""The archive's files: within their cap, and out of the way of whoever else needs the disk."""

import errno
import os
import re
from collections import deque
from contextlib import suppress
from pathlib import Path

from camera.picture import png
from inspection.files import STATE
from inspection.frame import Pixels
from inspection.whole import meant_for, put_file

_OURS = re.compile(r"[A-Za-z0-9_-]+/\d{4}-\d\d-\d\d/[0-9a-f]{8}-[A-Za-z0-9_-]+\.png")


class Store:
    """For one thread. Only what bears the name of an archived picture is counted, and removed.

    The order of the pictures is that in which they were written, whatever the clock was set to meanwhile: the time of
    a file is never before that of the file written before it.
    """

    def __init__(self, folder: Path, max_bytes: int, *, min_free: int = 0) -> None:
        """`min_free` bytes of the volume stay free, or the oldest pictures go."""
        self._folder = folder
        self._max_bytes, self._min_free = max_bytes, min_free
        self._files: deque[tuple[Path, int]] | None = None  # the oldest first
        self._bytes = 0
        self._newest_ns = 0

    def write(self, name: str, pixels: Pixels) -> int:
        """Put `pixels` there as PNG, whole or not at all; the bytes of all pictures. Raises OSError or PictureError."""
        files = self._known()
        file = self._folder / name
        picture = png(pixels)
        if not self._has_room(len(picture)):
            short = f"less than {self._min_free >> 20} MiB of its volume are free (records.archive.min_free_mb)"
            raise OSError(errno.ENOSPC, short)
        put_file(file, picture, modes=STATE)
        self._stamp(file)
        files.append((file, len(picture)))
        self._bytes += len(picture)
        while self._bytes > self._max_bytes and len(files) > 1:
            self._remove_oldest()
        return self._bytes

    def give_way(self) -> None:
        """Remove the oldest pictures until `min_free` is free, or none is left. Raises OSError."""
        if self._folder.is_dir():
            self._has_room(0)

    def _has_room(self, size: int) -> bool:
        files, place = self._known(), self._folder
        while not place.exists():
            place = place.parent
        while _free(place) < self._min_free + size:
            if not files:
                return False
            self._remove_oldest()
        return True

    def _stamp(self, file: Path) -> None:
        written_ns = file.stat().st_mtime_ns
        if written_ns <= self._newest_ns:  # the clock was set back
            written_ns = self._newest_ns + 1_000_000
            with suppress(OSError):
                os.utime(file, ns=(written_ns, written_ns))
        self._newest_ns = written_ns

    def _known(self) -> "deque[tuple[Path, int]]":
        if self._files is not None:
            return self._files
        known = []
        for file in self._folder.glob("*/*/*"):
            name = file.relative_to(self._folder).as_posix()
            if _OURS.fullmatch(meant_for(name)):
                if meant_for(name) != name:
                    file.unlink(missing_ok=True)
                    continue
                stat = file.stat()
                known.append((stat.st_mtime_ns, file, stat.st_size))
        self._files = deque((file, size) for _, file, size in sorted(known))
        self._bytes = sum(size for _, size in self._files)
        self._newest_ns = max((at for at, _, _ in known), default=0)
        return self._files

    def _remove_oldest(self) -> None:
        file, size = self._known()[0]
        file.unlink(missing_ok=True)
        self._known().popleft()
        self._bytes -= size
        with suppress(OSError):  # there are pictures of that day left
            file.parent.rmdir()


def _free(folder: Path) -> int:
    """Bytes that a process without privileges may still write there."""
    volume = os.statvfs(folder)
    return volume.f_bavail * volume.f_frsize
