"""The memory in which crops cross to the worker."""

from pathlib import Path

import numpy as np

from vision.arena import Arena


def mapped() -> int:
    return Path("/proc/self/maps").read_text().count("memfd:linegate-crops")


def test_an_arena_is_closed_under_whoever_holds_a_view_and_its_memory_goes_with_the_last_one() -> None:
    before = mapped()
    arena = Arena((2, 3, 1, 64, 64))
    arena.slots[1, 2] = 9
    view = arena.slots[1, 2]
    arena.close()
    arena.close()
    assert mapped() == before + 1
    assert np.array_equal(view, np.full((1, 64, 64), 9, np.uint8))
    del view
    assert mapped() == before
