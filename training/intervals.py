"""95 % confidence intervals and bounds, on the standard library and numpy.

All of them take the pictures as independent. Pictures of one group are alike, so that the truth is wider.
"""

from collections.abc import Callable
from math import ceil, exp, lgamma, log, log1p, sqrt

Interval = tuple[float, float]

Z95 = 1.959963984540054
CONFIDENCE = 0.95
_TAIL = 0.025


def clopper_pearson(successes: float, trials: int) -> Interval:
    """The exact binomial interval of a rate (Clopper, Pearson: Biometrika 26, 1934); (0, 1) without trials.

    `successes` need not be whole: `average_precision` puts a fraction in.
    """
    if trials == 0:
        return 0.0, 1.0
    low = 0.0 if successes <= 0 else beta_quantile(_TAIL, successes, trials - successes + 1)
    high = 1.0 if successes >= trials else beta_quantile(1 - _TAIL, successes + 1, trials - successes)
    return low, high


def upper_bound(successes: int, trials: int) -> float:
    """The one-sided exact upper bound of a rate: in 95 of 100 sets of trials the true rate lies at or below it.

    It is the upper end of Clopper and Pearson's interval with the whole 5 % on one side, so it lies below the end of
    the two-sided interval, which leaves 2.5 % there. 1 without trials.
    """
    if successes >= trials:
        return 1.0
    return beta_quantile(CONFIDENCE, successes + 1, trials - successes)


def trials_needed(rate: float) -> int:
    """How many trials without a single success put `upper_bound` at or below `rate`, above 0."""
    # upper_bound(0, n) is 1 - (1 - CONFIDENCE) ** (1 / n).
    return ceil(log(1 - CONFIDENCE) / log1p(-rate) - 1e-9)


def most_successes(rate: float, trials: int) -> int:
    """With how many successes `upper_bound` is still at or below `rate`; -1 where even none is too many."""
    low, high = -1, trials
    while high - low > 1:
        middle = (low + high) // 2
        # The same as upper_bound(middle, trials) <= rate, without the search for the quantile.
        if incomplete_beta(rate, middle + 1, trials - middle) >= CONFIDENCE:
            low = middle
        else:
            high = middle
    return low


def mann_whitney(auroc: float, n_ok: int, n_ng: int) -> Interval:
    """Score interval of an AUROC: method 5 of Newcombe, Statistics in Medicine 25 (2006) 559-573.

    The Hanley-McNeil variance is taken at the bound and not at the estimate, so that an AUROC of 1 still has
    an interval (DeLong's and the bootstrap give [1, 1] there).
    """
    if n_ok == 0 or n_ng == 0:
        return 0.0, 1.0
    half = (n_ok + n_ng) / 2 - 1

    def distance(theta: float) -> float:
        shape = 1 + half * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return abs(theta - auroc) - Z95 * sqrt(theta * (1 - theta) * shape / (n_ok * n_ng))

    low = 0.0 if auroc <= 0 else _root(distance, auroc, 0.0)
    high = 1.0 if auroc >= 1 else _root(distance, auroc, 1.0)
    return low, high


def average_precision(value: float, n_ng: int) -> Interval:
    """Binomial interval with one trial for each bad picture, as Boyd, Eng, Page (ECML PKDD 2013) advise.

    In its exact form, which does not collapse at 1.
    """
    return clopper_pearson(value * n_ng, n_ng)


def beta_quantile(probability: float, a: float, b: float) -> float:
    """The x with I_x(a, b) = probability, by bisection to the last bit that matters."""
    return _root(lambda x: incomplete_beta(x, a, b) - probability, 0.0, 1.0)


def incomplete_beta(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b) by its continued fraction (DLMF 8.17.22)."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - incomplete_beta(1 - x, b, a)
    front = exp(a * log(x) + b * log1p(-x) + lgamma(a + b) - lgamma(a) - lgamma(b)) / a
    return front / _lentz(lambda m: _beta_term(m, x, a, b))


def _beta_term(step: int, x: float, a: float, b: float) -> float:
    m = step // 2
    if step % 2:
        return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
    return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))


def _lentz(term: Callable[[int], float]) -> float:
    """1 + t1 / (1 + t2 / (1 + ...)) by the modified Lentz algorithm (DLMF 3.10.16)."""
    tiny = 1e-300
    value, c, d = 1.0, 1.0, 0.0
    for step in range(1, 10_000):
        d = 1 / (1 + term(step) * d or tiny)
        c = 1 + term(step) / c or tiny
        value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _root(function: Callable[[float], float], start: float, end: float) -> float:
    """Where `function` changes from not above zero at `start` to not below zero at `end`."""
    for _ in range(80):
        middle = (start + end) / 2
        if function(middle) < 0:
            start = middle
        else:
            end = middle
    return (start + end) / 2
