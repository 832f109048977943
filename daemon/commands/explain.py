"""`linegate explain`: where in a picture a model sees the defect. Runs without torch."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daemon.commands.labelled import add_bit_depth
from inspection.errors import DataError

if TYPE_CHECKING:
    from vision.explain import Explanation


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser(
        "explain",
        help="show where in a picture a model sees the defect",
        description="Scores pictures in float32 and lays the network's own map of the defect upon each, in the "
        "whole frame as the camera gave it, with a box around the hottest region. Colours tell where, the score "
        "tells how much.",
    )
    command.add_argument("bundle", type=Path, metavar="BUNDLE", help="model bundle")
    command.add_argument("pictures", type=Path, nargs="+", metavar="PICTURE", help="JPEG, PNG, BMP or TIFF; several")
    command.add_argument(
        "--out", type=Path, metavar="PATH", help="write a PNG here; for several pictures, a folder of PNGs"
    )
    add_bit_depth(command)
    command.add_argument("--threads", type=int, default=0, help="CPU threads (default: one for each core)")
    command.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    command.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    """Exit code 0, or PictureError, BundleError or DataError with what to do."""
    from tqdm import tqdm  # type: ignore[import-untyped]  # noqa: PLC0415 - `linegate --help` stays quick

    from camera.picture import read_picture, write_png  # noqa: PLC0415
    from vision.bundle import load_bundle  # noqa: PLC0415
    from vision.explain import Explainer, overlay  # noqa: PLC0415
    from vision.judge import outcome_of  # noqa: PLC0415

    places = _places(args.out, args.pictures)
    bundle = load_bundle(args.bundle)
    explainer = Explainer(bundle, args.threads)
    told = []
    for picture, out in zip(tqdm(args.pictures, unit="picture", disable=len(args.pictures) < 2), places, strict=True):
        pixels, depth = read_picture(picture)
        depth = args.bit_depth if depth == 16 else depth
        found = explainer.explain(pixels, depth)
        outcome, reason = outcome_of(found.score, bundle.thresholds)
        if out is not None:
            write_png(out, overlay(pixels, depth, found))
        told.append(
            {"picture": str(picture), "verdict": outcome, "reason": reason, **_facts(found)}
            | ({"out": str(out)} if out else {})
        )
    if args.json:
        print(json.dumps({"model": bundle.model_id, "pictures": told}))
    else:
        print("\n".join(map(_line, told)))
    return 0


def _places(out: Path | None, pictures: list[Path]) -> list[Path | None]:
    """Where each picture's map goes. Raises DataError where two would go to one place."""
    if out is None:
        return [None] * len(pictures)
    if len(pictures) == 1 and not out.is_dir():
        return [out]
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: a file; for several pictures name a folder")
    places: list[Path | None] = [out / f"{picture.stem}.png" for picture in pictures]
    if len(set(places)) < len(places):
        raise DataError("two of the pictures have the same name: explain them one by one")
    out.mkdir(parents=True, exist_ok=True)
    return places


def _facts(found: "Explanation") -> dict[str, Any]:
    return {"score": found.score, "hottest": list(found.hottest), "box": list(found.box)}


def _line(told: dict[str, Any]) -> str:
    x, y, width, height = told["box"]
    out = f" -> {told['out']}" if "out" in told else ""
    return (
        f"{told['picture']}: {told['verdict']} {told['reason']} {told['score']:.6f}, hottest at "
        f"{told['hottest'][0]},{told['hottest'][1]} in {width} x {height} at {x},{y}{out}"
    )
