"""Payloads at their limits."""

import json
import math
from typing import TYPE_CHECKING

import pytest

from inspection.errors import ConfigError
from inspection.part import Part, PartId
from inspection.verdict import Outcome, Reason, Verdict
from transport import wire

if TYPE_CHECKING:
    from tests.transport.conftest import Lab


def encode(verdict: Verdict, left_s: float = 60.0) -> bytes:
    return wire.encode_verdict(verdict, session="ffffffff", left_s=left_s, utc=1795560141.658123)


@pytest.mark.parametrize("trigger", ["x" * 32, 2**53 - 1])
@pytest.mark.parametrize("reason", [one for one in Reason if one is not Reason.DUPLICATE_TRIGGER])  # only a refusal
def test_the_longest_verdict_fits_254_bytes(lab: "Lab", trigger: str | int, reason: Reason) -> None:
    asked = lab.trigger(trigger)
    part = Part("s" * 64, PartId("p" * 32), wire.SEQ_WRAP, 0.0, 60.0, asked)
    for outcome, score in ((Outcome.NO_VERDICT, None), (Outcome.FAIL, 0.9999994), (Outcome.PASS, 1e-9)):
        assert len(encode(Verdict(part, outcome, reason, score, 0.0, "f" * 12))) <= wire.MAX_VERDICT_BYTES


@pytest.mark.parametrize(
    ("score", "text"),
    [(0.0, "0.000000"), (1e-9, "0.000000"), (1e-5, "0.000010"), (0.1234564, "0.123456"), (1.0, "1.000000")],
)
def test_a_score_has_six_decimals_and_no_exponent(lab: "Lab", score: float, text: str) -> None:
    assert f'"score":{text},'.encode() in encode(lab.verdict(score=score))


@pytest.mark.parametrize("score", [None, math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_null(lab: "Lab", score: float | None) -> None:
    verdict = lab.verdict(Outcome.NO_VERDICT, Reason.NON_FINITE, score)
    assert json.loads(encode(verdict))["score"] is None


def test_no_verdict_carries_no_score(lab: "Lab") -> None:
    assert json.loads(encode(lab.verdict(Outcome.NO_VERDICT, Reason.STORE_FAILED, 0.01)))["score"] is None


@pytest.mark.parametrize(("left", "said"), [(-1.0, 0), (0.0129, 12), (59.9999, 59999), (999.0, 60000)])
def test_what_is_left_is_whole_milliseconds(lab: "Lab", left: float, said: int) -> None:
    assert json.loads(encode(lab.verdict(), left))["deadline_ms"] == said


def test_the_count_comes_round_to_1() -> None:
    assert [wire.wire_seq(n) for n in (1, wire.SEQ_WRAP, wire.SEQ_WRAP + 1)] == [1, wire.SEQ_WRAP, 1]


@pytest.mark.parametrize("trigger", [0, 2**53 - 1, "A", "x" * 32, " ~!#[]"])
def test_a_trigger_is_echoed_with_its_type(lab: "Lab", trigger: str | int) -> None:
    request = wire.parse_trigger(json.dumps({"trigger": trigger}).encode())
    said = json.loads(encode(lab.verdict(trigger=lab.trigger(request.trigger))))["trigger"]
    assert (said, type(said)) == (trigger, type(trigger))
    assert request.part == str(trigger)


def test_null_counts_as_absent_and_unknown_fields_are_ignored() -> None:
    request = wire.parse_trigger(b'{"trigger":1,"part":null,"deadline_ms":null,"t":null,"session":null,"x":[{}]}')
    assert request == wire.Request(1, "1", None, None, None)


def test_a_record_delivered_is_the_stored_one_with_its_mark(lab: "Lab") -> None:
    stored = wire.encode_record(lab.record(3, score=math.nan))
    said = json.loads(wire.deliver_record(stored, historical=True))
    assert (said["v"], said["historical"], said["id"], said["score"]) == (1, True, f"{lab.session}-3", None)
    assert said["window_ms"] == 5000
    assert said["frames"][0]["t"] == pytest.approx(said["t"], abs=0.002)


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "$SYS", "a b", "x" * 65, "ä", "a\n"])
def test_a_station_name_is_one_topic_level(name: str) -> None:
    with pytest.raises(ConfigError):
        wire.Address("site", "line", name)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"id":""}', b'{"id":5}', b'{"id":"%s"}' % (b"x" * 129)])
def test_an_ack_without_a_records_id_is_refused(body: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.parse_ack(body)


def test_a_command_is_read_and_what_came_of_it_is_told(lab: "Lab") -> None:
    read = wire.parse_command(b'{"command":"promote","bundle":"raceway-2","session":"154f91b0","id":"17","more":1}')
    assert read == wire.Command("promote", "raceway-2", "17", "154f91b0")
    assert wire.parse_command(b'{"command":"rollback","bundle":5,"session":"s"}').bundle is None
    said = json.loads(wire.encode_command_result("promote", "17", "done", "x" * 300, "m", session="s", utc=1.0))
    assert (said["v"], said["id"], said["state"], len(said["detail"])) == (1, "17", "done", 200)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"command": "reboot"},
        {"command": ["promote"]},
        {"command": "promote"},
        *({"command": "promote", "bundle": name} for name in ("", "..", "../b", "/b", "a/b", ".b", "b\n", "x" * 65, 5)),
        {"command": "promote", "bundle": "b", "session": None},
        {"command": "promote", "bundle": "b", "id": 5},
        {"command": "rollback", "session": ""},
    ],
)
def test_a_command_that_is_not_one_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(wire.WireError):
        wire.parse_command(json.dumps({"session": "s", **fields}).encode())
