"""`linegate thresholds`: another promise for the same model, without training and never silently."""

import argparse
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from daemon.commands import thresholds
from inspection.errors import BundleError, DataError
from inspection.part import Label
from tests.training.conftest import draw
from training.dataset import Dataset
from training.make import Made
from training.rechoose import Rechosen, rechoose, rechoose_stored
from training.targets import Targets, restored
from vision.backends.choose import open_backend
from vision.bundle import MANIFEST, SCORES, SIGNATURE, Bundle, GoldenPart, Thresholds, load_bundle
from vision.content import with_content_hash
from vision.write import revise_bundle

Rows = list[dict[str, str]]
Run = Callable[..., str]


@pytest.fixture
def bundle(trained: Made, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(trained.bundle.path, tmp_path / "bundle"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The command's standard output; errors come through as exceptions."""

    def run(*words: object) -> str:
        parser = argparse.ArgumentParser()
        thresholds.register(parser.add_subparsers())
        args = parser.parse_args(["thresholds", *map(str, words), "--backend", "onnx-cpu", "--threads", "1"])
        assert args.run(args) == 0
        return capsys.readouterr().out

    return run


def facts(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    return told


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_without_a_place_to_write_to_nothing_is_written(run: Run, bundle: Path, data: Dataset) -> None:
    before = files(bundle.parent)

    out = run(bundle, data.source, "--max-escape", "70%")

    assert files(bundle.parent) == before
    assert "Nothing was written: --out NEW or --in-place does." in out
    assert "val: escape" in out
    assert "70%" in out


def test_the_new_bundle_keeps_the_bound_and_everything_else_of_the_old_one(
    run: Run, bundle: Path, data: Dataset, tmp_path: Path
) -> None:
    (bundle / "MODEL_CARD.md").write_text("What this model is for.")
    before = files(bundle)

    out = run(bundle, data.source, "--max-escape", "70%", "--max-overkill", "50%", "--out", tmp_path / "new")

    new, old = load_bundle(tmp_path / "new"), load_bundle(bundle)
    assert files(bundle) == before
    assert new.hash != old.hash
    assert new.model_id in out
    assert new.weights_hash == old.weights_hash
    assert (new.temperature, new.data_hash, new.recipe) == (old.temperature, old.data_hash, old.recipe)
    assert (tmp_path / "new" / "MODEL_CARD.md").read_text() == "What this model is for."
    decision = new.metrics["decision"]
    assert decision["val"]["escape"]["upper"] <= 0.7
    assert decision["val"]["sure_overkill"]["upper"] <= 0.5
    assert decision["scored_by"].startswith("onnx-cpu")
    assert decision["data_hash"] == data.digest()
    assert new.metrics["training"] == old.metrics["training"]
    assert new.metrics["test"]["n_ng"] == 3


def test_the_same_targets_give_the_thresholds_that_training_gave(trained: Made, data: Dataset) -> None:
    backend = open_backend(trained.bundle.path, choice="onnx-cpu", threads=1)

    found = rechoose(trained.bundle, backend, data, Targets(), quiet=True)

    old = trained.bundle.thresholds
    assert found.decision.thresholds.pass_below == pytest.approx(old.pass_below, abs=1e-4)
    assert found.decision.thresholds.fail_above == pytest.approx(old.fail_above, abs=1e-4)
    assert found.same_data


def test_without_a_data_set_the_scores_that_training_left_are_used(
    run: Run, trained: Made, bundle: Path, tmp_path: Path
) -> None:
    out = run(bundle, "--max-escape", "70%", "--out", tmp_path / "new")

    new = load_bundle(tmp_path / "new")
    decision = new.metrics["decision"]
    assert (decision["scored_by"], decision["chosen_on"]) == ("torch fp32", "val")
    assert decision["val"]["escape"]["upper"] <= 0.7
    assert decision["test"]["escape"]["of"] == 3
    assert new.scores().keys() == trained.bundle.scores().keys()
    assert "test: escape" in out
    assert rechoose_stored(new, Targets()).decision == trained.decision


def test_a_bundle_without_scores_asks_for_the_data_set(run: Run, bundle: Path) -> None:
    told = facts(bundle)
    del told["files"][SCORES]
    (bundle / MANIFEST).write_text(json.dumps(with_content_hash(told)))

    with pytest.raises(DataError, match="training left no scores in it: name the data set"):
        run(bundle)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"val.scores": np.array([0.5])}, "not what training writes"),
        ({"val.truth": np.zeros(8, np.uint8)}, "not what training writes"),
        ({"val.scores": np.full(8, np.nan)}, "no probabilities"),
        ({"val.scores": np.full(8, 1.5)}, "no probabilities"),
    ],
)
def test_scores_that_are_none_are_refused(trained: Made, change: dict[str, NDArray[np.generic]], said: str) -> None:
    with pytest.raises(DataError, match=said):
        restored({**trained.bundle.scores(), **change}, "val")


