"""`linegate evaluate`: what a bundle is worth on labelled pictures. Runs without torch."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daemon.commands.labelled import add_data, labelled, tell
from inspection.errors import DataError
from inspection.part import Label

if TYPE_CHECKING:
    from training.evaluate import Evaluation


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "evaluate",
        help="measure a model bundle on labelled pictures",
        description="Score labelled pictures with a bundle, through the backend that production uses, and compare"
        " its verdicts with the labels. Intervals are 95 % and take the pictures as independent.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="model bundle")
    add_data(parser)
    parser.add_argument(
        "--split", choices=("train", "val", "test", "all"), default="test", help="which pictures (default: test)"
    )
    parser.add_argument("--backend", default="auto", help="as in config.yaml (default: auto)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: one for each core)")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep the built network here for the next time")
    parser.add_argument(
        "--worst", type=int, default=10, metavar="N", help="mistakes to list of each kind (default: 10)"
    )
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write scores.png and roc.png here")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    """Exit code 0, or DataError, BundleError or BackendError with what to do."""
    from training.data.learnt import learnt  # noqa: PLC0415 - numpy and OpenCV are not for `linegate --help`
    from training.evaluate import evaluate  # noqa: PLC0415
    from vision.backends.choose import open_backend  # noqa: PLC0415
    from vision.bundle import load_bundle  # noqa: PLC0415

    bundle = load_bundle(args.bundle)
    dataset = labelled(args, args.data)
    samples = dataset.of(args.split)
    if not samples:
        known = sorted({s.split for s in dataset.samples} - {""})
        remedy = f"it has {', '.join(known)}" if known else "it has no split: use --split all"
        raise DataError(f"{args.data}: no picture of split '{args.split}'; {remedy}")
    taught = len(learnt(bundle, samples))
    if taught:
        note = f"{taught} of these {len(samples)} pictures taught this model: its figures are too good for them"
        tell(args.data, [note])
    backend = open_backend(args.bundle, choice=args.backend, threads=args.threads, cache_dir=args.cache)
    evaluation = evaluate(bundle, backend, samples, quiet=args.json)
    plots: tuple[Path, ...] = ()
    if args.plots:
        from training.plots import plot  # noqa: PLC0415

        plots = plot(evaluation, args.plots)
    about = {"model": bundle.model_id, "backend": backend.name, "split": args.split, "learnt_from": taught}
    write = _json if args.json else _text
    sys.stdout.write(write(evaluation, about, args.worst) + "\n")
    if not args.json:
        sys.stdout.writelines(f"{path}\n" for path in plots)
    return 0


def _json(evaluation: "Evaluation", about: dict[str, Any], worst: int) -> str:
    mistakes = {
        name: [{"path": m.sample.name, "score": m.score} for m in evaluation.mistakes(label)[:worst]]
        for name, label in (("worst_escapes", Label.NG), ("worst_overkill", Label.OK))
    }
    return json.dumps({**evaluation.report.to_json(), "bounds": evaluation.bounds.to_json(), **about, **mistakes})


def _text(evaluation: "Evaluation", about: dict[str, Any], worst: int) -> str:
    from training.text import bound_lines, mistake_lines, report_lines  # noqa: PLC0415

    report = evaluation.report
    return "\n".join(
        [
            f"model {about['model']} on {about['backend']}: split {about['split']}, {report.n_ok} ok, {report.n_ng} ng",
            *report_lines(report),
            *bound_lines(about["split"], evaluation.bounds),
            *mistake_lines("escapes (score, picture, defect)", evaluation.mistakes(Label.NG), worst),
            *mistake_lines("overkill (score, picture)", evaluation.mistakes(Label.OK), worst),
        ]
    )
