"""`linegate train` and `linegate evaluate`, as a person at a terminal meets them."""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.commands import evaluate, export, suggest, train
from inspection.errors import BundleError, DataError
from training.dataset import Dataset
from training.make import Made
from training.recipes import NAMED, TrainingRecipe
from training.targets import Targets, require_provable
from vision.bundle import load_bundle

Rows = list[dict[str, str]]


@pytest.fixture
def linegate() -> Callable[..., int]:
    """Run one command in this process; errors come through as exceptions."""

    def run(*words: object) -> int:
        parser = argparse.ArgumentParser()
        commands = parser.add_subparsers()
        for command in (train, evaluate, export, suggest):
            command.register(commands)
        args = parser.parse_args([str(word) for word in words])
        code: int = args.run(args)
        return code

    return run


@pytest.fixture
def recipe_file(small: TrainingRecipe, tmp_path: Path) -> Path:
    file = tmp_path / "small.json"
    file.write_text(small.model_dump_json())
    return file


def test_train_writes_a_bundle_and_tells_val_and_test(
    *,
    linegate: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    data: Dataset,
    weights: Path,
    recipe_file: Path,
    tmp_path: Path,
) -> None:
    code = linegate(
        "train", data.source, "--out", tmp_path / "new", "--recipe", recipe_file, "--weights", weights, "--epochs", 1
    )

    out = capsys.readouterr().out
    assert code == 0
    assert (tmp_path / "new" / "bundle.json").is_file()
    assert "1 epochs" in out
    assert "recall at 1 % overkill" in out
    with pytest.raises(DataError, match="--force replaces it"):
        linegate("train", data.source, "--out", tmp_path / "new")


def test_train_auto_tells_what_it_compared_what_it_skipped_and_why_it_took_the_winner(
    linegate: Callable[..., int], capsys: pytest.CaptureFixture[str], data: Dataset, weights: Path, tmp_path: Path
) -> None:
    """In no time at all: the first candidate is looked at, and taken."""
    code = linegate(
        "train", data.source, "--out", tmp_path / "new", "--recipe", "auto", "--budget", 1e-6, "--weights", weights
    )

    out = capsys.readouterr().out
    assert code == 0
    assert "recipes compared on 4 folds of train and val" in out
    assert "equalised gradient, whole frame: skipped: no time" in out
    assert "taken: gray, whole frame: nothing else was tried" in out
    assert "folds of train and val; calibration and thresholds were chosen on them" in out


def test_train_auto_bounds_its_time_by_the_budget_alone(
    linegate: Callable[..., int], data: Dataset, weights: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="--budget bounds the time"):
        linegate(
            "train", data.source, "--out", tmp_path / "new", "--recipe", "auto", "--epochs", 3, "--weights", weights
        )


