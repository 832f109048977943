"""`linegate replay`: a record's score once more, bit for bit."""

import argparse
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from inspection.errors import DataError, LinegateError

if TYPE_CHECKING:
    from daemon.replay import Replayed, Told

NOT_REPLAYED = 2


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser(
        "replay",
        help="reproduce the score of a record",
        description="Scores the archived pictures of a part again with the model that judged it, and compares: bit "
        "for bit on the same backend, within the bound of the bundle's certificate on another. Exit code 0 where the "
        "score is reproduced, 1 where it is not, 2 where it cannot be tried.",
    )
    command.add_argument(
        "record", metavar="RECORD", help="file with the record's JSON, - for standard input, or the id with --records"
    )
    command.add_argument("--records", metavar="FILE", help="JSON lines with the record; - for standard input")
    command.add_argument(
        "--bundle",
        type=Path,
        required=True,
        help="the model's folder, or one that holds several: the record's hash tells which",
    )
    command.add_argument("--archive", type=Path, metavar="DIR", help="where the archive is now (default: as recorded)")
    command.add_argument("--backend", default="", help="another than the one that scored")
    command.add_argument("--threads", type=int, default=0, help="CPU threads (default: one for each core)")
    command.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    command.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    from daemon.replay import find_bundle, replay  # noqa: PLC0415 - `linegate --help` stays quick

    try:
        record = _named(args.record, args.records)
        bundle = find_bundle(args.bundle, record.model_hash)
        found = replay(record, bundle, archive=args.archive, backend=args.backend, threads=args.threads)
    except LinegateError as error:
        print(f"linegate: {error}", file=sys.stderr)
        return NOT_REPLAYED
    print(json.dumps(found.to_json()) if args.json else _text(found))
    return int(not found.reproduced)


def _named(record: str, records: str | None) -> "Told":
    """The record that the arguments name. Raises DataError."""
    from daemon.replay import find_record, read_file, read_record  # noqa: PLC0415

    if records is None:
        return read_record(sys.stdin.read(), "standard input") if record == "-" else read_file(Path(record))
    try:
        with nullcontext(sys.stdin) if records == "-" else Path(records).open(encoding="utf-8") as lines:
            return find_record(lines, record, records)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{records}: {getattr(error, 'strerror', None) or 'no text'}") from error


def _text(found: "Replayed") -> str:
    told = [
        f"record {found.id}, model {found.model}",
        f"then {found.score!r} on {found.backend}",
        f"now  {found.again!r} on {found.again_on}",
    ]
    if found.bound == 0:
        same = "reproduced bit for bit"
        other = "not reproduced: another CPU or another version of the runtime may round in another way"
        return "\n".join([*told, same if found.reproduced else f"{other}; the difference is {found.difference:.2g}"])
    if found.bound is None:
        verdict = "no certificate in the bundle says how far the two may differ: linegate export makes one"
    else:
        verdict = f"{'within' if found.reproduced else 'beyond'} {found.bound:.2g}, the most that the certificate saw"
    return "\n".join([*told, f"another backend, difference {found.difference:.2g}: {verdict}"])
