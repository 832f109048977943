"""JSON that could be read in two ways is none."""

import pytest

from inspection.strict import JsonError, read_json


def test_what_is_plain_json_is_read() -> None:
    assert read_json('{"a": [1, 2.5, null, "ä"], "b": {"a": true}}'.encode()) == {
        "a": [1, 2.5, None, "ä"],
        "b": {"a": True},
    }


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b'{"a": 1, "a": 1}', "a key twice"),
        (b'{"b": {"a": 1, "a": 2}}', "a key twice"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b"-Infinity", "-Infinity is no JSON number"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"[" * 100_000, "nested too deep"),
        (b"9" * 5000, "not JSON"),
        (b'{"a": 1', "not JSON"),
        (b"", "not JSON"),
    ],
)
def test_what_is_not_is_refused_in_words_that_quote_nothing_of_it(raw: bytes, why: str) -> None:
    with pytest.raises(JsonError) as refused:
        read_json(raw)
    assert refused.value.why == why