def test_train_does_not_write_into_a_folder_of_something_else(
    linegate: Callable[..., int], data: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("keep me")

    with pytest.raises(DataError, match="not empty and no bundle"):
        linegate("train", data.source, "--out", tmp_path / "letters", "--force")


def test_train_keeps_the_bounds_that_it_was_asked_for_and_prints_them(
    *,
    linegate: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    data: Dataset,
    weights: Path,
    recipe_file: Path,
    tmp_path: Path,
) -> None:
    linegate(
        "train", data.source, "--out", tmp_path / "new", "--recipe", recipe_file, "--weights", weights, "--epochs", 1,
        "--max-escape", "70%", "--max-overkill", "0.5", "--cost-escape", 10, "--cost-overkill", 1, "--cost-review", 0.1,
        "--defect-rate", "1%",
    )  # fmt: skip

    out = capsys.readouterr().out
    told = load_bundle(tmp_path / "new").metrics["decision"]
    assert (told["max_escape"], told["max_overkill"], told["defect_rate"]) == (0.7, 0.5, 0.01)
    assert told["costs"] == {"escape": 10, "overkill": 1, "review": 0.1}
    assert told["val"]["escape"]["upper"] <= 0.7
    assert told["val"]["sure_overkill"]["upper"] <= 0.5
    assert told["test"]["cost"] >= 0
    assert "val: escape" in out
    assert "test: cost of the mean part" in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--max-escape", "0.5%"),
            "with none of 598 defective pictures .* there are 3. Add 595 .*, or ask for no less than --max-escape 64%",
        ),
        (
            ("--max-escape", "0.6", "--count", "groups"),
            "with none of 4 groups with defective pictures passed in val, .* there are 2. Add 2 groups",
        ),
        (("--max-overkill", "0.02"), "none of 149 good pictures failed in val, .* Add 144 good pictures to val"),
        (("--cost-review", "1"), "--cost-review needs the other costs"),
    ],
)
def test_what_val_cannot_prove_is_refused_before_the_training(
    *, linegate: Callable[..., int], data: Dataset, weights: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        linegate("train", data.source, "--out", tmp_path / "new", "--weights", weights, *options)
    assert not (tmp_path / "new").exists()


def test_the_least_target_that_the_refusal_offers_is_taken(data: Dataset) -> None:
    require_provable(Targets(max_escape=0.64), data.of("val"), "val")
    with pytest.raises(DataError, match="there are 3"):
        require_provable(Targets(max_escape=0.63), data.of("val"), "val")


@pytest.mark.parametrize("share", ["5", "0", "100%", "-1%", "half", "nan"])
def test_a_share_that_is_none_is_wrong_usage(
    linegate: Callable[..., int], capsys: pytest.CaptureFixture[str], data: Dataset, tmp_path: Path, share: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        linegate("train", data.source, "--out", tmp_path / "new", f"--max-escape={share}")
    assert ended.value.code == 2
    assert "write 0.5% or 0.005" in capsys.readouterr().err


def test_train_names_the_recipes_that_exist() -> None:
    assert tuple(NAMED) == train.RECIPES


def test_evaluate_prints_one_json_object_with_the_agreed_keys(
    linegate: Callable[..., int], capsys: pytest.CaptureFixture[str], trained: Made, data: Dataset
) -> None:
    code = linegate("evaluate", trained.bundle.path, data.source, "--json", "--backend", "onnx-cpu", "--threads", 1)

    facts = json.loads(capsys.readouterr().out)
    assert code == 0
    told, told_bounds = trained.bundle.metrics["test"], trained.bundle.metrics["decision"]["test"]
    assert facts["n_ok"] == 5
    assert facts["n_ng"] == 3
    for name in ("accuracy", "auroc", "average_precision", "recall_at_1pct_overkill", "escape", "overkill"):
        assert facts[name] == pytest.approx(told[name])
        assert facts[f"{name}_ci"] == pytest.approx(told[f"{name}_ci"])
    assert facts["bounds"] == told_bounds
    assert facts["model"] == trained.bundle.model_id
    assert facts["backend"].startswith("onnx-cpu")


def test_evaluate_lists_the_worst_mistakes_and_draws_what_was_asked_for(
    *,
    linegate: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    trained: Made,
    rows: Rows,
    manifest: Callable[..., Path],
    tmp_path: Path,
) -> None:
    for row in rows:
        row["label"] = {"ok": "ng", "ng": "ok"}[row["label"]]

    linegate(
        "evaluate", trained.bundle.path, manifest(rows), "--split", "all", "--backend", "onnx-cpu", "--threads", 1,
        "--worst", 2, "--plots", tmp_path / "plots",
    )  # fmt: skip

    out = capsys.readouterr().out
    assert "the worst 2" in out
    assert "all: good, uncertain" in out
    for name in ("scores.png", "roc.png"):
        assert (tmp_path / "plots" / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("columns", "said"),
    [(("path", "label"), "no split: use --split all"), (("path", "label", "split"), "it has train, val")],
)
def test_evaluate_tells_which_splits_there_are(
    *,
    linegate: Callable[..., int],
    trained: Made,
    rows: Rows,
    manifest: Callable[..., Path],
    columns: tuple[str, ...],
    said: str,
) -> None:
    file = manifest([r for r in rows if r["split"] != "test"], columns)

    with pytest.raises(DataError, match=said):
        linegate("evaluate", trained.bundle.path, file)


def test_evaluate_runs_where_torch_is_not_installed(trained: Made, data: Dataset) -> None:
    script = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'matplotlib', 'scipy'): sys.modules[name] = None\n"
        "import argparse\n"
        "from daemon.commands import evaluate\n"
        "parser = argparse.ArgumentParser()\n"
        "evaluate.register(parser.add_subparsers())\n"
        "args = parser.parse_args(sys.argv[1:])\n"
        "sys.exit(args.run(args))\n"
    )
    words = ["evaluate", trained.bundle.path, data.source, "--json", "--backend", "onnx-cpu", "--threads", "1"]

    ended = subprocess.run(  # noqa: PLW1510 - the exit code is what is tested
        [sys.executable, "-c", script, *map(str, words)], capture_output=True, text=True, timeout=100
    )

    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["n_ok"] == 5


@pytest.mark.parametrize("words", [["evaluate"], ["export"], ["suggest", "--known"]], ids=lambda words: words[0])
def test_a_misspelt_bundle_is_told_before_any_picture_is_read(
    linegate: Callable[..., int], tmp_path: Path, words: list[str]
) -> None:
    command, *options = words
    pictures = [*options, tmp_path / "pictures"] if options else []
    with pytest.raises(BundleError, match="there is no such folder"):
        linegate(command, tmp_path / "nomodel", tmp_path / "pictures", *pictures)
