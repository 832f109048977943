"""Rate and latency of the last seconds."""

import pytest

from dashboard.recent import Recent


def test_a_steady_line_shows_its_rate_and_quantiles() -> None:
    recent = Recent(window_s=30)
    for tick in range(600):
        recent.add(tick * 0.1, (tick % 100 + 1) / 1000)
    assert recent.rate(59.9) == pytest.approx(10, rel=0.02)
    assert recent.quantile(59.9, 0.5) == pytest.approx(0.050, abs=0.001)
    assert recent.quantile(59.9, 0.99) == pytest.approx(0.099, abs=0.0015)
    assert recent.quantile(59.9, 1.0) == pytest.approx(0.100)


def test_a_line_that_stopped_fades_to_nothing() -> None:
    recent = Recent(window_s=30)
    recent.add(0.0, 0.05)
    assert recent.rate(29.0) > 0
    assert recent.rate(31.0) == 0
    assert recent.quantile(31.0, 0.5) is None


def test_a_line_that_just_began_is_not_measured_over_a_window_that_has_not_passed() -> None:
    recent = Recent(window_s=30)
    for tick in range(20):
        recent.add(100 + tick * 0.5, 0.05)
    assert recent.rate(110.0) == pytest.approx(2.0)


def test_a_fast_line_is_measured_over_what_is_kept() -> None:
    recent = Recent(window_s=30, most=100)
    for tick in range(5000):
        recent.add(tick * 0.01, 0.05)
    assert recent.rate(50.0) == pytest.approx(100, rel=0.02)


def test_nothing_seen_is_no_rate_and_no_latency() -> None:
    assert Recent().rate(5.0) == 0
    assert Recent().quantile(5.0, 0.99) is None
