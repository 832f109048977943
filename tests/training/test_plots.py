"""Plots show each kind of part, and each threshold by its name and value."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from inspection.part import Label
from training.dataset import Sample
from training.decide import achieved
from training.evaluate import Evaluation
from training.metrics import report
from training.plots import plot
from training.targets import ScoredSplit
from vision.bundle import Thresholds

THRESHOLDS = Thresholds(0.25, 0.75)


@pytest.fixture(name="figures")
def _figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """scores.png and roc.png of 300 good and 3 defective parts, as matplotlib has drawn them."""
    kept: list[Figure] = []
    save = Figure.savefig

    def saved(figure: Figure, path: Path) -> None:
        kept.append(figure)
        save(figure, path)

    monkeypatch.setattr(Figure, "savefig", saved)
    scores = np.concatenate([np.linspace(0, 0.3, 300), [0.2, 0.8, 0.9]])
    truth = np.arange(303) >= 300
    samples = tuple(Sample(Path(f"{n}.png"), f"{n}.png", Label.NG if bad else Label.OK) for n, bad in enumerate(truth))
    bounds = achieved(ScoredSplit(scores, truth, np.arange(303)), THRESHOLDS, None, 0.0)
    plot(Evaluation(samples, scores, report(scores, truth, THRESHOLDS), bounds, THRESHOLDS), tmp_path)
    return kept


def counted(axes: Axes) -> float:
    return sum(bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle))


def test_counts_are_linear_and_few_defective_parts_are_seen_beside_many_good_ones(figures: list[Figure]) -> None:
    good, defective = figures[0].axes
    assert good.get_yscale() == defective.get_yscale() == "linear"
    assert counted(good) == 300
    assert counted(defective) == 3
    assert defective.get_ylim()[1] < 10


def test_the_legend_names_both_thresholds_with_their_values_and_covers_no_bar(figures: list[Figure]) -> None:
    for axes in figures[0].axes:
        legend = axes.get_legend()
        assert legend is not None
        told = " ".join(text.get_text() for text in legend.get_texts())
        assert "PASS below 0.25 (pass_below)" in told
        assert "sure FAIL from 0.75 (fail_above)" in told
        assert legend.get_window_extent().y0 >= axes.get_window_extent().y1
        assert legend.get_window_extent().x1 <= figures[0].bbox.x1
