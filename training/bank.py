"""A bank of what good parts look like: descriptions of places, few and far between."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm  # type: ignore[import-untyped]

from inspection.errors import DataError
from training.dataset import Sample
from training.pictures import batches
from vision.bank import build_places_graph, write_bank_graph
from vision.recipe import Recipe
from vision.session import cpu_session
from vision.weights import BANK_LEVELS, BANK_WIDTH, Tensors, as_stored

Places = NDArray[np.float32]

ENTRIES = 2000
_SAMPLED = 40_000
"""Places of good parts that the entries are chosen from. More take longer and choose no better."""
_SCALED_ON = 32  # pictures
_LEVELS = tuple(f"bank.layer{number}.weight" for number, _ in BANK_LEVELS)
_PICTURES_AT_ONCE = 8


def fitted_bank(
    backbone: Tensors, samples: Sequence[Sample], recipe: Recipe, *, seed: int, threads: int = 0, quiet: bool = False
) -> Tensors:
    """The tensors of a resnet18-bank of good `samples`, with bank.limit 0.

    A distance of 1 is the median one of places of the same pictures that are not in the bank. `backbone` has
    torchvision's names. The same arguments, library versions and number of threads give the same tensors. Raises
    DataError, or BundleError where `backbone` is no ResNet18's.
    """
    random = np.random.default_rng(seed)
    tensors = _projections(backbone, random)
    some = [samples[number] for number in sorted(random.permutation(len(samples))[:_SCALED_ON])]
    for level in _LEVELS:
        others = {other: np.zeros_like(tensors[other]) for other in _LEVELS if other != level}
        alone = {**tensors, **others}
        found = np.concatenate(list(_places(alone, some, recipe, threads, "scale", quiet=True)))
        tensors[level] = tensors[level] / max(float(found.std()), 1e-6)
    each = max(1, -(-_SAMPLED // len(samples)))
    drawn = [
        flat[random.permutation(len(flat))[:each]]
        for flat in _places(tensors, samples, recipe, threads, "describing", quiet=quiet)
    ]
    places = np.concatenate(drawn)[random.permutation(sum(map(len, drawn)))[:_SAMPLED]]
    centre = places.mean(axis=0)
    chosen = spread_out(places - centre, ENTRIES, quiet=quiet)
    left = np.setdiff1d(np.arange(len(places)), chosen)
    entries = (places - centre)[chosen]
    unit = float(np.median(nearest((places - centre)[left if len(left) else chosen], entries))) or 1.0
    for level in _LEVELS:
        tensors[level] /= unit
    tensors["bank.shift"] = (centre / unit).astype(np.float32)
    tensors["bank.entries"] = (entries / unit).astype(np.float32)[:, :, None, None]
    return _stored(tensors)


def distances(
    tensors: Tensors, samples: Sequence[Sample], recipe: Recipe, *, threads: int = 0, quiet: bool = False
) -> NDArray[np.float64]:
    """Of every picture from the bank, the highest over its tiles: float64 [pictures]. Raises DataError."""
    unscaled = {**tensors, "bank.limit": np.zeros(1, np.float32)}
    session = cpu_session(write_bank_graph(unscaled, recipe, 1.0).SerializeToString(), threads)
    found: list[float] = []
    with tqdm(total=len(samples), desc="scoring", unit="picture", disable=quiet) as bar:
        for crops in batches(samples, recipe, _PICTURES_AT_ONCE):
            found += [float(session.run(["margin"], {"crops": picture})[0].max()) for picture in crops]
            bar.update(len(crops))
    return np.array(found, np.float64)


def spread_out(points: Places, count: int, *, quiet: bool = False) -> NDArray[np.int64]:
    """Numbers of `count` of the points [n, width], each the one furthest from those before it; all where n is less.

    Gonzalez: Clustering to minimize the maximum intercluster distance, Theoretical Computer Science 38 (1985).
    """
    squares = np.square(points).sum(axis=1)
    chosen = [int(squares.argmax())]
    distance = np.full(len(points), np.inf, np.float32)
    for _ in tqdm(range(min(count, len(points)) - 1), desc="bank", unit="entry", disable=quiet):
        last = chosen[-1]
        distance = np.minimum(distance, squares + squares[last] - 2 * (points @ points[last]))
        distance[last] = -np.inf
        chosen.append(int(distance.argmax()))
    return np.array(chosen, np.int64)


def nearest(points: Places, entries: Places) -> Places:
    """The distance of each point [n, width] to the nearest entry [m, width]: float32 [n]."""
    squares = np.square(entries).sum(axis=1)
    parts = [
        np.square(some).sum(axis=1) + (squares - 2 * some @ entries.T).min(axis=1)
        for some in np.array_split(points, -(-len(points) // 4096))
    ]
    distance: Places = np.sqrt(np.maximum(np.concatenate(parts), 0))
    return distance


def _projections(backbone: Tensors, random: np.random.Generator) -> Tensors:
    """Random ones keep distances (Johnson, Lindenstrauss 1984), and need no defect to be chosen."""
    levels = {
        name: random.standard_normal((BANK_WIDTH, channels, 1, 1)).astype(np.float32) / np.float32(channels**0.5)
        for name, (_, channels) in zip(_LEVELS, BANK_LEVELS, strict=True)
    }
    empty = {
        "bank.shift": np.zeros(BANK_WIDTH, np.float32),
        "bank.entries": np.zeros((2, BANK_WIDTH, 1, 1), np.float32),
        "bank.limit": np.zeros(1, np.float32),
    }
    return _stored({**backbone, **levels, **empty})


def _stored(tensors: Tensors) -> Tensors:
    """Rounded as the file does: what is measured is of what is stored."""
    return {name: array.astype(np.float32) for name, array in as_stored(tensors, "resnet18-bank").items()}


def _places(
    tensors: Tensors, samples: Sequence[Sample], recipe: Recipe, threads: int, doing: str, *, quiet: bool
) -> Iterator[Places]:
    """All places of one picture after another: float32 [tiles * rows * columns, BANK_WIDTH]."""
    session = cpu_session(build_places_graph(tensors, recipe).SerializeToString(), threads)
    with tqdm(total=len(samples), desc=doing, unit="picture", disable=quiet) as bar:
        for crops in batches(samples, recipe, _PICTURES_AT_ONCE):
            for picture in crops:
                (found,) = session.run(["places"], {"crops": picture})
                if not np.isfinite(found).all():
                    raise DataError("the weights give descriptions that are not finite: take other weights")
                yield found.transpose(0, 2, 3, 1).reshape(-1, BANK_WIDTH)
                bar.update()
