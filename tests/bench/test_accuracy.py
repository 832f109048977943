"""The table of docs/accuracy.md, and its row that no command of linegate fills."""

import importlib
import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inspection.part import Label
from training.dataset import Sample
from training.metrics import MEASURES


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    return importlib.import_module("bench.patchcore_row").row


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the table makes of rows and a measure."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    return importlib.import_module("bench.accuracy")


def samples(good: int, bad: int) -> list[Sample]:
    labels = [Label.OK] * good + [Label.NG] * bad
    return [Sample(Path(f"{number}.png"), f"{number}.png", label) for number, label in enumerate(labels)]


def test_the_row_of_patchcore_is_measured_at_thresholds_from_val(row: Any) -> None:
    """A part of val that is further away than all others moves the thresholds; one of test does not."""
    random = np.random.default_rng(0)
    val, test = samples(60, 20), samples(40, 10)
    of_val = np.concatenate([random.normal(30, 1, 60), random.normal(40, 1, 20)])
    of_test = np.concatenate([random.normal(30, 1, 40), random.normal(40, 1, 10)])

    told = row(val, of_val, test, of_test)

    assert (told["n_ok"], told["n_ng"]) == (40, 10)
    assert (told["auroc"], told["escape"], told["overkill"], told["accuracy"]) == (1, 0, 0, 1)
    assert row(val, of_val, test, of_test + 100)["thresholds"] == told["thresholds"]
    assert row(val, of_val, test, of_test + 100)["overkill"] == 1
    assert row(val, of_val, test, of_test - 100)["escape"] == 1


def test_the_table_needs_nothing_else_of_patchcore_than_of_the_others(row: Any, cell: Any) -> None:
    found = np.arange(30.0)
    told = row(samples(20, 10), found, samples(20, 10), found)

    assert {name for measure in MEASURES for name in (measure, f"{measure}_ci")} <= set(told)
    for measure in cell.MEASURES:
        assert cell._cell([told], measure).endswith(")")
        assert "±" in cell._cell([told, told, told], measure)


def test_without_an_environment_of_anomalib_its_row_says_that_it_was_not_run(cell: Any, tmp_path: Path) -> None:
    args = cell.argparse.Namespace(
        data=tmp_path, work=tmp_path, sets=["set"], ways=["patchcore"], seeds=1, budget=1.0, anomalib="", places=0.01
    )
    assert list(cell.cells(args)) == []
    assert "| patchcore | not run |" in cell.table(args, {}, {})
    args.anomalib = "python"
    assert [found.way.name for found in cell.cells(args)] == ["patchcore"]


MEASURED = {f"{measure}{end}": value for measure in MEASURES for end, value in (("", 0.25), ("_ci", [0.125, 0.5]))}


def test_a_row_is_made_of_what_earlier_runs_left_in_the_repository(
    cell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each on its own machine, whose work folder is gone; where the page tells of more seeds, it stays."""
    page = tmp_path / "page.md"
    page.write_text(
        f"before\n{cell.BEGIN}\n\n### set\n\n| | seeds |\n|---|---|\n| auto | 3 | by hand | 30 |\n"
        f"| ok-only | 1 | of old | 38 |\n\n### other\n\n| auto | 2 | of another set | |\n\n{cell.END}\nafter\n"
    )
    monkeypatch.setattr(cell, "PAGE", page)
    monkeypatch.setattr(cell, "FIGURES", tmp_path / "figures")
    monkeypatch.setattr(cell, "rates", lambda args: {})
    for way, seed in (("ok-only", 0), ("ok-only", 1), ("auto", 0)):
        work = tmp_path / f"{way}{seed}"
        (work / "set").mkdir(parents=True)
        result = {**MEASURED, "auroc": 0.5 + 0.25 * seed, "worst_escapes": ["a.png"], "made": {"minutes": 1.0}}
        (work / "set" / f"{way}-{seed}.json").write_text(json.dumps(result))
        words = [str(tmp_path), "--work", str(work), "--sets", "set", "--seeds", "2", "--only-show", "--write"]
        monkeypatch.setattr(cell.sys, "argv", ["accuracy.py", *words])
        assert cell.main() == 0

    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert "| auto | 3 | by hand | 30 |" in lines
    assert lines.index("### other") < lines.index("| auto | 2 | of another set | |")
    row = next(line for line in lines if line.startswith("| ok-only"))
    assert row.startswith("| ok-only | 2 | 0.625 ± ")
    assert row.endswith(" | 38 |")
    kept = json.loads((tmp_path / "figures" / "set" / "ok-only-1.json").read_text())
    assert kept["auroc"] == 0.75
    assert "worst_escapes" not in kept


def cells_of(cell: Any, tmp_path: Path, *ways: str, seeds: int) -> list[Any]:
    args = cell.argparse.Namespace(
        data=tmp_path, work=tmp_path, sets=["set"], ways=ways, seeds=seeds, budget=1.0, anomalib="", places=0.01
    )
    return list(cell.cells(args))


def test_several_models_are_made_at_a_time_each_after_what_it_needs(
    cell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both of auto are under way at once; int8 of each waits for its own."""
    both, made = threading.Barrier(2, timeout=30), []

    def fill(one: Any, threads: int) -> None:
        assert threads >= 1
        if one.way.name == "auto":
            both.wait()
        made.append((one.way.name, one.seed))

    monkeypatch.setattr(cell, "fill", fill)
    assert cell.filled(cells_of(cell, tmp_path, "int8", "auto", seeds=2), 2) == []
    assert len(made) == 4
    for seed in (0, 1):
        assert made.index(("auto", seed)) < made.index(("int8", seed))


def test_what_could_not_be_made_is_named_and_the_others_go_on(
    cell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def fill(one: Any, threads: int) -> None:
        if one.way.name == "auto":
            raise subprocess.CalledProcessError(1, "linegate", stderr="two classes are needed")
        if one.way.name == "int8":
            raise LookupError("it needs auto, which is not made yet")
        made.append(one.way.name)

    monkeypatch.setattr(cell, "fill", fill)
    failed = cell.filled(cells_of(cell, tmp_path, "auto", "int8", "ok-only", seeds=1), 1)
    assert failed == [
        "set auto seed 0: two classes are needed",
        "set int8 seed 0: it needs auto, which is not made yet",
    ]
    assert made == ["ok-only"]
