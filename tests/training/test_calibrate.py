import numpy as np
import pytest

from training.calibrate import Calibration, calibrate


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


def test_margins_of_thousands_are_calibrated_without_a_warning() -> None:
    """Warnings are errors in these tests. exp overflows above 709."""
    margins = np.array([-5000.0, -4000.0, -3000.0, 3000.0, 4000.0])

    found = calibrate(margins, margins > 0)

    np.testing.assert_allclose(found.probability(np.array([-1e6, 1e6])), [0, 1], atol=1e-12)
