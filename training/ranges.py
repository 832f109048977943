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
STEM = "maxpool"
"""The result that has a step for each channel: the others gain less by it than it costs them in speed."""

_BATCH = 8
_SAMPLED = 4096  # values of one result and one crop
# Of the largest channel's range. One that was hardly seen to do anything may be what a new defect lights up.
_LEAST = 1 / 8
_CUTS = np.linspace(0.2, 1.0, 41)


@dataclass(frozen=True, slots=True)
class Sampled:
    """What calibration crops make of a network.

    `values` of every result that is kept, by name: float32 [channels, n], the extremes of each channel and a random
    share of the others. `means` are those of its channels, float64 [channels], and of the channels of the `crops`
    themselves.
    """

    values: dict[str, NDArray[np.float32]]
    means: dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Step:
    """In channel c, a uint8 value q stands for (q - zero[c]) * size[c]: float64 and uint8, both [channels]."""

    size: NDArray[np.float64]
    zero: NDArray[np.uint8]


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
                flat = values.swapaxes(0, 1).reshape(values.shape[1], -1)
                share = random.integers(0, flat.shape[1], max(_SAMPLED * len(batch) // len(flat), 1))
                found[name] += [flat[:, share], np.stack([flat.min(axis=1), flat.max(axis=1)], axis=1)]
                sums[name] = sums.get(name, 0.0) + values.mean(axis=(2, 3), dtype=np.float64).sum(axis=0)
            bar.update(len(batch))
    values_of = {name: np.concatenate(parts, axis=1) for name, parts in found.items()}
    return Sampled(values_of, {name: total / len(crops) for name, total in sums.items()})


def steps(found: Sampled, clipping: Clipping) -> dict[str, Step]:
    """The step of every result that is kept.

    `none` holds the whole range. `least_squares` gives up the extremes as far as that makes the mean squared
    error of all values smaller.
    """
    return {name: _step(values, clipping, by_channel=name == STEM) for name, values in found.values.items()}


def _step(values: NDArray[np.float32], clipping: Clipping, *, by_channel: bool) -> Step:
    channels = np.arange(len(values))
    if not by_channel:
        values = values.reshape(1, -1)
    low, high = np.minimum(values.min(axis=1), 0).astype(np.float64), values.max(axis=1).astype(np.float64)
    high = np.maximum(high, max(_LEAST * float(high.max()), 1e-6))
    cuts = _CUTS if clipping == "least_squares" else _CUTS[-1:]
    candidates = [_of_range(low * cut, high * cut) for cut in cuts]
    best = np.stack([_squared_error(values, step) for step in candidates]).argmin(axis=0)
    of = channels if by_channel else np.zeros_like(channels)
    return Step(
        np.stack([step.size for step in candidates])[best[of], of],
        np.stack([step.zero for step in candidates])[best[of], of],
    )


def _of_range(low: NDArray[np.float64], high: NDArray[np.float64]) -> Step:
    size = (high - low) / LEVELS
    return Step(size, np.rint(-low / size).astype(np.uint8))


def _squared_error(values: NDArray[np.float32], step: Step) -> NDArray[np.float64]:
    """Of each row of `values`."""
    size, zero = step.size[:, None].astype(np.float32), step.zero[:, None].astype(np.float32)
    held = np.clip(np.rint(values / size), -zero, LEVELS - zero) * size
    found: NDArray[np.float64] = np.square(held - values).mean(axis=1, dtype=np.float64)
    return found


def in_batches(crops: CropPixels) -> Iterator[CropPixels]:
    return (crops[at : at + _BATCH] for at in range(0, len(crops), _BATCH))
