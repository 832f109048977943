"""`linegate COMMAND`: one file in daemon/commands for each."""

import argparse
import io
import json
import sys
from dataclasses import asdict
from typing import Any

from daemon.commands import (
    cameras,
    check,
    compress,
    demo,
    evaluate,
    explain,
    export,
    init,
    plc,
    promote,
    relearn,
    replay,
    rollback,
    run,
    schema,
    shadow,
    snapshot,
    suggest,
    thresholds,
    train,
    upgrade,
)
from daemon.version import version
from inspection.errors import ConfigError, LinegateError, Mistake, UnavailableError
from inspection.files import SHARED, made_with
from inspection.spawn import keep_program

EX_CONFIG = 78  # sysexits.h; the unit does not restart on it
EX_TEMPFAIL = 75  # and on this it does
COMMANDS = (
    run,
    check,
    init,
    schema,
    demo,
    plc,
    cameras,
    snapshot,
    train,
    evaluate,
    explain,
    replay,
    suggest,
    thresholds,
    upgrade,
    export,
    compress,
    promote,
    rollback,
    shadow,
    relearn,
)


class _Version(argparse.Action):
    """Unlike argparse's own, asks for the version only when it is wanted: in a checkout git tells it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"linegate {version()}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The whole command line; heavy imports wait until a command runs."""
    top = argparse.ArgumentParser(
        prog="linegate",
        description="Camera line inspection: every trigger ends in exactly one verdict before its deadline.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 75 not possible now, 78 wrong configuration.",
    )
    top.add_argument("--version", action=_Version, nargs=0, help="show program's version number and exit")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.register(commands)
    return top


def main(argv: list[str] | None = None) -> int:
    """The console script. A LinegateError becomes one line on standard error, never a traceback."""
    keep_program()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not be text
    args = parser().parse_args(argv)
    try:
        with made_with(SHARED):  # the daemon itself holds its state directory with others
            code: int = args.run(args)
    except LinegateError as error:
        print(f"linegate: {error}", file=sys.stderr)
        code = exit_code(error)
        if getattr(args, "json", False):
            print(json.dumps(_as_json(error, code)))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # whoever read us has gone; the interpreter would complain about the flush
        return 1
    return code


def exit_code(error: LinegateError) -> int:
    match error:
        case ConfigError():
            return EX_CONFIG
        case UnavailableError():
            return EX_TEMPFAIL
        case _:
            return 1


def _as_json(error: LinegateError, code: int) -> dict[str, Any]:
    match error:
        case ConfigError():
            mistakes = error.mistakes
        case UnavailableError():
            mistakes = (Mistake(str(error), key=error.key),)
        case _:
            mistakes = (Mistake(str(error)),)
    return {"exit_code": code, "errors": [asdict(mistake) for mistake in mistakes]}


if __name__ == "__main__":
    sys.exit(main())
