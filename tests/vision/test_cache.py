"""What is kept between two starts is used only as it was written, and a start without it is only slower."""

import dataclasses
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from vision.bundle import Bundle
from vision.cache import graph_bytes, read_sealed, write_sealed
from vision.graph import build_graph
from vision.recipe import Recipe

ROOT = Path(__file__).parents[2]


@pytest.fixture
def built(drawn: Bundle, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The model of each graph that is built from now on."""
    models: list[str] = []

    def build(bundle: Bundle) -> object:
        models.append(bundle.model_id)
        return build_graph(bundle)

    monkeypatch.setattr("vision.graph.build_graph", build)
    return models


def graphs(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_a_graph_is_built_once_and_kept(drawn: Bundle, tmp_path: Path, built: list[str]) -> None:
    first = graph_bytes(drawn, tmp_path / "new" / "cache")
    assert graph_bytes(drawn, tmp_path / "new" / "cache") == first == build_graph(drawn).SerializeToString()
    assert built == [drawn.model_id]


def test_without_a_folder_it_is_built_each_time(drawn: Bundle, built: list[str]) -> None:
    assert graph_bytes(drawn, None) == graph_bytes(drawn, None)
    assert len(built) == 2


@pytest.mark.parametrize("where", [0, 32, -1])
def test_one_changed_byte_and_the_graph_is_built_again(
    drawn: Bundle, tmp_path: Path, built: list[str], where: int
) -> None:
    whole = graph_bytes(drawn, tmp_path)
    (file,) = graphs(tmp_path)
    content = bytearray(file.read_bytes())
    content[where] ^= 1
    file.write_bytes(content)

    assert graph_bytes(drawn, tmp_path) == whole
    assert len(built) == 2
    assert graph_bytes(drawn, tmp_path) == whole
    assert len(built) == 2


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 32, b"x" * 1000])
def test_a_damaged_file_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert read_sealed(tmp_path / "file") is None


def test_what_was_sealed_is_read(tmp_path: Path) -> None:
    write_sealed(tmp_path / "file", b"")
    assert read_sealed(tmp_path / "file") == b""
    write_sealed(tmp_path / "file", b"anew")
    assert read_sealed(tmp_path / "file") == b"anew"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_another_network_recipe_or_temperature_is_another_graph(
    drawn: Bundle, tmp_path: Path, built: list[str]
) -> None:
    others = [
        dataclasses.replace(drawn, temperature=drawn.temperature + 0.1),
        dataclasses.replace(drawn, recipe=Recipe(resize=64, size=64, mean=(0.5, 0.5, 0.5))),
    ]
    assert len({graph_bytes(bundle, tmp_path) for bundle in (drawn, *others)}) == 3
    assert len(built) == 3


def test_the_graphs_of_models_long_gone_do_not_fill_the_disk(drawn: Bundle, tmp_path: Path) -> None:
    (tmp_path / "backend-1-0123456789ab").write_bytes(b"a choice")
    for number in range(5):
        write_sealed(tmp_path / f"graph-{number}", b"old")
    graph = graph_bytes(drawn, tmp_path)
    kept = [path for path in graphs(tmp_path) if path.name.startswith("graph-")]
    assert [read_sealed(path) for path in kept if path.stat().st_size < 100] == [b"old", b"old"]
    assert [read_sealed(path) for path in kept if path.stat().st_size > 100] == [graph]
    assert (tmp_path / "backend-1-0123456789ab").exists()


def test_a_folder_that_cannot_be_written_costs_only_time(drawn: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert graph_bytes(drawn, tmp_path / "file" / "below") == graph_bytes(drawn, None)


@pytest.mark.parametrize("choice", ["onnx-cpu", "auto"])
def test_a_backend_without_torch_never_loads_it(drawn: Bundle, tmp_path: Path, choice: str) -> None:
    """Neither while the graph is built nor from the cache, where `onnx` is not needed either.

    The first start of `auto` measures OpenVINO and ONNX Runtime.
    """
    program = f"""
        import sys
        from pathlib import Path
        from vision.backends.choose import open_backend
        from vision.bundle import load_bundle

        bundle = Path({str(drawn.path)!r})
        backend = open_backend(bundle, choice={choice!r}, threads=1, cache_dir=Path({str(tmp_path)!r}))
        scores = backend.score(load_bundle(bundle).golden_crops()[:, 0])
        print(scores.tolist())
        print(sorted({{"torch", "torchvision", "onnx"}} & set(sys.modules)))
    """
    told = [
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.splitlines()
        for _ in range(2)
    ]
    expected = [part.score for part in drawn.golden]
    assert all(np.allclose(json.loads(lines[0]), expected, atol=0.05) for lines in told)
    assert [lines[1] for lines in told] == ["['onnx']", "[]"]
