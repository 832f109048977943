"""What the worker and its child say: the same on the other side, to the bit, and nothing that could run."""

import json
import multiprocessing
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.messages import Answer, Failed, FromChild, Job, NotOpened, Opened, decode, encode, receive, send

MESSAGES: list[Job | FromChild] = [
    Job(2**40, 1, 8),
    Failed(3, "line 1\nline 2"),
    Opened("onnx-cpu", [0.01, 1 / 3]),
    NotOpened("no such file", invalid=True),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_is_the_same_on_the_other_side(message: Job | FromChild) -> None:
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        send(ours, message)
        assert receive(theirs) == message


def test_scores_keep_every_bit_whatever_they_are() -> None:
    rng = np.random.default_rng(1)
    scores = np.frombuffer(rng.bytes(4 * 10_000), np.float32).copy()
    scores[:4] = np.nan, np.inf, -np.inf, -0.0
    heard = decode(encode(Answer(1, scores, 0.5)))
    assert isinstance(heard, Answer)
    assert heard.scores.dtype == np.float32
    assert np.array_equal(heard.scores, scores, equal_nan=True)
    assert np.array_equal(np.signbit(heard.scores[1:4]), np.signbit(scores[1:4]))


@pytest.mark.parametrize("shape", [(0,), (), (3, 2), (8, 1, 1)])
def test_scores_of_another_shape_cross_too_for_the_parent_to_refuse(shape: tuple[int, ...]) -> None:
    heard = decode(encode(Answer(1, np.ones(shape, np.float32), 0.5)))
    assert isinstance(heard, Answer)
    assert heard.scores.shape == shape


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
KINDS = st.sampled_from(["Job", "Answer", "Failed", "Opened", "NotOpened", "Bomb"])


@given(st.binary() | st.builds(lambda kind, fields: json.dumps([kind, *fields]).encode(), KINDS, st.lists(JUNK)))
def test_junk_is_a_message_or_a_value_error_and_nothing_else(data: bytes) -> None:
    try:
        decode(data)
    except ValueError as error:
        assert "not a message" in str(error)  # noqa: PT017 - what is no error is as good
