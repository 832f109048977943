"""Which network runs: the one that was named, or the fastest that agrees with the bundle's golden parts."""

import importlib.util
import json
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from inspection import clock
from inspection.errors import BackendError, BundleError
from inspection.extras import how_to_add
from vision.bundle import Bundle, Thresholds, load_bundle
from vision.cache import graph_bytes, read_sealed, write_sealed
from vision.classifier import Backend
from vision.cpu import cpu_model, has_bf16
from vision.golden import golden_scores, misjudged, refusal
from vision.signature import PublicKey

BackendChoice = Literal[
    "auto",
    "openvino",
    "openvino-bf16",
    "openvino-fp32",
    "openvino-int8",
    "onnx-cpu",
    "onnx-int8",
    "onnx-cuda",
    "onnx-tensorrt",
    "torch-cpu",
    "torch-cuda",
]
BACKEND_CHOICES: tuple[str, ...] = get_args(BackendChoice)

_INT8 = ("openvino-int8", "onnx-int8")
_TOLERANCE = 0.05  # of P(defect); the verdict has to be the same besides
_PACKAGES = {"openvino": "openvino", "onnx": "onnxruntime", "torch": "torch"}
_BATCH = 8

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parity:
    """How a backend compares with the reference scores of the golden parts."""

    largest: float
    changed: tuple[str, ...]
    wrong: str = ""
    allowed: float = _TOLERANCE

    @property
    def agrees(self) -> bool:
        return self.largest <= self.allowed and not self.changed and not self.wrong

    def __str__(self) -> str:
        changed = f", another verdict for {', '.join(self.changed[:3])}" if self.changed else ""
        wrong = f", {self.wrong}" if self.wrong else ""
        return f"largest difference of a score {self.largest:.4f} (allowed {self.allowed:.2g}){changed}{wrong}"


def open_backend(
    bundle_path: Path,
    *,
    choice: str = "auto",
    threads: int = 0,
    cache_dir: Path | None = None,
    model: str = "",
    thresholds: Thresholds | None = None,
    key: PublicKey | None = None,
) -> Backend:
    """The backend `choice` for a bundle, checked against its golden parts and ready to score.

    With `key`, the bundle has to be signed with it. `threads` 0 means one for each core. Graph and choice are kept in
    `cache_dir`. Where `model` is given, the bundle has to be that one: a worker that starts again must not score with
    a model that was put there meanwhile, under the name and the thresholds of the old one. `thresholds` are those
    that its scores will meet, the bundle's own when left out. Raises BundleError for a bundle that cannot be used,
    BackendError for a backend that is not installed, does not start, or disagrees.
    """
    bundle = load_bundle(bundle_path, key)
    if model and model != bundle.model_id:
        raise BundleError(
            f"{bundle_path}: holds the model {bundle.model_id}, no longer {model}: restart linegate to use it, or put "
            "the old one back"
        )
    opener = _Opener(bundle, threads, cache_dir, thresholds or bundle.thresholds)
    if choice == "auto":
        return opener.fastest()
    if choice == "openvino":
        return opener.first(_openvino_precisions())
    if choice not in BACKEND_CHOICES:
        raise BackendError(f"backend {choice!r}: not one of {', '.join(BACKEND_CHOICES)}")
    return opener.agreeing(choice)


def not_installed(choice: str) -> str:
    """The package that `choice` needs and this environment lacks; empty where it lacks none. Imports nothing."""
    package = _PACKAGES.get(choice.partition("-")[0], "")
    return package if package and importlib.util.find_spec(package) is None else ""


def parity(backend: Backend, bundle: Bundle, thresholds: Thresholds | None = None) -> Parity:
    """Score the golden parts and compare with the bundle's reference scores.

    The verdicts have to be those of the reference by the bundle's own thresholds, and the expected ones by
    `thresholds`, but for the excused parts: one of them may lie on a threshold. In INT8 a score may differ by what the
    certificate tells of it more.
    """
    thresholds = thresholds or bundle.thresholds
    if not bundle.golden:
        return Parity(0.0, ())
    parts = golden_scores(backend, bundle)
    expected = np.asarray([part.score for part in bundle.golden])
    difference = float(np.abs(parts - expected).max())
    edges = np.asarray([bundle.thresholds.pass_below, bundle.thresholds.fail_above])
    moved = np.digitize(parts, edges) != np.digitize(expected, edges)
    wrong = misjudged(bundle, thresholds, parts)
    return Parity(
        difference if np.isfinite(difference) else float("inf"),
        tuple(part.path.name for part, other in zip(bundle.golden, moved, strict=True) if other and not part.excused),
        refusal(wrong, thresholds) if wrong else "",
        _TOLERANCE + _certified(bundle, backend.name),
    )


def _certified(bundle: Bundle, name: str) -> float:
    """How far a backend in INT8 was from a golden part's score where it was certified; 0 for all others."""
    found = bundle.certificate.of(name) if bundle.certificate and name in _INT8 else None
    return found.golden.largest if found else 0.0


