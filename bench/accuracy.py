"""The table of docs/accuracy.md: each way of making a model, on each data set, with several seeds.

Every model is made and measured by the commands that users have, in a process of its own. What is done is kept in the
work folder, so a run that was stopped goes on where it was: one figure is minutes to an hour of work. Splits are those
of the manifests; the figures are of `test`, which no step before sees.

`--write` puts what was measured into `bench/figures/`, one file for each model, and the tables made of those into the
page: rows can be made on different machines and days. A row of which the files have fewer seeds stays as it is.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from inspection import clock
from vision.cpu import cpu_model

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "accuracy.md"
FIGURES = ROOT / "bench" / "figures"
BEGIN, END = "<!-- figures -->", "<!-- end of the figures -->"
LINEGATE = [str(Path(sys.executable).with_name("linegate"))]
MEASURES = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "accuracy": "accuracy",
    "escape_at_1pct_overkill": "escape at 1 % overkill",
    "escape": "escape",
    "overkill": "overkill",
}
# Student's t for a two-sided interval of 95 %, by degrees of freedom. Standard table.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
RATE_S = 3.0


@dataclass(frozen=True)
class Way:
    """One row: how a bundle comes about from data, a seed and what was made before, and the backend that scores it."""

    name: str
    make: Callable[["Cell"], list[str]]
    after: str = ""
    backend: str = "onnx-cpu"
    apart: bool = False  # nothing of linegate's: `make` gives the words for another Python, which prints the figures


@dataclass(frozen=True)
class Cell:
    """One way, one data set, one seed."""

    way: Way
    data: Path
    seed: int
    work: Path
    budget: float
    anomalib: str
    places: float

    @classmethod
    def of(cls, args: argparse.Namespace, way: Way, name: str, seed: int) -> "Cell":
        return cls(way, args.data / name, seed, args.work, args.budget, args.anomalib, args.places)

    def __str__(self) -> str:
        return f"{self.data.name} {self.way.name} seed {self.seed}"

    @property
    def place(self) -> Path:
        return self.bundle_of(self.way.name)

    @property
    def result(self) -> Path:
        return self.place.with_suffix(".json")

    def bundle_of(self, way: str) -> Path:
        return self.work / self.data.name / f"{way}-{self.seed}"

    @property
    def kept(self) -> Path:
        return FIGURES / self.result.relative_to(self.work)

    def done(self) -> dict[str, Any] | None:
        return json.loads(self.result.read_text()) if self.result.exists() else None

    def told(self) -> dict[str, Any] | None:
        """What this run measured, or else what an earlier one left in the repository."""
        return self.done() or (json.loads(self.kept.read_text()) if self.kept.exists() else None)


def _trained(recipe: str) -> Callable[[Cell], list[str]]:
    def command(cell: Cell) -> list[str]:
        limit = ["--budget", f"{cell.budget:g}"] if recipe == "auto" else []
        seed = ["--seed", str(cell.seed)]
        return ["train", str(cell.data), "--recipe", recipe, *seed, *limit, "--out", str(cell.place)]

    return command


def _exported(cell: Cell) -> list[str]:
    return ["export", str(cell.bundle_of("auto")), str(cell.data), "--out", str(cell.place)]


def _compressed(cell: Cell) -> list[str]:
    seed = ["--seed", str(cell.seed)]
    return ["compress", str(cell.bundle_of("auto")), str(cell.data), *seed, "--out", str(cell.place)]


def _patchcore(cell: Cell) -> list[str]:
    return ["-m", "bench.patchcore_row", str(cell.data), "--seed", str(cell.seed), "--ratio", f"{cell.places:g}"]


WAYS = (
    Way("reference", _trained("reference")),
    Way("whole-frame", _trained("whole-frame")),
    Way("auto", _trained("auto")),
    Way("ok-only", _trained("ok-only")),
    Way("patchcore", _patchcore, apart=True),
    Way("int8", _exported, after="auto", backend="onnx-int8"),
    Way("compressed", _compressed, after="auto", backend="onnx-int8"),
)


def cells(args: argparse.Namespace) -> Iterator[Cell]:
    """What is worth most first: every way with one seed, then the next seed."""
    for seed in range(args.seeds):
        for way in WAYS:
            for name in args.sets:
                if way.name in args.ways and (args.anomalib or not way.apart):
                    yield Cell.of(args, way, name, seed)


def filled(todo: Sequence[Cell], jobs: int) -> list[str]:
    """Fill them, so many at a time, what needs another right after it; gives what was said of those that failed."""
    families: dict[Path, list[Cell]] = {}
    for cell in todo:
        families.setdefault(cell.bundle_of(cell.way.after or cell.way.name), []).append(cell)
    failed: list[str] = []

    def turn(family: list[Cell]) -> None:
        for cell in family:
            bar.set_description(str(cell))
            try:
                fill(cell, max(1, (os.cpu_count() or 1) // jobs))
            except subprocess.CalledProcessError as error:
                failed.append(f"{cell}: {error.stderr.strip()[-300:]}")
            except LookupError as error:
                failed.append(f"{cell}: {error}")
            bar.update()

    with ThreadPoolExecutor(jobs) as pool, tqdm(total=len(todo), unit="model") as bar:
        for done in [pool.submit(turn, family) for family in families.values()]:
            done.result()
    return failed


def fill(cell: Cell, threads: int) -> None:
    """Make and measure one model. Raises CalledProcessError with what the command said, LookupError with what lacks."""
    if cell.way.after and not cell.bundle_of(cell.way.after).exists():
        raise LookupError(f"it needs {cell.way.after}, which is not made yet")
    cell.place.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(cell.place, ignore_errors=True)  # an unfinished one
    began = clock.monotonic()
    if cell.way.apart:
        measured = _said([cell.anomalib, *cell.way.make(cell)], threads)
    else:
        _said([*LINEGATE, *cell.way.make(cell), "--json"], threads)
        words = ["evaluate", str(cell.place), str(cell.data), "--backend", cell.way.backend, "--json"]
        measured = _said([*LINEGATE, *words], threads)
    made = {"minutes": round((clock.monotonic() - began) / 60, 1), "cores": threads, "processor": cpu_model()}
    if cell.way.name == "auto":
        made["budget"] = cell.budget
    if cell.way.apart:
        made["places"] = cell.places
    staged = cell.result.with_suffix(".part")
    staged.write_text(json.dumps({**measured, "made": made}, indent=1) + "\n")
    staged.rename(cell.result)


def _said(command: list[str], threads: int) -> dict[str, Any]:
    env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=env)
    if not said.stdout:  # a model that misses a target is told with another exit code, and there all the same
        said.check_returncode()
    facts: dict[str, Any] = json.loads(said.stdout)
    return facts


def rates(args: argparse.Namespace) -> dict[str, float]:
    """Pictures a second on one core, by way: all of them in turns in this process, crops ready in memory.

    What was made apart has measured itself, by its processor's time.
    """
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import numpy as np  # noqa: PLC0415 - after the affinity, which its threads inherit

    from vision.backends.choose import open_backend  # noqa: PLC0415
    from vision.bundle import load_bundle  # noqa: PLC0415

    steps: dict[str, Callable[[], object]] = {}
    found: dict[str, list[float]] = {}
    for cell in cells(args):
        if cell.seed == 0 and cell.data.name == args.sets[0] and (measured := cell.done()):
            if cell.way.apart:
                found[cell.way.name] = [measured["pictures_per_s"]]
                continue
            crops = np.concatenate(load_bundle(cell.place).golden_crops()[:8])
            backend = open_backend(cell.place, choice=cell.way.backend, threads=1)
            steps[cell.way.name] = (
                lambda backend=backend, crops=crops: [  # type: ignore[misc]
                    backend.score(crops[at : at + 8]) for at in range(0, len(crops), 8)
                ]
            )
    for _ in range(3):
        for name, step in steps.items():
            step()
            began, times = clock.monotonic(), 0
            while clock.monotonic() - began < RATE_S:
                step()
                times += 1
            found.setdefault(name, []).append(8 * times / (clock.monotonic() - began))
    return {name: statistics.median(values) for name, values in found.items()}


def table(args: argparse.Namespace, speed: dict[str, float], before: Mapping[tuple[str, str], str]) -> str:
    """Markdown, one table for each data set; `before` are rows of it, by data set and way: those sets come first."""
    lines: list[str] = []
    for name in dict.fromkeys([*(told for told, _ in before), *args.sets]):
        lines += ["", f"### {name}", "", f"| | seeds | {' | '.join(MEASURES.values())} | pictures/s, one core |"]
        lines.append("|" + "---|" * (len(MEASURES) + 3))
        for way in WAYS:
            rows = [measured for seed in range(args.seeds) if (measured := Cell.of(args, way, name, seed).told())]
            old = before.get((name, way.name), "")
            if len(rows) < _seeds_of(old):
                lines.append(old)
                continue
            cell = [_cell(rows, measure) for measure in MEASURES]
            rate = old.split("|")[-2].strip() if old else ""
            if way.name in speed and name == args.sets[0]:
                rate = f"{speed[way.name]:.0f}"
            lines.append(f"| {way.name} | {len(rows) or 'not run'} | {' | '.join(cell)} | {rate} |")
    return "\n".join(lines[1:]) + "\n"


def rows_of(page: str) -> dict[tuple[str, str], str]:
    """The rows between the marks of `page`, by data set and way."""
    found, name = {}, ""
    for line in page.partition(BEGIN)[2].partition(END)[0].splitlines():
        if line.startswith("### "):
            name = line.removeprefix("### ")
        elif line.startswith("| ") and (way := line.split("|")[1].strip()):
            found[name, way] = line
    return found


def _seeds_of(row: str) -> int:
    told = row.split("|")[2].strip() if row else ""
    return int(told) if told.isdigit() else 0


def _cell(rows: list[dict[str, Any]], measure: str) -> str:
    """The mean over the seeds with Student's interval; of a single one, its own interval."""
    if not rows:
        return ""
    values = [_value(row, measure) for row in rows]
    mean = statistics.fmean(values)
    if len(values) == 1:
        low, high = _interval(rows[0], measure)
        return f"{mean:.3f} ({low:.3f} to {high:.3f})"
    return f"{mean:.3f} ± {STUDENT[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values)):.3f}"


