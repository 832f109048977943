"""Thresholds keep what was asked of them, and the report says what that is worth."""

from typing import Any

import numpy as np
import pytest

from training.decide import achieved, decide
from training.intervals import upper_bound
from training.targets import Costs, ScoredSplit, Targets
from training.text import decision_lines
from vision.bundle import Thresholds


def split(ok: list[float], ng: list[float], groups: list[int] | None = None) -> ScoredSplit:
    """Good scores first; every picture its own group where nothing else is said."""
    scores = np.array([*ok, *ng])
    truth = np.array([False] * len(ok) + [True] * len(ng))
    return ScoredSplit(scores, truth, np.array(groups or range(scores.size), np.int64))


def chosen(val: ScoredSplit, **targets: Any) -> Thresholds:
    return decide(Targets(**targets), val, scored_by="test").thresholds


def drawn(seed: int, n: int = 400) -> ScoredSplit:
    """As many defective as good pictures, whose scores overlap."""
    random = np.random.default_rng(seed)
    ok, ng = random.beta(2, 5, n), random.beta(5, 2, n)
    return split(ok.tolist(), ng.tolist())


def test_without_targets_the_pass_threshold_lies_in_the_middle_of_the_widest_gap_that_costs_least() -> None:
    thresholds = chosen(split([0.1, 0.2, 0.3], [0.7, 0.8]))

    assert thresholds.pass_below == pytest.approx(0.5)
    assert thresholds.fail_above == pytest.approx(0.5)


def test_without_targets_the_rejected_good_ones_lie_between_the_thresholds() -> None:
    thresholds = chosen(split([0.05, 0.1, 0.15, 0.2, 0.55], [0.4, 0.6, 0.7]))

    assert thresholds.pass_below == pytest.approx(0.3)
    assert thresholds.fail_above == pytest.approx(0.575)


@pytest.mark.parametrize("high", [0.01, 0.99])
def test_without_targets_thresholds_stay_away_from_the_ends(high: float) -> None:
    thresholds = chosen(split([0.0], [high]))

    assert 0.05 <= thresholds.pass_below <= thresholds.fail_above <= 0.95


@pytest.mark.parametrize(("max_escape", "max_overkill"), [(0.01, None), (None, 0.01), (0.02, 0.03), (0.3, 0.3)])
def test_the_bounds_on_val_stay_under_the_targets(max_escape: float | None, max_overkill: float | None) -> None:
    decision = decide(Targets(max_escape, max_overkill), drawn(1), scored_by="test")

    assert max_escape is None or decision.val.escape.upper <= max_escape
    assert max_overkill is None or decision.val.sure_overkill.upper <= max_overkill
    assert decision.thresholds.pass_below <= decision.thresholds.fail_above


def test_the_pass_threshold_is_no_lower_than_the_bound_asks_for() -> None:
    val = drawn(1)
    decision = decide(Targets(max_escape=0.02, max_overkill=0.02), val, scored_by="test")

    assert upper_bound(decision.val.escape.count + 1, 400) > 0.02
    assert upper_bound(decision.val.sure_overkill.count + 1, 400) > 0.02


def test_a_target_that_the_best_threshold_keeps_anyway_changes_nothing() -> None:
    val = split([0.1] * 50, [0.9] * 100)

    assert chosen(val, max_escape=0.5) == chosen(val)


def test_the_bound_holds_for_the_parts_to_come_in_as_many_lots_as_it_promises() -> None:
    """The true escape rate of the chosen threshold is known here: Beta(5, 2) below x is 6 x^5 - 5 x^6."""
    random = np.random.default_rng(7)
    kept = 0
    for _ in range(600):
        val = split(random.beta(2, 5, 60).tolist(), random.beta(5, 2, 150).tolist())
        limit = chosen(val, max_escape=0.05, max_overkill=0.5).pass_below
        kept += 6 * limit**5 - 5 * limit**6 <= 0.05
    # 95 % of 600 are 570; four standard deviations (5.3 each) are left to chance.
    assert 549 <= kept <= 600


def test_in_one_group_all_pictures_may_pass_at_once_so_counting_groups_is_stricter() -> None:
    random = np.random.default_rng(3)
    of_groups = random.beta(5, 2, 100)
    ng = np.concatenate([of_groups, of_groups + random.normal(0, 0.01, 100)]).clip(0, 1)
    val = split([0.05, 0.1], ng.tolist(), [1000, 1001, *range(100), *range(100)])

    by_pictures = decide(Targets(max_escape=0.05, max_overkill=0.9), val, scored_by="test")
    by_groups = decide(Targets(max_escape=0.05, max_overkill=0.9, count="groups"), val, scored_by="test")

    assert by_groups.val.escape_groups.of == 100
    assert by_groups.val.escape_groups.upper <= 0.05
    assert by_pictures.val.escape_groups.upper > by_pictures.val.escape.upper
    assert by_groups.thresholds.pass_below <= by_pictures.thresholds.pass_below


