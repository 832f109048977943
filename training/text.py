"""Reports and mistakes as lines for a terminal."""

from training.evaluate import Mistake
from training.metrics import MEASURES, Report

_TITLES = {
    "accuracy": "accuracy",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "recall_at_1pct_overkill": "recall at 1 % overkill",
    "escape": "escape (defective parts passed)",
    "overkill": "overkill (good parts rejected)",
}


def report_lines(report: Report) -> list[str]:
    """The confusion matrix, then each measure with its 95 % interval."""
    c = report.confusion
    lines = [
        f"  {'':12}{'PASS':>8}{'FAIL':>8}{'of these uncertain':>22}",
        f"  {'ok':12}{c.ok_passed:>8}{c.overkill:>8}{c.uncertain_ok:>22}",
        f"  {'ng':12}{c.escaped:>8}{c.caught:>8}{c.uncertain_ng:>22}",
    ]
    for name in MEASURES:
        measure = report.measure(name)
        if measure.value is None or measure.interval is None:
            lines.append(f"  {_TITLES[name]:32} not known: one class is missing")
        else:
            low, high = measure.interval
            lines.append(f"  {_TITLES[name]:32} {measure.value:.3f}   95 % [{low:.3f}, {high:.3f}]")
    return lines


def mistake_lines(title: str, mistakes: list[Mistake], most: int) -> list[str]:
    """The worst `most` of them by file."""
    if not mistakes:
        return [f"{title}: none"]
    shown = f", the worst {most}" if len(mistakes) > most else ""
    return [f"{title}: {len(mistakes)}{shown}"] + [
        f"  {mistake.score:.3f}  {mistake.sample.name}  {mistake.sample.defect_type}".rstrip()
        for mistake in mistakes[:most]
    ]
