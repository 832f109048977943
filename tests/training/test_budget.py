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


def test_there_is_no_hurry_while_what_is_expected_ends_in_time() -> None:
    now = Hands()
    budget = Budget(100, quiet=True, now=now)
    budget.expect(900)
    for _ in range(4):
        now.at += 10
        budget.did(100)
        assert budget.hurry() == 1
    budget.close()


def test_on_a_machine_that_has_become_slower_the_rest_goes_as_much_faster_as_ends_in_time() -> None:
    """Each step stands for as many as the hurry says, with five hundredths of the time to spare."""
    now = Hands()
    budget = Budget(1000, quiet=True, now=now)
    budget.expect(900)
    done, most = 0.0, 0.0
    while done < 90:
        hurry = budget.hurry()
        now.at += 10 if done < 30 else 20
        done += hurry
        most = max(most, hurry)
        budget.did(10, instead_of=10 * hurry)

    assert 1.7 < most < 2.5
    assert 900 < budget.spent < 1000
    budget.close()


def test_however_late_it_is_a_quarter_is_left_of_each_lesson() -> None:
    now = Hands()
    budget = Budget(10, quiet=True, now=now)
    budget.expect(900)
    now.at += 500
    budget.did(100)

    assert budget.hurry() == 4
    budget.close()
