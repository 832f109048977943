"""One daemon at a time on a state directory."""

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from inspection.errors import ConfigError, LinegateError, UnavailableError, may_pass
from inspection.files import STATE, made_with, make_folder

KEY = "state_dir"
FILE = "lock"
# A volume that is mounted later, or mounted for reading until it is repaired, looks like a lack of rights until then.
_RIGHTS = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def held(state_dir: Path) -> Iterator[None]:
    """Hold the state directory; the kernel lets go of it when the process dies, however it dies.

    Raises ConfigError where no directory can be there, and UnavailableError where it cannot be made or written now, or
    another daemon holds it.
    """
    try:
        make_folder(state_dir, STATE)
        lock = os.open(state_dir / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, STATE.file)
    except (OSError, ValueError) as error:
        raise _unusable(state_dir, error) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            told = f"{in_use(state_dir, _holder(lock))}; end it, or give this one its own"
            raise UnavailableError(told, key=KEY) from error
        with suppress(OSError):  # a full disk: then nobody can be told who holds it
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
            os.fchmod(lock, STATE.file)
        with made_with(STATE):
            yield
    finally:
        os.close(lock)


def in_use(state_dir: Path, holder: str) -> str:
    return f"{state_dir} is in use by another linegate (process {holder})"


def probe(state_dir: Path) -> str:
    """Who holds the state directory; empty where nobody does. Makes nothing that stays.

    Raises what `held` would where the directory cannot be made or written.
    """
    try:
        there = state_dir
        while not os.path.lexists(there) and there != there.parent:
            there = there.parent
        # `os.access` grants root what a read-only file system, or /proc, refuses.
        with tempfile.TemporaryDirectory(prefix=".linegate-", dir=there):
            pass
        return _lock_holder(state_dir / FILE)
    except (OSError, ValueError) as error:
        raise _unusable(state_dir, error) from error


def _unusable(state_dir: Path, error: OSError | ValueError) -> LinegateError:
    if not isinstance(error, OSError):  # a NUL in the name
        return ConfigError(f"{state_dir} cannot be a folder: {error}", key=KEY)
    told = f"{state_dir} cannot be used: {error.strerror}"
    if error.errno in _RIGHTS:
        return UnavailableError(f"{told}; let the user that runs linegate write there, or name another folder", key=KEY)
    if may_pass(error):
        return UnavailableError(told, key=KEY)
    return ConfigError(f"{told}; name a folder", key=KEY)


def _lock_holder(file: Path) -> str:
    """The process that locks `file`, by the kernel's list: if we locked it, a daemon could fail to start."""
    try:
        handle = os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return ""
    try:
        inode = os.fstat(handle).st_ino
        rows = Path("/proc/locks").read_text().splitlines()
        locked = any("FLOCK" in row and row.split()[5].endswith(f":{inode}") for row in rows)
        return _holder(handle) if locked else ""
    finally:
        os.close(handle)


def _holder(lock: int) -> str:
    return os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
