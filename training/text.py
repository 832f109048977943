"""Reports and mistakes as lines for a terminal."""

from training.decide import HELD_OUT, TAUGHT, Achieved, Decision, Share
from training.evaluate import Mistake
from training.metrics import MEASURES, Report
from training.search import Search
from training.targets import percent
from training.versus import Versus
from vision.bundle import Bundle
from vision.certificate import Agreement, Certificate
from vision.golden import weakness

_TITLES = {
    "accuracy": "accuracy",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "recall_at_1pct_overkill": "recall at 1 % overkill",
    "escape": "escape (score < pass_below)",
    "overkill": "overkill (score >= pass_below)",
}

_BOUNDS_HEAD = (
    "  'at most' is the one-sided 95 % Clopper-Pearson bound of a rate (an 'interval' has two). It takes pictures",
    "  as independent; those of a group are not: 'by groups' counts a group once if any of its pictures does it.",
    "  overkill = sure overkill + good, uncertain: a part that is not sure to be good is rejected too.",
    f"  {'':44}{'seen':>20}{'at most':>10}{'by groups':>20}{'at most':>10}{'target':>10}",
)


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
            lines.append(f"  {_TITLES[name]:32} {measure.value:.3f}   95 % interval [{low:.3f}, {high:.3f}]")
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


def decision_lines(decision: Decision) -> list[str]:
    """The thresholds, and for val and test what they achieve, with the bounds and the targets."""
    thresholds, targets = decision.thresholds, decision.targets
    lines = [
        (
            f"thresholds by the scores of {decision.scored_by} on {decision.chosen_on}: "
            f"PASS below {thresholds.pass_below:.4f}, FAIL from {thresholds.fail_above:.4f} on, uncertain between"
        ),
        *_BOUNDS_HEAD,
    ]
    chooser = "held out" if decision.chosen_on == HELD_OUT else "val"
    for split, found in ((chooser, decision.val), ("test", decision.test)):
        if found is not None:
            lines += _achieved_lines(split, found, targets.max_escape, targets.max_overkill)
    if targets.costs:
        lines.append(f"  costs are weighed with {percent(decision.defect_rate)} defective parts")
    val = decision.val
    if val.escape_groups.of < val.escape.of or val.sure_overkill_groups.of < val.sure_overkill.of:
        lines.append(
            f"  The {val.escape.of} defective and {val.sure_overkill.of} good pictures come from {val.escape_groups.of}"
            f" and {val.sure_overkill_groups.of} groups: parts of other groups may well exceed a bound that counts"
            " pictures."
        )
    if decision.chosen_on == TAUGHT:
        lines.append(
            "  Some of what its teacher knows of val has come to this model: expect more errors than on val, and prove"
            " a bound on pictures that neither has seen: linegate thresholds BUNDLE NEW"
        )
    if val.passes_nothing:
        lines.append("  No good picture would pass: the model does not tell good from bad well enough for this.")
    return lines


def bound_lines(split: str, found: Achieved) -> list[str]:
    """What the thresholds do to the pictures of one split, with the bounds."""
    return [*_BOUNDS_HEAD, *_achieved_lines(split, found, None, None)]


def _achieved_lines(split: str, found: Achieved, max_escape: float | None, max_overkill: float | None) -> list[str]:
    lines = [
        _share_line(f"{split}: escape (score < pass_below)", found.escape, found.escape_groups, max_escape),
        _share_line(
            f"{split}: sure overkill (score >= fail_above)",
            found.sure_overkill,
            found.sure_overkill_groups,
            max_overkill,
        ),
        _share_line(f"{split}: good, uncertain (between)", found.uncertain_ok),
        _share_line(f"{split}: defective, uncertain (between)", found.uncertain_ng),
    ]
    return lines if found.cost is None else [*lines, f"  {split + ': cost of the mean part':44}{found.cost:>20.4g}"]


def _share_line(title: str, share: Share, groups: Share | None = None, target: float | None = None) -> str:
    line = f"  {title:44}{_seen(share):>20}"
    if groups:
        line += f"{percent(share.upper):>10}{_seen(groups):>20}{percent(groups.upper):>10}"
    return line + (f"{percent(target):>10}" if target is not None else "")


def _seen(share: Share) -> str:
    return "none there" if share.rate is None else f"{share.count} of {share.of} {percent(share.rate):>6}"


