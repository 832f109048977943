"""Training on tiny pictures: the whole way to a bundle, and what the bundle holds."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from camera.picture import read_picture
from inspection.errors import BundleError, DataError
from inspection.part import Label
from training.dataset import Dataset, Sample, load_dataset
from training.decide import clear_of
from training.evaluate import evaluate
from training.fit import fit, fresh_head
from training.inputs import Features, trunk_features
from training.losses import focal
from training.make import Made, choose_golden, make_bundle
from training.pictures import batches, crops_of
from training.recipes import TrainingRecipe, training_recipe
from training.weights import pretrained
from vision.backends.choose import open_backend
from vision.bundle import Thresholds, expected_of, load_bundle
from vision.golden import few
from vision.recipe import Recipe, Tiles
from vision.resnet import ResNet18, build_resnet18, load_backbone

Rows = list[dict[str, str]]
Manifest = Callable[..., Path]


def test_a_bundle_is_trained_calibrated_measured_and_loads(trained: Made, small: TrainingRecipe) -> None:
    bundle = load_bundle(trained.bundle.path)

    assert bundle.recipe == small.image
    assert bundle.metrics["test"]["n_ok"] == 5
    assert bundle.metrics["test"]["n_ng"] == 3
    assert bundle.metrics["val"]["auroc"] == trained.val.auroc.value
    assert bundle.metrics["training"]["by"] == "test"
    assert {part.label for part in bundle.golden} <= set(Label)


def test_the_runtime_backend_gives_the_scores_that_training_wrote(trained: Made, data: Dataset) -> None:
    backend = open_backend(trained.bundle.path, choice="onnx-cpu", threads=1)

    evaluation = evaluate(trained.bundle, backend, data.of("test"), quiet=True)

    told = trained.bundle.metrics["test"]
    assert evaluation.report.to_json()["confusion"] == told["confusion"]
    assert evaluation.report.auroc.value == told["auroc"]


def test_the_same_seed_gives_the_same_file_of_weights(
    trained: Made, data: Dataset, weights: Path, small: TrainingRecipe, tmp_path: Path
) -> None:
    again = make_bundle(data, tmp_path / "again", small, pretrained(str(weights)), seed=0, notes={}, quiet=True)

    assert again.bundle.weights_hash == trained.bundle.weights_hash
    assert again.bundle.thresholds == trained.bundle.thresholds
    assert again.bundle.golden_crops().tobytes() == trained.bundle.golden_crops().tobytes()


def test_another_seed_gives_another_classifier() -> None:
    models = [ResNet18() for _ in range(3)]
    for model, seed in zip(models, (3, 3, 4), strict=True):
        fresh_head(model, seed)

    assert torch.equal(models[0].fc.weight, models[1].fc.weight)
    assert not torch.equal(models[0].fc.weight, models[2].fc.weight)


def test_only_layer4_and_the_classifier_learn_and_no_batch_norm_statistic_moves(
    weights: Path, data: Dataset, small: TrainingRecipe
) -> None:
    model = pretrained(str(weights))
    fresh_head(model, 0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    features = features_of(model, data.of("train"), small.image)

    fit(model, features, features, small, seed=0, quiet=True)

    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert all(name.startswith(("layer4.", "fc.")) and "running" not in name for name in moved)


def test_the_weights_of_the_best_epoch_are_kept_and_training_stops_early(
    weights: Path, data: Dataset, small: TrainingRecipe
) -> None:
    model = pretrained(str(weights))
    fresh_head(model, 0)
    train = features_of(model, data.of("train"), small.image)
    # The opposite labels: every step in training makes val worse.
    val = Features(train.values, 1 - train.labels)
    recipe = small.model_copy(update={"epochs": 50, "patience": 2, "learning_rate": 1e-2})

    history = fit(model, train, val, recipe, seed=0, quiet=True)

    best = min(range(len(history)), key=lambda epoch: history[epoch].val_loss)
    assert len(history) == best + 1 + 2 < 50
    assert loss_on(model, val) == pytest.approx(history[best].val_loss, rel=1e-4)


def test_with_tiles_the_worst_tile_decides(weights: Path) -> None:
    model = pretrained(str(weights))
    fresh_head(model, 1)
    features = np.random.default_rng(0).normal(size=(3, 2, 256, 2, 2)).astype(np.float32)

    both = margins(model, features)

    alone = np.stack([margins(model, features[:, tile : tile + 1]) for tile in (0, 1)])
    assert both == pytest.approx(alone.max(axis=0), rel=1e-5)


def test_tiled_pictures_train_and_evaluate(data: Dataset, weights: Path, small: TrainingRecipe, tmp_path: Path) -> None:
    recipe = small.model_copy(update={"image": Recipe(tiles=Tiles(columns=2, rows=1), size=64, resize=64)})

    made = make_bundle(data, tmp_path / "tiled", recipe, pretrained(str(weights)), seed=0, notes={}, quiet=True)

    backend = open_backend(made.bundle.path, choice="onnx-cpu", threads=1)
    evaluation = evaluate(made.bundle, backend, data.of("test"), quiet=True)
    assert evaluation.report.auroc.value == pytest.approx(made.bundle.metrics["test"]["auroc"], abs=0.01)


def test_training_sees_the_bytes_that_production_sees(data: Dataset) -> None:
    samples = data.samples[:5]
    recipe = Recipe()

    seen = np.concatenate(list(batches(samples, recipe, 2)))

    produced = np.stack([recipe.crops(*read_picture(sample.path)) for sample in samples])
    assert seen.dtype == np.uint8
    assert seen.tobytes() == produced.tobytes()


def test_a_bundle_without_test_pictures_says_so(
    rows: Rows, manifest: Manifest, weights: Path, small: TrainingRecipe, tmp_path: Path
) -> None:
    dataset = load_dataset(manifest([r for r in rows if r["split"] != "test"]))

    made = make_bundle(dataset, tmp_path / "bundle", small, pretrained(str(weights)), seed=0, notes={}, quiet=True)

    assert made.test is None
    assert made.bundle.metrics["test"] is None


def test_pictures_that_a_bundle_may_not_hold_become_png_with_the_same_pixels(
    rows: Rows, manifest: Manifest, weights: Path, small: TrainingRecipe, tmp_path: Path
) -> None:
    for row in rows:
        source = tmp_path / "data" / row["path"]
        row["path"] = f"{source.stem}.bmp"
        cv2.imwrite(str(source.with_suffix(".bmp")), cv2.imread(str(source), cv2.IMREAD_UNCHANGED))
    dataset = load_dataset(manifest(rows))

    made = make_bundle(dataset, tmp_path / "bundle", small, pretrained(str(weights)), seed=0, notes={}, quiet=True)

    crops = made.bundle.golden_crops()
    assert made.bundle.golden
    for part, crop in zip(made.bundle.golden, crops, strict=True):
        assert part.path.suffix == ".png"
        assert small.image.crops(*read_picture(part.path)).tobytes() == crop.tobytes()


def test_golden_parts_span_the_scores_and_stay_clear_of_the_thresholds(tmp_path: Path) -> None:
    samples = [Sample(tmp_path, str(i), Label.NG if i >= 60 else Label.OK) for i in range(101)]
    scores = np.arange(101) / 100

    golden = choose_golden(samples, scores, Thresholds(0.5, 0.7), per_class=4)

    of = {label: [score for sample, score in golden if sample.label is label] for label in Label}
    assert of[Label.OK][0] == 0.0
    assert of[Label.OK][-1] == 0.59
    assert of[Label.NG][0] == 0.6
    assert of[Label.NG][-1] == 1.0
    assert all(abs(score - edge) > 0.04 for _, score in golden for edge in (0.5, 0.7))


def test_a_low_threshold_still_has_golden_parts_on_both_sides(tmp_path: Path) -> None:
    samples = [Sample(tmp_path, str(i), Label.OK) for i in range(40)]
    scores = np.geomspace(1e-4, 0.5, 40)

    golden = choose_golden(samples, scores, Thresholds(0.01, 0.6))

    below = [score for _, score in golden if score < 0.01]
    assert 4 <= len(below) < len(golden)
    assert all(score < 0.0083 or score > 0.012 for _, score in golden)


@given(
    st.lists(st.tuples(st.sampled_from(Label), st.floats(0, 1)), min_size=1, max_size=60),
    st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)).map(sorted),
)
def test_of_each_class_no_more_than_a_quarter_of_the_golden_parts_is_misjudged(
    parts: list[tuple[Label, float]], edges: list[float]
) -> None:
    """However many errors the model makes: a bundle that excuses more would be refused."""
    samples = [Sample(Path(), str(number), label) for number, (label, _) in enumerate(parts)]
    scores = np.array([score for _, score in parts])
    thresholds = Thresholds(*edges)

    golden = choose_golden(samples, scores, thresholds)

    assert len({sample.name for sample, _ in golden}) == len(golden)
    for label in Label:
        right = [expected_of(label) is thresholds.outcome(score) for sample, score in golden if sample.label is label]
        assert len(right) <= 16
        assert right.count(False) <= few(len(right))
        clear = clear_of(scores, thresholds)
        could = [
            clear[n] and sample.label is label and thresholds.outcome(scores[n]) is expected_of(label)
            for n, sample in enumerate(samples)
        ]
        assert bool(right) is any(could)


def test_a_corrupt_picture_is_named(rows: Rows, manifest: Manifest, tmp_path: Path) -> None:
    broken = tmp_path / "data" / "04.png"
    broken.write_bytes(broken.read_bytes()[:200])
    sample = load_dataset(manifest(rows)).samples[4]

    with pytest.raises(DataError, match=r"04\.png.*replace the picture"):
        crops_of(sample, Recipe())


def test_a_picture_that_the_recipe_cannot_cut_is_named(rows: Rows, manifest: Manifest) -> None:
    sample = load_dataset(manifest(rows)).samples[0]

    with pytest.raises(DataError, match=r"00\.png: .*region of interest"):
        crops_of(sample, Recipe(roi=(0, 0, 4000, 10)))


def test_weights_of_another_network_are_refused(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        pretrained(str(tmp_path / "gone.safetensors"))
    (tmp_path / "junk.safetensors").write_bytes(b"not a tensor")
    with pytest.raises(DataError, match="not a readable safetensors file"):
        pretrained(str(tmp_path / "junk.safetensors"))
    with pytest.raises(BundleError, match="missing"):
        build_resnet18({"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)})
    load_backbone(ResNet18(), weights)


def test_torchvisions_weights_without_internet_end_in_a_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("training.weights._URL", "http://127.0.0.1:9/resnet18-f37072fd.pth")

    with pytest.raises(DataError, match="without internet, leave --weights out"):
        pretrained("torchvision")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not a readable JSON"),
        ("[" * 100_000, "not a readable JSON"),
        ('{"loss": "hinge"}', "loss: "),
        ('{"image": {"size": 7}}', r"image\.size"),
    ],
)
def test_a_wrong_recipe_file_is_named_with_its_key(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "mine.json"
    file.write_text(content)

    with pytest.raises(DataError, match=said):
        training_recipe(str(file))


def test_recipes_come_by_name_or_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(training_recipe("whole-frame").model_dump_json())

    assert training_recipe(str(tmp_path / "mine.json")) == training_recipe("whole-frame")
    assert training_recipe("reference").loss == "focal"
    with pytest.raises(DataError, match="reference, whole-frame"):
        training_recipe("referense")


def margins(model: ResNet18, values: NDArray[np.float32]) -> NDArray[np.float64]:
    return Features(values, np.zeros(len(values), np.int64)).margins(model, np.arange(len(values)))


def features_of(model: ResNet18, samples: tuple[Sample, ...], recipe: Recipe) -> Features:
    crops = np.concatenate(list(batches(samples, recipe, 8)))
    labels = np.array([s.label is Label.NG for s in samples], dtype=np.int64)
    return Features(trunk_features(model, crops, recipe), labels)


def loss_on(model: ResNet18, features: Features) -> float:
    with torch.inference_mode():
        logits = model.head(torch.from_numpy(features.values).flatten(0, 1))
    return focal(logits, torch.from_numpy(features.labels)).item()
