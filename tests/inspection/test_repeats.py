import logging

import pytest

from inspection import clock
from inspection.repeats import LONGEST_SUMMARY_S, MAX_CAUSES, RELAPSE_S, RepeatedTrouble, as_span

LOG = logging.getLogger("a-test")


class Time:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(clock, "monotonic", lambda: self.now)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Time:
    caplog.set_level(logging.DEBUG)
    return Time(monkeypatch)


def test_an_hour_of_failed_attempts_is_logged_at_once_then_in_summaries_and_once_at_its_end(
    time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    trouble = RepeatedTrouble(LOG, "press: broker")
    for _ in range(360):
        trouble.occurred("Connection refused")
        time.now += 10
    trouble.over()

    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "press: broker: Connection refused"
    assert lines[1] == "press: broker: still: Connection refused (seen 2 times in 10 s)"
    assert lines[-1] == "press: broker: over after 60 min, seen 360 times"
    assert 10 <= len(lines) <= 20
    assert [record.levelname for record in caplog.records] == ["WARNING"] * (len(lines) - 1) + ["INFO"]


def test_a_trouble_that_begins_anew_is_logged_at_once(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    trouble = RepeatedTrouble(LOG, "press: broker")
    for _ in range(2):
        trouble.occurred("Connection refused")
        assert trouble.lasts
        trouble.over()
        assert not trouble.lasts
        time.now += RELAPSE_S

    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["press: broker: Connection refused", "press: broker: over after 0 s, seen once"] * 2


def test_a_trouble_that_comes_and_goes_each_second_is_summarised_and_over_once_it_stays_away(
    time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    trouble = RepeatedTrouble(LOG, "press: broker")
    for _ in range(600):
        trouble.occurred("connection lost")
        time.now += 0.5
        trouble.over()
        time.now += 0.5
    for _ in range(12):
        trouble.over()
        time.now += 1

    lines = [record.getMessage() for record in caplog.records]
    assert lines[:2] == ["press: broker: connection lost", "press: broker: over after 0 s, seen once"]
    assert lines[-1] == "press: broker: over after 10 min, seen 600 times"
    assert len(lines) < 12


def test_an_end_without_a_beginning_is_not_logged(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    RepeatedTrouble(LOG, "press: broker").over()
    assert not caplog.records


def test_another_cause_is_logged_at_once_but_not_a_text_that_changes_each_time(
    time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    trouble = RepeatedTrouble(LOG, "press: camera top")
    trouble.occurred("no such device")
    trouble.occurred("no permission")
    assert [record.getMessage() for record in caplog.records] == [
        "press: camera top: no such device",
        "press: camera top: no permission",
    ]

    for number in range(1000):
        trouble.occurred(f"late by {number} ms")
    assert len(caplog.records) == MAX_CAUSES


def test_a_trouble_whose_end_nobody_told_ends_before_it_occurs_again_much_later(
    time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    trouble = RepeatedTrouble(LOG, "press: triggers refused")
    for _ in range(30):
        trouble.occurred("flood")
    time.now += 2 * LONGEST_SUMMARY_S
    trouble.occurred("flood")

    assert [record.getMessage() for record in caplog.records] == [
        "press: triggers refused: flood",
        "press: triggers refused: over after 0 s, seen 30 times",
        "press: triggers refused: flood",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (11_100, "3 h 5 min")]
)
def test_a_duration_is_told_in_the_unit_that_people_would_choose(seconds: float, text: str) -> None:
    assert as_span(seconds) == text
