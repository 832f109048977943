"""`linegate COMMAND`: one file in daemon/commands for each."""

import argparse
import sys
from importlib.metadata import version

from daemon.commands import (
    cameras,
    check,
    compress,
    demo,
    evaluate,
    explain,
    export,
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
)
from inspection.errors import ConfigError, LinegateError

EX_CONFIG = 78  # sysexits.h; the unit does not restart on it
COMMANDS = (
    run,
    check,
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
    export,
    compress,
    promote,
    rollback,
    shadow,
    relearn,
)


def parser() -> argparse.ArgumentParser:
    """The whole command line; heavy imports wait until a command runs."""
    top = argparse.ArgumentParser(
        prog="linegate",
        description="Camera line inspection: every trigger ends in exactly one verdict before its deadline.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 78 wrong configuration.",
    )
    top.add_argument("--version", action="version", version=f"linegate {version('linegate')}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.register(commands)
    return top


def main(argv: list[str] | None = None) -> int:
    """The console script. A LinegateError becomes one line on standard error, never a traceback."""
    args = parser().parse_args(argv)
    try:
        code: int = args.run(args)
    except ConfigError as error:
        print(f"linegate: {error}", file=sys.stderr)
        return EX_CONFIG
    except LinegateError as error:
        print(f"linegate: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # whoever read us has gone; the interpreter would complain about the flush
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
