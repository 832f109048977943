"""`linegate train`: labelled pictures to a model bundle."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daemon.commands.labelled import add_data, tell
from daemon.commands.learning import add_device, add_outcome, minutes, require_ready
from daemon.commands.targets import targets
from daemon.shipped import models
from inspection import clock
from inspection.errors import DataError

if TYPE_CHECKING:
    from training.dataset import Dataset
    from training.make import Made
    from vision.resnet import ResNet18

IMAGENET = models() / "imagenet-resnet18" / "resnet18-imagenet.safetensors"
RECIPES = ("reference", "whole-frame")
AUTO = "auto"
OK_ONLY = "ok-only"


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "train",
        help="make a model bundle from labelled pictures",
        description="Make a model bundle from labelled pictures: a manifest (path,label[,defect_type][,split]"
        "[,group]; label ok or ng), or a folder with manifest.csv or with ok/ and ng/. Layer4 and the classifier"
        " of an ImageNet ResNet18 learn on 'train'; 'val' decides when to stop and sets the thresholds; 'test'"
        " is measured once.",
    )
    add_data(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder to write")
    parser.add_argument(
        "--recipe",
        default="reference",
        help=f"{', '.join(RECIPES)}, a JSON file, or {AUTO}: compare recipes on folds of train and val, take the best;"
        f" or {OK_ONLY}: learn what good parts look like, from them alone (default: reference)",
    )
    parser.add_argument(
        "--budget",
        type=minutes,
        default=40.0,
        metavar="MINUTES",
        help=f"for --recipe {AUTO}: skip what would take longer (default: 40)",
    )
    parser.add_argument(
        "--weights",
        default=str(IMAGENET),
        metavar="FILE|torchvision",
        help="ImageNet weights as safetensors (default: those that come with linegate), or 'torchvision' to download",
    )
    parser.add_argument(
        "--new-pictures",
        choices=("split", "train"),
        default="split",
        help="where there was a split before: pictures that are new since go to all of its parts, by group, or to train"
        " alone, as those that 'suggest' chose should (default: split)",
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bundle (default: 0)")
    parser.add_argument("--epochs", type=_positive, help="at most so many passes (default: the recipe's)")
    parser.add_argument("--threads", type=_positive, default=None, help="CPU threads (default: one for each core)")
    add_device(parser)
    add_outcome(parser)
    parser.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    """Exit code 0, or DataError or BundleError with what to do."""
    require_ready("training", args.out, force=args.force)
    import torch  # noqa: PLC0415 - a line box has none

    from training.data.alike import alike_lines  # noqa: PLC0415
    from training.data.kept import test_lines  # noqa: PLC0415
    from training.dataset import load_dataset, split_dataset  # noqa: PLC0415
    from training.device import CPU, learning_device  # noqa: PLC0415
    from training.weights import pretrained  # noqa: PLC0415

    if args.threads:
        torch.set_num_threads(args.threads)
    device = learning_device(args.device)
    if args.recipe == OK_ONLY:  # no network learns, and ONNX Runtime describes the parts
        device = CPU
    began = clock.monotonic()
    dataset = load_dataset(args.data, args.bit_depth, quiet=args.json)
    dataset = split_dataset(dataset, args.seed, "train" if args.new_pictures == "train" else None)
    alike = alike_lines(dataset, folds=args.recipe == AUTO)
    tell(args.data, (*dataset.notes, *alike))
    weights = "torchvision IMAGENET1K_V1" if args.weights == "torchvision" else Path(args.weights).name
    notes = {
        "data": _named(args.data),
        "weights": weights,
        "recipe_name": args.recipe,
        "bit_depth_of_16_bit_files": args.bit_depth,
        "device": device.type,
        "data_notes": [*dataset.notes, *alike],
        "split_changes": dict(dataset.changes),
    }
    make = {AUTO: _auto, OK_ONLY: _ok_only}.get(args.recipe, _named_recipe)
    made = make(args, dataset, pretrained(args.weights).to(device), notes)
    seconds = clock.monotonic() - began
    if args.json:
        facts = {"bundle": str(args.out), "model": made.bundle.model_id, "epochs": made.epochs, "seconds": seconds}
        sys.stdout.write(json.dumps({**facts, **made.bundle.metrics}) + "\n")
        return 0
    from training.text import decision_lines, gate_lines, report_lines, search_lines  # noqa: PLC0415

    lines = [f"{args.out}: model {made.bundle.model_id}, {made.epochs} epochs, {seconds:.0f} s"]
    chosen = "stop, calibration and thresholds were chosen on it"
    if made.search:
        lines += ["", *search_lines(made.search)]
        chosen = "folds of train and val; calibration and thresholds were chosen on them"
    if args.recipe == OK_ONLY:
        chosen = "the threshold was chosen on it"
    for split, report in ((f"val ({chosen})", made.val), ("test", made.test)):
        lines += ["", split, *(report_lines(report) if report else ["  the data set has no test split"])]
    lines += test_lines(dataset.changes)
    lines += ["", *decision_lines(made.decision), *gate_lines(made.bundle)]
    if args.recipe == OK_ONLY:
        from training.ok_only import unknown_lines  # noqa: PLC0415

        lines += unknown_lines(made.decision)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _named_recipe(args: argparse.Namespace, dataset: "Dataset", model: "ResNet18", notes: dict[str, Any]) -> "Made":
    from training.make import make_bundle  # noqa: PLC0415
    from training.recipes import training_recipe  # noqa: PLC0415

    recipe = training_recipe(args.recipe)
    if args.epochs is not None:
        recipe = recipe.model_copy(update={"epochs": args.epochs})
    return make_bundle(
        dataset, args.out, recipe, model, seed=args.seed, notes=notes, targets=targets(args), quiet=args.json
    )


def _auto(args: argparse.Namespace, dataset: "Dataset", model: "ResNet18", notes: dict[str, Any]) -> "Made":
    from training.auto import make_auto_bundle  # noqa: PLC0415
    from training.budget import Budget  # noqa: PLC0415

    if args.epochs is not None:
        raise DataError(f"--epochs is for a recipe that you name: with --recipe {AUTO}, --budget bounds the time")
    budget = Budget(args.budget * 60, quiet=args.json)
    return make_auto_bundle(dataset, args.out, model, seed=args.seed, notes=notes, targets=targets(args), budget=budget)


def _ok_only(args: argparse.Namespace, dataset: "Dataset", model: "ResNet18", notes: dict[str, Any]) -> "Made":
    from training.ok_only import make_ok_only_bundle  # noqa: PLC0415

    if args.epochs is not None:
        raise DataError(f"--epochs is for a recipe that learns in passes: --recipe {OK_ONLY} does not")
    backbone = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    return make_ok_only_bundle(
        dataset, args.out, backbone, seed=args.seed, notes=notes, targets=targets(args), threads=args.threads or 0,
        quiet=args.json,
    )  # fmt: skip


def _named(data: Path) -> str:
    """The data set's folder: a manifest is called manifest.csv everywhere."""
    return (data.parent if data.is_file() else data).resolve().name


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value
