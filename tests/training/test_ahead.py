"""What comes next is made while what there is is used."""

import threading

import pytest

from training.ahead import ahead


def test_things_come_in_order_whichever_is_ready_first() -> None:
    second = threading.Event()

    def make(number: int) -> int:
        if number == 0:
            assert second.wait(30)
        second.set()
        return number * 10

    assert list(ahead(make, range(5), threads=3, most=4)) == [0, 10, 20, 30, 40]


def test_the_next_is_made_while_the_first_is_used() -> None:
    begun = [threading.Event() for _ in range(3)]

    def make(number: int) -> int:
        begun[number].set()
        return number

    coming = ahead(make, range(3), threads=1, most=1)
    assert next(coming) == 0
    assert begun[1].wait(30)


def test_with_one_thread_they_are_made_one_after_the_other() -> None:
    """So that a generator of random numbers may be drawn from."""
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return number

    assert list(ahead(make, range(50), threads=1, most=8)) == made == list(range(50))


def test_what_cannot_be_made_is_told_in_its_turn() -> None:
    def make(number: int) -> int:
        if number == 1:
            raise ValueError("picture 1")
        return number

    coming = ahead(make, range(3), threads=2, most=2)
    assert next(coming) == 0
    with pytest.raises(ValueError, match="picture 1"):
        next(coming)
