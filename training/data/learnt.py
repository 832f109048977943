"""Which pictures a bundle has learnt from: a measurement on them says nothing of new parts.

A bundle keeps two numbers of 64 bits for each picture of its data set, from its pixels and from its bytes: enough to
know a picture again, too little to make one.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from camera.names import shown
from inspection.errors import BundleError, DataError
from training.data.sample import SPLITS, Dataset, Sample
from vision.bundle import Bundle

Numbers = NDArray[np.uint64]


def stored(dataset: Dataset) -> dict[str, Numbers]:
    """The pictures of each split, for `Bundle.scores`."""
    return {f"{split}.pictures": _numbers(dataset.of(split)) for split in SPLITS}


def learnt(bundle: Bundle, samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Those of `samples` that `bundle` has learnt from; none where it was made before bundles told."""
    splits: Iterable[str] = bundle.metrics.get("training", {}).get("learnt_from", ())
    known = _known(bundle.scores(), splits)
    return tuple(sample for sample in samples if known & set(_of(sample)))


def require_new(bundle: Bundle, samples: Sequence[Sample], purpose: str) -> None:
    """Raises DataError where `bundle` has learnt from one of `samples`, which are there for `purpose`."""
    seen = learnt(bundle, samples)
    if seen:
        raise DataError(
            f"{shown(bundle.path)} has learnt from {len(seen)} of the {len(samples)} pictures that {purpose}"
            f" ('{shown(seen[0].name)}' is one): take them out, or train again with this data set"
        )


def _known(arrays: Mapping[str, NDArray[np.generic]], splits: Iterable[str]) -> set[int]:
    known: set[int] = set()
    for split in splits:
        array = arrays.get(f"{split}.pictures")
        if array is not None:
            if array.dtype != np.uint64:
                raise BundleError(f"the bundle's pictures of {split} are not what training writes: train again")
            known.update(array.ravel().tolist())
    return known


def _numbers(samples: Sequence[Sample]) -> Numbers:
    return np.array([number for sample in samples for number in _of(sample)], np.uint64)


def _of(sample: Sample) -> tuple[int, ...]:
    return tuple(int(text[:16], 16) for text in (sample.sha256, sample.pixels) if text)
