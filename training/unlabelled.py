"""Pictures that nobody has labelled, as a model sees them. Needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm  # type: ignore[import-untyped]

from camera.files import Found, find_pictures
from camera.names import shown
from camera.picture import SUFFIXES, read_picture
from inspection.errors import DataError, PictureError
from training.data.content import pixels_digest
from training.dataset import Sample
from vision.describe import Describer


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """One picture; `name` is its path in the folder. `margin` is the logit of P(defect), `features` float32 [width]."""

    path: Path
    name: str
    margin: float
    features: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Looked:
    """What is in a folder.

    `pictures` are all different, in the order of their names. `known`, float32 [pictures, width], are the features of
    those that are labelled. `left_out` counts pictures of the folder that are labelled, `twice` copies of others;
    `broken` names those that cannot be read and tells why. `notes` tell what else was left out.
    """

    pictures: tuple[Unlabelled, ...]
    known: NDArray[np.float32]
    left_out: int
    twice: int
    broken: dict[str, str]
    notes: tuple[str, ...] = ()


def look(
    folder: Path, describer: Describer, known: Sequence[Sample] = (), *, bit_depth: int = 16, quiet: bool = False
) -> Looked:
    """Describe every picture in `folder` and the folders in it, and the `known` ones, which are left out there.

    Two pictures are the same where their pixels are. `bit_depth` is that of the values of 16-bit files. Raises
    DataError where there is none that can be used, or one of `known` cannot be read.
    """
    found = _found(folder)
    files = found.pictures
    pictures: list[Unlabelled] = []
    broken: dict[str, str] = {}
    seen: set[str] = set()
    left_out = twice = 0
    with tqdm(total=len(known) + len(files), desc="looking", unit="picture", disable=quiet) as bar:
        features = []
        for sample in known:
            try:
                pixels, depth = read_picture(sample.path)
                features.append(describer.describe(pixels, sample.bit_depth if depth == 16 else depth).features)
            except PictureError as error:
                raise DataError(f"{shown(sample.path)}: {error}; take it out of the data set") from error
            seen.add(pixels_digest(pixels))
            bar.update()
        labelled = frozenset(seen)
        for path in files:
            name = path.relative_to(folder).as_posix()
            try:
                pixels, depth = read_picture(path)
                same = pixels_digest(pixels)
                if same in labelled:
                    left_out += 1
                elif same in seen:
                    twice += 1
                else:
                    described = describer.describe(pixels, bit_depth if depth == 16 else depth)
                    pictures.append(Unlabelled(path, name, described.margin, described.features))
                    seen.add(same)
            except PictureError as error:
                broken[name] = str(error).removeprefix(f"{path}: ")
            bar.update()
    if not pictures:
        raise DataError(
            f"{folder}: no picture to suggest: of {len(files)}, {left_out} are labelled already and {len(broken)}"
            " cannot be read"
        )
    return Looked(
        tuple(pictures),
        np.array(features, np.float32),
        left_out,
        twice,
        broken,
        tuple(f"left out: {note}" for note in found.notes()),
    )


def _found(folder: Path) -> Found:
    if not folder.is_dir():
        raise DataError(f"{shown(folder)}: no such folder")
    found = find_pictures(folder)
    if not found.pictures:
        beside = "".join(f"; left out: {note}" for note in found.notes())
        raise DataError(f"{shown(folder)}: no picture in it ({', '.join(sorted(SUFFIXES))}){beside}")
    return found
