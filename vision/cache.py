"""Built once, used at every later start: the graph of a bundle beside the state, checked by its own sum."""

import contextlib
import hashlib
from pathlib import Path

from inspection.files import STATE
from inspection.whole import put_file
from vision.bundle import Bundle

_GRAPH_FORMAT = "linegate-graph-3"  # raised with every change of what vision.graph builds
_GRAPHS_KEPT = 3
_SUM_BYTES = 32


def graph_bytes(bundle: Bundle, cache_dir: Path | None) -> bytes:
    """The serialised ONNX graph of `bundle`.

    Built (0.3 s, needs `onnx`) where the cache has none for these weights and this recipe, or has a damaged
    one. A cache that cannot be written costs time, nothing else.
    """
    if cache_dir is None:
        return _built(bundle)
    key = f"{_GRAPH_FORMAT} {bundle.weights_hash} {bundle.temperature!r} {bundle.recipe.model_dump_json()}"
    file = cache_dir / f"graph-{hashlib.sha256(key.encode()).hexdigest()[:32]}"
    kept = read_sealed(file)
    if kept is not None:
        return kept
    graph = _built(bundle)
    write_sealed(file, graph)
    _forget_old_graphs(cache_dir, file)
    return graph


def _built(bundle: Bundle) -> bytes:
    if bundle.arch == "resnet18-bank":
        from vision.bank import build_bank_graph  # noqa: PLC0415 - a start on a warm cache needs no onnx in memory

        return bytes(build_bank_graph(bundle).SerializeToString())
    from vision.graph import build_graph  # noqa: PLC0415

    return bytes(build_graph(bundle).SerializeToString())


def _forget_old_graphs(cache_dir: Path, written: Path) -> None:
    """A graph is 45 MB, and a line gets many models in its years: keep the newest, to go back to.

    `written` is the newest whatever its time says: the clock may have been set back since.
    """
    with contextlib.suppress(OSError):
        others = [file for file in cache_dir.glob("graph-*") if file != written]
        for file in sorted(others, key=lambda file: file.stat().st_mtime_ns)[: 1 - _GRAPHS_KEPT]:
            file.unlink()


def read_sealed(file: Path) -> bytes | None:
    """The content of a file of `write_sealed`; None where it is not there, damaged or not readable."""
    try:
        raw = file.read_bytes()
    except OSError:
        return None
    content = raw[_SUM_BYTES:]
    return content if hashlib.sha256(content).digest() == raw[:_SUM_BYTES] else None


def write_sealed(file: Path, content: bytes) -> None:
    """Put `content` behind its sha256, whole or not at all; nothing where the folder cannot be written."""
    with contextlib.suppress(OSError):
        put_file(file, hashlib.sha256(content).digest(), content, modes=STATE)
