from typing import Any

import numpy as np
import pytest

from training.metrics import MEASURES, auroc, precision_average, recall_at_budget, report
from vision.bundle import Thresholds

#                 ok    ok    ng    ok    ng    ng
SCORES = np.array([0.10, 0.30, 0.40, 0.60, 0.80, 0.90])
TRUTH = np.array([False, False, True, False, True, True])


def test_auroc_counts_pairs_and_half_of_the_ties() -> None:
    # 9 pairs; only (ok 0.60, ng 0.40) is the wrong way round.
    assert auroc(SCORES[~TRUTH], SCORES[TRUTH]) == pytest.approx(8 / 9)
    assert auroc(np.array([0.5, 0.5]), np.array([0.5, 0.9])) == pytest.approx(3 / 4)


def test_average_precision_sums_precision_over_recall_steps() -> None:
    # From the top: ng (1/1), ng (2/2), ok, ng (3/4).
    assert precision_average(SCORES, TRUTH) == pytest.approx((1 + 1 + 3 / 4) / 3)


def test_equal_scores_are_one_step_of_average_precision_in_any_order() -> None:
    scores, truth = np.array([0.5, 0.5, 0.5, 0.1]), np.array([True, False, True, False])

    assert precision_average(scores, truth) == pytest.approx(2 / 3)
    assert precision_average(scores[::-1], truth[::-1]) == pytest.approx(2 / 3)


def test_recall_is_taken_at_the_lowest_threshold_within_the_overkill_budget() -> None:
    ok = np.arange(200) / 200  # 1 % are two: 0.990 and 0.995 may be rejected
    ng = np.array([0.2, 0.985, 0.986, 0.9999])

    assert recall_at_budget(ok, ng) == pytest.approx(2 / 4)
    assert recall_at_budget(ok[:50], ng) == pytest.approx(3 / 4)  # 1 % of 50 is none


def test_a_report_judges_as_the_line_does_and_counts_uncertain_parts_as_rejected() -> None:
    result = report(SCORES, TRUTH, Thresholds(pass_below=0.4, fail_above=0.7))

    c = result.confusion
    assert (c.ok_passed, c.overkill, c.escaped, c.caught) == (2, 1, 0, 3)
    assert (c.uncertain_ok, c.uncertain_ng) == (1, 1)
    assert result.accuracy.value == pytest.approx(5 / 6)
    assert result.overkill.value == pytest.approx(1 / 3)
    assert result.escape.value == 0.0
    assert result.escape.interval == pytest.approx((0.0, 1 - 0.025 ** (1 / 3)))


def test_a_score_on_the_pass_threshold_does_not_pass() -> None:
    result = report(np.array([0.5]), np.array([True]), Thresholds(0.5, 0.5))

    assert result.escape.value == 0.0


def test_the_json_has_the_agreed_keys_and_every_interval_holds_its_value() -> None:
    facts: dict[str, Any] = report(SCORES, TRUTH, Thresholds(0.4, 0.7)).to_json()

    assert (facts["n_ok"], facts["n_ng"]) == (3, 3)
    for name in ("accuracy", "auroc", "average_precision", "recall_at_1pct_overkill", "escape", "overkill"):
        low, high = facts[f"{name}_ci"]
        assert 0.0 <= low <= facts[name] <= high <= 1.0, name


def test_with_one_class_only_what_can_be_known_is_told() -> None:
    result = report(SCORES[~TRUTH], TRUTH[~TRUTH], Thresholds(0.4, 0.7))

    known = {name for name in MEASURES if result.measure(name).value is not None}
    assert known == {"accuracy", "overkill"}
    assert result.to_json()["auroc_ci"] is None
