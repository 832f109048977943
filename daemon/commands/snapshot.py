"""`linegate snapshot`: whether one camera works, from opening to a picture on disk."""

import argparse
import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspection.errors import ConfigError

if TYPE_CHECKING:
    from camera.kinds import CameraConfig


def register(commands: "argparse._SubParsersAction[Any]") -> None:
    command = commands.add_parser(
        "snapshot",
        help="prove one camera and keep its picture",
        description="Opens a camera as a station would, in a process that is killed when it hangs, takes a picture "
        "and says whether it is fit to be judged. Ends with 0 when it is, else 1. The PNG holds the pixels as they "
        "came: 16 bits for a camera of more than 8, the values not stretched.",
    )
    command.add_argument(
        "camera",
        help="with --config: STATION/CAMERA, or CAMERA where one station has it. Otherwise a V4L2 device (0, "
        "/dev/video0), an RTSP URL, a video file, a folder or manifest, simulated, or a serial with --producer",
    )
    command.add_argument("out", type=Path, help="where the PNG goes")
    command.add_argument("--config", type=Path, metavar="FILE", help="take the camera's settings from it")
    command.add_argument("--producer", type=Path, metavar="FILE", help="GenTL producer (.cti) of a GenICam camera")
    command.add_argument(
        "--pictures",
        type=_count,
        default=1,
        metavar="N",
        help="take N and keep the last: gives automatic exposure time, shows a frozen camera (default: 1)",
    )
    command.add_argument("--timeout", type=_seconds, default=30.0, metavar="S", help="for all of it (default: 30)")
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.set_defaults(run=main)


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 10_000:
        raise argparse.ArgumentTypeError("must be 1..10000")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 600:
        raise argparse.ArgumentTypeError("must be above 0 and at most 600")
    return value


def main(args: argparse.Namespace) -> int:
    from camera.picture import write_png  # noqa: PLC0415 - `linegate --help` stays quick
    from camera.snapshot import take  # noqa: PLC0415

    config = _from_file(args.config, args.camera) if args.config else _as_named(args.camera, args.producer)
    taken = asyncio.run(take("snapshot", config, pictures=args.pictures, timeout_s=args.timeout))
    told: dict[str, Any] = {
        "kind": config.kind,
        "health": taken.missed.reason if taken.missed else "good",
        "detail": taken.missed.detail if taken.missed else "",
        "first_picture_s": round(taken.first_after_s, 3),
        "pictures": taken.pictures,
    }
    if taken.frame is not None:
        pixels = taken.frame.pixels
        write_png(args.out, pixels)
        told |= {
            "width": pixels.shape[1],
            "height": pixels.shape[0],
            "channels": 1 if pixels.ndim == 2 else pixels.shape[2],
            "dtype": str(pixels.dtype),
            "bit_depth": taken.frame.bit_depth,
            "source": taken.frame.source,
            "out": str(args.out),
        }
    if args.json:
        print(json.dumps(told))
    else:
        print("\n".join(f"{name:>15}  {value}" for name, value in told.items() if value != ""))
    return int(taken.missed is not None)


def _from_file(path: Path, name: str) -> "CameraConfig":
    from daemon.config import load  # noqa: PLC0415

    cameras = {
        f"{station}/{camera}": settings
        for station, at in load(path).stations.items()
        for camera, settings in at.cameras.items()
    }
    matches = [key for key in cameras if name in (key, key.partition("/")[2])]
    if len(matches) != 1:
        problem = "stands for several cameras" if matches else "is no camera"
        raise ConfigError(f"{name} {problem}; there are: {', '.join(cameras)}", str(path))
    return cameras[matches[0]]


def _as_named(name: str, producer: Path | None) -> "CameraConfig":
    """Settings for a source without a config: the defaults of its kind."""
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415

    from camera.kinds import CameraConfig  # noqa: PLC0415
    from camera.picture import SUFFIXES  # noqa: PLC0415

    path = Path(name)
    if producer is not None:
        settings: dict[str, Any] = {"kind": "genicam", "cti": [producer], "serial": name, "trigger": "off"}
    elif name == "simulated":
        settings = {"kind": "simulated"}
    elif path.is_dir() or path.suffix.lower() == ".csv":
        settings = {"kind": "folder", "path": path}
    elif path.suffix.lower() in SUFFIXES:
        raise ConfigError(f"{name} is one picture; name its folder")
    elif name.isdigit() or "://" in name or "!" in name or path.exists() or name.startswith("/"):
        settings = {"kind": "opencv", "source": name}
    else:
        raise ConfigError(
            f"{name} is no device, URL, file or folder; for a camera of a configuration add --config config.yaml, "
            "for a GenICam serial --producer FILE"
        )
    try:
        config: CameraConfig = TypeAdapter(CameraConfig).validate_python(settings)
    except ValidationError as error:
        raise ConfigError(f"{name}: {error.errors()[0]['msg']}") from error
    return config
