"""The modes of everything that linegate writes, whatever the umask it was started with.

STATE is what the daemon keeps: it may hold pictures of parts, and whoever can write there decides which model judges.
SHARED is what a command makes for people and for the daemon's user: bundles, reports, pictures, lists.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Modes:
    """Of a folder and of a file in it."""

    folder: int
    file: int


STATE = Modes(0o750, 0o640)
SHARED = Modes(0o755, 0o644)


@contextmanager
def made_with(modes: Modes) -> Iterator[None]:
    """Whatever the process makes meanwhile gets these modes, also what a library makes. Not for two threads at once."""
    before = os.umask(0o777 & ~modes.folder)
    try:
        yield
    finally:
        os.umask(before)


def make_folder(folder: Path, modes: Modes) -> None:
    """Make `folder` and what is missing above it; one that is there keeps its mode. Raises OSError."""
    missing = []
    while not folder.exists() and folder != folder.parent:
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        one.chmod(modes.folder)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def make_file(file: Path, modes: Modes) -> None:
    """Make an empty file, or give one that is there this mode. Raises OSError."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, modes.file)
    try:
        if os.fstat(handle).st_mode & 0o777 != modes.file:
            os.fchmod(handle, modes.file)
    finally:
        os.close(handle)


def settle(folder: Path, modes: Modes) -> None:
    """Give these modes to `folder` and to all in it. Raises OSError."""
    folder.chmod(modes.folder)
    for one in folder.rglob("*"):
        if not one.is_symlink():
            one.chmod(modes.folder if one.is_dir() else modes.file)
