"""The budget of a search: its pace is measured, and what would end too late is not allowed."""

from training.budget import Budget


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def test_what_would_end_too_late_is_not_allowed() -> None:
    now = Hands()
    budget = Budget(60, quiet=True, now=now)
    now.at += 20
    budget.did(100)

    assert budget.seconds_for(50) == 10
    assert budget.allows(180)
    assert not budget.allows(200)
    budget.close()


def test_before_the_first_look_everything_is_allowed() -> None:
    budget = Budget(1, quiet=True, now=Hands())

    assert budget.allows(1e9)
    budget.close()


def test_a_machine_that_stood_still_for_a_while_is_not_taken_for_a_slow_one() -> None:
    now = Hands()
    budget = Budget(3600, quiet=True, now=now)
    for step in range(9):
        now.at += 600 if step == 4 else 2
        budget.did(16)

    assert budget.seconds_for(80) == 10
    budget.close()


def test_the_pace_is_that_of_the_last_steps() -> None:
    now = Hands()
    budget = Budget(3600, quiet=True, now=now)
    for step in range(80):
        now.at += 1 if step < 40 else 4
        budget.did(16)

    assert budget.seconds_for(160) == 40
    budget.close()
