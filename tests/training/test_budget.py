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
