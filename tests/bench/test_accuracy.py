"""The row of docs/accuracy.md that no command of linegate fills."""

import importlib
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
        data=tmp_path, work=tmp_path, sets=["set"], ways=["patchcore"], seeds=1, budget=1.0, anomalib=""
    )
    assert list(cell.cells(args)) == []
    assert "| patchcore | not run |" in cell.table(args, {})
    args.anomalib = "python"
    assert [found.way.name for found in cell.cells(args)] == ["patchcore"]
