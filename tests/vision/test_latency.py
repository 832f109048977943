import pytest

from vision.latency import LatencyCurve


def test_many_crops_take_as_many_full_batches_as_they_need() -> None:
    curve = LatencyCurve([1.0, 1.5, 2.0, 2.5])
    assert [curve.seconds(crops) for crops in (0, 1, 4, 5, 8, 11)] == [0.0, 1.0, 2.5, 3.5, 5.0, 7.0]


def test_a_slower_device_moves_the_size_that_was_seen_and_pulls_the_others_along() -> None:
    curve = LatencyCurve([1.0, 2.0])
    curve.observe(1, 1.5)
    assert curve.seconds_by_batch == pytest.approx([1.1, 2.02])


def test_the_curve_settles_on_what_is_seen() -> None:
    curve = LatencyCurve([1.0, 2.0])
    for _ in range(100):
        curve.observe(2, 0.5)
    assert curve.seconds(2) == pytest.approx(0.5, rel=1e-3)


def test_one_outlier_hardly_counts() -> None:
    curve = LatencyCurve([1.0, 2.0])
    curve.observe(1, 1000.0)
    assert curve.seconds(1) == pytest.approx(1.2)
    curve.observe(2, 0.0)
    assert curve.seconds(2) > 1.0


def test_a_curve_that_refuses_work_relaxes() -> None:
    curve = LatencyCurve([1.0, 2.0])
    curve.relax()
    assert curve.seconds_by_batch == pytest.approx([0.95, 1.9])


@pytest.mark.parametrize("measured", [[], [-1.0], [0.1, -0.1]])
def test_a_curve_without_times_is_refused(measured: list[float]) -> None:
    with pytest.raises(ValueError, match="latency curve"):
        LatencyCurve(measured)
