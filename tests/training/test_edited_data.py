"""A data folder that is edited between trainings, as a person at a terminal meets it."""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon import cli
from daemon.commands import evaluate, suggest, train
from inspection.errors import DataError
from inspection.part import Label
from tests.training.conftest import draw
from training.compress import compress
from training.data.learnt import learnt
from training.dataset import WRITTEN_SPLIT, Dataset, load_dataset
from training.make import Made
from training.recipes import TrainingRecipe
from vision.bundle import load_bundle

Run = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """One command in this process: what it wrote to both outputs."""

    def one(*words: object) -> str:
        parser = argparse.ArgumentParser()
        commands = parser.add_subparsers()
        for command in (train, evaluate, suggest):
            command.register(commands)
        args = parser.parse_args([str(word) for word in words])
        capsys.readouterr()
        assert args.run(args) == 0
        return "".join(capsys.readouterr())

    return one


@pytest.fixture
def learn(run: Run, small: TrainingRecipe, weights: Path, tmp_path: Path) -> Run:
    """`train` on parts/ into bundle/, whatever is there."""
    recipe = tmp_path / "small.json"
    recipe.write_text(small.model_dump_json())

    def once(*words: object) -> str:
        return run(
            "train", tmp_path / "parts", "--out", tmp_path / "bundle", "--force", "--recipe", recipe,
            "--weights", weights, "--epochs", 1, *words,
        )  # fmt: skip

    return once


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    for number in range(24):
        label = "ng" if number % 8 >= 5 else "ok"
        (tmp_path / "parts" / label).mkdir(parents=True, exist_ok=True)
        draw(tmp_path / "parts" / label / f"{number:02d}.png", number, defect=label == "ng")
    return tmp_path / "parts"


def test_what_was_left_out_and_what_became_of_the_split_is_told_and_kept_in_the_bundle(
    learn: Run, parts: Path, tmp_path: Path
) -> None:
    (parts / "ok/.ipynb_checkpoints").mkdir()
    draw(parts / "ok/.ipynb_checkpoints/00-checkpoint.png", 0, defect=False)
    first = learn()
    tested = load_dataset(parts).of("test")
    (good,) = [sample for sample in tested if sample.label is Label.OK][:1]
    good.path.unlink()
    draw(parts / "ok/new.png", 77, defect=False)

    second = learn()

    assert "left out: 1 hidden or system files and folders: ok/.ipynb_checkpoints (1 pictures)" in first
    assert "kept their split" not in first
    assert f"{WRITTEN_SPLIT}: 23 pictures kept their split; 1 new, 1 removed" in second
    assert "other test pictures than in the training before (" in second
    training = load_bundle(tmp_path / "bundle").metrics["training"]
    assert training["split_changes"]["test_removed"] == 1
    assert any(".ipynb_checkpoints" in note for note in training["data_notes"])


def test_suggested_pictures_are_labelled_and_trained_on_without_a_change_of_test(
    run: Run, learn: Run, parts: Path, tmp_path: Path
) -> None:
    learn()
    tested = {sample.content for sample in load_dataset(parts).of("test")}
    pool = tmp_path / "pool"
    pool.mkdir()
    for number in range(30, 40):
        draw(pool / f"{number}.png", number, defect=number % 2 == 0)

    for turn in ("one", "two"):
        next_ones = tmp_path / turn
        out = run("suggest", tmp_path / "bundle", pool, "--known", parts, "--count", 4, "--out", next_ones)
        assert f"{0 if turn == 'one' else 4} labelled already" in out
        for file in next_ones.glob("*.png"):
            bad = int(file.stem.rpartition("-")[2]) % 2 == 0
            file.rename(parts / ("ng" if bad else "ok") / f"{turn}-{file.name}")
        assert "other test pictures" not in learn("--new-pictures", "train")

    made = load_dataset(parts)
    assert {sample.content for sample in made.of("test")} == tested
    assert {sample.split for sample in made.samples if sample.path.name[:3] in ("one", "two")} == {"train"}


def test_evaluate_tells_how_many_pictures_taught_the_model(run: Run, trained: Made, data: Dataset) -> None:
    on_test = run("evaluate", trained.bundle.path, data.source, "--backend", "onnx-cpu")
    on_all = run("evaluate", trained.bundle.path, data.source, "--backend", "onnx-cpu", "--split", "all")
    facts = run("evaluate", trained.bundle.path, data.source, "--backend", "onnx-cpu", "--split", "all", "--json")

    assert "taught this model" not in on_test
    assert "8 of these 24 pictures taught this model: its figures are too good for them" in on_all
    assert json.loads(facts[facts.index("{") :].splitlines()[0])["learnt_from"] == 8


def test_a_student_is_not_tested_on_pictures_that_taught_its_teacher(
    trained: Made, data: Dataset, tmp_path: Path
) -> None:
    exchanged = {"train": "test", "test": "train", "val": "val"}
    lines = [f"{s.path},{s.label},{exchanged[s.split]}" for s in data.samples]
    file = data.source.with_name("exchanged.csv")
    file.write_text("path,label,split\n" + "\n".join(lines) + "\n")

    with pytest.raises(DataError, match="has learnt from 8 of the 8 pictures that test the result"):
        compress(trained.bundle, load_dataset(file), tmp_path / "out", target=10, seed=0, minutes=0.01, quiet=True)


def test_a_bundle_of_an_earlier_version_tells_nothing_of_its_pictures(
    trained: Made, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(learnt(trained.bundle, data.samples)) == 8
    monkeypatch.setattr(type(trained.bundle), "scores", lambda _: {})
    assert learnt(trained.bundle, data.samples) == ()


def test_a_name_that_no_terminal_can_show_ends_no_command(
    trained: Made, parts: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    os.rename(parts / "ok/00.png", os.fsencode(parts / "ok") + b"/Pr\xfcf\nling.png")  # noqa: PTH104 - bytes

    code = cli.main(["suggest", str(trained.bundle.path), str(parts), "--count", "24", "--threads", "1"])

    out = capfdbinary.readouterr().out
    assert code == 0
    assert b"Pr\\xfcf\\nling.png" in out
