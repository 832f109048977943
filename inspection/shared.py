"""Memory that two processes share.

It has no name (memfd): it is gone with the last process that holds it, however that one ends, and is not bound by
the size of /dev/shm.

The rule of its lifetime: the mapping lives as long as anybody looks at it. `close` never unmaps under a reader, in
whatever thread that one is, and never raises; the pages are given back with the last view.
"""

import mmap
import os
from multiprocessing import reduction
from typing import Any


class SharedMemory:
    """`size` bytes. Goes to a spawned child as an argument of its process, which then maps the same pages."""

    def __init__(self, fd: int, size: int) -> None:
        """Takes `fd` over. Use `create` for new memory."""
        self._fd = fd
        self._size = size
        self._map: mmap.mmap | None = mmap.mmap(fd, size)

    @classmethod
    def create(cls, name: str, size: int) -> "SharedMemory":
        """`name` is for people who look into /proc. Raises OSError when the machine is out of files or memory."""
        fd = os.memfd_create(name, os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, size)
            return cls(fd, size)
        except OSError:
            os.close(fd)
            raise

    def open(self) -> mmap.mmap | None:
        """The bytes; None once closed. Views made of them stay valid after `close`, for as long as they live."""
        return self._map

    def close(self) -> None:
        """Let go of the memory. A second call does nothing."""
        mapped, self._map = self._map, None
        if mapped is not None:
            # `mapped.close()` would raise BufferError while a thread copies from a view. The last view unmaps it.
            os.close(self._fd)

    def __reduce__(self) -> tuple[Any, ...]:
        return _attach, (reduction.DupFd(self._fd), self._size)


def _attach(fd: Any, size: int) -> SharedMemory:
    return SharedMemory(fd.detach(), size)
