"""A score histogram and a ROC curve as PNG files."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inspection.errors import DataError
from inspection.extras import how_to_add
from inspection.part import Label
from training.evaluate import Evaluation, truth_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HISTOGRAM = "scores.png"
ROC = "roc.png"


def plot(evaluation: Evaluation, folder: Path) -> tuple[Path, Path]:
    """Write both pictures into `folder`, made where it is missing. Raises DataError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _save(folder / HISTOGRAM, 2, lambda panels: _histogram(panels, evaluation))
        _save(folder / ROC, 1, lambda panels: _roc(panels[0], evaluation))
    except ImportError as error:
        raise DataError(f"plots need matplotlib: {how_to_add('train')}") from error
    except OSError as error:
        raise DataError(f"{folder}: the plots cannot be written ({error.strerror})") from error
    return folder / HISTOGRAM, folder / ROC


def _save(path: Path, rows: int, draw: Callable[[list["Axes"]], None]) -> None:
    # The object interface: pyplot would open a display, and keep every figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    draw(list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]))
    figure.savefig(path)


def _histogram(panels: list["Axes"], evaluation: Evaluation) -> None:
    """Good and defective parts in a panel each, so that a few of one kind are seen beside many of the other."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    truth, thresholds = truth_of(evaluation.samples), evaluation.thresholds
    bins = np.linspace(0, 1, 41).tolist()
    kinds = ((Label.OK, ~truth, "tab:blue"), (Label.NG, truth, "tab:orange"))
    for axes, (label, chosen, colour) in zip(panels, kinds, strict=True):
        scores = evaluation.scores[chosen]
        axes.hist(scores, bins, color=colour, label=f"{label}: {len(scores)} pictures")
        axes.axvline(thresholds.pass_below, color="black", label=f"PASS below {thresholds.pass_below:.4g} (pass_below)")
        axes.axvline(
            thresholds.fail_above,
            color="black",
            linestyle=":",
            label=f"sure FAIL from {thresholds.fail_above:.4g} (fail_above)",
        )
        axes.set(ylabel="pictures", xlim=(0, 1))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        # Above the panel: inside, it would cover bars.
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize="small", columnspacing=1, frameon=False)
    panels[-1].set(xlabel="score: P(defect)")


def _roc(axes: "Axes", evaluation: Evaluation) -> None:
    truth = truth_of(evaluation.samples)
    cuts = np.concatenate([[np.inf], np.unique(evaluation.scores)[::-1]])
    rejected = evaluation.scores[:, None] >= cuts
    if truth.any() and not truth.all():
        axes.plot(rejected[~truth].mean(axis=0), rejected[truth].mean(axis=0), drawstyle="steps-post")
    report = evaluation.report
    if report.overkill.value is not None and report.escape.value is not None:
        axes.plot(
            report.overkill.value,
            1 - report.escape.value,
            "ko",
            label=f"pass_below {evaluation.thresholds.pass_below:.4g}",
        )
        axes.legend(loc="lower right")
    auroc = "" if report.auroc.value is None else f" (AUROC {report.auroc.value:.3f})"
    axes.set(
        xlabel="overkill (good parts rejected)",
        ylabel="defective parts rejected",
        xlim=(-0.01, 1.01),
        ylim=(-0.01, 1.01),
        title=f"ROC{auroc}",
    )
