"""`linegate compress`: a narrow network learns what a whole one answers, and becomes a bundle like any other."""

import argparse
import hashlib
import itertools
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import save

from daemon.commands import compress as command
from inspection import clock
from inspection.errors import BackendError, BundleError, DataError
from inspection.frame import CropPixels
from inspection.part import Label
from training.compress import LADDER, compress, widths_for
from training.dataset import Dataset
from training.decide import TAUGHT
from training.device import CPU
from training.distil import ask, distil, margins_of
from training.evaluate import truth_of
from training.inputs import network_input
from training.make import Made
from training.narrow import narrowed, spanning
from training.pictures import crops_of
from training.rechoose import rechoose, rechoose_stored
from training.targets import ScoredSplit, Targets, group_numbers
from training.text import decision_lines, versus_lines
from training.versus import Errors, Scored, Versus, compared, cuts
from training.views import mixed_view
from vision.backends.choose import open_backend
from vision.backends.onnx import OnnxBackend
from vision.backends.simulated import Simulated
from vision.bundle import Bundle, Thresholds, load_bundle
from vision.content import with_content_hash
from vision.recipe import Recipe
from vision.resnet import ResNet18, build_resnet18

Rows = list[dict[str, str]]
RECIPE = Recipe(enhance="none", geometry="squash", resize=64, size=64)


def run(*words: object) -> int:
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    args = parser.parse_args(["compress", *map(str, words)])
    code: int = args.run(args)
    return code


def compressed(teacher: Bundle, data: Dataset, out: Path, **options: Any) -> Bundle:
    return compress(
        teacher, data, out, **{"target": 50, "seed": 0, "minutes": 5, "threads": 1, "quiet": True} | options
    ).bundle