class _Opener:
    def __init__(self, bundle: Bundle, threads: int, cache_dir: Path | None, thresholds: Thresholds) -> None:
        self._bundle = bundle
        self._thresholds = thresholds
        self._threads = threads
        self._cache_dir = cache_dir

    def agreeing(self, name: str) -> Backend:
        backend = self._open(name)
        found = parity(backend, self._bundle, self._thresholds)
        if not found.agrees:
            raise BackendError(f"{name} disagrees with the golden parts of {self._bundle.path}: {found}")
        log.info("backend %s agrees with the golden parts: %s", name, found)
        return backend

    def first(self, names: tuple[str, ...]) -> Backend:
        """The first of `names` that starts and agrees. Raises BackendError with what each of them said."""
        refused = []
        for name in names:
            try:
                return self.agreeing(name)
            except BackendError as error:
                refused.append(str(error))
        raise BackendError("no backend can be used: " + "; ".join(refused))

    def fastest(self) -> Backend:
        """CUDA where there is a device; else the CPU backend that was, or now is, measured as the fastest."""
        if _has_nvidia_device():
            try:
                return self.first(("torch-cuda", "onnx-cuda"))
            except BackendError as error:
                log.warning("a GPU is there but not used: %s", error)
        remembered = self._remembered()
        if remembered:
            try:
                return self.agreeing(remembered)
            except BackendError as error:
                log.warning("the backend of the last start cannot be used: %s", error)
        best = max(self._measured(), default=None, key=lambda pair: pair[0])
        if best is None:
            return self.first(("openvino-fp32", "onnx-cpu", "torch-cpu"))
        self._remember(best[1].name)
        return best[1]

    def _measured(self) -> Iterator[tuple[float, Backend]]:
        certificate = self._bundle.certificate
        fast = [name for name in _INT8 if certificate and (found := certificate.of(name)) and found.good_enough]
        for names in (*((name,) for name in fast), _openvino_precisions(), ("onnx-cpu",)):
            try:
                backend = self.first(names)
            except BackendError as error:
                log.warning("%s", error)
                continue
            rate = _rate(backend, self._bundle)
            log.info("backend %s: %.0f crops/s", backend.name, rate)
            yield rate, backend

    def _open(self, name: str) -> Backend:
        package = _PACKAGES[name.partition("-")[0]]
        if not_installed(name):
            remedy = how_to_add("cuda") if package == "torch" else f"{sys.executable} -m pip install {package}"
            raise BackendError(f"{name}: {package} is not installed: {remedy}")
        try:
            return self._started(name)
        except (ImportError, OSError) as error:
            raise BackendError(f"{name}: {package} is installed but cannot be loaded: {error}") from error

    def _started(self, name: str) -> Backend:
        kind = name.partition("-")[2]
        match name:
            case "openvino-fp32" | "openvino-bf16" | "openvino-int8":
                from vision.backends.openvino import OpenvinoBackend  # noqa: PLC0415 - one runtime in memory

                return OpenvinoBackend(self._graph(kind), kind, self._threads)
            case "onnx-cpu" | "onnx-int8" | "onnx-cuda" | "onnx-tensorrt":
                from vision.backends.onnx import OnnxBackend  # noqa: PLC0415

                return OnnxBackend(self._graph(kind), kind, self._threads, self._cache_dir)
            case _:
                if self._bundle.arch == "resnet18-bank":
                    raise BackendError(f"{name}: does not run the network {self._bundle.arch}: choose onnx or openvino")
                from vision.backends import torch  # noqa: PLC0415 - 5 GB that most boxes do without

                def on_cpu() -> torch.TorchBackend:
                    if has_bf16():
                        reduced = torch.torch_cpu(self._bundle, reduced=True, threads=self._threads)
                        if parity(reduced, self._bundle, self._thresholds).agrees:
                            return reduced
                    return torch.torch_cpu(self._bundle, reduced=False, threads=self._threads)

                return on_cpu() if kind == "cpu" else torch.torch_cuda(self._bundle, spare=on_cpu)

    def _graph(self, kind: str) -> bytes:
        if kind == "int8":
            from vision.int8 import int8_graph  # noqa: PLC0415 - the others start on a warm cache without onnx

            return int8_graph(self._bundle)
        return graph_bytes(self._bundle, self._cache_dir)

    def _choice_file(self) -> Path | None:
        return self._cache_dir / f"backend-1-{self._bundle.model_id}" if self._cache_dir else None

    def _circumstances(self) -> dict[str, str | int | None]:
        return {
            "bundle": self._bundle.hash,
            "cpu": cpu_model(),
            "cores": os.cpu_count(),
            "threads": self._threads,
            **{package: _version(package) for package in ("linegate", *_PACKAGES.values())},
        }

    def _remembered(self) -> str:
        file = self._choice_file()
        kept = read_sealed(file) if file else None
        if kept is None:
            return ""
        circumstances, choice = json.loads(kept)
        return choice if circumstances == self._circumstances() and choice in BACKEND_CHOICES else ""

    def _remember(self, name: str) -> None:
        file = self._choice_file()
        if file:
            write_sealed(file, json.dumps([self._circumstances(), name]).encode())


def _rate(backend: Backend, bundle: Bundle) -> float:
    """Crops a second in batches of eight, the better of two after one to warm up."""
    crops = np.zeros((_BATCH, *bundle.recipe.crop_shape[1:]), np.uint8)
    backend.score(crops)
    times = []
    for _ in range(2):
        begun = clock.monotonic()
        backend.score(crops)
        times.append(clock.monotonic() - begun)
    return _BATCH / max(min(times), 1e-9)


def _openvino_precisions() -> tuple[str, ...]:
    return ("openvino-bf16", "openvino-fp32") if has_bf16() else ("openvino-fp32",)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _has_nvidia_device() -> bool:
    """Asked of the kernel: asking torch would load it into a daemon that may do without."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()
