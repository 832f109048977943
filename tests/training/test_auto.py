"""`--recipe auto` on small drawn materials: it takes the pixels that tell good from bad, and keeps its budget."""

import csv
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inspection.errors import DataError
from training.auto import make_auto_bundle
from training.budget import Budget
from training.dataset import COLUMNS, Dataset, load_dataset
from training.evaluate import evaluate
from training.features import FLIPS, features_of, inputs_of
from training.fit import learning
from training.inputs import Features, crops_in, views_in
from training.make import Made, make_bundle
from training.probe import fit_probe
from training.recipes import TrainingRecipe, training_recipe
from training.targets import Targets
from training.text import search_lines
from training.weights import pretrained
from vision.backends.choose import open_backend
from vision.recipe import Recipe

IMAGENET = Path(__file__).parents[2] / "models" / "imagenet-resnet18" / "resnet18-imagenet.safetensors"
SIDE = 64
PLAIN = Recipe(geometry="squash", enhance="none", size=SIDE)
DEEP = TrainingRecipe(image=PLAIN, unfreeze="layer2", loss="cross_entropy", epochs=2, light=True, small_first=True)
Gray = NDArray[np.uint8]
Draw = Callable[[np.random.Generator, bool], Gray]


def bright(random: np.random.Generator, bad: bool) -> Gray:
    """A bad part is a little brighter all over: equalisation makes both alike."""
    grain = random.normal(0, 6, (SIDE, SIDE))
    return np.clip(grain + (125 if bad else 100), 0, 255).astype(np.uint8)


def rough(random: np.random.Generator, bad: bool) -> Gray:
    """A bad part has a rough field: pixel by pixel lighter and darker, and alike again when the picture is scaled."""
    picture = np.kron(random.integers(90, 110, (8, 8)), np.ones((16, 16), np.int64))
    if bad:
        x, y = random.integers(0, 64, 2) * 2 % 64
        picture[y : y + 48, x : x + 48] += np.where(np.indices((48, 48)).sum(axis=0) % 2, 40, -40)
    return picture.astype(np.uint8)


def doubtful(random: np.random.Generator, bad: bool) -> Gray:
    """A bad part is a little brighter, and so are some good ones."""
    grain = random.normal(0, 6, (SIDE, SIDE))
    return np.clip(grain + random.normal(112 if bad else 100, 12), 0, 255).astype(np.uint8)


def rough_and_doubtful(random: np.random.Generator, bad: bool) -> Gray:
    """Most bad parts have the rough field, and so have some good ones."""
    return rough(random, bool(random.random() < (0.9 if bad else 0.1)))


def large_and_doubtful(random: np.random.Generator, bad: bool) -> Gray:
    """Twice as wide and high, so that a larger crop shows more."""
    return np.kron(doubtful(random, bad), np.ones((2, 2), np.uint8))


