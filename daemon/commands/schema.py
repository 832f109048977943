"""`linegate schema`: the JSON schema of config.yaml for editors, or the same as a page for people."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from inspection.errors import DataError


def register(commands: "argparse._SubParsersAction[Any]") -> None:
    command = commands.add_parser(
        "schema",
        help="write the JSON schema of config.yaml",
        description="Write the JSON schema of config.yaml. Name it in the file's first line "
        "(# yaml-language-server: $schema=linegate.schema.json) and editors complete and check it.",
    )
    command.add_argument("--out", type=Path, help="file to write; standard output when left out")
    command.add_argument("--markdown", action="store_true", help="write a page for people instead")
    command.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    from daemon.config import schema  # noqa: PLC0415 - `linegate --help` stays quick
    from daemon.reference import page  # noqa: PLC0415

    text = page() if args.markdown else json.dumps(schema(), indent=2) + "\n"
    if args.out:
        try:
            args.out.write_text(text, encoding="utf-8")
        except (OSError, ValueError) as error:
            raise DataError(f"{args.out}: cannot be written: {error}") from error
    else:
        sys.stdout.write(text)
    return 0