def _value(row: dict[str, Any], measure: str) -> float:
    return 1 - row["recall_at_1pct_overkill"] if measure == "escape_at_1pct_overkill" else float(row[measure])


def _interval(row: dict[str, Any], measure: str) -> tuple[float, float]:
    if measure == "escape_at_1pct_overkill":
        low, high = row["recall_at_1pct_overkill_ci"]
        return 1 - high, 1 - low
    low, high = row[f"{measure}_ci"]
    return low, high


def keep(done: Iterable[Cell]) -> None:
    """Put what was measured where the repository has it, without the names of single pictures."""
    for cell in done:
        if measured := cell.done():
            cell.kept.parent.mkdir(parents=True, exist_ok=True)
            told = {name: value for name, value in measured.items() if not name.startswith("worst_")}
            cell.kept.write_text(json.dumps(told, indent=1) + "\n")


def written(text: str) -> None:
    """Put the tables between the marks of the page."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="The figures of docs/accuracy.md. Stop it when you like: it goes on.")
    parser.add_argument("data", type=Path, help="folder that holds the data sets, each with its manifest.csv")
    parser.add_argument("--work", type=Path, default=Path("accuracy"), help="what is done is kept here")
    parser.add_argument("--sets", nargs="+", default=["bsdata", "deeppcb", "elpv"], help="folders of the data sets")
    names = [way.name for way in WAYS]
    parser.add_argument("--ways", nargs="+", default=names, choices=names, help="rows of the table")
    parser.add_argument("--seeds", type=int, default=3, help="how often each model is made, 1 to 10")
    parser.add_argument("--budget", type=float, default=40.0, help="minutes for each search of the recipe auto")
    parser.add_argument("--jobs", type=int, default=1, help="models at a time; each gets its share of the cores")
    parser.add_argument("--anomalib", default="", metavar="PYTHON", help="of an environment with anomalib")
    parser.add_argument(
        "--places", type=float, default=0.01, help="share that anomalib's PatchCore keeps of its places"
    )
    parser.add_argument(
        "--write", action="store_true", help="keep the figures in bench/figures, the tables in docs/accuracy.md"
    )
    parser.add_argument("--only-show", action="store_true", help="make nothing, show what is there")
    args = parser.parse_args()
    args.data, args.work = args.data.resolve(), args.work.resolve()
    failed = filled([] if args.only_show else [cell for cell in cells(args) if cell.done() is None], args.jobs)
    if args.write:
        keep(cells(args))
    text = table(args, rates(args), rows_of(PAGE.read_text("utf-8")))
    print(text)
    if args.write:
        written(text)
    print("\n".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