@pytest.fixture(scope="module")
def student(trained: Made, data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Read it, do not change it."""
    return compressed(trained.bundle, data, tmp_path_factory.mktemp("compressed") / "small")


def test_the_student_is_stored_small_and_every_backend_agrees_with_its_golden_parts(student: Bundle) -> None:
    told = student.metrics["compression"]
    assert student.arch == "resnet18-narrow"
    assert (student.path / "model-int8.onnx").stat().st_size == told["bytes"]["stored"] < 44_748_552 / 50
    assert told["bytes"]["ratio"] == pytest.approx(44_748_552 / told["bytes"]["stored"])
    assert {part.label for part in student.golden} == {Label.OK, Label.NG}
    for choice in ("auto", "onnx-cpu", "onnx-int8", "openvino-int8", "torch-cpu"):
        open_backend(student.path, choice=choice, threads=1)  # raises where it disagrees


def test_the_bundle_says_where_it_comes_from_and_how_it_compares(student: Bundle, trained: Made) -> None:
    training, told = student.metrics["training"], student.metrics["compression"]
    assert training["teacher"] == trained.bundle.model_id
    assert training["learnt_from"] == ["train"]
    assert tuple(training["widths"]) == widths_for(50)
    assert set(told["int8_crops_per_second"]) == {"onnx-int8", "openvino-int8"}
    assert set(told["splits"]) == {"val", "test"}
    assert student.metrics["decision"]["chosen_on"] == "val"
    assert student.metrics["drift"]
    assert student.recipe == trained.bundle.recipe


def test_thresholds_of_the_student_can_be_chosen_anew(student: Bundle, data: Dataset) -> None:
    again = rechoose(student, open_backend(student.path, choice="onnx-cpu", threads=1), data, Targets(), quiet=True)
    assert again.same_data
    assert rechoose_stored(student, Targets()).decision.chosen_on == "val"


def with_held_out(teacher: Bundle, data: Dataset, scores: Callable[[Any], Any]) -> Bundle:
    """`teacher` as if it had learnt from val too, with scores of models that had not seen the picture."""
    manifest = json.loads((teacher.path / "bundle.json").read_text())
    learnt = [sample for sample in data.samples if sample.split != "test"]
    truth = truth_of(learnt)
    raw = save(ScoredSplit(scores(truth).astype(np.float64), truth, group_numbers(learnt)).stored("val"))
    (teacher.path / "scores.safetensors").unlink()
    (teacher.path / "scores.safetensors").write_bytes(raw)
    manifest["metrics"]["training"]["learnt_from"] = ["train", "val"]
    manifest["files"]["scores.safetensors"] = {"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}
    (teacher.path / "bundle.json").write_text(json.dumps(with_content_hash(manifest)))
    return load_bundle(teacher.path)


def test_a_student_is_compared_by_what_its_teacher_was_worth_on_pictures_that_it_had_not_seen(
    trained: Made, data: Dataset, tmp_path: Path
) -> None:
    """The teacher knows val by heart; models that had not seen it took every good part of it for a bad one."""
    copy = shutil.copytree(trained.bundle.path, tmp_path / "teacher")
    teacher = with_held_out(replace(trained.bundle, path=copy), data, lambda truth: np.where(truth, 0.1, 0.9))

    student = compressed(teacher, data, tmp_path / "small", minutes=0.01)

    assert student.metrics["compression"]["splits"]["val"]["teacher"] < 0.5
    assert student.metrics["val"]["auroc"] > 0.5
    assert student.metrics["training"]["learnt_from"] == ["train", "val"]
    assert student.metrics["decision"]["chosen_on"] == TAUGHT
    again = rechoose_stored(student, Targets()).decision
    assert again.chosen_on == TAUGHT
    assert "prove a bound on pictures that neither has seen" in decision_lines(again)[-1]
    with pytest.raises(DataError, match="the model has learnt from val too"):
        rechoose(student, open_backend(student.path, choice="onnx-cpu", threads=1), data, Targets(), quiet=True)

    others = Dataset(data.source, data.samples[:-1])
    with pytest.raises(DataError, match=r"not the pictures that .* learnt from, val among them"):
        compressed(teacher, others, tmp_path / "other")


def test_a_target_of_the_teacher_holds_for_the_student_or_stops_it_at_once(
    trained: Made, data: Dataset, tmp_path: Path
) -> None:
    metrics = {**trained.bundle.metrics, "decision": {"max_escape": 0.01, "count": "pictures"}}
    with pytest.raises(DataError, match="--max-escape 1% cannot be proven"):
        compressed(replace(trained.bundle, metrics=metrics), data, tmp_path / "small")


def test_a_student_that_int8_changes_is_kept_without(
    trained: Made, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores on the other side of the thresholds, whatever this machine makes of whole numbers."""

    class Turned(Simulated):
        name = "onnx-int8"

        def __init__(self, backend: OnnxBackend) -> None:
            super().__init__()
            self._backend = backend

        def score(self, crops: CropPixels) -> NDArray[np.float32]:
            return np.asarray(1 - self._backend.score(crops), np.float32)

    monkeypatch.setattr("training.export.in_int8", lambda graph, threads: [Turned(OnnxBackend(graph, "int8", threads))])
    with pytest.raises(BackendError, match=r"small is there, but without INT8: .* golden parts get another verdict"):
        compressed(trained.bundle, data, tmp_path / "small", minutes=0.01)
    assert not load_bundle(tmp_path / "small").int8_hash


def test_only_a_whole_network_is_compressed(student: Bundle, data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="a resnet18-narrow is not compressed: take a bundle of a resnet18"):
        compressed(student, data, tmp_path / "smaller")


@pytest.mark.parametrize(("target", "widths"), [(5, LADDER[0]), (10, LADDER[0]), (20, LADDER[0]), (50, LADDER[1])])
def test_the_widest_network_that_is_small_enough_is_taken(target: float, widths: tuple[int, ...]) -> None:
    assert widths_for(target) == widths


def test_a_target_out_of_reach_is_refused() -> None:
    with pytest.raises(DataError, match="INT8 alone makes it 4 times smaller: use linegate export"):
        widths_for(4)
    with pytest.raises(DataError, match=r"the narrowest network is \d+ times smaller: ask for no more than that"):
        widths_for(1000)


def test_the_command_tells_both_sides_and_what_was_missed(
    trained: Made, data: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (trained.bundle.path, data.source, "--out", tmp_path / "small", "--target", "20x", "--budget", 0.01)
    code = run(*words)
    said = capsys.readouterr().out
    assert code == int("MISSED" in said)
    assert re.search(r"stored, MB .* 44\.7 +1\.5\d   \d\d\.\d times smaller", said)
    assert re.search(r"AUROC on test +\d\.\d{4} +\d\.\d{4}   [+-]\d\.\d{4}, \d+ of 8 verdicts differ", said)
    assert re.search(r"crops/s of one core, onnx-int8 +\d+ +\d+   \d+\.\d times as fast", said)
    assert re.search(r"escapes on test, student in INT8( +\d+){3}$", said, re.MULTILINE)
    assert re.search(r"overkill on val, student in float32( +\d+){3}$", said, re.MULTILINE)
    assert re.search(r"the student decides in the pair, test +[\d.]+% of 8 parts", said)
    with pytest.raises(DataError, match="there is a bundle already; --force replaces it"):
        run(*words)


def test_fewer_channels_begin_close_to_the_whole_network(trained: Made, data: Dataset, tmp_path: Path) -> None:
    """Before any step of learning, on pictures that nothing was fitted to."""
    whole = build_resnet18(trained.bundle.tensors())
    crops = np.concatenate([crops_of(sample, RECIPE) for sample in data.of("train")])
    views = ask(whole, crops, RECIPE, 96, tmp_path / "views.npy", seed=0, seconds=600, quiet=True).crops
    begun = narrowed(whole, (24, 48, 96, 192), network_input(torch.from_numpy(views), RECIPE, CPU))
    found, wanted = (margins_of(model, data.of("test"), RECIPE, quiet=True) for model in (begun, whole))
    assert np.square(found - wanted).mean() < 0.3 * wanted.var()


def test_channels_that_others_tell_already_are_left_out() -> None:
    random = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 4, 1, 8, 8, generator=random)
    third = 0.5 * first - second  # told by the two
    apart = torch.randn(4, 1, 8, 8, generator=random) * 0.3
    kept = spanning([torch.cat([first, first * 1.1, second, third, apart], dim=1)], 3)
    assert 4 in kept
    assert len(set(kept.tolist()) & {0, 1}) <= 1


def test_a_student_comes_closer_to_its_teachers_answers_by_learning(trained: Made, tmp_path: Path) -> None:
    whole = build_resnet18(trained.bundle.tensors())
    crops = np.random.default_rng(0).integers(0, 256, (8, 1, 64, 64), np.uint8)
    answers = ask(whole, crops, RECIPE, 64, tmp_path / "views.npy", seed=0, seconds=600, quiet=True)
    drawn = ResNet18(widths=LADDER[-1]).eval()

    def error(model: ResNet18) -> float:
        with torch.inference_mode():
            logits = model(network_input(torch.from_numpy(answers.crops), RECIPE, CPU)).numpy()
        return float(np.square(logits[:, 1] - logits[:, 0] - answers.maps.mean(axis=(1, 2))).mean())

    before = error(drawn)
    taught = distil(drawn, answers, RECIPE, 12, temperature=1.0, seed=0, seconds=600, quiet=True)
    assert error(taught) < 0.5 * before


def test_a_part_of_enormous_margin_does_not_take_the_lesson_from_those_in_doubt(trained: Made, tmp_path: Path) -> None:
    """One view in eight has a margin a hundred times as large. At a huge temperature errors count as they are."""
    whole = build_resnet18(trained.bundle.tensors())
    crops = np.random.default_rng(0).integers(0, 256, (8, 1, 64, 64), np.uint8)
    answers = ask(whole, crops, RECIPE, 64, tmp_path / "views.npy", seed=0, seconds=600, quiet=True)
    margins = answers.maps.mean(axis=(1, 2))
    enormous = np.arange(64) % 8 == 0
    heavy = replace(answers, maps=np.where(enormous[:, None, None], 100 * np.abs(answers.maps), answers.maps))
    shown = network_input(torch.from_numpy(answers.crops), RECIPE, CPU)

    def error(temperature: float) -> float:
        begun = narrowed(whole, LADDER[-1], shown)
        taught = distil(begun, heavy, RECIPE, 12, temperature=temperature, seed=0, seconds=600, quiet=True)
        with torch.inference_mode():
            logits = taught(shown).numpy()
        found = logits[:, 1] - logits[:, 0]
        return float(np.square(found - margins)[~enormous].mean() / margins[~enormous].var())

    assert error(trained.bundle.temperature) < 0.5 * error(1e6)


def test_learning_ends_with_its_time(trained: Made, tmp_path: Path) -> None:
    """With what there is then: of the views at least one batch, of the network what it began with."""
    whole = build_resnet18(trained.bundle.tensors())
    crops = np.zeros((8, 1, 64, 64), np.uint8)
    answers = ask(whole, crops, RECIPE, 1000, tmp_path / "views.npy", seed=0, seconds=1e-9, quiet=True)
    assert len(answers.crops) == len(answers.maps) == 32
    narrow = narrowed(whole, LADDER[-1], network_input(torch.from_numpy(crops), RECIPE, CPU))
    distil(narrow, answers, RECIPE, 1000, temperature=1.0, seed=0, seconds=1e-9, quiet=True)


def test_views_differ_and_keep_shape_and_kind() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), np.uint8)
    random = np.random.default_rng(1)
    views = [mixed_view(crops, number % 4, random) for number in range(60)]
    assert {(seen.shape, seen.dtype.name) for seen in views} == {((3, 32, 32), "uint8")}
    assert len({seen.tobytes() for seen in views}) == 60