def test_a_group_escapes_with_its_lowest_picture_and_is_overkill_with_its_highest() -> None:
    val = split([0.1, 0.9, 0.2], [0.8, 0.3, 0.7], [0, 0, 1, 2, 2, 3])

    found = achieved(val, Thresholds(0.4, 0.6), None, 0.5)

    assert (found.escape.count, found.escape.of) == (1, 3)
    assert (found.escape_groups.count, found.escape_groups.of) == (1, 2)
    assert (found.sure_overkill.count, found.sure_overkill.of) == (1, 3)
    assert (found.sure_overkill_groups.count, found.sure_overkill_groups.of) == (1, 2)


def test_what_is_achieved_is_what_the_judge_does_at_the_thresholds_themselves() -> None:
    val = split([0.39, 0.4, 0.59, 0.6], [0.39, 0.4, 0.59, 0.6])

    found = achieved(val, Thresholds(0.4, 0.6), None, 0.5)

    assert (found.escape.count, found.sure_overkill.count) == (1, 1)
    assert (found.uncertain_ok.count, found.uncertain_ng.count) == (2, 2)


def cost_of(val: ScoredSplit, pass_below: float, fail_above: float, costs: Costs, rate: float) -> float:
    """By the definition, part by part."""
    review = costs.review
    weights = np.where(val.truth, rate / val.truth.sum(), (1 - rate) / (~val.truth).sum())
    total = 0.0
    for score, bad, weight in zip(val.scores, val.truth, weights, strict=True):
        if score < pass_below:
            total += weight * (costs.escape if bad else 0)
        elif score >= fail_above or review is None:
            total += weight * (0 if bad else costs.overkill)
        else:
            total += weight * review
    return total


@pytest.mark.parametrize("costs", [Costs(100, 5, 1), Costs(1, 1, 0.01), Costs(20, 3), Costs(5, 5, 50)])
@pytest.mark.parametrize("rate", [0.5, 0.02])
def test_the_thresholds_by_cost_are_the_cheapest_that_there_are(costs: Costs, rate: float) -> None:
    val = drawn(5, 25)

    decision = decide(Targets(costs=costs, defect_rate=rate), val, scored_by="test")

    edges = np.concatenate([[0.0], np.sort(val.scores) + 1e-9, [1.0]])
    least = min(cost_of(val, p, f, costs, rate) for i, p in enumerate(edges) for f in edges[i:])
    told = decision.val.cost
    assert told is not None
    thresholds = decision.thresholds
    assert told == pytest.approx(cost_of(val, thresholds.pass_below, thresholds.fail_above, costs, rate))
    assert told == pytest.approx(least)


def test_the_dearer_an_escape_the_less_passes() -> None:
    val = drawn(2)

    limits = [chosen(val, costs=Costs(escape, 1, 0.2)).pass_below for escape in (1, 10, 100)]

    assert limits == sorted(limits, reverse=True)
    assert limits[0] > limits[-1]


def test_costs_choose_within_the_bounds() -> None:
    cheap_escapes = Costs(escape=0.1, overkill=50, review=0.5)
    val = drawn(4)

    decision = decide(Targets(0.01, 0.05, cheap_escapes), val, scored_by="test")

    assert chosen(val, costs=cheap_escapes).pass_below > decision.thresholds.pass_below
    assert decision.val.escape.upper <= 0.01
    assert decision.val.sure_overkill.upper <= 0.05


def test_without_a_price_of_review_there_is_no_band() -> None:
    thresholds = chosen(drawn(2), costs=Costs(10, 1))

    assert thresholds.pass_below == thresholds.fail_above


def test_the_report_shows_what_was_asked_for_and_what_was_achieved() -> None:
    decision = decide(Targets(0.02, 0.05, Costs(10, 1, 0.1), 0.01), drawn(1), drawn(2), scored_by="onnx-cpu")

    told = "\n".join(decision_lines(decision))

    escape = decision.val.escape
    row = next(line for line in told.splitlines() if "val: escape" in line)
    for shown in (f"{escape.count} of 400", f"{escape.upper * 100:.3g}%", "2%"):
        assert shown in row
    assert "onnx-cpu" in told
    assert "test: sure overkill" in told
    assert "1% defective parts" in told
    assert "No good picture" not in told


def test_a_gate_that_would_pass_nothing_is_said_to_be_one() -> None:
    val = split([0.5] * 100, [0.4] * 200)

    decision = decide(Targets(max_escape=0.02), val, scored_by="test")

    assert "No good picture would pass" in "\n".join(decision_lines(decision))


def test_the_report_says_from_how_few_groups_the_pictures_come() -> None:
    val = split([0.1] * 100, [0.9] * 100, [number // 50 for number in range(200)])

    told = decision_lines(decide(Targets(max_escape=0.05), val, scored_by="test"))

    assert any("The 100 defective and 100 good pictures come from 2 and 2 groups" in line for line in told)
    assert not any(
        "groups: parts of other" in line for line in decision_lines(decide(Targets(), drawn(1), scored_by=""))
    )


def test_the_json_holds_targets_and_figures_of_both_splits() -> None:
    decision = decide(Targets(max_escape=0.02), drawn(1), scored_by="torch fp32")

    told = decision.to_json()

    assert (told["max_escape"], told["max_overkill"], told["costs"]) == (0.02, None, None)
    assert (told["count"], told["confidence"], told["scored_by"]) == ("pictures", 0.95, "torch fp32")
    assert told["val"]["escape"]["upper"] <= 0.02
    assert told["val"]["uncertain_ok"]["of"] == 400
    assert told["test"] is None
