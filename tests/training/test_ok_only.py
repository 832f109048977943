"""Bundles from good parts alone: learnt, thresholded and run without a defective part."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from inspection.errors import BackendError, DataError
from training.bank import nearest, spread_out
from training.dataset import Dataset, load_dataset, split_dataset
from training.evaluate import evaluate
from training.good import cut_above, decide_by_good, expected_overkill, rejected_of
from training.make import Made
from training.ok_only import make_ok_only_bundle, unknown_lines
from training.rechoose import rechoose_stored
from training.targets import Costs, ScoredSplit, Targets
from vision.backends.choose import open_backend
from vision.recipe import Recipe
from vision.weights import Tensors

Rows = list[dict[str, str]]
Manifest = Callable[..., Path]

SMALL = Recipe(enhance="none", geometry="squash", resize=64, size=64)


def good_alone(rows: Rows) -> Rows:
    """Without the defective pictures of train and val; those of test stay."""
    return [row for row in rows if row["label"] == "ok" or row["split"] == "test"]


def made_of(dataset: Dataset, backbone: Tensors, out: Path, targets: Targets | None = None) -> Made:
    return make_ok_only_bundle(
        dataset, out, backbone, seed=0, notes={}, targets=targets or Targets(), recipe=SMALL, threads=1, quiet=True
    )


@pytest.fixture(scope="session")
def backbone(weights: Path) -> Tensors:
    return {name: array.astype(np.float32) for name, array in load_file(weights).items()}


@pytest.fixture
def good(rows: Rows, manifest: Manifest) -> Dataset:
    return load_dataset(manifest(good_alone(rows)))


@pytest.fixture
def made(good: Dataset, backbone: Tensors, tmp_path: Path) -> Made:
    return made_of(good, backbone, tmp_path / "bundle")


@pytest.mark.parametrize("choice", ["onnx-cpu", "openvino-fp32"])
def test_a_bundle_of_good_parts_alone_runs_and_finds_defects_it_never_saw(
    made: Made, good: Dataset, choice: str
) -> None:
    backend = open_backend(made.bundle.path, choice=choice, threads=1)

    found = evaluate(made.bundle, backend, good.of("test"), quiet=True)

    assert found.report.auroc.value == 1.0
    assert made.test is not None
    assert found.report.confusion == made.test.confusion


def test_the_same_seed_gives_the_same_bank(made: Made, good: Dataset, backbone: Tensors, tmp_path: Path) -> None:
    again = made_of(good, backbone, tmp_path / "again")

    assert again.bundle.weights_hash == made.bundle.weights_hash
    assert again.bundle.thresholds == made.bundle.thresholds


def test_no_good_part_of_val_is_rejected_where_fewer_than_a_hundred_choose_the_threshold(made: Made) -> None:
    assert made.val.n_ng == 0
    assert made.val.confusion.ok_passed == made.val.n_ok
    assert made.bundle.thresholds.pass_below == made.bundle.thresholds.fail_above
    assert made.bundle.thresholds.pass_below == pytest.approx(0.5, abs=1e-4)


def test_the_report_says_that_escapes_are_unknown_and_what_overkill_to_expect(made: Made) -> None:
    text = "\n".join(unknown_lines(made.decision))

    assert "HOW MANY DEFECTIVE PARTS ESCAPE IS NOT KNOWN" in text
    assert "at most 16.7%" in text  # five good parts in val, none rejected


def test_other_thresholds_are_chosen_by_the_good_parts_that_training_scored(made: Made) -> None:
    assert rechoose_stored(made.bundle, Targets()).decision.thresholds == made.bundle.thresholds

    with pytest.raises(DataError, match="nothing is known of escapes"):
        rechoose_stored(made.bundle, Targets(costs=Costs(100, 1)))


def test_torch_says_that_it_does_not_run_a_bank(made: Made) -> None:
    with pytest.raises(BackendError, match="does not run the network resnet18-bank: choose onnx or openvino"):
        open_backend(made.bundle.path, choice="torch-cpu", threads=1)


def test_a_folder_of_good_pictures_alone_is_enough(rows: Rows, backbone: Tensors, tmp_path: Path) -> None:
    folder = tmp_path / "line" / "ok"
    folder.mkdir(parents=True)
    for row in good_alone(rows):
        if row["label"] == "ok":
            (tmp_path / "data" / row["path"]).rename(folder / row["path"])

    dataset = split_dataset(load_dataset(folder.parent), seed=0)
    made = made_of(dataset, backbone, tmp_path / "bundle")

    assert made.val.n_ok >= 2
    assert made.bundle.metrics["training"]["good_parts"] == len(dataset.of("train"))


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (Targets(max_escape=0.01), "--max-escape 1% cannot be proven"),
        (Targets(max_overkill=0.01), "there are 5"),
        (Targets(costs=Costs(100, 1)), "nothing is known of escapes before defective parts were seen"),
    ],
)
def test_what_good_parts_cannot_prove_is_refused(good: Dataset, backbone: Tensors, targets: Targets, said: str) -> None:
    with pytest.raises(DataError, match=said):
        made_of(good, backbone, good.source.parent / "bundle", targets)


def test_a_split_without_good_pictures_is_named(
    rows: Rows, manifest: Manifest, backbone: Tensors, tmp_path: Path
) -> None:
    dataset = load_dataset(manifest([row for row in rows if row["split"] != "val"]))

    with pytest.raises(DataError, match="split 'val' holds 0 pictures labelled ok"):
        made_of(dataset, backbone, tmp_path / "bundle")


def test_the_expected_overkill_of_new_good_parts_is_kept_on_average() -> None:
    random = np.random.default_rng(0)
    rejected = rejected_of(199, Targets())
    over = []
    for _ in range(2000):
        cut = cut_above(np.sort(random.standard_exponential(199)), rejected)
        over.append(float(np.exp(-cut)))  # what of the distribution lies above

    assert rejected == 1
    assert np.mean(over) <= expected_overkill(199, rejected) == 0.01


def test_a_bound_on_overkill_is_kept_by_the_good_parts_of_val() -> None:
    scores = np.linspace(0.01, 0.6, 500)
    val = ScoredSplit(scores, np.zeros(500, np.bool_), np.arange(500))

    decision = decide_by_good(Targets(max_overkill=0.02), val, scored_by="test")

    assert decision.val.sure_overkill.count > 0
    assert decision.val.sure_overkill.upper <= 0.02
    assert decision.val.escape.upper == 1.0


def test_each_chosen_point_is_the_furthest_from_those_before_it() -> None:
    points = np.array([[0, 0], [10, 0], [0.1, 0], [9.9, 0], [5, 0]], np.float32)

    chosen = spread_out(points, 3, quiet=True)

    assert chosen.tolist() == [1, 0, 4]
    assert nearest(points, points[chosen]) == pytest.approx([0, 0, 0.1, 0.1, 0], abs=1e-3)


def test_all_points_are_taken_where_there_are_too_few() -> None:
    points = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)

    assert sorted(spread_out(points, 9, quiet=True)) == [0, 1, 2, 3, 4]