def test_a_view_for_the_teacher_is_as_sharp_as_the_picture() -> None:
    """The finest grain, where small defects are, does not survive resampling; views are all that the student sees."""
    grain = np.random.default_rng(0).choice(np.array([60, 180], np.uint8), (1, 1, 32, 32))
    random = np.random.default_rng(1)
    tones = [len(np.unique(mixed_view(grain, 0, random))) for _ in range(60)]
    assert np.mean([found <= 3 for found in tones]) > 0.6, "two tones, lit anew, and one of what is covered"


BEFORE = Thresholds(0.5, 0.5)


def scored(*scores: float) -> Scored:
    return Scored(np.array(scores), BEFORE)


def test_a_cascade_asks_the_teacher_where_the_student_would_add_errors() -> None:
    truth = np.array([False, False, False, True, True, True])
    teacher = scored(0.1, 0.2, 0.8, 0.3, 0.9, 0.9)  # one overkill, one escape
    student = scored(0.1, 0.6, 0.9, 0.2, 0.4, 0.95)  # 0.6 and 0.4 would be errors of its own
    chosen = cuts(student, teacher, truth)
    found = compared(student, teacher, truth, chosen)
    assert chosen == pytest.approx((0.4, 0.6))
    assert found.cascade.sure == 4
    assert found.cascade.errors == Errors(escapes=1, overkill=1)
    assert found.teacher_errors == Errors(escapes=1, overkill=1)
    assert found.student_errors == Errors(escapes=2, overkill=2)
    assert found.differ == 2
    assert found.teacher == pytest.approx(8 / 9)


