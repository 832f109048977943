"""A record's score once more: from the archived pictures and the bundle that judged them."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field, StringConstraints, ValidationError

from camera.picture import read_picture
from inspection.errors import DataError, PictureError
from inspection.frame import CropPixels, Pixels, digest
from vision.backends.choose import BACKEND_CHOICES, open_backend
from vision.bundle import MANIFEST, Bundle, load_bundle
from vision.classifier import Backend

_WAYS = (1, 2, 8)
"""Crops at a time. The line scored this one alone, or among others on one core of several."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Picture(BaseModel):
    file: str
    sha256: Sha256
    bit_depth: int


class _Frame(BaseModel):
    camera: str
    missed: str
    picture: _Picture | None


class Told(BaseModel):
    """What a replay needs of a record (docs/reference/mqtt.md)."""

    id: str
    verdict: str
    reason: str
    score: Annotated[float, Field(ge=0, le=1)] | None
    model_hash: str
    backend: str
    archive: str
    frames: tuple[_Frame, ...]


@dataclass(frozen=True, slots=True)
class Replayed:
    """The score then and, as `again`, now.

    `bound` is how far the two backends may differ by the bundle's certificate: 0 for one and the same, None where it
    does not say.
    """

    id: str
    model: str
    score: float
    backend: str
    again: float
    again_on: str
    bound: float | None

    @property
    def difference(self) -> float:
        return abs(self.again - self.score)

    @property
    def reproduced(self) -> bool:
        """Bit for bit on the same backend; within the certified bound on another."""
        return self.bound is not None and self.difference <= self.bound

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "difference": self.difference, "reproduced": self.reproduced}


def read_record(raw: str, where: str) -> Told:
    """The record in `raw`, JSON as it is delivered. Raises DataError, which names `where`."""
    try:
        return Told.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        why = f"{field}: {first['msg']}" if field else first["msg"]
        raise DataError(f"{where}: no record that can be replayed: {why}") from error


def read_file(path: Path) -> Told:
    """The record in a file. Raises DataError."""
    try:
        return read_record(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or 'no text'}") from error


def find_record(lines: Iterable[str], identity: str, where: str) -> Told:
    """The record with this id among JSON lines. Raises DataError where it is not there."""
    for line in lines:
        # Most lines are other records: only what may be the one is read.
        if identity in line and _identity(line) == identity:
            return read_record(line, where)
    raise DataError(f"{where}: no record with the id {identity}")


def find_bundle(path: Path, wanted: str) -> Bundle:
    """The bundle with this hash: `path` itself, or one of the folders in it. Raises DataError or BundleError."""
    manifests = [path / MANIFEST] if (path / MANIFEST).is_file() else sorted(path.glob(f"*/{MANIFEST}"))
    known = {}
    for manifest in manifests:
        known[hashlib.sha256(manifest.read_bytes()).hexdigest()] = manifest.parent
    if wanted not in known:
        there = ", ".join(digest[:12] for digest in known) or "no bundle"
        raise DataError(f"{path}: the record's model is {wanted[:12]}; there is {there}: name its folder with --bundle")
    return load_bundle(known[wanted])


def pictures(record: Told, archive: Path | None = None) -> Iterator[tuple[str, Pixels, int]]:
    """Camera, pixels and bit depth of each archived picture, checked against its sum.

    `archive` is where the archive is now, when not where the record says. Raises DataError where there is none,
    PictureError where one cannot be read or is another than the one that was judged.
    """
    root = archive or Path(record.archive)
    for frame in record.frames:
        if frame.picture is None:
            raise DataError(
                f"{record.id}: {frame.camera}'s picture was not archived; records.archive in config.yaml keeps them"
            )
        name = PurePosixPath(frame.picture.file)
        if name.is_absolute() or ".." in name.parts:
            raise DataError(f"{record.id}: {name} leads out of the archive")
        pixels, depth = read_picture(root / name)
        if digest(pixels) != frame.picture.sha256:
            raise PictureError(f"{root / name}: not the picture that was judged: the sum of its pixels differs")
        yield frame.camera, pixels, frame.picture.bit_depth if depth == 16 else depth


def replay(record: Told, bundle: Bundle, *, archive: Path | None, backend: str, threads: int) -> Replayed:
    """Score again; `backend` empty takes the record's. Raises DataError, PictureError or BackendError."""
    if record.score is None or not record.model_hash:
        raise DataError(f"{record.id}: {record.verdict} {record.reason}: no model gave it a score")
    choice = backend or record.backend
    if choice not in BACKEND_CHOICES:
        raise DataError(f"{record.id}: scored by {choice or 'an unknown backend'}: name another one with --backend")
    crops = np.concatenate([bundle.recipe.crops(pixels, depth) for _, pixels, depth in pictures(record, archive)])
    opened = open_backend(bundle.path, choice=choice, threads=threads, model=bundle.model_id)
    again = _nearest(record.score, _scores(opened, crops))
    bound = 0.0 if opened.name == record.backend else _certified(bundle, opened.name, record.backend)
    return Replayed(record.id, bundle.model_id, record.score, record.backend, again, opened.name, bound)


def _scores(backend: Backend, crops: CropPixels) -> Iterator[float]:
    """The part's score, P(defect) as the judge takes it, in every way in which a backend may have come to it."""
    for at_once in _WAYS:
        by_place = np.stack([backend.score(np.repeat(crop[None], at_once, axis=0)) for crop in crops]).max(axis=0)
        yield from np.clip(by_place.astype(np.float64), 0, 1).tolist()


def _nearest(score: float, found: Iterable[float]) -> float:
    return min(found, key=lambda again: abs(again - score))


def _certified(bundle: Bundle, one: str, other: str) -> float | None:
    """The two backends' largest differences from the reference on val, added up."""
    certificate = bundle.certificate
    if certificate is None:
        return None
    bound = 0.0
    for name in (one, other):
        if name == certificate.reference:
            continue
        certified = certificate.of(name)
        if certified is None:
            return None
        bound += max(certified.val.largest, certified.golden.largest)
    return bound


def _identity(line: str) -> str:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    return str(found.get("id", "")) if isinstance(found, dict) else ""
