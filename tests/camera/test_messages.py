"""What a camera's child and its parent say: the same on the other side, and nothing that could run."""

import json
import pickle
import socket

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camera.messages import (
    Alive,
    Ended,
    Gone,
    Looked,
    Make,
    Making,
    Opened,
    Seen,
    Taken,
    ToChild,
    ToParent,
    Unusable,
    Wanted,
    decode,
    encode,
    receive,
    send,
)  # fmt: skip
from camera.ring import Place
from inspection.frame import Missed
from inspection.impression import HISTOGRAM_BINS, SCENE_SIDE, Impression
from inspection.part import Label
from inspection.verdict import Reason

PLACE = Place(3, 2**40, (48, 64, 3), "<u2")
SEEN = Seen(PLACE, 7, 12345.678901234567, 12, "caf\u00e9/\udcff.png", Label.NG)
MISSED = Missed("top", 8, Reason.DECODE_ERROR, 0.1 + 0.2, "line 1\nline 2", "")

MESSAGES: list[ToChild | ToParent] = [
    Wanted(1, 2.5, 1e300),
    Make({"a": "{}", "b": "x" * 100_000}),
    Making(("a", "b")),
    Making(()),
    Opened(streaming=True),
    Taken(1, SEEN, {"a": PLACE, "b": Place(0, 1, (1,), "|u1")}, 3.0, {"c": "no crop"}),
    Taken(0, Seen(PLACE, 1, 0.0, 8, "", None), {}, 3.0),
    Unusable(2, MISSED),
    Unusable(2, MISSED, SEEN),
    Alive(),
    Alive("640x480"),
    Gone(Reason.CAMERA_LOST, "away"),
    Ended(),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_is_the_same_on_the_other_side(message: ToChild | ToParent) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        send(ours, message)
        heard = receive(theirs)
    assert heard == message
    assert type(heard) is type(message)


def test_an_impression_keeps_every_bit() -> None:
    rng = np.random.default_rng(1)
    scene = rng.random((SCENE_SIDE, SCENE_SIDE), np.float32)
    said = Impression(10, 1 / 3, 0.1, 2e-300, 0.7, rng.random(HISTOGRAM_BINS), scene)
    heard = decode(encode(Looked(said)))
    assert isinstance(heard, Looked)
    assert (heard.impression.pictures, heard.impression.texture) == (10, 2e-300)
    assert np.array_equal(heard.impression.histogram, said.histogram)
    assert np.array_equal(heard.impression.scene, scene)


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("a message ran code",)


def test_a_message_that_would_run_code_is_no_message() -> None:
    with pytest.raises(ValueError, match="not a message"):
        decode(pickle.dumps(Bomb()))


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
KINDS = st.sampled_from([type(message).__name__ for message in MESSAGES] + ["Looked", "Bomb", ""])


@given(st.binary() | st.builds(lambda kind, fields: json.dumps([kind, *fields]).encode(), KINDS, st.lists(JUNK)))
def test_junk_is_a_message_or_a_value_error_and_nothing_else(data: bytes) -> None:
    try:
        decode(data)
    except ValueError as error:
        assert "not a message" in str(error)  # noqa: PT017 - what is no error is as good
