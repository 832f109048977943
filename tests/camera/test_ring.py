"""Pictures through shared memory: whole or not at all, and never more memory than they need."""

import multiprocessing
import threading
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from camera.ring import FEWEST, Place, Ring


@pytest.fixture
def ring() -> Iterator[Ring]:
    made = Ring.create(slots=3, slot_bytes=1_000_000)
    yield made
    made.close()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.uint8).reshape(3, 4),
        np.arange(36, dtype=np.uint16).reshape(3, 4, 3),
        np.arange(48, dtype=np.uint8).reshape(6, 8)[::2, ::2],
        np.zeros((1000, 1000), np.uint8),
    ],
    ids=["gray", "colour 16-bit", "not contiguous", "as large as a slot"],
)
def test_what_is_written_is_read(ring: Ring, array: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> None:
    read = ring.read(ring.write(array))
    assert read is not None
    assert read.dtype == array.dtype
    assert np.array_equal(read, array)


@pytest.mark.parametrize(("memory", "kept"), [(10_000, 10), (0, FEWEST), (1_000_000, 16)])
def test_as_many_of_the_last_pictures_are_there_as_the_memory_is_for(memory: int, kept: int) -> None:
    ring = Ring.create(slots=16, slot_bytes=1_000_000, memory=memory)
    try:
        places = [ring.write(np.full((10, 100), value, np.uint8)) for value in range(20)]
        read = [ring.read(place) for place in places]
    finally:
        ring.close()
    assert [array is not None for array in read] == [False] * (20 - kept) + [True] * kept
    assert [int(array[0, 0]) for array in read if array is not None] == list(range(20 - kept, 20))


def test_an_overwritten_picture_is_noticed(ring: Ring) -> None:
    places = [ring.write(np.full((4, 4), n, np.uint8)) for n in range(4)]
    found = [ring.read(place) for place in places]
    assert found[0] is None
    assert [int(read.max()) for read in found[1:] if read is not None] == [1, 2, 3]


def test_what_was_read_is_a_copy(ring: Ring) -> None:
    read = ring.read(ring.write(np.full((4, 4), 1, np.uint8)))
    for n in range(2, 9):
        ring.write(np.full((4, 4), n, np.uint8))
    assert read is not None
    assert int(read.max()) == 1


def test_a_picture_larger_than_a_slot_is_refused_and_the_others_stay(ring: Ring) -> None:
    place = ring.write(np.full((4, 4), 7, np.uint8))
    with pytest.raises(ValueError, match="1000001 bytes are more than a slot of 1000000"):
        ring.write(np.zeros(1_000_001, np.uint8))
    assert ring.read(place) is not None


def test_a_torn_picture_is_never_seen_while_it_is_overwritten(ring: Ring) -> None:
    places: deque[Place] = deque((ring.write(np.full((1000, 1000), n, np.uint8)) for n in range(3)), maxlen=3)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number = (number + 1) % 250
            places.append(ring.write(np.full((1000, 1000), number, np.uint8)))

    writer = threading.Thread(target=write)
    writer.start()
    whole, overwritten = 0, 0
    try:
        while whole < 20 or overwritten < 500:
            pixels = ring.read(places[0])  # the one that is overwritten next
            if pixels is None:
                overwritten += 1
            else:
                assert int(pixels.min()) == int(pixels.max())
                whole += 1
    finally:
        stop.set()
        writer.join()


def _write(ring: Ring, told: Connection) -> None:
    told.send(ring.write(np.full((8, 8), 42, np.uint8)))


def test_a_child_writes_what_its_parent_reads() -> None:
    ring = Ring.create(slots=2, slot_bytes=4096)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_write, args=(ring, theirs))
    child.start()
    try:
        assert ours.poll(30)
        read = ring.read(ours.recv())
    finally:
        child.join()
        child.close()
        ours.close()
        theirs.close()
        ring.close()
    assert read is not None
    assert int(read.min()) == 42


def test_generous_slots_cost_only_what_is_written() -> None:
    def memory() -> int:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("RssShmem:")[2].split()[0])

    before = memory()
    ring = Ring.create(slots=4, slot_bytes=512 * 2**20)
    try:
        for n in range(20):
            ring.write(np.full((512, 512), n, np.uint8))
        used = memory() - before
    finally:
        ring.close()
    assert used < 4 * 256 + 64  # KiB


def mapped() -> int:
    return Path("/proc/self/maps").read_text().count("memfd:linegate-ring")


def test_a_ring_is_closed_under_a_reader_and_the_memory_goes_with_the_last_one(ring: Ring) -> None:
    before = mapped()
    place = ring.write(np.full((1000, 1000), 7, np.uint8))
    memory = ring._shared.open()
    assert memory is not None
    reading = ring._view(memory, place.slot, place.shape, place.dtype)
    del memory
    ring.close()
    ring.close()
    assert int(reading.min()) == int(reading.max()) == 7
    assert mapped() == before
    assert ring.read(place) is None
    del reading
    assert mapped() == before - 1
