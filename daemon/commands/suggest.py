"""`linegate suggest`: which pictures to label next. Runs without torch."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daemon.commands.labelled import add_bit_depth, labelled, tell

if TYPE_CHECKING:
    from training.unlabelled import Looked


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser(
        "suggest",
        help="choose the pictures that are worth labelling next",
        description="Ranks pictures that nobody has labelled: first those that the model is unsure of and that are "
        "unlike the ones before and unlike what is labelled already. Pictures that are there twice or labelled already "
        "are left out. Scores are those of the network in float32.",
    )
    command.add_argument("bundle", type=Path, metavar="BUNDLE", help="model bundle")
    command.add_argument(
        "pictures", type=Path, metavar="PICTURES", help="folder, with the folders in it; also that of records.archive"
    )
    command.add_argument("--count", type=int, default=50, metavar="N", help="how many to suggest (default: 50)")
    command.add_argument(
        "--known", type=Path, metavar="DATA", help="labelled pictures, as for train: a manifest, or folder of pictures"
    )
    command.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        help="a new folder to copy them to, beside empty ok/ and ng/; or a new .csv, a manifest to fill the labels in",
    )
    add_bit_depth(command)
    command.add_argument("--threads", type=int, default=0, help="CPU threads (default: one for each core)")
    command.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    command.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    """Exit code 0, or BundleError or DataError with what to do."""
    from inspection.errors import DataError  # noqa: PLC0415 - `linegate --help` stays quick
    from training.sorting import lay_out, require_new  # noqa: PLC0415
    from training.suggest import suggest  # noqa: PLC0415
    from training.unlabelled import look  # noqa: PLC0415
    from vision.bundle import load_bundle  # noqa: PLC0415
    from vision.describe import Describer  # noqa: PLC0415
    from vision.judge import outcome_of  # noqa: PLC0415

    if args.count < 1:
        raise DataError(f"--count {args.count}: ask for one picture or more")
    if args.out:
        require_new(args.out)
    bundle = load_bundle(args.bundle)
    known = labelled(args, args.known).samples if args.known else ()
    describer = Describer(bundle, args.threads)
    looked = look(args.pictures, describer, known, bit_depth=args.bit_depth, quiet=args.json)
    tell(args.pictures, looked.notes)
    suggestions = suggest(looked, bundle.thresholds, args.count)
    if args.out:
        lay_out(args.out, suggestions)
    told = []
    for rank, suggestion in enumerate(suggestions, 1):
        outcome, reason = outcome_of(suggestion.score, bundle.thresholds)
        facts = {"rank": rank, "path": str(suggestion.picture.path), "score": suggestion.score}
        told.append({**facts, "verdict": outcome, "reason": reason, "why": suggestion.why})
    found = {
        "model": bundle.model_id,
        "pictures": len(looked.pictures),
        "labelled": looked.left_out,
        "twice": looked.twice,
        "broken": looked.broken,
        "suggested": told,
        "out": str(args.out) if args.out else None,
    }
    print(json.dumps(found) if args.json else _text(found, looked, args))
    return 0


def _text(found: dict[str, Any], looked: "Looked", args: argparse.Namespace) -> str:
    from camera.names import shown  # noqa: PLC0415

    width = max(len("uncertain"), *(len(row["why"]) for row in found["suggested"]))
    left_out = f"{looked.left_out} labelled already, {looked.twice} there twice, {len(looked.broken)} not readable"
    lines = [
        f"model {found['model']}: {found['pictures']} pictures to choose from; left out: {left_out}",
        f"rank   score  verdict         {'why':{width}}  picture",
    ]
    for row in found["suggested"]:
        verdict = f"{row['verdict']} {row['reason']}"
        lines.append(f"{row['rank']:4}  {row['score']:.4f}  {verdict:14}  {row['why']:{width}}  {shown(row['path'])}")
    lines += [f"not readable: {shown(name)}: {why}" for name, why in looked.broken.items()]
    if args.out is None:
        lines.append("--out FOLDER copies them to where they can be sorted into ok/ and ng/")
    elif args.out.is_dir():
        lines.append(f"{args.out}: move each picture into ok/ or ng/; the folder is a data set then")
    else:
        lines.append(f"{args.out}: write ok or ng into the column 'label'; the list is a manifest then")
    return "\n".join(lines)
