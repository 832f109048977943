"""Which of many unlabelled pictures come first."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from inspection.errors import DataError
from training.dataset import Dataset, load_dataset
from training.make import Made
from training.ok_only import make_ok_only_bundle
from training.sorting import lay_out
from training.suggest import choose, suggest, uncertainty
from training.targets import Targets
from training.unlabelled import Looked, look
from vision.bundle import Thresholds
from vision.describe import Describer
from vision.recipe import Recipe

Rows = list[dict[str, str]]
Manifest = Callable[..., Path]
NOTHING: NDArray[np.float32] = np.empty((0, 8), np.float32)


def apart(count: int) -> NDArray[np.float32]:
    """Features of pictures that are all equally unlike each other."""
    return np.eye(count, dtype=np.float32)


def test_between_the_thresholds_all_is_equally_uncertain_and_less_so_beyond() -> None:
    logit = np.log(np.array([0.01, 0.2, 0.35, 0.5, 0.9]) / (1 - np.array([0.01, 0.2, 0.35, 0.5, 0.9])))
    unsure = uncertainty(logit, Thresholds(0.2, 0.5))
    assert unsure[1:4] == pytest.approx(0.5)
    assert unsure[0] < unsure[4] < 0.5
    assert uncertainty(logit, Thresholds(0.5, 0.5)) == pytest.approx([0.01, 0.2, 0.35, 0.5, 0.1])


@pytest.mark.parametrize("thresholds", [Thresholds(0, 1), Thresholds(0, 0), Thresholds(1, 1)])
def test_thresholds_at_the_ends_leave_an_order(thresholds: Thresholds) -> None:
    unsure = uncertainty(np.array([-1e4, -3.0, 0.0, 3.0, 1e4]), thresholds)
    assert np.isfinite(unsure).all()
    assert ((unsure >= 0) & (unsure <= 0.5)).all()


def test_of_pictures_equally_unlike_each_other_the_uncertain_come_first() -> None:
    unsure = np.array([0.1, 0.5, 0.01, 0.3, 0.2, 0.4])
    assert choose(unsure, apart(6), NOTHING, 6)[0] == [1, 5, 3, 4, 0, 2]


def test_near_duplicates_of_the_most_uncertain_picture_do_not_fill_the_list() -> None:
    random = np.random.default_rng(0)
    copies = np.tile(apart(12)[:1], (30, 1)) + random.normal(0, 1e-3, (30, 12)).astype(np.float32)
    features = np.concatenate([copies, apart(12)[1:]])
    unsure = np.r_[np.full(30, 0.5), np.full(11, 0.05)]
    chosen, whys = choose(unsure, features, NOTHING, 8)
    assert sum(number < 30 for number in chosen) == 1
    assert chosen[0] < 30
    assert whys[0] == "uncertain"
    assert "unlike the others" in whys[1:]


def test_a_picture_like_a_labelled_one_comes_last() -> None:
    features = apart(5)
    unsure = np.array([0.5, 0.4, 0.4, 0.4, 0.4])
    assert choose(unsure, features, features[:1], 5)[0][-1] == 0


def test_the_surest_do_not_come_before_all_uncertain_ones_however_strange() -> None:
    """Ten times as many as are asked for are looked at, the most uncertain."""
    features = np.concatenate([apart(20) / 10, -10 * apart(20)[:5]])
    unsure = np.r_[np.full(20, 0.3), np.full(5, 1e-6)]
    assert max(choose(unsure, features, NOTHING, 2)[0]) < 20


def test_each_picture_comes_once_also_where_more_are_asked_for_or_all_are_alike() -> None:
    for features in (apart(4), np.ones((4, 3), np.float32)):
        chosen, whys = choose(np.full(4, 0.2), features, np.empty((0, features.shape[1]), np.float32), 9)
        assert sorted(chosen) == [0, 1, 2, 3]
        assert len(whys) == 4


def looked_at(made: Made, data: Dataset, known: Dataset | None = None) -> Looked:
    describer = Describer(made.bundle, 1)
    return look(data.source.parent, describer, known.samples if known else (), quiet=True)


def test_a_laid_out_folder_that_was_sorted_is_a_data_set(trained: Made, data: Dataset, tmp_path: Path) -> None:
    labels = {sample.path.name: sample.label.value for sample in data.samples}
    suggestions = suggest(looked_at(trained, data), trained.bundle.thresholds, 10)
    lay_out(tmp_path / "new", suggestions)
    for rank, suggestion in enumerate(suggestions, 1):
        copy = tmp_path / "new" / f"{rank:02d}-{suggestion.picture.name}"
        copy.rename(copy.parent / labels[suggestion.picture.name] / copy.name)

    sorted_now = load_dataset(tmp_path / "new")

    assert len(sorted_now.samples) == 10
    again = looked_at(trained, data, known=sorted_now)
    assert again.left_out == 10
    assert not {s.picture.name for s in suggestions} & {picture.name for picture in again.pictures}


def test_a_list_whose_labels_were_filled_in_is_a_manifest(trained: Made, rows: Rows, tmp_path: Path) -> None:
    folder, labels = tmp_path / "data", {row["path"]: row["label"] for row in rows}
    looked = look(folder, Describer(trained.bundle, 1), quiet=True)
    lay_out(folder / "next.csv", suggest(looked, trained.bundle.thresholds, 8))
    with pytest.raises(DataError, match="label '' is neither ok nor ng"):
        load_dataset(folder / "next.csv")

    lines = [line.split(",") for line in (folder / "next.csv").read_text().splitlines()]
    filled = [lines[0], *([path, labels[path], *others] for path, _, *others in lines[1:])]
    (folder / "next.csv").write_text("\n".join(map(",".join, filled)))

    assert [sample.label.value for sample in load_dataset(folder / "next.csv").samples] == [
        labels[path] for path, *_ in lines[1:]
    ]


def test_a_list_away_from_its_pictures_is_refused(trained: Made, data: Dataset, tmp_path: Path) -> None:
    suggestions = suggest(looked_at(trained, data), trained.bundle.thresholds, 3)
    with pytest.raises(DataError, match="must lie above its pictures"):
        lay_out(tmp_path / "next.csv", suggestions)


def test_a_bundle_of_good_parts_alone_suggests_too(
    weights: Path, rows: Rows, manifest: Manifest, tmp_path: Path
) -> None:
    good = [row for row in rows if row["label"] == "ok" or row["split"] == "test"]
    small = Recipe(enhance="none", geometry="squash", resize=64, size=64)
    backbone = {name: array.astype(np.float32) for name, array in load_file(weights).items()}
    made = make_ok_only_bundle(
        load_dataset(manifest(good)), tmp_path / "bundle", backbone,
        seed=0, notes={}, targets=Targets(), recipe=small, threads=1, quiet=True,
    )  # fmt: skip

    suggestions = suggest(looked_at(made, load_dataset(tmp_path / "data")), made.bundle.thresholds, 24)

    assert len({suggestion.picture.name for suggestion in suggestions}) == 24
    assert suggestions[0].why == "uncertain"
