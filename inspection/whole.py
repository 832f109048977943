"""A file that is there whole or not at all, whatever ends the process that writes it."""

import os
import re
from pathlib import Path

_STAGED = re.compile(r"\.\d+\.part$")


def put_file(file: Path, *parts: bytes) -> None:
    """Write `parts`, one after the other, in the place of `file`; its folder is made. Raises OSError.

    After a power cut it may hold what it held before.
    """
    _put(file, parts, durable=False)


def commit_file(file: Path, *parts: bytes) -> None:
    """As `put_file`, and on disk when this returns."""
    _put(file, parts, durable=True)
    sync_folder(file.parent)


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


def _put(file: Path, parts: tuple[bytes, ...], *, durable: bool) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # Two processes may write the same file at once.
    staged = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with staged.open("wb") as handle:
            handle.writelines(parts)
            if durable:
                handle.flush()
                os.fsync(handle.fileno())
        staged.replace(file)
    except OSError:
        staged.unlink(missing_ok=True)
        raise
