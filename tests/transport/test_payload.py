"""What PLCs send beside plain JSON: padding is dropped, everything else is refused with its remedy."""

import json
from collections.abc import Callable

import pytest

from transport import wire
from transport.message import Incoming
from transport.payload import MAX_BYTES, PayloadError, read_object
from transport.triggers import MAX_CORRELATION_BYTES, Refusal, TriggerDesk, TriggerLimits

PLAIN = b'{"trigger":5}'


@pytest.mark.parametrize("before", [b"", b" ", b"\r\n", b"\t \n"])
@pytest.mark.parametrize("after", [b"", b"\0", b"\0" * 243, b" " * 243, b"\r\n", b"\r\n\0", b" \0 \0", b"\0\r\n"])
def test_padding_is_dropped(before: bytes, after: bytes) -> None:
    assert read_object(before + PLAIN + after) == {"trigger": 5}


def test_padding_is_dropped_in_every_payload_that_is_read() -> None:
    assert wire.parse_trigger(b'{"trigger":1}\0\0').trigger == 1
    assert wire.parse_ack(b'{"id":"r-1"}\0\0') == "r-1"
    assert wire.parse_command(b'{"command":"rollback","session":"s"}  \0').name == "rollback"


@pytest.mark.parametrize(
    ("payload", "remedy"),
    [
        (b"", "empty"),
        (b"\0\0\0", "empty"),
        (b"\xef\xbb\xbf" + PLAIN, "without it"),
        (PLAIN.decode().encode("utf-16"), "send a STRING, in UTF-8"),
        (PLAIN.decode().encode("utf-16-le"), "send a STRING, in UTF-8"),
        (PLAIN.decode().encode("utf-16-le") + b"\0" * 60, "send a STRING, in UTF-8"),
        (PLAIN.decode().encode("utf-16-be"), "send a STRING, in UTF-8"),
        ((" " + PLAIN.decode()).encode("utf-16-le"), "send a STRING, in UTF-8"),
        (PLAIN.decode().encode("utf-32-le"), "send a STRING, in UTF-8"),
        (bytes((254, len(PLAIN))) + PLAIN, "from its third byte on"),
        (bytes((80, len(PLAIN))) + PLAIN + b"\0" * 67, "from its third byte on"),
        (b"\0\xfe\0\x0d" + PLAIN.decode().encode("utf-16-be"), "send a STRING, in UTF-8"),
        (b'"{rtgieg"r5: }', "swap them"),
        (b'"' + PLAIN + b'"', "quotes around the whole text"),
        (json.dumps(PLAIN.decode()).encode(), "quotes around the whole text"),
        (b"\x0b" + PLAIN, "bytes before the {"),
        (b"\0\x0d" + PLAIN, "bytes before the {"),
        (b"\0\0\0\x0d" + PLAIN, "bytes before the {"),
        (b"\x0d\0\0\0" + PLAIN, "bytes before the {"),
        (b"\0" + PLAIN, "bytes before the {"),
        (b"\x02" + PLAIN + b"\x03", "bytes before the {"),
        (PLAIN + b"\0" + b'"part":"older"}', "only the text's own length"),
        (PLAIN + b"\0\0" + PLAIN, "only the text's own length"),
        (b'{"trigger":"A\0\0\0","deadline_ms":500}', "a NUL inside the text"),
        (PLAIN + b"}", "more text after the closing }"),
        (PLAIN + PLAIN, "more text after the closing }"),
        ('{"trigger":"ä"}'.encode("latin-1"), "as UTF-8, or leave them out"),
        (b"{'trigger':5}", "double quotes"),
        (b"{\"trigger\":'A'}", "double quotes"),
        (b'{"trigger":5,}', "a comma before the closing bracket"),
        (b'{"trigger":[5,],"x":1}', "a comma before the closing bracket"),
        (b'{"trigger":5,"x":TRUE}', "in lower case"),
        (b'{"trigger":5,"t":1795560141,5}', "JSON wants a point"),
        (b"{trigger:5}", "names stand in double quotes"),
        (b'{"trigger":007}', "leading zero"),
        (b'{"trigger":16#7}', "base"),
        (b'{"trigger":+7}', "plus sign"),
        (b'{"trigger":"A\r\n"}', "a control character inside a text"),
        (b'{"trigger":5', "cut off"),
        (b'{"trigger":"5', "cut off"),
        (b"[5]", "begin with {"),
        (b"5", "begin with {"),
        (b'{"trigger":5}' + b" " * MAX_BYTES, "more than 4096 bytes"),
    ],
)
def test_what_is_refused_names_its_remedy_in_80_characters(payload: bytes, remedy: str) -> None:
    with pytest.raises(PayloadError) as refused:
        read_object(payload)
    assert remedy in str(refused.value)
    assert len(str(refused.value)) <= 80


@pytest.mark.parametrize(
    ("fields", "remedy"),
    [
        ({"trigger": 6.0}, "not a REAL"),
        ({"trigger": 6, "deadline_ms": "500"}, "without quotes"),
        ({"trigger": 6, "deadline_ms": 500.0}, "not a REAL"),
        ({"trigger": 6, "t": "1795560141"}, "without quotes"),
    ],
)
def test_a_number_of_the_wrong_type_names_its_remedy(fields: dict[str, object], remedy: str) -> None:
    with pytest.raises(wire.WireError, match=remedy) as refused:
        wire.parse_trigger(json.dumps(fields).encode())
    assert len(str(refused.value)) <= 80


def test_the_sender_of_a_refused_trigger_reads_the_remedy() -> None:
    judged = TriggerDesk("s", "5e551011", TriggerLimits()).judge(Incoming("t", PLAIN.decode().encode("utf-16-le")))
    assert isinstance(judged, Refusal)
    said = json.loads(wire.encode_refused(judged.trigger, judged.why, judged.detail, session="s", utc=1.0))
    assert (said["reason"], said["detail"]) == ("malformed", "UTF-16, as of a WSTRING: send a STRING, in UTF-8")


def test_correlation_data_that_every_answer_would_carry_are_limited() -> None:
    desk = TriggerDesk("s", "5e551011", TriggerLimits())

    def judge(size: int) -> object:
        return desk.judge(Incoming("t", PLAIN, response_topic="plc/1", correlation=b"c" * size))

    refused = judge(MAX_CORRELATION_BYTES + 1)
    assert isinstance(refused, Refusal)
    assert (refused.why, refused.response_topic, refused.correlation) == ("malformed", None, None)
    assert not isinstance(judge(MAX_CORRELATION_BYTES), Refusal)


@pytest.mark.parametrize("parse", [wire.parse_trigger, wire.parse_ack, wire.parse_command])
def test_no_parser_reads_more_than_4096_bytes(parse: Callable[[bytes], object]) -> None:
    body = b'{"trigger":1,"id":"r","command":"rollback","session":"s","x":"%s"}'
    parse(body % (b"x" * 3000))
    with pytest.raises(wire.WireError, match="more than 4096"):
        parse(body % (b"x" * 5000))
