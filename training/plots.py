"""A score histogram and a ROC curve as PNG files."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inspection.errors import DataError
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
        _save(folder / HISTOGRAM, lambda axes: _histogram(axes, evaluation))
        _save(folder / ROC, lambda axes: _roc(axes, evaluation))
    except ImportError as error:
        raise DataError("plots need matplotlib: pip install 'linegate[train]'") from error
    except OSError as error:
        raise DataError(f"{folder}: the plots cannot be written ({error.strerror})") from error
    return folder / HISTOGRAM, folder / ROC


def _save(path: Path, draw: Callable[["Axes"], None]) -> None:
    # The object interface: pyplot would open a display, and keep every figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(6, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.add_subplot())
    figure.savefig(path)


def _histogram(axes: "Axes", evaluation: Evaluation) -> None:
    truth = truth_of(evaluation.samples)
    bins = np.linspace(0, 1, 41)
    for label, chosen, colour in ((Label.OK, ~truth, "tab:green"), (Label.NG, truth, "tab:red")):
        scores = evaluation.scores[chosen]
        axes.hist(scores, bins.tolist(), alpha=0.6, color=colour, label=f"{label} ({len(scores)})")
    axes.axvline(evaluation.thresholds.pass_below, color="black", label="pass below")
    axes.axvline(evaluation.thresholds.fail_above, color="black", linestyle=":", label="sure from here")
    axes.set(xlabel="P(defect)", ylabel="pictures", yscale="symlog", title="Scores")
    axes.legend()


def _roc(axes: "Axes", evaluation: Evaluation) -> None:
    truth = truth_of(evaluation.samples)
    cuts = np.concatenate([[np.inf], np.unique(evaluation.scores)[::-1]])
    rejected = evaluation.scores[:, None] >= cuts
    if truth.any() and not truth.all():
        axes.plot(rejected[~truth].mean(axis=0), rejected[truth].mean(axis=0), drawstyle="steps-post")
    report = evaluation.report
    if report.overkill.value is not None and report.escape.value is not None:
        axes.plot(report.overkill.value, 1 - report.escape.value, "ko", label="the bundle's threshold")
        axes.legend(loc="lower right")
    auroc = "" if report.auroc.value is None else f" (AUROC {report.auroc.value:.3f})"
    axes.set(xlabel="overkill", ylabel="defects caught", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), title=f"ROC{auroc}")
