"""`linegate upgrade`: a bundle of an older linegate, written as this version writes it. Needs no torch."""

import argparse
from pathlib import Path
from typing import Any

from daemon.commands.place import require_free


def register(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser(
        "upgrade",
        help="write a bundle of an older linegate as this version writes it",
        description="Write into bundle.json what each golden part is expected to give, and a hash of all that it says, "
        "so that a later edit shows. Weights, thresholds and figures stay. The result is another bundle, with a hash "
        "of its own. Writes into BUNDLE, which must not be in use, unless --out names another folder.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="model bundle")
    parser.add_argument("--out", type=Path, metavar="NEW", help="folder to write to in place of BUNDLE itself")
    parser.add_argument("--force", action="store_true", help="with --out: replace a bundle that is there")
    parser.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    """Exit code 0, or DataError or BundleError with what to do."""
    from inspection.errors import BundleError  # noqa: PLC0415 - `linegate --help` stays quick
    from vision.bundle import SIGNATURE, load_bundle  # noqa: PLC0415
    from vision.golden import weakness  # noqa: PLC0415
    from vision.write import upgrade_bundle  # noqa: PLC0415

    if args.out:
        require_free(args.out, force=args.force)
    bundle = load_bundle(args.bundle)
    if bundle.content_hash and not args.out:
        print(f"{args.bundle}: model {bundle.model_id}: as this version writes it already")
        return 0
    weak = weakness(bundle)
    if weak:
        raise BundleError(f"{args.bundle}: not upgraded: it {weak}")
    signed = (args.bundle / SIGNATURE).exists()
    written = upgrade_bundle(bundle, args.out or args.bundle)
    excused = ", ".join(part.path.name for part in written.golden if part.excused) or "none"
    print(f"{written.path}: model {written.model_id}, before {bundle.model_id}")
    print(f"golden parts: {len(written.golden)}, excused because their own thresholds misjudge them: {excused}")
    if signed:
        print("The signature of the old bundle does not fit the new one: sign it again.")
    return 0
