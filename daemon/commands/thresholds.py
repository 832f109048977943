"""`linegate thresholds`: other thresholds for a bundle that is there. Needs no torch."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.commands.labelled import add_data, labelled
from daemon.commands.place import require_free
from daemon.commands.targets import add_targets, targets

if TYPE_CHECKING:
    from training.rechoose import Rechosen
    from vision.bundle import Bundle


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "thresholds",
        help="choose the thresholds of a model bundle anew, without training",
        description="Choose the two thresholds of a bundle anew by what they are to keep, and measure them on"
        " 'test': by the scores that training left in the bundle or, with DATA, by those that it gives the 'val'"
        " pictures now. Writes only where --out or --in-place says so: the result is another bundle, with a hash of its"
        " own. A data set without a split is taken whole for 'val': pictures that the model has not learnt from.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="model bundle")
    add_data(parser, optional=True)
    add_targets(parser)
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--out", type=Path, metavar="NEW", help="folder to write the bundle with the new thresholds to")
    place.add_argument(
        "--in-place", action="store_true", help="write it in the place of BUNDLE, which must not be in use"
    )
    parser.add_argument("--force", action="store_true", help="replace a bundle that is there")
    parser.add_argument("--backend", default="auto", help="as in config.yaml (default: auto)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: one for each core)")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep the built network here for the next time")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    """Exit code 0, or DataError, BundleError or BackendError with what to do."""
    from training.rechoose import rechoose, rechoose_stored  # noqa: PLC0415
    from vision.backends.choose import open_backend  # noqa: PLC0415
    from vision.bundle import SIGNATURE, load_bundle  # noqa: PLC0415

    if args.out:
        require_free(args.out, force=args.force)
    wanted = targets(args)
    bundle = load_bundle(args.bundle)
    if args.data:
        dataset = labelled(args, args.data)
        backend = open_backend(args.bundle, choice=args.backend, threads=args.threads, cache_dir=args.cache)
        found = rechoose(bundle, backend, dataset, wanted, quiet=args.json)
    else:
        found = rechoose_stored(bundle, wanted)
    signed = (args.bundle / SIGNATURE).exists()
    out = args.bundle if args.in_place else args.out
    written = found.write(out) if out else None
    sys.stdout.write((_json(found, written) if args.json else _text(found, written, signed=signed)) + "\n")
    return 0


def _json(found: "Rechosen", written: "Bundle | None") -> str:
    thresholds = found.decision.thresholds
    return json.dumps(
        {
            "bundle": str(written.path) if written else None,
            "model": written.model_id if written else None,
            "from_model": found.bundle.model_id,
            "thresholds": {"pass_below": thresholds.pass_below, "fail_above": thresholds.fail_above},
            "golden_excused": [part.path.name for part in found.newly_excused],
            "same_data": found.same_data,
            "decision": found.decision.to_json(),
            "val": found.val.to_json(),
            "test": found.test.to_json() if found.test else None,
        }
    )


def _text(found: "Rechosen", written: "Bundle | None", *, signed: bool) -> str:
    from training.text import decision_lines  # noqa: PLC0415

    old, bundle = found.bundle.thresholds, found.bundle
    lines = [
        f"model {bundle.model_id}: PASS below {old.pass_below:.4f}, FAIL from {old.fail_above:.4f} on",
        *decision_lines(found.decision),
    ]
    if not found.same_data:
        lines.append(
            "These are other pictures than the bundle was trained with: it must not have learnt from any in val."
        )
    if found.newly_excused:
        told = ", ".join(f"{part.path.name} (score {part.score:.4f})" for part in found.newly_excused)
        lines.append(f"These golden parts are misjudged or too near to a threshold, and excused from now on: {told}")
    if written is None:
        lines.append("Nothing was written: --out NEW or --in-place does.")
    else:
        lines.append(f"{written.path}: model {written.model_id}")
        if signed:
            lines.append("The signature of the old bundle does not fit the new one: sign it again.")
    return "\n".join(lines)
