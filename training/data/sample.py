"""One labelled picture, and a data set of them."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from camera.names import shown
from inspection.errors import DataError
from inspection.part import Label

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Looks = NDArray[np.float16]

_FURTHEST: tuple[Split, ...] = ("test", "val", "train")


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture. `name` is its path as the manifest gives it; `split` is empty where none was made yet.

    `bit_depth` is that of its values where the file has 16 bits: 10 or 12 for a camera of so many. `sha256` is of the
    file, `pixels` of what it shows (see `training.data.content`): empty where it cannot be decoded.
    """

    path: Path
    name: str
    label: Label
    defect_type: str = ""
    split: str = ""
    group: str = ""
    bit_depth: int = 16
    sha256: str = ""
    pixels: str = ""

    @property
    def content(self) -> str:
        """Equal for two pictures that show the same, whatever the files are called."""
        return self.pixels or self.sha256


@dataclass(frozen=True, slots=True)
class Dataset:
    """`source` is the manifest or the folder; `samples` are in its order, each picture once.

    `notes` tell what was left out, and `looks` is float16 [pictures, side, side] (see `training.data.alike`). `fixed`
    says that the manifest has a column `split`. `changes` has what became of an earlier split, as counts.
    """

    source: Path
    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)
    looks: Looks | None = field(default=None, compare=False, repr=False)
    fixed: bool = field(default=False, compare=False)
    changes: Mapping[str, int] = field(default_factory=dict, compare=False)

    def of(self, split: str) -> tuple[Sample, ...]:
        """The pictures of one split, or all of them for `all`."""
        return tuple(s for s in self.samples if split in ("all", s.split))

    def digest(self) -> str:
        """sha256, hex, over names, labels, splits and bytes of all pictures. Raises DataError."""
        total = hashlib.sha256()
        for sample in sorted(self.samples, key=lambda s: s.name):
            try:
                content = sample.sha256 or hashlib.sha256(sample.path.read_bytes()).hexdigest()
            except OSError as error:
                raise DataError(f"{shown(sample.path)}: {error.strerror}") from error
            text = f"{sample.name}\0{sample.label}\0{sample.split}\0{content}\n"
            total.update(text.encode("utf-8", "surrogateescape"))
        return total.hexdigest()


def furthest(splits: Iterable[str]) -> str:
    """The side that is furthest from learning; empty where there is none."""
    found = set(splits)
    return next((split for split in _FURTHEST if split in found), "")
