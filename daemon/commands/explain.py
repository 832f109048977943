"""`linegate explain`: where in a picture a model sees the defect. Runs without torch."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daemon.commands.labelled import add_bit_depth
from inspection.errors import DataError

if TYPE_CHECKING:
    from inspection.frame import Pixels
    from vision.bundle import Bundle
    from vision.explain import Explainer


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser(
        "explain",
        help="show where in a picture a model sees the defect",
        description="Scores pictures in float32 and lays the network's own map of the defect upon each, in the "
        "whole frame as the camera gave it, with a box around the hottest region. Colours tell where, the score "
        "tells how much.",
    )
    command.add_argument(
        "bundle", type=Path, metavar="BUNDLE", help="model bundle; for records also a folder that holds several"
    )
    command.add_argument(
        "pictures",
        type=Path,
        nargs="+",
        metavar="PICTURE",
        help="a picture file; or a record as .json, whose archived pictures are explained; several",
    )
    command.add_argument("--out", type=Path, metavar="PATH", help="write a PNG here; for several, a folder of PNGs")
    command.add_argument(
        "--archive", type=Path, metavar="DIR", help="where records' pictures are (default: as recorded)"
    )
    add_bit_depth(command)
    command.add_argument("--threads", type=int, default=0, help="CPU threads (default: one for each core)")
    command.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    command.set_defaults(run=main)


@dataclass(frozen=True)
class _Wanted:
    """A picture to explain: its name for people and for the file, and the model's hash where a record tells it."""

    name: str
    stem: str
    pixels: "Pixels"
    bit_depth: int
    model: str = ""


def main(args: argparse.Namespace) -> int:
    """Exit code 0, or PictureError, BundleError or DataError with what to do."""
    from tqdm import tqdm  # type: ignore[import-untyped]  # noqa: PLC0415 - `linegate --help` stays quick

    from camera.picture import write_png  # noqa: PLC0415
    from daemon.replay import find_bundle  # noqa: PLC0415
    from vision.bundle import load_bundle  # noqa: PLC0415
    from vision.explain import Explainer, captioned, overlay  # noqa: PLC0415
    from vision.judge import outcome_of  # noqa: PLC0415

    @cache
    def opened(model: str) -> "tuple[Bundle, Explainer]":
        bundle = find_bundle(args.bundle, model) if model else load_bundle(args.bundle)
        return bundle, Explainer(bundle, args.threads)

    pictures = [wanted for path in args.pictures for wanted in _pictures(path, args)]
    places = _places(args.out, [wanted.stem for wanted in pictures])
    told = []
    for wanted, out in zip(tqdm(pictures, unit="picture", disable=len(pictures) < 2), places, strict=True):
        bundle, explainer = opened(wanted.model)
        found = explainer.explain(wanted.pixels, wanted.bit_depth)
        outcome, reason = outcome_of(found.score, bundle.thresholds)
        facts = {"picture": wanted.name, "model": bundle.model_id, "verdict": outcome, "reason": reason}
        if out is not None:
            thresholds = bundle.thresholds
            caption = (
                f"{outcome}, reason {reason}: score {found.score:.4f}",
                f"PASS below {thresholds.pass_below:.4f}, sure FAIL from {thresholds.fail_above:.4f}; score: P(defect)",
                f"model {bundle.model_id}, in float32",
            )
            write_png(out, captioned(overlay(wanted.pixels, wanted.bit_depth, found), caption))
            facts["out"] = str(out)
        told.append({**facts, "score": found.score, "hottest": list(found.hottest), "box": list(found.box)})
    print(json.dumps({"pictures": told}) if args.json else "\n".join(map(_line, told)))
    return 0


def _pictures(path: Path, args: argparse.Namespace) -> "Iterator[_Wanted]":
    from camera.picture import read_picture  # noqa: PLC0415
    from daemon.replay import pictures, read_file  # noqa: PLC0415

    if path.suffix.lower() != ".json":
        pixels, depth = read_picture(path)
        yield _Wanted(str(path), path.stem, pixels, args.bit_depth if depth == 16 else depth)
        return
    record = read_file(path)
    for camera, pixels, depth in pictures(record, args.archive):
        yield _Wanted(f"{record.id} {camera}", f"{record.id}-{camera}", pixels, depth, record.model_hash)


def _places(out: Path | None, stems: list[str]) -> list[Path | None]:
    """Where each picture's map goes. Raises DataError where two would go to one place."""
    if out is None:
        return [None] * len(stems)
    if len(stems) == 1 and not out.is_dir():
        return [out]
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: a file; for several pictures name a folder")
    if len(set(stems)) < len(stems):
        raise DataError("two of the pictures have the same name: explain them one by one")
    out.mkdir(parents=True, exist_ok=True)
    return [out / f"{stem}.png" for stem in stems]


def _line(told: dict[str, Any]) -> str:
    x, y, width, height = told["box"]
    out = f" -> {told['out']}" if "out" in told else ""
    return (
        f"{told['picture']}: {told['verdict']} {told['reason']} {told['score']:.6f}, hottest at "
        f"{told['hottest'][0]},{told['hottest'][1]} in {width} x {height} at {x},{y}{out}"
    )
