"""Each wrong trigger has one reason, and none of them costs unbounded memory or answers."""

import json
from typing import Any

import pytest

from inspection import clock
from inspection.part import Trigger
from transport.message import Incoming
from transport.triggers import Refusal, TriggerDesk, TriggerLimits


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test moves: `now[0]` is monotonic seconds, UTC is 1e9 ahead."""
    at = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: at[0])
    monkeypatch.setattr(clock, "utc", lambda: at[0] + 1e9)
    return at


def desk(*, triggered: bool = True, **limits: Any) -> TriggerDesk:
    return TriggerDesk("raceway", "5e551011", TriggerLimits(**limits), triggered=triggered)


def ask(desk: TriggerDesk, trigger: str | int = 1, *, retained: bool = False, **fields: Any) -> Trigger | Refusal:
    return desk.judge(Incoming("t", json.dumps({"trigger": trigger, **fields}).encode(), retained=retained))


def why(judged: Trigger | Refusal) -> str:
    return judged.why if isinstance(judged, Refusal) else "accepted"


def test_the_first_reason_in_the_page_s_order_is_given(now: list[float]) -> None:
    wrong: dict[str, Any] = {"session": "00000000", "t": now[0] + 1e9 - 5}
    free, station = desk(triggered=False), desk()
    large = b'{"trigger":1,"x":"%s"' % (b"x" * 5000)
    assert why(free.judge(Incoming("t", large, retained=True))) == "retained"
    assert why(free.judge(Incoming("t", large))) == "too_large"
    assert why(free.judge(Incoming("t", b"{"))) == "malformed"
    assert why(ask(free, **wrong)) == "not_triggered"
    assert why(ask(station, **wrong)) == "wrong_session"
    assert why(ask(station)) == "accepted"
    assert why(ask(station, t=now[0] + 1e9 - 5)) == "expired"
    assert why(ask(station)) == "duplicate_trigger"


def test_the_deadline_is_the_earlier_of_receipt_and_sending_plus_window(now: list[float]) -> None:
    station = desk(default_deadline_ms=400)
    cases: list[tuple[dict[str, Any], float]] = [
        ({}, 0.4),
        ({"deadline_ms": 900}, 0.9),
        ({"deadline_ms": 900, "t": now[0] + 1e9 - 0.5}, 0.4),
        ({"deadline_ms": 900, "t": now[0] + 1e9 + 3600}, 0.9),
    ]
    for number, (fields, left) in enumerate(cases):
        trigger = ask(station, number, **fields)
        assert isinstance(trigger, Trigger)
        assert trigger.deadline - now[0] == pytest.approx(left, abs=1e-5)


def test_a_name_may_come_again_after_its_time_or_its_number(now: list[float]) -> None:
    station = desk(remember_s=60, remember_count=3)
    assert why(ask(station, 7)) == "accepted"
    assert why(ask(station, "7")) == "duplicate_trigger"
    now[0] += 61
    assert why(ask(station, 7)) == "accepted"
    assert [why(ask(station, n)) for n in (8, 9, 10)] == ["accepted"] * 3
    assert why(ask(station, 7)) == "accepted"


def test_what_is_remembered_is_bounded(now: list[float]) -> None:
    station = desk(remember_count=100, burst=100_000)
    for number in range(1000):
        assert why(ask(station, number)) == "accepted"
    assert len(station._recent) <= 100


def test_a_flood_is_refused_until_the_rate_allows_again_and_its_names_stay_free(now: list[float]) -> None:
    station = desk(max_rate_hz=10, burst=5)
    assert [why(ask(station, n)) for n in range(7)] == ["accepted"] * 5 + ["flood"] * 2
    now[0] += 0.1001
    assert [why(ask(station, n)) for n in (5, 6)] == ["accepted", "flood"]


def test_answers_to_a_storm_of_wrong_triggers_are_limited_and_each_is_judged(now: list[float]) -> None:
    station = desk()
    refusals = [station.judge(Incoming("t", b"x")) for _ in range(1000)]
    assert sum(isinstance(r, Refusal) and r.answer for r in refusals) == 50
    now[0] += 1.0
    refusals = [station.judge(Incoming("t", b"x")) for _ in range(1000)]
    assert sum(isinstance(r, Refusal) and r.answer for r in refusals) == 20
    assert why(ask(station)) == "accepted"


@pytest.mark.parametrize(
    "topic", ["", "a/+", "a/#", "$SYS/a", "a\x00b", "a\nb", "a" * 257, "\ud800", "linegate/s/l/x/verdict"]
)
def test_a_response_topic_that_could_do_harm_is_malformed(topic: str) -> None:
    judged = desk().judge(Incoming("t", b'{"trigger":1}', response_topic=topic, correlation=b"c"))
    assert isinstance(judged, Refusal)
    assert (judged.why, judged.response_topic) == ("malformed", None)


def test_a_response_topic_of_the_plc_s_own_is_kept_with_its_correlation() -> None:
    judged = desk().judge(Incoming("t", b'{"trigger":1}', response_topic="plc/1", correlation=b"c"))
    assert isinstance(judged, Trigger)
    assert (judged.response_topic, judged.correlation) == ("plc/1", b"c")
