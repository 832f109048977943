"""How large each result of the network gets on training crops, and the steps in which 8 bits are to hold it.

Runs the float32 graph in ONNX Runtime: no torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from onnx import helper
from tqdm import tqdm  # type: ignore[import-untyped]

from inspection.frame import CropPixels
from vision.fold import Layers
from vision.graph import GraphWriter, write_graph
from vision.recipe import Recipe
from vision.session import cpu_session

Clipping = Literal["none", "least_squares"]
LEVELS = 255

_BATCH = 8
_SAMPLED = 4096  # values of one result and one crop
_CUTS = np.linspace(0.2, 1.0, 41)


@dataclass(frozen=True, slots=True)
class Sampled:
    """What calibration crops make of a network.

    `values` of every result that is kept, by name: float32, its extremes and a random share of the others. `means`
    are those of its channels, float64 [channels], and of the channels of the `crops` themselves.
    """

    values: dict[str, NDArray[np.float32]]
    means: dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Step:
    """A uint8 value q stands for (q - zero) * size."""

    size: float
    zero: int


def sampled(layers: Layers, recipe: Recipe, crops: CropPixels, *, threads: int, quiet: bool) -> Sampled:
    """Run the float32 network on `crops`, uint8 [n, channels, size, size]."""
    writer = GraphWriter()
    model = write_graph(writer, layers, recipe)
    names = writer.activations
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = cpu_session(model.SerializeToString(), threads)
    random = np.random.default_rng(0)
    found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    sums: dict[str, NDArray[np.float64]] = {"crops": crops.mean(axis=(2, 3), dtype=np.float64).sum(axis=0)}
    with tqdm(total=len(crops), desc="ranges", unit="crop", disable=quiet) as bar:
        for batch in in_batches(crops):
            for name, values in zip(names, session.run(names, {"crops": batch}), strict=True):
                flat = values.reshape(-1)
                share = random.integers(0, flat.size, min(_SAMPLED * len(batch), flat.size))
                found[name] += [flat[share], np.array([flat.min(), flat.max()], np.float32)]
                sums[name] = sums.get(name, 0.0) + values.mean(axis=(2, 3), dtype=np.float64).sum(axis=0)
            bar.update(len(batch))
    values_of = {name: np.concatenate(parts) for name, parts in found.items()}
    return Sampled(values_of, {name: total / len(crops) for name, total in sums.items()})


def steps(found: Sampled, clipping: Clipping) -> dict[str, Step]:
    """The step of every result that is kept.

    `none` holds the whole range. `least_squares` gives up the extremes as far as that makes the mean squared
    error of all values smaller.
    """
    return {name: _step(values, clipping) for name, values in found.values.items()}


def _step(values: NDArray[np.float32], clipping: Clipping) -> Step:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 1e-6)
    cuts = _CUTS if clipping == "least_squares" else _CUTS[-1:]
    candidates = [_of_range(low * cut, high * cut) for cut in cuts]
    return min(candidates, key=lambda step: _squared_error(values, step))


def _of_range(low: float, high: float) -> Step:
    size = (high - low) / LEVELS
    return Step(size, round(-low / size))


def _squared_error(values: NDArray[np.float32], step: Step) -> float:
    held = np.clip(np.rint(values / step.size), -step.zero, LEVELS - step.zero) * step.size
    return float(np.square(held - values, dtype=np.float64).mean())


def in_batches(crops: CropPixels) -> Iterator[CropPixels]:
    return (crops[at : at + _BATCH] for at in range(0, len(crops), _BATCH))
