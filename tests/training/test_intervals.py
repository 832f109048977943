from math import comb

import pytest

from training.intervals import (
    average_precision,
    beta_quantile,
    clopper_pearson,
    incomplete_beta,
    mann_whitney,
    most_successes,
    trials_needed,
    upper_bound,
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Closed forms at the ends: 1 - 0.025 ** (1 / n) and its mirror.
        (0, 10, 0.0, 0.30849710781876083),
        (10, 10, 0.6915028921812392, 1.0),
        (0, 48, 0.0, 1 - 0.025 ** (1 / 48)),
        # As R's binom.test prints them.
        (5, 10, 0.1870860, 0.8129140),
        (1, 10, 0.002528579, 0.445016117),
    ],
)
def test_the_exact_interval_of_a_rate_has_the_published_bounds(
    successes: int, trials: int, low: float, high: float
) -> None:
    assert clopper_pearson(successes, trials) == pytest.approx((low, high), abs=1e-7)


def test_the_exact_interval_leaves_two_and_a_half_percent_of_the_binomial_on_either_side() -> None:
    low, high = clopper_pearson(81, 263)

    def at_least(count: int, rate: float) -> float:
        return sum(comb(263, k) * rate**k * (1 - rate) ** (263 - k) for k in range(count, 264))

    assert at_least(81, low) == pytest.approx(0.025, abs=1e-9)
    assert 1 - at_least(82, high) == pytest.approx(0.025, abs=1e-9)


def test_without_trials_nothing_is_known() -> None:
    assert clopper_pearson(0, 0) == (0.0, 1.0)
    assert mann_whitney(0.5, 0, 3) == (0.0, 1.0)


@pytest.mark.parametrize("x", [0.0, 1e-6, 0.2, 0.5, 0.93, 1.0])
def test_the_incomplete_beta_function_meets_its_closed_forms(x: float) -> None:
    assert incomplete_beta(x, 1, 1) == pytest.approx(x, abs=1e-14)
    assert incomplete_beta(x, 3, 1) == pytest.approx(x**3, abs=1e-14)
    assert incomplete_beta(x, 1, 4) == pytest.approx(1 - (1 - x) ** 4, abs=1e-14)
    assert incomplete_beta(x, 2, 2) == pytest.approx(3 * x**2 - 2 * x**3, abs=1e-14)


def test_the_beta_quantile_undoes_the_distribution_also_with_many_trials() -> None:
    for a, b in ((0.5, 0.5), (12.5, 36.5), (9_000, 1_001)):
        for probability in (0.025, 0.5, 0.975):
            assert incomplete_beta(beta_quantile(probability, a, b), a, b) == pytest.approx(probability, abs=1e-9)


def test_an_auroc_of_one_still_has_an_interval() -> None:
    low, high = mann_whitney(1.0, 30, 10)

    assert 0.7 < low < 0.95
    assert high == 1.0


def test_the_interval_of_an_auroc_is_mirrored_and_narrows_with_more_pictures() -> None:
    low, high = mann_whitney(0.8, 50, 50)
    mirrored_low, mirrored_high = mann_whitney(0.2, 50, 50)

    assert (1 - mirrored_high, 1 - mirrored_low) == pytest.approx((low, high), abs=1e-9)
    more_low, more_high = mann_whitney(0.8, 500, 500)
    assert low < more_low < 0.8 < more_high < high


def test_the_auroc_interval_solves_its_own_equation() -> None:
    # Newcombe's method 5: |bound - estimate| = z * SE(bound), with Hanley and McNeil's variance.
    estimate, m, n = 0.9, 20, 40
    for bound in mann_whitney(estimate, m, n):
        shape = 1 + ((m + n) / 2 - 1) * ((1 - bound) / (2 - bound) + bound / (1 + bound))
        error = (bound * (1 - bound) * shape / (m * n)) ** 0.5
        assert abs(bound - estimate) == pytest.approx(1.959963984540054 * error, abs=1e-9)


def test_the_interval_of_a_perfect_average_precision_does_not_collapse() -> None:
    assert average_precision(1.0, 48) == pytest.approx((0.025 ** (1 / 48), 1.0))


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (1, 10), (3, 598), (40, 612)])
def test_the_upper_bound_leaves_five_percent_of_the_binomial_below_it(successes: int, trials: int) -> None:
    rate = upper_bound(successes, trials)

    at_most = sum(comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(successes + 1))
    assert at_most == pytest.approx(0.05, abs=1e-9)
    assert rate < clopper_pearson(successes, trials)[1]


def test_the_upper_bound_is_one_where_everything_or_nothing_was_seen() -> None:
    assert upper_bound(0, 0) == 1.0
    assert upper_bound(7, 7) == 1.0


@pytest.mark.parametrize(("rate", "needed"), [(0.005, 598), (0.01, 299), (0.02, 149), (0.05, 59)])
def test_the_trials_needed_for_a_bound_are_the_well_known_ones(rate: float, needed: int) -> None:
    assert trials_needed(rate) == needed
    assert upper_bound(0, needed) <= rate < upper_bound(0, needed - 1)


@pytest.mark.parametrize(("rate", "trials"), [(0.02, 148), (0.02, 149), (0.02, 1000), (0.5, 10), (0.99, 3)])
def test_the_most_successes_keep_the_bound_and_one_more_does_not(rate: float, trials: int) -> None:
    most = most_successes(rate, trials)

    assert most == -1 or upper_bound(most, trials) <= rate
    assert upper_bound(most + 1, trials) > rate
