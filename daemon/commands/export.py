"""`linegate export`: a bundle's network in INT8, with the certificate of what that changes. Needs no torch."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.commands.labelled import add_data, labelled
from daemon.commands.place import require_free

if TYPE_CHECKING:
    from training.export import Exported
    from vision.bundle import Bundle


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "export",
        help="add the network in INT8, and the parity certificate of every backend",
        description="Put the network of a bundle into whole numbers of 8 bits, with ranges measured on 'train',"
        " and certify on its golden parts and on 'val' how far the scores of every backend are from float32. Writes"
        " into BUNDLE, which must not be in use: the result is another bundle, with a hash of its own.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="model bundle")
    add_data(parser)
    parser.add_argument("--out", type=Path, metavar="NEW", help="folder to write to in place of BUNDLE itself")
    parser.add_argument("--force", action="store_true", help="with --out: replace a bundle that is there")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: one for each core)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    """Exit code 0, or DataError, BundleError or BackendError with what to do."""
    from training.export import export  # noqa: PLC0415
    from vision.bundle import SIGNATURE, load_bundle  # noqa: PLC0415
    from vision.write import add_int8  # noqa: PLC0415

    if args.out:
        require_free(args.out, force=args.force)
    bundle = load_bundle(args.bundle)
    dataset = labelled(args, args.data)
    exported = export(bundle, dataset, threads=args.threads, quiet=args.json)
    signed = (args.bundle / SIGNATURE).exists()
    written = add_int8(bundle, args.out or args.bundle, exported.graph, exported.certificate)
    sys.stdout.write((_json(exported, written) if args.json else _text(exported, written, signed=signed)) + "\n")
    return 0


def _json(exported: "Exported", written: "Bundle") -> str:
    return json.dumps(
        {
            "bundle": str(written.path),
            "model": written.model_id,
            "int8_bytes": len(exported.graph),
            "calibration_crops": exported.crops,
            "certificate": exported.certificate.model_dump(mode="json"),
        }
    )


def _text(exported: "Exported", written: "Bundle", *, signed: bool) -> str:
    from training.text import certificate_lines  # noqa: PLC0415

    size = len(exported.graph) / 1e6
    lines = [
        f"{written.path}: model {written.model_id}",
        f"INT8: {size:.1f} MB, ranges of {exported.crops} crops, clipping {exported.certificate.clipping}",
        *certificate_lines(exported.certificate),
    ]
    if signed:
        lines.append("The signature of the old bundle does not fit the new one: sign it again.")
    return "\n".join(lines)
