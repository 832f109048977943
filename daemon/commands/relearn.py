"""`linegate relearn`: after a change that was meant, a station's next pictures are what drift is measured from."""

import argparse
import json
from typing import Any

from daemon.commands.asking import add_options, progress


def register(commands: "argparse._SubParsersAction[Any]") -> None:
    command = commands.add_parser(
        "relearn",
        help="measure drift from a station's next pictures, after a change that was meant",
        description="After a new lamp, lens or fixture: the next 300 pictures of each of the station's cameras and its "
        "next 300 scores take the place of the bundle's references, until another model is live. Let good parts run. "
        "Alarms that last are over; until the references are learnt there are no others.",
    )
    command.add_argument("station", help="its name in the configuration")
    command.add_argument("--off", action="store_true", help="forget what it learnt: the bundle's references again")
    add_options(command)
    command.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    from daemon.asking import ask  # noqa: PLC0415 - `linegate --help` stays quick
    from daemon.config import load  # noqa: PLC0415

    name = "unlearn" if args.off else "relearn"
    done = ask(load(args.config).state_dir, {"command": name, "station": args.station}, progress)
    print(json.dumps(done) if args.json else f"{args.station} {done['drift']}.")
    return 0
