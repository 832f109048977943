"""How the scores of one backend compare with those of another."""

import numpy as np

from training.metrics import Scores, Truth, auroc
from vision.bundle import Bundle
from vision.certificate import Agreement, Certified


def certified(name: str, bundle: Bundle, *, golden: Scores, val: Scores, reference: Scores, truth: Truth) -> Certified:
    """What the certificate says of the backend `name`.

    `golden` are its scores of the golden parts, `val` and `reference` its own and the reference's of the val pictures,
    whose `truth` is True for ng; all float64 [parts]. The verdict of an excused golden part does not count.
    """
    labels = np.array([part.label == "ng" for part in bundle.golden], np.bool_)
    expected = np.array([part.score for part in bundle.golden], np.float64)
    held = np.array([not part.excused for part in bundle.golden], np.bool_)
    kept = agreement(golden[held], expected[held], labels[held], bundle)
    return Certified(
        backend=name,
        golden=agreement(golden, expected, labels, bundle).model_copy(update={"other_verdicts": kept.other_verdicts}),
        val=agreement(val, reference, truth, bundle),
    )


def agreement(scores: Scores, reference: Scores, truth: Truth, bundle: Bundle) -> Agreement:
    """Of two backends' scores of the same parts. A score that is not finite differs as far as one can."""
    difference = np.nan_to_num(np.abs(scores - reference), nan=1.0)
    edges = np.array([bundle.thresholds.pass_below, bundle.thresholds.fail_above])
    moved = np.digitize(scores, edges) != np.digitize(reference, edges)
    both = bool(truth.any() and not truth.all())
    change = auroc(scores[~truth], scores[truth]) - auroc(reference[~truth], reference[truth]) if both else None
    return Agreement(
        parts=len(scores),
        largest=float(difference.max(initial=0.0)),
        mean=float(difference.mean()) if len(scores) else 0.0,
        other_verdicts=int(moved.sum()),
        auroc_change=change,
    )