def test_scores_that_changed_on_disk_are_refused(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    (bundle / SCORES).write_bytes(b"\0" * 100)

    with pytest.raises(BundleError, match="changed since the bundle was loaded"):
        rechoose_stored(loaded, Targets())


def test_what_the_stored_scores_cannot_prove_is_refused(run: Run, bundle: Path) -> None:
    with pytest.raises(DataError, match="Add 595 defective pictures to val"):
        run(bundle, "--max-escape", "0.5%")


def test_val_that_the_model_has_learnt_from_chooses_no_thresholds(run: Run, bundle: Path, data: Dataset) -> None:
    told = facts(bundle)
    told["metrics"]["training"]["learnt_from"] = ["train", "val"]
    (bundle / MANIFEST).write_text(json.dumps(with_content_hash(told)))

    with pytest.raises(DataError, match="has learnt from val too"):
        run(bundle, data.source)
    assert "held out: escape" in run(bundle)


def test_in_place_gives_the_folder_another_model_and_drops_the_signature(run: Run, bundle: Path, data: Dataset) -> None:
    old = load_bundle(bundle)
    (bundle / SIGNATURE).write_text("of the old one")
    (bundle / "demo").mkdir()
    (bundle / "demo" / "picture.txt").write_text("not the bundle's")

    out = run(bundle, data.source, "--cost-escape", 50, "--cost-overkill", 1, "--in-place")

    new = load_bundle(bundle)
    assert new.hash != old.hash
    assert new.metrics["decision"]["costs"] == {"escape": 50, "overkill": 1, "review": None}
    assert not (bundle / SIGNATURE).exists()
    assert (bundle / "demo" / "picture.txt").exists()
    assert "sign it again" in out
    assert sorted(path.name for path in bundle.parent.iterdir()) == ["bundle"]


def test_a_bundle_that_is_there_is_replaced_only_with_force(
    run: Run, bundle: Path, data: Dataset, tmp_path: Path
) -> None:
    run(bundle, data.source, "--out", tmp_path / "new")
    first = facts(tmp_path / "new")

    with pytest.raises(DataError, match="--force replaces it"):
        run(bundle, data.source, "--max-escape", "70%", "--out", tmp_path / "new")
    assert facts(tmp_path / "new") == first
    run(bundle, data.source, "--max-escape", "70%", "--out", tmp_path / "new", "--force")
    assert facts(tmp_path / "new")["metrics"]["decision"]["max_escape"] == 0.7


def test_a_target_that_val_cannot_prove_is_refused_and_nothing_is_written(
    run: Run, bundle: Path, data: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="Add 595 defective pictures to val"):
        run(bundle, data.source, "--max-escape", "0.5%", "--out", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_new_pictures_without_a_split_choose_the_thresholds_all_together(
    run: Run, bundle: Path, rows: Rows, manifest: Callable[..., Path]
) -> None:
    file = manifest(rows, ("path", "label"))
    for number, row in enumerate(rows, 100):
        draw(file.parent / row["path"], number, defect=row["label"] == "ng")

    told = json.loads(run(bundle, file, "--max-escape", "40%", "--json"))

    assert told["decision"]["val"]["escape"]["of"] == 9
    assert told["test"] is None
    assert not told["same_data"]
    assert not (file.parent / "linegate-split.csv").exists()
    assert "must not have learnt from any in val" in run(bundle, file)


def test_pictures_that_taught_the_model_choose_no_thresholds_whatever_they_are_called(
    run: Run, bundle: Path, rows: Rows, manifest: Callable[..., Path]
) -> None:
    for row in rows:
        file = manifest(rows).parent / row["path"]
        file.rename(file.with_name(f"other-{file.name}"))
        row["path"] = f"other-{row['path']}"
    file = manifest(rows, ("path", "label"))

    with pytest.raises(DataError, match=r"has learnt from 8 of the 24 pictures that choose the thresholds"):
        run(bundle, file, "--max-escape", "40%")


def test_new_pictures_of_one_class_alone_choose_nothing(
    run: Run, bundle: Path, rows: Rows, manifest: Callable[..., Path]
) -> None:
    file = manifest([row for row in rows if row["label"] == "ok"], ("path", "label"))

    with pytest.raises(DataError, match="holds no picture labelled ng"):
        run(bundle, file)


def test_the_json_names_what_was_written(run: Run, bundle: Path, data: Dataset, tmp_path: Path) -> None:
    told = json.loads(run(bundle, data.source, "--out", tmp_path / "new", "--json"))

    new = load_bundle(tmp_path / "new")
    assert told["bundle"] == str(tmp_path / "new")
    assert told["model"] == new.model_id
    assert told["from_model"] == load_bundle(bundle).model_id
    assert told["thresholds"] == {"pass_below": new.thresholds.pass_below, "fail_above": new.thresholds.fail_above}
    assert told["same_data"]


def test_golden_parts_that_come_too_near_to_a_threshold_leave_the_bundle(bundle: Path, tmp_path: Path) -> None:
    old = load_bundle(bundle)
    assert len(old.golden) >= 3
    kept = [0, 2]

    new = revise_bundle(old, tmp_path / "new", thresholds=Thresholds(0.2, 0.8), metrics={}, golden=kept)

    assert [part.score for part in new.golden] == [old.golden[number].score for number in kept]
    assert new.golden_crops().tobytes() == old.golden_crops()[kept].tobytes()
    assert len(list((new.path / "golden").glob("*.png"))) == 2
    assert open_backend(new.path, choice="onnx-cpu", threads=1).name


def test_a_bundle_that_changed_since_it_was_loaded_is_not_written_again(bundle: Path, tmp_path: Path) -> None:
    old = load_bundle(bundle)
    changed = facts(bundle)
    changed["metrics"] = {}
    (bundle / MANIFEST).write_text(json.dumps(with_content_hash(changed)))

    with pytest.raises(BundleError, match="changed since the bundle was loaded"):
        revise_bundle(old, tmp_path / "new", thresholds=Thresholds(0.2, 0.8), metrics={}, golden=[])
    assert not (tmp_path / "new").exists()


def many_golden(bundle: Path) -> Bundle:
    """`bundle` as if it held 16 golden parts of each class, all judged rightly and clear of the thresholds."""
    parts = [
        GoldenPart(Path(f"{number:03d}-{label}.png"), label, score)
        for label, scores in ((Label.OK, np.linspace(0.01, 0.2, 16)), (Label.NG, np.linspace(0.6, 0.99, 16)))
        for number, score in enumerate(scores)
    ]
    return dataclasses.replace(load_bundle(bundle), thresholds=Thresholds(0.4, 0.4), golden=tuple(parts))


@pytest.mark.parametrize(("pass_below", "excused"), [(0.4, 0), (0.64, 4), (0.665, 5), (1.0, 16)])
def test_thresholds_excuse_a_quarter_of_a_class_and_are_not_written_beyond(
    bundle: Path, tmp_path: Path, pass_below: float, excused: int
) -> None:
    many = many_golden(bundle)
    decision = dataclasses.replace(
        rechoose_stored(many, Targets()).decision, thresholds=Thresholds(pass_below, max(pass_below, 0.4))
    )
    found = Rechosen(many, decision, None, None, "")  # type: ignore[arg-type]

    assert len(found.newly_excused) == excused
    assert {part.label for part in found.newly_excused} <= {Label.NG}
    if excused > 4:
        with pytest.raises(BundleError, match=f"not written: with these .* excuses {excused} of its 16 bad golden"):
            found.write(tmp_path / "new")
        assert not (tmp_path / "new").exists()


def test_thresholds_name_the_golden_parts_that_they_excuse(run: Run, bundle: Path, tmp_path: Path) -> None:
    told = json.loads(run(bundle, "--max-escape", "70%", "--out", tmp_path / "new", "--json"))

    before, after = load_bundle(bundle).golden, load_bundle(tmp_path / "new").golden
    assert len(after) == len(before)
    newly = [new.path.name for old, new in zip(before, after, strict=True) if new.excused and not old.excused]
    assert told["golden_excused"] == newly
