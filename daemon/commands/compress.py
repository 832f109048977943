"""`linegate compress`: a bundle ten times smaller and faster, taught by the one that there is."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.commands.labelled import add_data, labelled
from daemon.commands.learning import add_device, add_outcome, minutes, require_ready
from daemon.commands.targets import targets
from inspection import clock

if TYPE_CHECKING:
    from training.compress import Compressed


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "compress",
        help="teach a small network what a bundle knows, and put it into INT8",
        description="Make a bundle with a narrow ResNet18 in INT8 that has learnt, from many views of the pictures of"
        " 'train', what BUNDLE answers. 'val' chooses its thresholds, 'test' is measured once. BUNDLE stays as it is.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the teacher: a bundle of a whole ResNet18")
    add_data(parser)
    parser.add_argument("--out", "-o", type=Path, required=True, metavar="NEW", help="folder to write")
    parser.add_argument(
        "--target",
        type=_times,
        default=10.0,
        metavar="10x",
        help="so many times smaller than ResNet18 in float32 (default: 10x)",
    )
    parser.add_argument(
        "--budget", type=minutes, default=20.0, metavar="MINUTES", help="at most so long for learning (default: 20)"
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bundle (default: 0)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: one for each core)")
    add_device(parser)
    add_outcome(parser)
    parser.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    """Exit code 0, 1 where the target is missed, or DataError, BundleError or BackendError with what to do."""
    require_ready("compressing", args.out, force=args.force)
    import torch  # noqa: PLC0415 - a line box has none

    from training.compress import compress  # noqa: PLC0415
    from training.device import learning_device  # noqa: PLC0415
    from training.targets import Targets  # noqa: PLC0415
    from vision.bundle import load_bundle  # noqa: PLC0415

    if args.threads:
        torch.set_num_threads(args.threads)
    began = clock.monotonic()
    asked = targets(args)
    compressed = compress(
        load_bundle(args.bundle),
        labelled(args, args.data),
        args.out,
        target=args.target,
        seed=args.seed,
        minutes=args.budget,
        targets=None if asked == Targets() else asked,
        device=learning_device(args.device),
        threads=args.threads,
        quiet=args.json,
    )
    seconds = clock.monotonic() - began
    sys.stdout.write((_json(compressed, seconds) if args.json else _text(compressed, seconds)) + "\n")
    return 1 if compressed.versus.missed else 0


def _json(compressed: "Compressed", seconds: float) -> str:
    bundle = compressed.bundle
    return json.dumps(
        {"bundle": str(bundle.path), "model": bundle.model_id, "seconds": seconds, **bundle.metrics["compression"]}
    )


def _text(compressed: "Compressed", seconds: float) -> str:
    from training.text import certificate_lines, decision_lines, gate_lines, report_lines, versus_lines  # noqa: PLC0415

    bundle, made = compressed.bundle, compressed.made
    lines = [f"{bundle.path}: model {bundle.model_id}, {seconds:.0f} s", "", *versus_lines(compressed.versus)]
    for split, report in (("val", made.val), ("test", made.test)):
        lines += ["", f"{split}, in float32", *(report_lines(report) if report else ["  there is no test split"])]
    lines += ["", *decision_lines(made.decision), "", *certificate_lines(compressed.exported.certificate)]
    lines += gate_lines(bundle)
    return "\n".join(lines)


def _times(text: str) -> float:
    try:
        value = float(text.removesuffix("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no factor: write 10x") from error
    if not 1 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not above 1: write 10x")
    return value
