"""The options by which commands that choose thresholds are told what these are to keep."""

import argparse
from typing import TYPE_CHECKING

from inspection.errors import DataError

if TYPE_CHECKING:
    from training.targets import Targets


def add_targets(parser: argparse.ArgumentParser) -> None:
    """Add what `targets` reads."""
    group = parser.add_argument_group(
        "thresholds",
        "Without these, the two thresholds are those with the fewest errors on 'val'. Bounds are one-sided 95 %"
        " Clopper-Pearson bounds and take pictures as independent.",
    )
    group.add_argument(
        "--max-escape",
        type=_share,
        metavar="SHARE",
        help="so many defective parts may pass, 0.5%% or 0.005: the upper bound on 'val' stays at or below it",
    )
    group.add_argument(
        "--max-overkill",
        type=_share,
        metavar="SHARE",
        help="so many good parts may score at or above fail_above, likewise; uncertain ones go to review instead",
    )
    group.add_argument(
        "--count",
        choices=("pictures", "groups"),
        default="pictures",
        help="what is independent: 'groups' where a group is one part in several pictures (default: pictures)",
    )
    group.add_argument("--cost-escape", type=_cost, metavar="COST", help="of a defective part that passes")
    group.add_argument("--cost-overkill", type=_cost, metavar="COST", help="of a good part that fails")
    group.add_argument(
        "--cost-review",
        type=_cost,
        metavar="COST",
        help="of looking at one uncertain part; without it nobody looks, and a good one is overkill",
    )
    group.add_argument(
        "--defect-rate",
        type=_share,
        metavar="SHARE",
        help="share of defective parts on the line, which costs are weighed by (default: that of 'val')",
    )


def targets(args: argparse.Namespace) -> "Targets":
    """What was asked for. Raises DataError where costs do not fit together."""
    from training.targets import Costs, Targets  # noqa: PLC0415 - numpy is not for `linegate --help`

    given = [name for name in ("escape", "overkill", "review") if getattr(args, f"cost_{name}") is not None]
    if given and not {"escape", "overkill"} <= set(given):
        raise DataError(f"--cost-{given[0]} needs the other costs: give --cost-escape and --cost-overkill")
    costs = Costs(args.cost_escape, args.cost_overkill, args.cost_review) if given else None
    return Targets(args.max_escape, args.max_overkill, costs, args.defect_rate, args.count)


def _share(text: str) -> float:
    """0.5% or 0.005."""
    number = text.strip()
    try:
        value = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no share: write 0.5% or 0.005") from error
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not between 0 and 1: write 0.5% or 0.005")
    return value


def _cost(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is no cost: a number from 0 on")
    return value
