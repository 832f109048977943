"""A model as a folder: weights, recipe, thresholds, metrics and golden parts, every file by its sha256.

A bundle may come from anywhere. Nothing of it is used before its schema, sizes and sums are right, it holds
no code and no pickle, and it names no path outside its own folder.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from inspection.errors import BundleError
from inspection.frame import CropPixels
from inspection.part import Label
from inspection.strict import JsonError, read_json
from inspection.verdict import Outcome
from vision import signature
from vision.certificate import Certificate
from vision.content import KEY, content_hash
from vision.enhance import COMPARING
from vision.misspelt import require_folder
from vision.recipe import Recipe
from vision.weights import Arch, Tensors, parsed, read_weights

MANIFEST = "bundle.json"
WEIGHTS = "weights.safetensors"
SCORES = "scores.safetensors"
INT8 = "model-int8.onnx"
SIGNATURE = MANIFEST + signature.SUFFIX
GOLDEN = "golden"
GOLDEN_CROPS = "golden/crops.safetensors"

_MAX_MANIFEST = 4 << 20
_MAX_SIGNATURE = 16 << 10
_MAX_FILE = 256 << 20
_MAX_PICTURE = 32 << 20
_PICTURES = {".png", ".jpg", ".jpeg"}
SUFFIXES = _PICTURES | {".safetensors", ".onnx", ".json"}

Probability = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Below `pass_below` a part passes, from `fail_above` on it fails, between them it is uncertain."""

    pass_below: float
    fail_above: float

    def outcome(self, score: float) -> Outcome:
        """What becomes of a part with this score; between the two, FAIL."""
        if not np.isfinite(score):
            return Outcome.NO_VERDICT
        return Outcome.PASS if score < self.pass_below else Outcome.FAIL


@dataclass(frozen=True, slots=True)
class GoldenPart:
    """A picture that gates every change. `score` is P(defect) of the torch fp32 network when it was made.

    An `excused` part was misjudged, or too close to a threshold, when the bundle was written: it may come out either
    way.
    """

    path: Path
    label: Label
    score: float
    excused: bool = False

    @property
    def expected(self) -> Outcome:
        """What becomes of it where it is not excused."""
        return expected_of(self.label)


