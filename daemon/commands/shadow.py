"""`linegate shadow`: a candidate scores what the line judges, without a say."""

import argparse
import json
from pathlib import Path
from typing import Any

from daemon.commands.asking import add_options, progress

_SHOWN = 20


def register(commands: "argparse._SubParsersAction[Any]") -> None:
    command = commands.add_parser(
        "shadow",
        help="let a candidate score beside the live model, and compare",
        description="A candidate of the live model's recipe scores the same crops as the live model, without a say and "
        "only with the time that the line leaves. Parts on which the two disagree are counted and listed.",
    )
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("bundle", type=Path, nargs="?", help="the candidate's folder")
    what.add_argument("--off", action="store_true", help="end it")
    what.add_argument("--report", action="store_true", help="how often they agree, and the parts on which they do not")
    add_options(command)
    command.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    from daemon.asking import ask  # noqa: PLC0415 - `linegate --help` stays quick
    from daemon.config import load  # noqa: PLC0415

    state_dir = load(args.config).state_dir
    if args.report:
        return _report(args, state_dir, ask(state_dir, {"command": "shadow_counts"}, progress))
    wish = {"command": "shadow_off"} if args.off else {"command": "shadow", "bundle": str(args.bundle.absolute())}
    done = ask(state_dir, wish, progress)
    if args.json:
        print(json.dumps(done))
    else:
        print(f"{done['candidate']} scores in the shadow." if done["candidate"] else "Nothing scores in the shadow.")
    return 0


def _report(args: argparse.Namespace, state_dir: Path, told: Any) -> int:
    from daemon.journal import read  # noqa: PLC0415
    from daemon.shadow import FILE  # noqa: PLC0415

    candidate, counts = told["candidate"], told["counts"]
    rows = [row for row in read(state_dir / FILE) if not candidate or row["candidate"]["model"] == candidate]
    if args.json:
        print(json.dumps({**told, "disagreements": rows}))
        return 0
    print(f"{candidate} scores in the shadow." if candidate else "Nothing scores in the shadow.")
    print(
        f"  same outcome {counts['same']}, candidate passes what the live model rejects {counts['candidate_passes']}, "
        f"rejects what it passes {counts['candidate_fails']}; not compared: {counts['dropped']} dropped, "
        f"{counts['unscored']} unscored"
    )
    for row in rows[-_SHOWN:]:
        live, other = row["live"], row["candidate"]
        sources = ", ".join(frame["source"] or f"{frame['camera']} {frame['number']}" for frame in row["frames"])
        print(
            f"  {row['record']}  part {row['part']}: {live['model']} {live['verdict']} {live['score']:.4f}, "
            f"{other['model']} {other['verdict']} {other['score']:.4f}  ({sources})"
        )
    if len(rows) > _SHOWN:
        print(f"  the last {_SHOWN} of {len(rows)}; all of them with --json")
    return 0