def search_lines(search: Search) -> list[str]:
    """Every candidate with mean and spread over the folds, what was skipped, and why the winner won."""
    lines = [
        f"recipes compared on {search.folds} folds of train and val, no group in two of them: mean and spread",
        f"  {'':58}{'AUROC':>16}{'recall at 1 %':>16}{'escape+overkill':>18}{'changed':>9}{'crops':>7}{'s':>6}",
    ]
    for trial in search.trials:
        measures = [f"{trial.mean(name):.3f} +- {trial.spread(name):.3f}" for name in ("auroc", "recall", "errors")]
        changed = f"{trial.mean_changed:.3f}" if trial.changed else ""
        row = f"{measures[0]:>16}{measures[1]:>16}{measures[2]:>18}{changed:>9}{trial.cost:>7.2g}{trial.seconds:>6.0f}"
        lines.append(f"  {trial.name:58}{row}")
    lines += [f"  {skipped.name}: skipped: {skipped.why}" for skipped in search.skipped]
    for trial in search.trials:
        if trial.cut:
            passes = ", ".join(map(str, trial.cut))
            lines.append(f"  {trial.name}: cut short: the machine has become slower; passes on the folds: {passes}")
    lines += [f"  taken: {choice.trial.name}: {choice.why}" for choice in search.choices]
    return lines


def certificate_lines(certificate: Certificate) -> list[str]:
    """A table: one line for each backend, golden parts and val side by side."""

    def cells(found: Agreement) -> str:
        change = "     -" if found.auroc_change is None else f"{found.auroc_change:+.4f}"
        return f"{found.largest:10.4f}{found.mean:9.4f}{found.other_verdicts:7d}{change:>10}"

    first = certificate.backends[0]
    over = f"{first.golden.parts} golden parts, {first.val.parts} of val"
    head = f"{'largest':>10}{'mean':>9}{'other':>7}{'AUROC':>10}"
    return [
        f"Scores against {certificate.reference} on {certificate.cpu}, {over}:",
        f"  {'':16}{'golden':^36}   {'val':^36}",
        f"  {'':16}{head}   {head}",
        *(f"  {one.backend:16}{cells(one.golden)}   {cells(one.val)}" for one in certificate.backends),
    ]


def gate_lines(bundle: Bundle) -> list[str]:
    """What keeps a line from taking the bundle; none where nothing does."""
    weak = weakness(bundle)
    return [f"No line will take this bundle: it {weak}."] if weak else []


def versus_lines(versus: Versus) -> list[str]:
    """Teacher and student side by side, what the two could do together, and what of the target was missed."""
    whole, small = (size / 1e6 for size in versus.sizes)
    lines = [
        f"{'':34}{'teacher':>12}{'student':>12}",
        f"  {'stored, MB (ResNet18 in float32)':32}{whole:12.1f}{small:12.2f}   {versus.ratio:.1f} times smaller",
    ]
    for split, found in versus.splits.items():
        other = f"{-found.lost:+.4f}, {found.differ} of {found.parts} verdicts differ"
        lines.append(f"  {'AUROC on ' + split:32}{found.teacher:12.4f}{found.student:12.4f}   {other}")
    for rate in versus.rates:
        title = f"crops/s of one core, {rate.backend}"
        lines.append(f"  {title:32}{rate.teacher:12.0f}{rate.student:12.0f}   {rate.ratio:.1f} times as fast")
    return [*lines, *[f"  MISSED {one}" for one in versus.missed], *_error_lines(versus)]


def _error_lines(versus: Versus) -> list[str]:
    """Escapes and overkill of the teacher alone, of the student alone, and of the pair."""
    lines = [
        "",
        "  Parts judged wrongly by each model alone (score against its own pass_below), and by the pair, in which the",
        "  student decides what it is sure of and the teacher the rest. A station runs one model, not the pair.",
        f"  {'':44}{'teacher':>10}{'student':>10}{'pair':>10}",
    ]
    for split, found in versus.splits.items():
        # Thresholds were chosen on the scores in float32; test shows what the line will see.
        arithmetic = "INT8" if split == "test" else "float32"
        trio = (found.teacher_errors, found.student_errors, found.cascade.errors)
        rows = (("escapes", [errors.escapes for errors in trio]), ("overkill", [errors.overkill for errors in trio]))
        for name, counts in rows:
            title = f"{name} on {split}, student in {arithmetic}"
            lines.append(f"  {title:44}" + "".join(f"{count:>10}" for count in counts))
        sure = f"{percent(found.cascade.sure / found.parts)} of {found.parts} parts"
        lines.append(f"  {f'the student decides in the pair, {split}':44}{sure:>30}")
    return lines
