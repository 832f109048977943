"""Makes folders and files with a stated mode, whatever the umask of the process.

What the daemon keeps for itself (state directory, archive) is closed to others: it may hold pictures of parts, and
whoever can write there decides which model judges.
"""

import errno
import os
from pathlib import Path

FOLDER_MODE = 0o750
FILE_MODE = 0o640


def make_folder(folder: Path, mode: int = FOLDER_MODE) -> None:
    """Make `folder` and what is missing above it; one that is there keeps its mode. Raises OSError."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        one.chmod(mode)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def make_file(file: Path, mode: int = FILE_MODE) -> None:
    """Make an empty file, or give one that is there this mode. Raises OSError."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        os.fchmod(handle, mode)
    finally:
        os.close(handle)