def material(folder: Path, draw: Draw, good: int = 24, bad: int = 16) -> Dataset:
    """Two pictures to a group; three groups of ten are for the test."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(5)
    with (folder / "manifest.csv").open("w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(COLUMNS)
        for number in range(good + bad):
            label = "ng" if number >= good else "ok"
            cv2.imwrite(str(folder / f"{number}.png"), draw(random, label == "ng"))
            split = ("train", "train", "test", "val", "train", "test", "train", "train", "val", "test")[
                number // 2 % 10
            ]
            rows.writerow((f"{number}.png", label, "", split, f"{label}{number // 2}"))
    return load_dataset(folder)


def made(dataset: Dataset, out: Path, budget: Budget | None = None) -> Made:
    return make_auto_bundle(
        dataset,
        out,
        pretrained(str(IMAGENET)),
        seed=0,
        notes={},
        targets=Targets(),
        budget=budget or Budget(600, quiet=True),
        crop=SIDE,
    )


@pytest.fixture(scope="module")
def of_bright(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Made]:
    folder = tmp_path_factory.mktemp("bright")
    dataset = material(folder / "data", bright)
    return dataset, made(dataset, folder / "made")


def test_where_enhancement_destroys_the_signal_the_plain_picture_is_taken(of_bright: tuple[Dataset, Made]) -> None:
    _, result = of_bright

    assert result.bundle.recipe.enhance == "none"
    assert result.test is not None
    assert result.test.auroc.value == 1


def test_where_only_enhancement_shows_the_signal_it_is_taken(tmp_path: Path) -> None:
    result = made(material(tmp_path / "data", rough), tmp_path / "made")

    assert result.bundle.recipe.enhance == "equalize_gradient"
    skipped = {skipped.name: skipped.why for skipped in result.search.skipped} if result.search else {}
    assert "do not resemble each other enough" in skipped["difference from the reference"]
    assert result.test is not None
    assert result.test.auroc.value == 1


def test_the_bundle_tells_every_candidate_and_why_the_winner_won(of_bright: tuple[Dataset, Made]) -> None:
    _, result = of_bright

    told = result.bundle.metrics["training"]["search"]

    assert told["folds"] == 4
    by_name = {candidate["name"]: candidate for candidate in told["candidates"]}
    assert by_name["gray, whole frame"]["auroc"]["mean"] > by_name["equalised gradient, whole frame"]["auroc"]["mean"]
    assert len(by_name["gray, whole frame"]["recall"]["folds"]) == 4
    assert told["choices"][-1]["name"].startswith(("gray, ", "gray, equalised"))
    assert len(by_name[told["choices"][-1]["name"]]["changed"]["folds"]) == 4
    assert told["choices"][-1]["why"]


def test_a_bundle_whose_layer2_has_learnt_scores_in_the_runtime_as_in_training(
    of_bright: tuple[Dataset, Made], tmp_path: Path
) -> None:
    dataset, _ = of_bright

    result = make_bundle(dataset, tmp_path / "deep", DEEP, pretrained(str(IMAGENET)), seed=0, notes={}, quiet=True)

    backend = open_backend(result.bundle.path, choice="onnx-cpu", threads=1)
    tested = evaluate(result.bundle, backend, dataset.of("test"), quiet=True)
    assert np.allclose(tested.scores, result.bundle.scores()["test.scores"], atol=1e-3)


def test_thresholds_come_from_pictures_that_no_judging_model_has_seen(of_bright: tuple[Dataset, Made]) -> None:
    """All of train and val are judged, and the runtime agrees with what training wrote about test."""
    dataset, result = of_bright
    learnt_from = [sample for sample in dataset.samples if sample.split != "test"]

    backend = open_backend(result.bundle.path, choice="onnx-cpu", threads=1)
    tested = evaluate(result.bundle, backend, dataset.of("test"), quiet=True)

    assert result.val.n_ok + result.val.n_ng == len(learnt_from)
    assert tested.report.to_json()["confusion"] == result.bundle.metrics["test"]["confusion"]


def test_the_same_seed_gives_the_same_bundle(of_bright: tuple[Dataset, Made], tmp_path: Path) -> None:
    dataset, first = of_bright

    again = made(dataset, tmp_path / "again")

    told = [json.loads((bundle.path / "bundle.json").read_text()) for bundle in (first.bundle, again.bundle)]
    for manifest in told:
        del manifest["created_at"], manifest["content_hash"]  # that is of the date too
    assert told[0] == told[1]


def test_what_does_not_fit_the_budget_is_skipped_and_named(of_bright: tuple[Dataset, Made], tmp_path: Path) -> None:
    """By a clock that goes on by ten seconds whenever it is read."""
    dataset, _ = of_bright
    ticks = count(0.0, 10.0)

    result = made(dataset, tmp_path / "hurried", Budget(60, quiet=True, now=lambda: next(ticks)))

    search = result.bundle.metrics["training"]["search"]
    assert [candidate["name"] for candidate in search["candidates"]] == ["gray, whole frame"]
    why = {skipped["name"]: skipped["why"] for skipped in search["skipped"]}
    assert "no time" in why["equalised gradient, whole frame"]


class Paced(Budget):
    """A second for each look, whatever it takes; so many in the deep lessons."""

    def __init__(self, seconds: float, deep: float = 1.0) -> None:
        self.at, self.pace, self.deep = 0.0, 1.0, deep
        super().__init__(seconds, quiet=True, now=lambda: self.at)

    def doing(self, what: str) -> None:
        self.pace = self.deep if "; layer2 to 4" in what else 1.0
        super().doing(what)

    def did(self, looks: float, *, instead_of: float | None = None) -> None:
        self.at += looks * self.pace
        super().did(looks, instead_of=instead_of)


def test_where_a_classifier_falls_short_the_network_learns_from_the_plain_picture(tmp_path: Path) -> None:
    """For as many epochs as end in time, the longer lessons being named."""
    dataset = material(tmp_path / "data", doubtful)

    told = made(dataset, tmp_path / "made", Paced(220)).bundle.metrics["training"]["search"]

    [taught] = [trial["name"] for trial in told["candidates"] if "; layer2 to 4" in trial["name"]]
    too_long = {skipped["name"]: skipped["why"] for skipped in told["skipped"] if "; layer2 to 4" in skipped["name"]}
    assert {name.split(", ")[0] for name in (taught, *too_long)} == {"gray"}
    assert min(map(epochs_of, too_long)) > epochs_of(taught)
    assert all("no time" in why for why in too_long.values())


def test_a_search_ends_in_time_on_a_machine_that_becomes_slower_and_tells_what_it_cut(tmp_path: Path) -> None:
    """Twice as slow from the lesson on that the rest of the time was kept for."""
    dataset = material(tmp_path / "data", doubtful)
    budget = Paced(240, deep=2.0)

    result = made(dataset, tmp_path / "made", budget)

    told = result.bundle.metrics["training"]["search"]["candidates"]
    [cut] = [trial for trial in told if "cut_to" in trial]
    assert min(cut["cut_to"]) < epochs_of(cut["name"])
    assert budget.spent < 240
    assert result.search
    assert any("cut short" in line for line in search_lines(result.search))


def test_a_lesson_that_is_cut_ends_as_slowly_as_a_whole_one(of_bright: tuple[Dataset, Made], tmp_path: Path) -> None:
    """In six passes, not seven for what rounding leaves, the last of which changes little."""
    dataset, _ = of_bright
    recipe = TrainingRecipe(image=PLAIN, loss="cross_entropy", epochs=8, batch=8)
    model = pretrained(str(IMAGENET))
    inputs = inputs_of(model, dataset.samples[:16], recipe, tmp_path / "values", quiet=True)

    moved, before = [], model.fc.weight.detach().clone()
    for _, epochs in learning(model, inputs, np.arange(16), recipe, 0, stride=lambda _: 8 / 6):
        moved.append(float((model.fc.weight.detach() - before).abs().sum()))
        before = model.fc.weight.detach().clone()
        assert epochs == 8 / 6

    assert len(moved) == 6
    assert moved[-1] < moved[0] / 2


def test_pixels_that_are_far_ahead_are_tasted_beside_the_plain_picture(tmp_path: Path) -> None:
    dataset = material(tmp_path / "data", rough_and_doubtful)

    told = made(dataset, tmp_path / "made", Paced(260)).bundle.metrics["training"]["search"]

    tasted = {name: trial for trial in told["candidates"] if (name := trial["name"]).endswith("; taste")}
    [taught] = [trial["name"] for trial in told["candidates"] if "; layer2 to 4" in trial["name"]]
    assert {len(trial["auroc"]["folds"]) for trial in tasted.values()} == {2}
    assert next(iter(tasted)).startswith("gray, whole frame")
    assert len(tasted) >= 2
    best = max(tasted, key=lambda name: tasted[name]["auroc"]["mean"])
    assert best.split(", ")[:2] == taught.split(", ")[:2]
    assert best in [choice["name"] for choice in told["choices"]]


def epochs_of(name: str) -> int:
    return int(name.removesuffix(" epochs").rpartition(" ")[2])


def test_a_larger_view_does_not_take_the_time_of_the_lesson_that_gains_most(tmp_path: Path) -> None:
    dataset = material(tmp_path / "data", large_and_doubtful)

    told = made(dataset, tmp_path / "made", Paced(210)).bundle.metrics["training"]["search"]

    named = [trial["name"] for trial in told["candidates"]] + [skipped["name"] for skipped in told["skipped"]]
    why = {skipped["name"]: skipped["why"] for skipped in told["skipped"]}
    assert any("; layer2 to 4, " in name for name in named)
    assert any("no time" in text and " at 96" in name for name, text in why.items())


def test_one_small_picture_does_not_decide_how_large_all_are_seen(tmp_path: Path) -> None:
    dataset = material(tmp_path / "data", large_and_doubtful)
    cv2.imwrite(str(dataset.samples[0].path), doubtful(np.random.default_rng(0), bad=False))

    told = made(dataset, tmp_path / "made", Paced(250)).bundle.metrics["training"]["search"]

    named = [trial["name"] for trial in told["candidates"]] + [skipped["name"] for skipped in told["skipped"]]
    assert any("whole frame at 96" in name for name in named)


def test_one_defect_in_a_thousand_is_still_learnt() -> None:
    """2 bad ones among 2,000, which differ in one of 512 numbers."""
    random = np.random.default_rng(0)
    pooled = random.normal(0, 1, (2002, 1, 512)).astype(np.float32)
    labels = np.r_[np.zeros(2000, np.int64), np.ones(2, np.int64)]
    pooled[labels == 1, :, 7] += 30

    found = fit_probe(pooled, labels).margins(pooled)

    assert found[labels == 1].min() > found[labels == 0].max()


def test_a_rare_class_is_drawn_until_it_teaches() -> None:
    """One bad picture among 200 good ones, told by one channel: after one epoch it scores highest."""
    model = pretrained(str(IMAGENET))
    random = np.random.default_rng(0)
    values = np.abs(random.normal(0, 1, (201, 1, 256, 2, 2))).astype(np.float32)
    values[0, :, 3] += 20
    labels = np.r_[np.ones(1, np.int64), np.zeros(200, np.int64)]
    recipe = TrainingRecipe(loss="cross_entropy", epochs=1, learning_rate=3e-4, balance=True, batch=16)

    features = Features(values, labels)
    list(learning(model, features, np.arange(201), recipe, seed=0))

    assert features.margins(model, np.arange(201)).argmax() == 0


def test_flips_are_of_the_crop_that_the_network_sees(of_bright: tuple[Dataset, Made], tmp_path: Path) -> None:
    dataset, _ = of_bright
    model = pretrained(str(IMAGENET))
    plain = TrainingRecipe(image=Recipe(geometry="squash", enhance="none", size=SIDE))
    picture = cv2.imread(str(dataset.samples[0].path), cv2.IMREAD_GRAYSCALE)
    rows, columns = FLIPS[0]
    mirrored = tmp_path / "data" / "mirrored.png"
    mirrored.parent.mkdir()
    cv2.imwrite(str(mirrored), np.ascontiguousarray(np.asarray(picture)[::rows, ::columns]))
    (mirrored.parent / "manifest.csv").write_text("path,label\nmirrored.png,ok\n")

    seen = features_of(model, dataset.samples[:1], plain.model_copy(update={"flips": True}), tmp_path / "a", quiet=True)
    alone = features_of(model, load_dataset(mirrored.parent).samples, plain, tmp_path / "b", quiet=True)

    assert len(seen.flipped) == len(FLIPS)
    assert np.allclose(seen.flipped[0], alone.values, atol=2e-2)


def test_quick_features_are_those_of_float32_but_for_rounding(of_bright: tuple[Dataset, Made], tmp_path: Path) -> None:
    dataset, _ = of_bright
    model = pretrained(str(IMAGENET))
    recipe = TrainingRecipe(image=Recipe(geometry="squash", enhance="none", size=SIDE))

    plain = features_of(model, dataset.samples[:4], recipe, tmp_path / "plain", quiet=True).values
    quick = features_of(model, dataset.samples[:4], recipe, tmp_path / "quick", quick=True, quiet=True).values

    assert quick.dtype == np.float32
    assert np.abs(quick - plain).mean() < 0.02 * np.abs(plain).mean()


@pytest.mark.parametrize(
    ("first", "learns"), [("layer3", {"layer3", "layer4", "fc"}), ("layer2", {"layer2", "layer3", "layer4", "fc"})]
)
def test_the_layers_learn_that_are_asked_to(
    first: str, learns: set[str], of_bright: tuple[Dataset, Made], tmp_path: Path
) -> None:
    dataset, _ = of_bright
    model = pretrained(str(IMAGENET))
    recipe = TrainingRecipe.model_validate({"image": PLAIN, "unfreeze": first, "epochs": 1, "loss": "cross_entropy"})
    inputs = inputs_of(model, dataset.samples[:8], recipe, tmp_path / "values", quiet=True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    list(learning(model, inputs, np.arange(8), recipe, seed=0))

    moved = {name.split(".")[0] for name, tensor in model.state_dict().items() if (tensor != before[name]).any()}
    assert moved == learns


def test_crops_are_learnt_from_in_many_views_and_judged_as_they_are(
    of_bright: tuple[Dataset, Made], tmp_path: Path
) -> None:
    dataset, _ = of_bright
    crops = crops_in(dataset.samples[:2], DEEP, tmp_path / "crops")
    plain = crops_in(dataset.samples[:2], DEEP.plain(), tmp_path / "plain")
    random, both = np.random.default_rng(0), np.arange(2)

    early = [crops.drawn(both, random, 0.0) for _ in range(4)]
    late = crops.drawn(both, random, 0.9)
    judged = plain.drawn(both, random, 0.9)

    assert {tuple(views.shape) for views in early} == {(2, 1, 1, 32, 32)}  # 5/7, in steps of 32
    assert len({float(views.mean()) for views in early}) == 4
    assert late.shape == judged.shape == (2, 1, 1, SIDE, SIDE)
    assert np.array_equal(judged.numpy(), crops.values)


def test_changed_pictures_are_the_same_for_every_lesson(of_bright: tuple[Dataset, Made], tmp_path: Path) -> None:
    dataset, _ = of_bright
    plain = crops_in(dataset.samples[:3], DEEP, tmp_path / "plain")

    first = views_in(dataset.samples[:3], DEEP, tmp_path / "first", seed=0)
    again = views_in(dataset.samples[:3], DEEP.plain(), tmp_path / "again", seed=0)

    assert np.array_equal(first.values, again.values)
    assert all((one != other).any() for one, other in zip(first.values, plain.values, strict=True))


def test_light_needs_pixels_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"light": true}')

    with pytest.raises(DataError, match="unfreeze: layer2"):
        training_recipe(str(tmp_path / "mine.json"))
