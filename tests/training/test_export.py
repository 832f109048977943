"""A trained bundle goes into INT8, and its certificate tells what that changed."""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx.helper import make_empty_tensor_value_info

from daemon.commands import export as command
from inspection.errors import BackendError, BundleError, DataError
from inspection.frame import CropPixels
from training.certify import agreement
from training.dataset import Dataset, load_dataset
from training.export import CALIBRATED_ON, calibration_crops, export
from training.make import Made
from training.pictures import crops_of
from training.quantise import QuantisedWriter
from training.ranges import STEM, Clipping, Sampled, Step, sampled, steps
from vision.backends.choose import open_backend
from vision.backends.openvino import OpenvinoBackend
from vision.bundle import INT8, load_bundle
from vision.fold import Layers, folded_layers
from vision.graph import GraphWriter, write_graph
from vision.recipe import Recipe
from vision.resnet import ResNet18
from vision.session import cpu_session
from vision.weights import as_stored

Rows = list[dict[str, str]]
DEMO = Path(__file__).parents[2] / "models" / "bsdata"


@pytest.fixture
def linegate() -> Callable[..., int]:
    def run(*words: object) -> int:
        parser = argparse.ArgumentParser()
        command.register(parser.add_subparsers())
        args = parser.parse_args(["export", *map(str, words)])
        code: int = args.run(args)
        return code

    return run


def test_export_adds_int8_that_agrees_and_certifies_every_backend(
    linegate: Callable[..., int], capsys: pytest.CaptureFixture[str], trained: Made, data: Dataset, tmp_path: Path
) -> None:
    before = trained.bundle.model_id

    code = linegate(trained.bundle.path, data.source, "--out", tmp_path / "new", "--threads", 1, "--json")

    told = json.loads(capsys.readouterr().out)
    assert code == 0
    assert load_bundle(trained.bundle.path).model_id == before
    bundle = load_bundle(tmp_path / "new")
    assert told["model"] == bundle.model_id != before
    assert told["calibration_crops"] == 8
    assert told["int8_bytes"] == (tmp_path / "new" / INT8).stat().st_size < 0.6 * 22_400_000
    assert bundle.certificate is not None
    assert told["certificate"] == bundle.certificate.model_dump(mode="json")
    certified = {found.backend: found for found in bundle.certificate.backends}
    assert {"openvino-fp32", "torch-cpu", "onnx-int8", "openvino-int8"} <= set(certified)
    assert certified["openvino-fp32"].val.largest < 1e-3
    for name in ("onnx-int8", "openvino-int8"):
        assert certified[name].val.parts == 8
        assert certified[name].val.largest < 0.1
        assert open_backend(bundle.path, choice=name, threads=1).name == name


def test_export_writes_into_the_bundle_and_prints_a_table(
    linegate: Callable[..., int], capsys: pytest.CaptureFixture[str], trained: Made, data: Dataset, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(trained.bundle.path, tmp_path / "own"))

    assert linegate(own, data.source, "--threads", 1) == 0

    out = capsys.readouterr().out
    assert out.startswith(f"{own}: model {load_bundle(own).model_id}\n")
    for name in ("openvino-fp32", "onnx-int8", "openvino-int8"):
        assert f"\n  {name} " in out
    with pytest.raises(DataError, match="--force replaces it"):
        linegate(trained.bundle.path, data.source, "--out", own)


