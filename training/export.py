"""A bundle's network in INT8, and the parity certificate of every backend. Needs no torch.

Methods to choose the ranges of the whole numbers differ from picture to picture in which is better, so all of them are
tried: what is kept is the one that agrees best with float32 on val.
"""

import importlib.util
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import numpy as np

from inspection.errors import BackendError, BundleError, DataError
from inspection.frame import CropPixels
from training.certify import certified
from training.dataset import Dataset, Sample, require_classes
from training.evaluate import score, truth_of
from training.pictures import crops_of
from training.quantise import QuantisedWriter
from training.ranges import Clipping, sampled, steps
from vision.backends.onnx import OnnxBackend
from vision.bundle import Bundle
from vision.cache import graph_bytes
from vision.certificate import Certificate, Certified
from vision.classifier import Backend
from vision.cpu import cpu_model, has_bf16
from vision.fold import folded_layers
from vision.golden import golden_scores
from vision.graph import write_graph

CALIBRATED_ON = 256
"""Crops at most: more hardly move the ranges."""

_REFERENCE = "onnx-cpu"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Exported:
    """The INT8 graph and what was measured of it and of the other backends. `crops` is how many gave the ranges."""

    graph: bytes
    certificate: Certificate
    crops: int


def export(bundle: Bundle, dataset: Dataset, *, threads: int = 0, quiet: bool = False) -> Exported:
    """Quantise with crops of `train`, choose and certify on `val`.

    Raises BundleError for a network without a classifier; DataError where `train` is empty or `val` lacks good or bad
    pictures, or one cannot be read; BackendError where no way to quantise keeps the verdicts of the golden parts.
    """
    if bundle.arch == "resnet18-bank":
        raise BundleError(f"{bundle.path}: a {bundle.arch} is not made in INT8: use it as it is, in bf16 or float32")
    val = require_classes(dataset, "val")
    crops = calibration_crops(bundle, dataset.of("train"), str(dataset.source))
    graphs = quantised(bundle, crops, threads=threads, quiet=quiet)
    truth = truth_of(val)
    reference = score(bundle, OnnxBackend(graph_bytes(bundle, None), "cpu", threads), val, quiet=quiet)

    def measured(backend: Backend) -> Certified:
        scores = score(bundle, backend, val, quiet=quiet)
        golden = golden_scores(backend, bundle)
        return certified(backend.name, bundle, golden=golden, val=scores, reference=reference, truth=truth)

    tried = {name: [measured(backend) for backend in in_int8(graph, threads)] for name, graph in graphs.items()}
    best = min(tried, key=lambda name: _badness(tried[name]))
    changed = max(one.golden.other_verdicts for one in tried[best])
    if changed:
        raise BackendError(
            f"{bundle.path}: in INT8 {changed} golden parts get another verdict, however the ranges are chosen:"
            " use the bundle as it is, in bf16 or float32; more pictures in train may help"
        )
    others = [measured(backend) for backend in _in_float(bundle, threads)]
    thresholds = (bundle.thresholds.pass_below, bundle.thresholds.fail_above)
    certificate = Certificate(
        reference=_REFERENCE,
        cpu=cpu_model(),
        clipping=best,
        thresholds=thresholds,
        backends=(*others, *tried[best]),
    )
    return Exported(graphs[best], certificate, len(crops))


def quantised(bundle: Bundle, crops: CropPixels, *, threads: int, quiet: bool) -> dict[Clipping, bytes]:
    """The network in INT8 by each way to choose the ranges that `crops`, uint8 [n, channels, size, size], give."""
    layers = folded_layers(bundle.tensors(), bundle.recipe, bundle.temperature)
    found = sampled(layers, bundle.recipe, crops, threads=threads, quiet=quiet)
    graphs: dict[Clipping, bytes] = {}
    for clipping in get_args(Clipping):
        writer = QuantisedWriter(steps(found, clipping), found.means)
        graphs[clipping] = bytes(write_graph(writer, layers, bundle.recipe).SerializeToString())
    return graphs


def calibration_crops(bundle: Bundle, samples: tuple[Sample, ...], source: str) -> CropPixels:
    """Crops of pictures spread evenly over `samples`, at most `CALIBRATED_ON`: uint8 [n, channels, size, size]."""
    if not samples:
        raise DataError(f"{source}: split 'train' is empty: the ranges of INT8 are measured on its pictures")
    tiles = bundle.recipe.crop_shape[0]
    count = min(len(samples), max(CALIBRATED_ON // tiles, 1))
    chosen = np.unique(np.linspace(0, len(samples) - 1, count).round().astype(int))
    return np.concatenate([crops_of(samples[number], bundle.recipe) for number in chosen])


def _badness(found: list[Certified]) -> tuple[int, float]:
    """Golden verdicts first, then the mean difference. By how much AUROC moves on so few pictures is luck."""
    return max(one.golden.other_verdicts for one in found), max(one.val.mean for one in found)


def in_int8(graph: bytes, threads: int) -> Iterator[Backend]:
    """The runtimes that are there, each with the INT8 `graph`."""
    yield OnnxBackend(graph, "int8", threads)
    if importlib.util.find_spec("openvino"):
        from vision.backends.openvino import OpenvinoBackend  # noqa: PLC0415 - not on every machine

        yield OpenvinoBackend(graph, "int8", threads)


def _in_float(bundle: Bundle, threads: int) -> Iterator[Backend]:
    if importlib.util.find_spec("openvino"):
        from vision.backends.openvino import OpenvinoBackend  # noqa: PLC0415

        graph = graph_bytes(bundle, None)
        yield OpenvinoBackend(graph, "fp32", threads)
        if has_bf16():
            try:
                yield OpenvinoBackend(graph, "bf16", threads)
            except BackendError as error:
                log.warning("the certificate says nothing of openvino-bf16: %s", error)
    if importlib.util.find_spec("torch"):
        from vision.backends.torch import torch_cpu  # noqa: PLC0415

        yield torch_cpu(bundle, reduced=has_bf16(), threads=threads)
