"""Pictures from a child to its parent through memory that both see.

The memory has no name (memfd): it is gone with the last process that holds it, however that one ends, and is
not bound by the size of /dev/shm. The kernel takes a page only when it is first written, so slots of generous
size cost what the pictures in them really need.

One writer, one reader. The writer never waits: it takes the oldest slot. Each write has a generation of its
own, which the reader compares before and after its copy, so that an overwritten picture is noticed and a torn
one never seen.
"""

import mmap
import os
from dataclasses import dataclass
from math import prod
from multiprocessing import reduction
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEWEST = 4

_ALIGN = 4096


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the ring an array lies: what the writer tells the reader. `dtype` is numpy's name."""

    slot: int
    generation: int
    shape: tuple[int, ...]
    dtype: str


class Ring:
    """`slots` arrays of at most `slot_bytes` bytes. Goes to a spawned child as an argument of its process.

    Where `memory` is given, as many slots are used as fit into so many bytes, and never fewer than four.
    """

    def __init__(self, fd: int, slots: int, slot_bytes: int, memory: int | None) -> None:
        """Takes `fd` over. Use `create` for new memory."""
        self._fd = fd
        self._slots = slots
        self._slot_bytes = slot_bytes
        self._memory = memory
        self._stride = -(-slot_bytes // _ALIGN) * _ALIGN
        self._map = mmap.mmap(fd, _ALIGN + slots * self._stride)
        self._written = 0

    @classmethod
    def create(cls, slots: int, slot_bytes: int, memory: int | None = None) -> "Ring":
        fd = os.memfd_create("linegate-ring", os.MFD_CLOEXEC)
        os.ftruncate(fd, _ALIGN + slots * (-(-slot_bytes // _ALIGN) * _ALIGN))
        return cls(fd, slots, slot_bytes, memory)

    def __reduce__(self) -> tuple[Any, ...]:
        return _attach, (reduction.DupFd(self._fd), self._slots, self._slot_bytes, self._memory)

    def write(self, array: NDArray[Any]) -> Place:
        """Copy `array` into the oldest slot. Raises ValueError when it is larger than a slot."""
        if array.nbytes > self._slot_bytes:
            raise ValueError(f"{array.nbytes} bytes are more than a slot of {self._slot_bytes}")
        self._written += 1
        fitting = self._slots if self._memory is None else self._memory // max(array.nbytes, 1)
        slot = self._written % min(max(fitting, FEWEST), self._slots)
        self._generations()[slot] = 0
        self._view(slot, array.shape, array.dtype.str)[...] = array
        self._generations()[slot] = self._written
        return Place(slot, self._written, array.shape, array.dtype.str)

    def read(self, place: Place) -> NDArray[Any] | None:
        """A copy of what was written at `place`; None when it has been overwritten since."""
        if self._generations()[place.slot] != place.generation:
            return None
        copy = self._view(place.slot, place.shape, place.dtype).copy()
        if self._generations()[place.slot] != place.generation:
            return None
        return copy

    def close(self) -> None:
        self._map.close()
        os.close(self._fd)

    def _generations(self) -> NDArray[np.uint64]:
        return np.frombuffer(self._map, np.uint64, self._slots)

    def _view(self, slot: int, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        at = _ALIGN + slot * self._stride
        return np.frombuffer(self._map, dtype, prod(shape), at).reshape(shape)


def _attach(fd: Any, slots: int, slot_bytes: int, memory: int | None) -> Ring:
    return Ring(fd.detach(), slots, slot_bytes, memory)
