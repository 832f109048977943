"""Shared memory in which crops cross to the worker."""

import math
import mmap
import os
from multiprocessing import reduction

import numpy as np
from numpy.typing import NDArray


class Arena:
    """Places for batches, each a row of slots of one crop: uint8 [place, max_batch, channel, height, width].

    A batch lies in the first slots of one place, so the child hands its backend a contiguous view and copies
    nothing. The memory is a memfd: it has no name, so there is nothing to unlink and nothing is left behind
    when a process is killed. Pickling one while a child is spawned shares the memory with that child.
    """

    def __init__(self, shape: tuple[int, int, int, int, int], fd: int | None = None) -> None:
        self.shape = shape
        size = math.prod(shape)
        if fd is None:
            fd = os.memfd_create("linegate-crops", os.MFD_CLOEXEC)
            os.ftruncate(fd, size)
        self._fd = fd
        self._memory = mmap.mmap(fd, size)
        self._slots: NDArray[np.uint8] | None = np.frombuffer(self._memory, np.uint8).reshape(shape)

    @property
    def slots(self) -> NDArray[np.uint8]:
        assert self._slots is not None, "the arena is closed"
        return self._slots

    def close(self) -> None:
        """Give the memory back. Views of it must be gone."""
        self._slots = None
        self._memory.close()
        os.close(self._fd)

    def __reduce__(self) -> tuple[object, ...]:
        return _attach, (self.shape, reduction.DupFd(self._fd))


def _attach(shape: tuple[int, int, int, int, int], fd: "reduction.DupFd") -> Arena:  # type: ignore[valid-type]
    return Arena(shape, fd.detach())  # type: ignore[attr-defined]
