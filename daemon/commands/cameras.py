"""`linegate cameras`: what cameras this machine can see."""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from camera.find import Found


def register(commands: "argparse._SubParsersAction[Any]") -> None:
    command = commands.add_parser(
        "cameras",
        help="list the cameras that this machine can see",
        description="Lists V4L2 devices, and what GenTL producers see: those in the folders of "
        "GENICAM_GENTL64_PATH and those that you name. Opens no camera; RTSP cameras cannot be listed.",
    )
    command.add_argument(
        "--producer", type=Path, action="append", default=[], metavar="FILE", help="a .cti file; may be repeated"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    from camera.find import find_genicam, find_producers, find_v4l2  # noqa: PLC0415 - `linegate --help` stays quick
    from inspection.errors import CameraError  # noqa: PLC0415

    producers = [*args.producer, *(file for file in find_producers(os.environ) if file not in args.producer)]
    cameras = list(find_v4l2())
    problems: dict[str, str] = {}
    for producer in producers:
        try:
            cameras += find_genicam(producer)
        except CameraError as error:
            problems[str(producer)] = error.detail
    if args.json:
        told = {"cameras": [asdict(found) for found in cameras], "producers": [*map(str, producers)]}
        print(json.dumps({**told, "problems": problems}))
    else:
        print("\n".join(_lines(cameras, producers, problems)))
    # Nothing found is an answer; a producer that somebody named and that does not work is not.
    return int(any(str(producer) in problems for producer in args.producer))


def _lines(cameras: "Sequence[Found]", producers: Sequence[Path], problems: dict[str, str]) -> list[str]:
    from camera.find import GENTL_VARIABLE  # noqa: PLC0415

    lines = []
    for found in cameras:
        notes = [found.name, " ".join(found.formats), found.problem and f"! {found.problem}"]
        lines.append(f"{found.kind:<8} {found.source:<20} {'  '.join(note for note in notes if note)}".rstrip())
        lines += [f"{'':<8} {'':<20} producer {found.producer}"] * bool(found.producer)
    lines += [f"problem  {producer}: {problem}" for producer, problem in problems.items()]
    if cameras:
        return [*lines, "", "Prove one: linegate snapshot SOURCE out.png, for genicam with --producer FILE."]
    variable = f"{GENTL_VARIABLE}={os.environ.get(GENTL_VARIABLE, '')}"
    return [
        *lines,
        "No camera found. Looked at:",
        "  V4L2     /dev/video*: is the camera plugged in, and does `lsusb` show it?",
        f"  GenICam  {', '.join(map(str, producers)) or 'no GenTL producer'} ({variable}).",
        "           Install the vendor's runtime, then name its .cti file: linegate cameras --producer FILE.",
        "RTSP cameras cannot be listed; prove one: linegate snapshot rtsp://HOST/PATH out.png",
    ]