def test_each_count_of_errors_stands_under_the_name_of_the_model_that_makes_them() -> None:
    truth = np.array([False, False, False, True, True, True])
    teacher, student = scored(0.1, 0.2, 0.8, 0.9, 0.9, 0.9), scored(0.1, 0.6, 0.9, 0.2, 0.4, 0.95)
    found = compared(student, teacher, truth, (0.1, 0.6))
    told = [line.split() for line in versus_lines(Versus(10, (1000, 100), {"test": found}, ()))]

    names = next(words for words in told if words[:2] == ["teacher", "student"] and len(words) == 3)
    assert names == ["teacher", "student", "pair"]
    assert ["escapes", "on", "test,", "student", "in", "INT8", "0", "2", "0"] in told
    assert ["overkill", "on", "test,", "student", "in", "INT8", "1", "2", "2"] in told


def test_the_bar_of_a_lesson_whose_time_is_up_ends_full(
    trained: Made,
    data: Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = itertools.count()
    monkeypatch.setattr(clock, "monotonic", lambda: float(next(seconds)))
    whole = build_resnet18(trained.bundle.tensors())
    crops = np.concatenate([crops_of(sample, RECIPE) for sample in data.of("train")])
    told = ask(whole, crops, RECIPE, 500, tmp_path / "views.npy", seed=0, seconds=1, quiet=False)
    distil(whole, told, RECIPE, 50, temperature=1.0, seed=0, seconds=4, quiet=False)
    shown = re.split(r"[\r\n]+", capsys.readouterr().err)
    for bar in ("teacher", "student"):
        last = [line for line in shown if line.startswith(bar)][-1]
        assert "100%" in last
        assert "time is up" in last


def test_a_cascade_of_equals_never_asks() -> None:
    truth = np.array([False, True])
    teacher = scored(0.1, 0.9)
    found = compared(teacher, teacher, truth, cuts(teacher, teacher, truth))
    assert (found.cascade.sure, found.differ, found.lost) == (2, 0, 0)


@pytest.mark.parametrize(
    ("size", "lost", "missed"),
    [
        (100, 0.004, []),
        (100, 0.006, ["AUROC on test: 0.0060 below the teacher's, 0.005 is allowed"]),
        (101, 0.0, ["size: 9.9 times smaller, asked for 10"]),
    ],
)
def test_what_of_the_target_was_missed_is_named(size: int, lost: float, missed: list[str]) -> None:
    perfect = scored(0.1, 0.9)
    same = compared(perfect, perfect, np.array([False, True]), (0.5, 0.5))
    test = replace(same, student=1.0 - lost)
    assert Versus(10, (1000, size), {"val": same, "test": test}, ()).missed == missed
