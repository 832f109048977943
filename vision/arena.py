"""Shared memory in which crops cross to the worker."""

import math

import numpy as np
from numpy.typing import NDArray

from inspection.shared import SharedMemory


class Arena:
    """Places for batches, each a row of slots of one crop: uint8 [place, max_batch, channel, height, width].

    A batch lies in the first slots of one place, so the child hands its backend a contiguous view and copies
    nothing. Pickling one while a child is spawned shares the memory with that child.
    """

    def __init__(self, shape: tuple[int, int, int, int, int], shared: SharedMemory | None = None) -> None:
        """New memory where none is given. Raises OSError when the machine is out of files or memory."""
        self.shape = shape
        self._shared = shared or SharedMemory.create("linegate-crops", math.prod(shape))

    @property
    def slots(self) -> NDArray[np.uint8]:
        memory = self._shared.open()
        assert memory is not None, "the arena is closed"
        return np.frombuffer(memory, np.uint8).reshape(self.shape)

    def close(self) -> None:
        """Never waits for a view and never raises: the memory goes with the last one."""
        self._shared.close()

    def __reduce__(self) -> tuple[object, ...]:
        return Arena, (self.shape, self._shared)
