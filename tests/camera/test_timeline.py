"""A picture is as old as its stream says, whatever the network and the camera's clock do."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camera.timeline import Timeline

FPS = 25
QUICK = 0.05  # the shortest delay of a picture, s
TOO_YOUNG = 0.3  # s: a part has gone by meanwhile


def test_the_quickest_way_of_late_counts_as_no_delay() -> None:
    line = Timeline()
    left = [line.left(100 + stamp + delay, stamp) for stamp, delay in ((0.0, 0.2), (0.1, 0.1), (0.2, 0.3), (0.3, 1.5))]
    assert left == pytest.approx([100.2, 100.2, 100.3, 100.4])


def test_a_clock_that_is_a_little_fast_or_slow_stays_believed() -> None:
    line = Timeline()
    for second in range(0, 3600, 2):
        assert line.left(1000 + second * 1.0005, float(second)) == pytest.approx(1000 + second * 1.0005, abs=0.011)


def test_stamps_of_a_nominal_rate_are_not_believed_for_long() -> None:
    line = Timeline()
    arrivals = np.arange(0, 120, 0.1)
    left = [line.left(1000 + arrived, number * 0.04) for number, arrived in enumerate(arrivals)]
    late = [arrived for arrived, told in zip(arrivals, left, strict=True) if told < 1000 + arrived - 0.1]
    assert max(late) < 31


def test_a_clock_that_is_set_back_or_forward_costs_no_picture() -> None:
    line = Timeline()
    told = [line.left(1000 + n, float(n)) for n in range(30)]
    told += [line.left(1000 + n, n - 500.0) for n in range(30, 60)]
    told += [line.left(1000 + n, n + 500.0) for n in range(60, 90)]
    assert told == pytest.approx([1000 + n for n in range(90)])


def test_a_stream_without_stamps_is_told_by_arrival() -> None:
    line = Timeline()
    assert [line.left(float(now), 0.0) for now in range(1000, 1100)] == pytest.approx([*range(1000, 1100)])


def errors(
    stamp: Callable[[int], float], delay: Callable[[int], float], lost: frozenset[int] = frozenset()
) -> list[float]:
    """How much later than its true exposure each picture of 60 s was told, s; those before the start are left out."""
    line, found, arrived = Timeline(), [], 0.0
    for number in range(60 * FPS):
        if number in lost:
            continue
        true = number / FPS
        arrived = max(arrived, true + delay(number))  # pictures keep their order
        told = line.left(100 + arrived, stamp(number)) - 100
        if line.started:
            found.append(told - true)
    return found


def quick(number: int) -> float:
    return QUICK + 0.03 * (number * 7919 % 100) / 100


def burst(number: int) -> float:
    """Every 10 s nothing comes for 2 s, then all at once."""
    place = number % (10 * FPS)
    return QUICK + max(0.0, 2.0 - place / FPS)


JUMPS = {
    "back 3 s every 10 s": lambda n: n / FPS - 3 * (n // 250),
    "back 3 s in the middle of each burst": lambda n: n / FPS - 3 * ((n + 225) // 250),
    "forth 5 s once": lambda n: n / FPS + (5 if n > 700 else 0),
    "forth 5 s in a burst": lambda n: n / FPS + (5 if n > 760 else 0),
    "to zero, as after a restart": lambda n: n / FPS if n < 510 else (n - 510) / FPS,
}


@pytest.mark.parametrize("delay", [quick, burst], ids=["steady", "bursts"])
@pytest.mark.parametrize("stamp", JUMPS.values(), ids=JUMPS)
def test_a_held_back_picture_never_looks_new_where_stamps_jump(
    stamp: Callable[[int], float], delay: Callable[[int], float]
) -> None:
    assert max(errors(stamp, delay)) < TOO_YOUNG


@pytest.mark.parametrize("stamp", JUMPS.values(), ids=JUMPS)
def test_a_jump_of_stamps_makes_no_picture_look_old_where_none_was_lost(stamp: Callable[[int], float]) -> None:
    assert min(errors(stamp, quick)) > -0.1


def test_pictures_lost_at_a_jump_look_old_for_a_second_at_most() -> None:
    found = errors(JUMPS["to zero, as after a restart"], quick, lost=frozenset(range(500, 560)))
    assert max(found) < TOO_YOUNG
    assert sum(error < -0.1 for error in found) <= FPS


def test_pictures_that_a_source_kept_before_the_start_are_not_believed() -> None:
    line = Timeline()
    backlog = [line.left(100.0 + number / 1000, number / FPS) for number in range(2 * FPS)]
    assert len(backlog) == 2 * FPS
    assert not line.started
    arrived, number = 100.05, 2 * FPS
    while not line.started:
        arrived, number = arrived + 1 / FPS, number + 1
        line.left(arrived, number / FPS)
    assert arrived < 101


@given(
    jumps=st.dictionaries(st.integers(50, 1400), st.floats(-20, 0), max_size=4),
    pauses=st.dictionaries(st.integers(50, 1400), st.floats(0.1, 3), max_size=4),
)
def test_no_jump_back_and_no_pause_makes_an_old_picture_look_new(
    jumps: dict[int, float], pauses: dict[int, float]
) -> None:
    """A jump forth by the length of a pause looks like a pause whose pictures were lost: nothing tells them apart."""

    def stamp(number: int) -> float:
        return 1000 + number / FPS + sum(by for at, by in jumps.items() if number >= at)

    def delay(number: int) -> float:
        return quick(number) + sum(max(0.0, s - (number - at) / FPS) for at, s in pauses.items() if number >= at)

    found = errors(stamp, delay)
    assert np.max(found) < TOO_YOUNG
