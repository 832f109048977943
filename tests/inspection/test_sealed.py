"""A JSON file that was changed since it was written is not believed."""

import json

import pytest

from inspection.sealed import sealed, unsealed

CONTENT = {"hash": "0a1b", "at": 1796133753.4541, "more": {"share": [0.1, 1e-9, 3], "text": "Größe"}}


def test_what_was_sealed_comes_back_and_is_plain_json_for_others() -> None:
    assert unsealed(sealed(CONTENT)) == CONTENT
    assert json.loads(sealed(CONTENT)).items() >= CONTENT.items()


def test_a_file_without_a_sum_is_read_as_it_is() -> None:
    assert unsealed(json.dumps(CONTENT).encode()) == CONTENT


def test_every_flipped_bit_that_changes_the_content_is_noticed() -> None:
    whole = sealed(CONTENT)
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            content = unsealed(bytes(damaged))
        except ValueError:
            continue
        assert content == CONTENT or content.keys() != CONTENT.keys(), "a key of its own shows too"


@pytest.mark.parametrize("raw", [b"", b"[]", b"3", b"\xff\xfe", b"[" * 100_000, b'{"a":1,"a":2}'])
def test_what_is_no_object_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError):
        unsealed(raw)