def expected_of(label: Label) -> Outcome:
    """What a part of this label should come to."""
    return Outcome.PASS if label is Label.OK else Outcome.FAIL


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle. `hash` is the sha256 of bundle.json, which holds those of all other files.

    `weights_size` is that of the weights in bytes: it differs where the networks of one arch are not equally wide.
    `content_hash` is empty in a bundle of an older linegate, which holds no outcomes of its golden parts either: those
    follow from its thresholds then.
    `int8_hash` is empty where the network is not there in INT8 too. `signed` is the trusted comment of the signature
    that was verified; empty where no key was asked for.
    """

    path: Path
    arch: Arch
    classes: tuple[str, ...]
    recipe: Recipe
    thresholds: Thresholds
    temperature: float
    metrics: dict[str, Any]
    data_hash: str
    created_at: str
    hash: str
    weights_hash: str
    weights_size: int
    golden: tuple[GoldenPart, ...]
    golden_hash: str = ""
    content_hash: str = ""
    scores_hash: str = ""
    int8_hash: str = ""
    certificate: Certificate | None = None
    signed: str = ""

    @property
    def model_id(self) -> str:
        """What verdicts carry."""
        return self.hash[:12]

    def tensors(self) -> Tensors:
        """float32 arrays by torchvision's names, read and verified anew at each call. Raises BundleError.

        P(defect) = softmax(logits / temperature)[1]; of a resnet18-bank, see `vision.bank`.
        """
        return read_weights(self._unchanged(WEIGHTS, self.weights_hash), self.path / WEIGHTS, self.arch)

    def int8(self) -> bytes:
        """The network in INT8, verified anew, for `vision.int8`. Raises BundleError where there is none."""
        if not self.int8_hash:
            raise BundleError(f"{self.path}: holds no {INT8}: linegate export makes one")
        return self._unchanged(INT8, self.int8_hash)

    def scores(self) -> dict[str, NDArray[np.generic]]:
        """What training left for choosing other thresholds, see `training.targets`; empty where it left nothing.

        Raises BundleError.
        """
        if not self.scores_hash:
            return {}
        return parsed(self._unchanged(SCORES, self.scores_hash), self.path / SCORES)

    def golden_crops(self) -> CropPixels:
        """The golden parts as the network sees them, verified anew: uint8 [parts, tiles, channels, size, size].

        Raises BundleError.
        """
        if not self.golden:
            return np.empty((0, *self.recipe.crop_shape), np.uint8)
        raw = self._unchanged(GOLDEN_CROPS, self.golden_hash)
        return _crops(raw, self.path / GOLDEN_CROPS, (len(self.golden), *self.recipe.crop_shape))

    def _unchanged(self, name: str, digest: str) -> bytes:
        raw = _bounded(self.path / name, _MAX_FILE)
        if hashlib.sha256(raw).hexdigest() != digest:
            raise BundleError(f"{self.path / name}: changed since the bundle was loaded: load it again")
        return raw


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=1, le=_MAX_FILE)]


class _Golden(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    label: Label
    score: Probability
    expected: Literal["PASS", "FAIL", "excused"] | None = None

    @model_validator(mode="after")
    def _suits_its_label(self) -> Self:
        if self.expected not in {None, "excused", expected_of(self.label).value}:
            raise ValueError(f"expected {self.expected} does not suit the label {self.label}")
        return self


class _Thresholds(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    pass_below: Probability
    fail_above: Probability

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.pass_below > self.fail_above:
            raise ValueError("pass_below is above fail_above")
        return self


class _Manifest(BaseModel):
    """bundle.json."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    version: Literal[1] = Field(alias="schema")
    arch: Arch
    classes: tuple[Literal["ok"], Literal["ng"]]
    recipe: Recipe
    thresholds: _Thresholds
    temperature: Annotated[float, Field(gt=0, le=1000)]
    metrics: dict[str, Any]
    data_hash: str
    created_at: str
    golden: Annotated[tuple[_Golden, ...], Field(max_length=1000)]
    content_hash: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    certificate: Certificate | None = None
    files: Annotated[dict[str, _File], Field(max_length=2000)]

    @model_validator(mode="after")
    def _named(self) -> Self:
        for name in self.files:
            if not _is_plain(name):
                raise ValueError(f"the file name {name!r} is not a plain relative path")
            if Path(name).suffix.lower() not in SUFFIXES:
                raise ValueError(f"{name!r}: a bundle holds only {', '.join(sorted(SUFFIXES))}")
        for part in self.golden:
            if part.file not in self.files or Path(part.file).suffix.lower() not in _PICTURES:
                raise ValueError(f"the golden picture {part.file!r} is not among the files")
        if any((part.expected is None) is not (self.content_hash is None) for part in self.golden):
            raise ValueError("golden.expected and content_hash belong together, and one of them is not there")
        if self.recipe.enhance in COMPARING and self.recipe.reference is None:
            raise ValueError(f"recipe.enhance is {self.recipe.enhance}, and there is no recipe.reference")
        needed = (WEIGHTS, GOLDEN_CROPS) if self.golden else (WEIGHTS,)
        for name in needed:
            if name not in self.files:
                raise ValueError(f"{name} is not among the files")
        return self


