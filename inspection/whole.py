"""A file that is there whole or not at all, whatever ends the process that writes it."""

import errno
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO, Literal

from inspection.files import SHARED, Modes, make_file, make_folder

_STAGED = re.compile(r"\.\d+\.part$")


def put_file(file: Path, *parts: bytes, modes: Modes = SHARED) -> None:
    """Write `parts`, one after the other, in the place of `file`; its folder is made. Raises OSError.

    After a power cut it may hold what it held before.
    """
    _put(file, parts, modes, durable=False)


def commit_file(file: Path, *parts: bytes, modes: Modes = SHARED) -> None:
    """As `put_file`, and on disk when this returns."""
    _put(file, parts, modes, durable=True)
    sync_folder(file.parent)


def what_is(path: Path) -> Literal["", "file", "folder", "device", "other"]:
    """What lies there; empty for nothing, and for what cannot be looked at or can be no name. Never raises."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return ""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "device" if stat.S_ISCHR(mode) else "other"


def open_file(file: Path) -> BinaryIO:
    """A regular file, open for reading. Never waits for a pipe. Raises OSError, also where `file` is none."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # a NUL in the name
        raise OSError(errno.EINVAL, "no file can have this name") from error
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "it is a folder, not a file")
        raise OSError(errno.EINVAL, "it is a device or a pipe, not a file")
    return os.fdopen(handle, "rb")


def read_file(file: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes. Raises OSError, as `open_file`, and for a larger one."""
    with open_file(file) as opened:
        raw = opened.read(most + 1)
    if len(raw) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most} bytes")
    return raw


def sync_folder(folder: Path) -> None:
    """The names of its files are on disk when this returns. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def meant_for(name: str) -> str:
    """The file that one called `name` was to become: another name where a killed process left it behind."""
    return _STAGED.sub("", name)


def _put(file: Path, parts: tuple[bytes, ...], modes: Modes, *, durable: bool) -> None:
    make_folder(file.parent, modes)
    # Two processes may write the same file at once.
    staged = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        make_file(staged, modes)
        with staged.open("wb") as handle:
            handle.writelines(parts)
            if durable:
                handle.flush()
                os.fsync(handle.fileno())
        staged.replace(file)
    except OSError:
        staged.unlink(missing_ok=True)
        raise
