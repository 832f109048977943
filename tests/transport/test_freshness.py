"""What arrives behind a silence may be old; what arrives on a slow link is not."""

import pytest

from inspection import clock
from transport.mqtt.freshness import LEAST_LIMIT_S, PROBE_S, Freshness, RoundTrip


class Time:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def pass_(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(clock, "monotonic", lambda: time.now)
    return time


def answer(fresh: Freshness, time: Time, round_trip: float, times: int = 1) -> None:
    """Pings that are each answered after `round_trip`, the next one when it is due."""
    for _ in range(times):
        sent = time.now
        time.pass_(round_trip)
        fresh.answered(sent)
        time.pass_(max(0.0, PROBE_S - round_trip))


def test_what_arrives_in_a_lively_connection_was_sent_just_now(time: Time) -> None:
    fresh = Freshness()
    answer(fresh, time, 0.002, times=20)
    assert fresh.earliest() == pytest.approx(time.now - 0.001)


@pytest.mark.parametrize("silence", [0.6, 1.0, 2.9])
def test_what_arrives_behind_a_silence_may_be_as_old_as_it_lasted(time: Time, silence: float) -> None:
    fresh = Freshness()
    answer(fresh, time, 0.002, times=20)
    last = time.now - PROBE_S
    ping = time.now
    time.pass_(silence)
    assert fresh.earliest() == pytest.approx(last)  # first a message comes that has waited
    fresh.answered(ping)
    fresh.answered(time.now)  # at once, by a broker that goes on
    assert fresh.earliest() == pytest.approx(last)
    time.pass_(silence * 0.9)
    assert fresh.earliest() == pytest.approx(last)
    answer(fresh, time, 0.002, times=8)
    assert time.now - fresh.earliest() < 0.1


def test_a_process_that_stood_still_doubts_what_it_finds(time: Time) -> None:
    """No ping is under way then: it is the next answer that comes too late."""
    fresh = Freshness()
    answer(fresh, time, 0.002, times=20)
    last = time.now - PROBE_S
    time.pass_(6.0)
    assert fresh.earliest() == pytest.approx(last)
    answer(fresh, time, 0.002, times=2)
    assert fresh.earliest() == pytest.approx(last)


def test_on_a_new_connection_anything_may_be_old(time: Time) -> None:
    fresh = Freshness()
    fresh.doubt_for(1.0)
    assert fresh.earliest() == float("-inf")
    answer(fresh, time, 0.002, times=6)
    assert time.now - fresh.earliest() < 0.1


@pytest.mark.parametrize("round_trip", [0.2, 0.4, 0.6])
def test_on_a_slow_link_nothing_is_doubted_and_the_limit_follows(time: Time, round_trip: float) -> None:
    fresh = Freshness()
    for _ in range(200):
        answer(fresh, time, round_trip)
        assert time.now - fresh.earliest() <= round_trip + 1e-6
        assert fresh.trip.limit > round_trip
    assert fresh.trip.one_way == pytest.approx(round_trip / 2)


def test_the_limit_is_never_below_a_quarter_of_a_second_and_follows_a_link_that_becomes_slower() -> None:
    trip = RoundTrip()
    for _ in range(50):
        trip.measured(0.0003)
    assert trip.limit == pytest.approx(LEAST_LIMIT_S, abs=0.001)
    trip.measured(0.4)
    assert trip.limit > 0.4
    for _ in range(100):
        trip.measured(0.4)
        assert trip.limit > 0.4
    for _ in range(100):
        trip.measured(0.0003)
    assert trip.limit == pytest.approx(LEAST_LIMIT_S, abs=0.001)
