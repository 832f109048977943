"""Pictures from a child to its parent through memory that both see.

The kernel takes a page only when it is first written, so slots of generous size cost what the pictures in them
really need.

One writer, and readers in any thread of the other process. The writer never waits: it takes the oldest slot. Each
write has a generation of its own, which the reader compares before and after its copy, so that an overwritten
picture is noticed and a torn one never seen. A reader may read on while the ring is closed (`inspection.shared`).
"""

from dataclasses import dataclass
from math import prod
from mmap import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspection.shared import SharedMemory

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

    def __init__(self, shared: SharedMemory, slots: int, slot_bytes: int, memory: int | None) -> None:
        """Use `create` for new memory."""
        self._shared = shared
        self._slots = slots
        self._slot_bytes = slot_bytes
        self._memory = memory
        self._stride = _stride(slot_bytes)
        self._written = 0

    @classmethod
    def create(cls, slots: int, slot_bytes: int, memory: int | None = None) -> "Ring":
        """Raises OSError when the machine is out of files or memory."""
        shared = SharedMemory.create("linegate-ring", _ALIGN + slots * _stride(slot_bytes))
        return cls(shared, slots, slot_bytes, memory)

    def write(self, array: NDArray[Any]) -> Place:
        """Copy `array` into the oldest slot. Raises ValueError when it is larger than a slot."""
        if array.nbytes > self._slot_bytes:
            raise ValueError(f"{array.nbytes} bytes are more than a slot of {self._slot_bytes}")
        memory = self._shared.open()
        assert memory is not None, "the ring is closed"
        self._written += 1
        fitting = self._slots if self._memory is None else self._memory // max(array.nbytes, 1)
        slot = self._written % min(max(fitting, FEWEST), self._slots)
        generations = self._generations(memory)
        generations[slot] = 0
        self._view(memory, slot, array.shape, array.dtype.str)[...] = array
        generations[slot] = self._written
        return Place(slot, self._written, array.shape, array.dtype.str)

    def read(self, place: Place) -> NDArray[Any] | None:
        """A copy of what was written at `place`; None when it has been overwritten since, or the ring is closed."""
        memory = self._shared.open()
        if memory is None:
            return None
        generations = self._generations(memory)
        if generations[place.slot] != place.generation:
            return None
        copy = self._view(memory, place.slot, place.shape, place.dtype).copy()
        return copy if generations[place.slot] == place.generation else None

    def close(self) -> None:
        """Never waits for a reader and never raises: the memory goes with the last one."""
        self._shared.close()

    def _generations(self, memory: mmap) -> NDArray[np.uint64]:
        return np.frombuffer(memory, np.uint64, self._slots)

    def _view(self, memory: mmap, slot: int, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        at = _ALIGN + slot * self._stride
        return np.frombuffer(memory, dtype, prod(shape), at).reshape(shape)


def _stride(slot_bytes: int) -> int:
    return -(-slot_bytes // _ALIGN) * _ALIGN
