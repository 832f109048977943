import numpy as np
import pytest

from training.calibrate import Calibration, calibrate, choose_thresholds


def test_calibration_recovers_the_logistic_curve_that_the_labels_were_drawn_from() -> None:
    random = np.random.default_rng(0)
    margins = random.normal(0, 4, 20_000)
    true = Calibration(temperature=2.5, offset=-1.5)
    truth = random.random(margins.size) < true.probability(margins)

    found = calibrate(margins, truth)

    assert found.temperature == pytest.approx(2.5, rel=0.05)
    assert found.offset == pytest.approx(-1.5, abs=0.15)


def test_classes_that_do_not_overlap_still_give_a_finite_slope() -> None:
    margins = np.array([-9.0, -8.0, -7.0, 6.0, 7.0])

    found = calibrate(margins, margins > 0)

    probability = found.probability(margins)
    assert 0.25 <= found.temperature <= 20
    assert (probability[:3] < 0.5).all()
    assert (probability[3:] > 0.5).all()
    assert probability.max() < 1


def test_margins_that_are_upside_down_do_not_turn_the_score_over() -> None:
    margins = np.array([3.0, 2.0, 1.0, -1.0, -2.0])

    found = calibrate(margins, margins < 0)

    assert found.temperature > 0
    assert (np.diff(found.probability(np.sort(margins))) > 0).all()


def test_margins_that_are_all_equal_are_calibrated_without_a_crash() -> None:
    found = calibrate(np.zeros(6), np.array([True, False, False, False, False, False]))

    assert np.isfinite(found.probability(np.zeros(1))).all()


def test_the_pass_threshold_lies_in_the_middle_of_the_widest_gap_that_costs_least() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.7, 0.8])
    truth = scores > 0.5

    thresholds = choose_thresholds(scores, truth)

    assert thresholds.pass_below == pytest.approx(0.5)
    assert thresholds.fail_above == pytest.approx(0.5)


def test_between_the_thresholds_lie_the_rejected_good_ones() -> None:
    ok = np.array([0.05, 0.1, 0.15, 0.2, 0.55])
    ng = np.array([0.4, 0.6, 0.7])

    thresholds = choose_thresholds(np.concatenate([ok, ng]), np.array([False] * 5 + [True] * 3))

    assert thresholds.pass_below == pytest.approx(0.3)
    assert thresholds.fail_above == pytest.approx(0.575)


@pytest.mark.parametrize("high", [0.01, 0.99])
def test_thresholds_stay_away_from_the_ends(high: float) -> None:
    scores = np.array([0.0, high])

    thresholds = choose_thresholds(scores, np.array([False, True]))

    assert 0.05 <= thresholds.pass_below <= thresholds.fail_above <= 0.95