def load_bundle(path: Path, key: signature.PublicKey | None = None) -> Bundle:
    """The bundle in the folder `path`, every file of it verified; with `key`, its signature before all.

    Raises BundleError, which names the file and the remedy.
    """
    require_folder(path, MANIFEST)
    raw = _bounded(path / MANIFEST, _MAX_MANIFEST)
    signed = _verified(raw, path / SIGNATURE, key) if key else ""
    try:
        manifest = _Manifest.model_validate_json(raw)
        told = read_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise BundleError(
            f"{path / MANIFEST}: {where + ': ' if where else ''}{first['msg']}: train the bundle again, or "
            "take a copy that this version can read"
        ) from error
    except JsonError as error:
        raise BundleError(f"{path / MANIFEST}: {error}: take another copy of the bundle, or train again") from error
    if manifest.content_hash and manifest.content_hash != content_hash(told):
        raise BundleError(
            f"{path / MANIFEST}: changed since the bundle was written (its {KEY} differs): take the bundle from its "
            "source again; linegate thresholds writes one with other thresholds"
        )
    for name, facts in manifest.files.items():
        _verify(path, name, facts)
    thresholds = Thresholds(manifest.thresholds.pass_below, manifest.thresholds.fail_above)
    return Bundle(
        path=path,
        arch=manifest.arch,
        classes=manifest.classes,
        recipe=manifest.recipe,
        thresholds=thresholds,
        temperature=manifest.temperature,
        metrics=manifest.metrics,
        data_hash=manifest.data_hash,
        created_at=manifest.created_at,
        hash=hashlib.sha256(raw).hexdigest(),
        weights_hash=manifest.files[WEIGHTS].sha256,
        weights_size=manifest.files[WEIGHTS].bytes,
        golden=tuple(_golden_part(path, part, thresholds) for part in manifest.golden),
        golden_hash=manifest.files[GOLDEN_CROPS].sha256 if manifest.golden else "",
        content_hash=manifest.content_hash or "",
        scores_hash=manifest.files[SCORES].sha256 if SCORES in manifest.files else "",
        int8_hash=manifest.files[INT8].sha256 if INT8 in manifest.files else "",
        certificate=manifest.certificate,
        signed=signed,
    )


def _golden_part(root: Path, part: _Golden, thresholds: Thresholds) -> GoldenPart:
    misjudged = thresholds.outcome(part.score) is not expected_of(part.label)
    excused = misjudged if part.expected is None else part.expected == "excused"
    return GoldenPart(root / part.file, part.label, part.score, excused)


def _is_plain(name: str) -> bool:
    parts = name.split("/")
    return "\\" not in name and "\0" not in name and all(part not in {"", ".", ".."} for part in parts)


def _verified(manifest: bytes, file: Path, key: signature.PublicKey) -> str:
    if not file.exists():
        raise BundleError(
            f"{file}: not there, and model.public_key takes signed bundles only: sign it with minisign -Sm {MANIFEST}, "
            "or leave model.public_key out"
        )
    return signature.verify(manifest, _bounded(file, _MAX_SIGNATURE), key, file)


def _verify(root: Path, name: str, facts: _File) -> None:
    file = root / name
    # Path.resolve raises RuntimeError where links lead in a circle.
    if Path(os.path.realpath(file)) != Path(os.path.realpath(root)) / name:
        raise BundleError(f"{file}: a link that leads elsewhere: put the file itself there")
    cap = _MAX_PICTURE if file.suffix.lower() in _PICTURES else _MAX_FILE
    raw = _bounded(file, cap)
    if len(raw) != facts.bytes or hashlib.sha256(raw).hexdigest() != facts.sha256:
        raise BundleError(
            f"{file}: changed since the bundle was written (its sha256 differs): restore this file from "
            "where the bundle came from, or train again"
        )


def _bounded(file: Path, cap: int) -> bytes:
    try:
        if file.exists() and not file.is_file():  # reading a pipe would wait for ever
            raise BundleError(f"{file}: not a file: copy the whole bundle folder again")
        with file.open("rb") as handle:
            raw = handle.read(cap + 1)
    except OSError as error:
        raise BundleError(f"{file}: {error.strerror}: copy the whole bundle folder again") from error
    if len(raw) > cap:
        raise BundleError(f"{file}: larger than {cap >> 20} MiB: this is not a bundle of linegate's")
    return raw


def _crops(raw: bytes, file: Path, shape: tuple[int, ...]) -> CropPixels:
    crops = parsed(raw, file).get("crops")
    if crops is None:
        raise BundleError(f"{file}: no golden crops in it: train again")
    if crops.shape != shape or crops.dtype != np.uint8:
        raise BundleError(f"{file}: crops of shape {list(crops.shape)}, expected {list(shape)}: train again")
    return np.asarray(crops, np.uint8)