def test_export_runs_where_torch_is_not_installed(trained: Made, data: Dataset, tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "for name in ('torch', 'matplotlib', 'scipy'): sys.modules[name] = None\n"
        "from daemon.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    words = ["export", trained.bundle.path, data.source, "--out", tmp_path / "new", "--threads", "1", "--json"]

    ended = subprocess.run(  # noqa: PLW1510 - the exit code is what is tested
        [sys.executable, "-c", script, *map(str, words)], capture_output=True, text=True, timeout=100
    )

    assert ended.returncode == 0, ended.stderr
    names = {found["backend"] for found in json.loads(ended.stdout)["certificate"]["backends"]}
    assert "torch-cpu" not in names
    assert "onnx-int8" in names


def test_export_certifies_the_others_where_openvino_refuses_bf16(
    trained: Made, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(graph: bytes, precision: str, threads: int = 0) -> OpenvinoBackend:
        if precision == "bf16":
            raise BackendError("openvino-bf16: the graph cannot be compiled")
        return OpenvinoBackend(graph, precision, threads)

    monkeypatch.setattr("training.export.has_bf16", lambda: True)
    monkeypatch.setattr("vision.backends.openvino.OpenvinoBackend", refused)
    names = {found.backend for found in export(trained.bundle, data, threads=1, quiet=True).certificate.backends}
    assert names == {"openvino-fp32", "torch-cpu", "onnx-int8", "openvino-int8"}


def test_export_refuses_data_without_train_or_with_one_class_in_val(
    trained: Made, rows: Rows, manifest: Callable[..., Path]
) -> None:
    no_train = load_dataset(manifest([row for row in rows if row["split"] != "train"]))
    with pytest.raises(DataError, match="split 'train' is empty: the ranges of INT8 are measured on its pictures"):
        export(trained.bundle, no_train, threads=1, quiet=True)
    no_bad = load_dataset(manifest([row for row in rows if (row["split"], row["label"]) != ("val", "ng")]))
    with pytest.raises(DataError, match="split 'val' holds no picture labelled ng"):
        export(trained.bundle, no_bad, threads=1, quiet=True)


def test_export_refuses_a_network_that_it_does_not_know(trained: Made, data: Dataset) -> None:
    other = replace(trained.bundle, arch="resnet18-bank")
    with pytest.raises(BundleError, match="a resnet18-bank is not made in INT8: use it as it is"):
        export(other, data, threads=1, quiet=True)


def test_export_refuses_int8_that_changes_a_golden_verdict(
    trained: Made, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranges so narrow that hardly anything of a picture is left."""

    def narrow(found: Sampled, clipping: Clipping) -> dict[str, Step]:
        assert clipping
        return {name: tiny(len(values)) for name, values in found.values.items()}

    monkeypatch.setattr("training.export.steps", narrow)
    with pytest.raises(BackendError, match=r"in INT8 .* golden parts get another verdict"):
        export(trained.bundle, data, threads=1, quiet=True)


def test_ranges_are_measured_on_pictures_from_all_over_train(trained: Made, data: Dataset) -> None:
    many = data.of("train") * 100
    crops = calibration_crops(trained.bundle, many, "data")
    assert CALIBRATED_ON - 10 <= len(crops) <= CALIBRATED_ON
    assert len(np.unique(crops.reshape(len(crops), -1), axis=0)) == 8


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(resize=64, size=64),
        Recipe(resize=64, size=64, mean=(0.1, 0.2, 0.9), std=(0.3, 0.1, 0.7)),
        Recipe(resize=64, size=64, enhance="none", color=True, mean=(0.1, 0.2, 0.9), std=(0.3, 0.1, 0.7)),
    ],
    ids=["gray", "gray, three means", "colour"],
)
def test_the_first_convolution_in_int8_is_right_up_to_the_border(recipe: Recipe) -> None:
    """Its padding stands for the mean of each channel, which no single pixel value does."""
    layers, crops = untrained(recipe)
    seen = sampled(layers, recipe, crops, threads=1, quiet=True)

    exact = results(GraphWriter(), layers, recipe, crops, "relu1")
    chosen = steps(seen, "none")
    counts = results(QuantisedWriter(chosen, seen.means), layers, recipe, crops, "relu1")
    found = counts * chosen[STEM].size[:, None, None]

    assert exact.max() > 1
    assert np.abs(found - exact).max() < 0.02 * exact.max()


@pytest.mark.parametrize("clipping", ["none", "least_squares"])
def test_int8_is_near_float32(clipping: Clipping) -> None:
    recipe = Recipe(resize=64, size=64)
    layers, crops = untrained(recipe)
    seen = sampled(layers, recipe, crops[::2], threads=1, quiet=True)

    exact = results(GraphWriter(), layers, recipe, crops, "margin")
    found = results(QuantisedWriter(steps(seen, clipping), seen.means), layers, recipe, crops, "margin")

    assert np.sqrt(np.mean((found - exact) ** 2)) < 0.2 * exact.std()


@pytest.mark.parametrize("clipping", ["none", "least_squares"])
def test_a_step_for_each_channel_of_the_first_pool_brings_margins_nearer(
    clipping: Clipping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demonstration's model, on pictures other than those that gave the ranges."""
    bundle = load_bundle(DEMO)
    samples = load_dataset(DEMO / "demo").samples[::2]
    layers = folded_layers(bundle.tensors(), bundle.recipe, bundle.temperature)
    crops = np.concatenate([crops_of(sample, bundle.recipe) for sample in samples])
    seen = sampled(layers, bundle.recipe, crops[::2], threads=1, quiet=True)
    exact = results(GraphWriter(), layers, bundle.recipe, crops[1::2], "margin")

    def error() -> float:
        writer = QuantisedWriter(steps(seen, clipping), seen.means)
        return float((results(writer, layers, bundle.recipe, crops[1::2], "margin") - exact).std())

    apart = error()
    monkeypatch.setattr("training.ranges.STEM", "none of them")
    assert apart < 0.95 * error()


def test_a_score_that_is_not_finite_differs_as_far_as_one_can(trained: Made) -> None:
    truth = np.array([True, False])
    found = agreement(np.array([0.9, np.nan]), np.array([0.9, 0.1]), truth, trained.bundle)
    assert found.largest == 1.0
    assert found.other_verdicts == 1


def tiny(channels: int) -> Step:
    return Step(np.full(channels, 1e-6), np.zeros(channels, np.uint8))


def untrained(recipe: Recipe) -> tuple[Layers, CropPixels]:
    """A network as torch draws it, and 16 crops from dark to bright."""
    torch.manual_seed(0)
    tensors = {name: tensor.numpy() for name, tensor in ResNet18().state_dict().items()}
    layers = folded_layers({name: a.astype(np.float32) for name, a in as_stored(tensors).items()}, recipe, 0.1)
    random = np.random.default_rng(0)
    return layers, np.stack([random.integers(0, 16 * n + 15, recipe.crop_shape[1:], np.uint8) for n in range(16)])


def results(writer: GraphWriter, layers: Layers, recipe: Recipe, crops: CropPixels, name: str) -> NDArray[np.float32]:
    model = write_graph(writer, layers, recipe)
    if name != "margin":
        model.graph.output.append(make_empty_tensor_value_info(name))
    found: NDArray[np.float32] = cpu_session(model.SerializeToString(), 1).run([name], {"crops": crops})[0]
    return found
