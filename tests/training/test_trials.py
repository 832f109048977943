"""Which candidate is taken: the cheapest of those that the best one does not clearly beat, fold by fold."""

import numpy as np
import pytest

from training.trials import FoldScores, Trial, choose, choose_plain, scored_folds


def trial(name: str, *aurocs: float, cost: float = 1.0, changed: tuple[float, ...] = ()) -> Trial:
    scores = tuple(FoldScores(auroc, auroc, 1 - auroc) for auroc in aurocs)
    return Trial(name, cost, 1.0, scores, np.empty(0), changed)


def test_a_candidate_that_is_better_on_every_fold_wins_although_it_costs_more() -> None:
    choice = choose([trial("squash", 0.90, 0.80, 0.95), trial("tiles", 0.94, 0.85, 0.98, cost=4)])

    assert choice.trial.name == "tiles"
    assert "highest" in choice.why
    assert "squash" in choice.why


def test_a_difference_within_noise_goes_to_the_cheaper_one() -> None:
    choice = choose([trial("squash", 0.90, 0.86, 0.95), trial("tiles", 0.97, 0.80, 0.96, cost=4)])

    assert choice.trial.name == "squash"
    assert "within the standard error" in choice.why


def test_of_equal_cost_the_better_one_is_taken() -> None:
    assert choose([trial("gray", 0.90, 0.86), trial("stack", 0.97, 0.80)]).trial.name == "stack"


def test_what_changed_pictures_leave_is_told_and_has_no_say() -> None:
    brittle = trial("brittle", 0.97, 0.80, changed=(0.7, 0.6))
    steady = trial("steady", 0.90, 0.86, changed=(0.9, 0.8))

    assert choose([brittle, steady]).trial is brittle
    assert brittle.to_json()["changed"] == {"mean": pytest.approx(0.65), "folds": [0.7, 0.6]}
    assert "changed" not in trial("unmeasured", 0.9, 0.8).to_json()


def test_the_spread_between_folds_does_not_hide_a_difference_within_each() -> None:
    """The folds are 0.3 apart, the candidates 0.01, always in the same direction."""
    low, high = trial("low", 0.60, 0.75, 0.90, 0.70), trial("high", 0.61, 0.76, 0.91, 0.711, cost=2)

    assert choose([low, high]).trial is high


def test_a_single_candidate_is_taken_and_the_reason_says_so() -> None:
    assert choose([trial("only", 0.5, 0.6)]).why == "nothing else was tried"


@pytest.mark.parametrize(
    ("edges", "taken", "why"),
    [((0.82, 0.80), "gray", "over two thirds"), ((0.88, 0.85), "edges", "at most two thirds")],
)
def test_the_plain_picture_is_taken_unless_another_is_far_ahead(
    edges: tuple[float, float], taken: str, why: str
) -> None:
    """It leaves .21 of AUROC to gain: .19 is no reason to change the picture, .135 is."""
    choice = choose_plain([trial("gray", 0.83, 0.75), trial("local", 0.6, 0.6), trial("edges", *edges)])

    assert choice.trial.name == taken
    assert why in choice.why
    assert "edges" in choice.why or choice.trial.name == "edges"


def test_folds_are_measured_each_by_itself() -> None:
    """Margins of two models may lie apart: in one fold both classes are 10 higher, and each is told apart."""
    truth = np.array([False, False, True, True] * 2)
    margins = np.array([0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0])
    folds = np.repeat([0, 1], 4)

    scores = scored_folds(margins, truth, folds)

    assert scores == (FoldScores(1.0, 1.0, 0.0),) * 2


@pytest.mark.parametrize(("shift", "errors"), [(0.0, 1.0), (5.0, 0.0)])
def test_errors_are_escape_and_overkill_at_the_best_threshold(shift: float, errors: float) -> None:
    ok, ng = np.array([0.0, 1.0]), np.array([0.0, 1.0]) + shift
    margins, truth = np.concatenate([ok, ng]), np.array([False, False, True, True])

    (scores,) = scored_folds(margins, truth, np.zeros(4, np.int64))

    assert scores.errors == errors
