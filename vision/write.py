"""Bundles, written whole or not at all: a new one, or one with other thresholds or with INT8."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from inspection import clock
from inspection.errors import BundleError
from inspection.files import SHARED, make_file, make_folder, settle
from inspection.frame import CropPixels
from inspection.part import Label
from vision.bundle import (
    GOLDEN,
    GOLDEN_CROPS,
    INT8,
    MANIFEST,
    SCORES,
    SUFFIXES,
    WEIGHTS,
    Bundle,
    Thresholds,
    expected_of,
    load_bundle,
)
from vision.certificate import Certificate
from vision.content import with_content_hash
from vision.recipe import Recipe
from vision.signature import SUFFIX as SIGNATURE_SUFFIX
from vision.weights import Arch, weights_bytes

_EXCUSED = "excused"


def write_bundle(
    path: Path,
    *,
    recipe: Recipe,
    thresholds: Thresholds,
    temperature: float,
    tensors: Mapping[str, NDArray[np.generic]],
    metrics: Mapping[str, Any],
    data_hash: str,
    golden: Sequence[tuple[Path, Label, float]],
    golden_crops: Sequence[CropPixels],
    scores: Mapping[str, NDArray[np.generic]] | None = None,
    arch: Arch = "resnet18",
) -> Bundle:
    """Write the folder `path` whole or not at all, in place of a bundle that is there, and load it back.

    `golden` are pictures (PNG or JPEG, copied in) with label and reference score; `golden_crops` is what
    `recipe.crops` gives for each; `scores` is for `Bundle.scores`. Raises BundleError where the result would not load
    or cannot be written.
    """
    with _staged(path) as staged:
        (staged / WEIGHTS).write_bytes(weights_bytes(tensors, arch))
        if scores:
            (staged / SCORES).write_bytes(save(dict(scores)))
        names = _copy_golden(staged, golden, golden_crops, recipe)
        manifest = {
            "schema": 1,
            "arch": arch,
            "classes": ["ok", "ng"],
            "recipe": recipe.model_dump(mode="json"),
            "thresholds": {"pass_below": thresholds.pass_below, "fail_above": thresholds.fail_above},
            "temperature": temperature,
            "metrics": dict(metrics),
            "data_hash": data_hash,
            "created_at": _now(),
            "golden": [
                {
                    "file": name,
                    "label": str(label),
                    "score": score,
                    "expected": _expectation(label, score, thresholds),
                }
                for name, (_, label, score) in zip(names, golden, strict=True)
            ],
            "files": {
                str(file.relative_to(staged)): _facts(file) for file in sorted(staged.rglob("*")) if file.is_file()
            },
        }
        _write_manifest(staged, manifest)
    return load_bundle(path)


def revise_bundle(
    bundle: Bundle,
    path: Path,
    *,
    thresholds: Thresholds,
    metrics: Mapping[str, Any],
    golden: Sequence[int],
    excused: Collection[int] = (),
) -> Bundle:
    """Write `bundle` to the folder `path`, its own or another, with other thresholds and metrics; load it back.

    `golden` are the numbers of the golden parts that stay. Those that `thresholds` misjudge are excused from now on,
    and those with the numbers `excused` too. Everything else in the folder stays as it is, but a signature, which would
    fit nothing any more. Raises BundleError where `bundle` has changed on disk since it was loaded, or the result
    cannot be written.
    """
    with _staged(path) as staged:
        manifest = _copied(bundle, staged)
        for number, (told, part) in enumerate(zip(manifest["golden"], bundle.golden, strict=True)):
            told["expected"] = _EXCUSED if number in excused else _expectation(part.label, part.score, thresholds)
        if len(golden) < len(bundle.golden):
            _keep_golden(staged, manifest, bundle, golden)
        manifest["thresholds"] = {"pass_below": thresholds.pass_below, "fail_above": thresholds.fail_above}
        manifest["metrics"] = dict(metrics)
        manifest["created_at"] = _now()
        _write_manifest(staged, manifest)
    return load_bundle(path)


def upgrade_bundle(bundle: Bundle, path: Path) -> Bundle:
    """Write a bundle of an older linegate to the folder `path` as this version writes it; load it back.

    What its golden parts are expected to give is fixed, and all of it covered by a hash. Raises BundleError as
    `revise_bundle` does.
    """
    with _staged(path) as staged:
        _write_manifest(staged, _copied(bundle, staged))
    return load_bundle(path)


def add_int8(bundle: Bundle, path: Path, graph: bytes, certificate: Certificate) -> Bundle:
    """Write `bundle` to the folder `path`, its own or another, with the network in INT8 as well; load it back.

    Everything else stays as in `revise_bundle`. Raises BundleError as that does.
    """
    with _staged(path) as staged:
        manifest = _copied(bundle, staged)
        (staged / INT8).write_bytes(graph)
        manifest["files"][INT8] = _facts(staged / INT8)
        manifest["certificate"] = certificate.model_dump(mode="json")
        manifest["created_at"] = _now()
        _write_manifest(staged, manifest)
    return load_bundle(path)


def _copied(bundle: Bundle, staged: Path) -> dict[str, Any]:
    """All of `bundle` but its signature in the folder `staged`; what its manifest holds."""
    shutil.copytree(
        bundle.path,
        staged,
        symlinks=True,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns(f"*{SIGNATURE_SUFFIX}"),
    )
    raw = (staged / MANIFEST).read_bytes()
    if hashlib.sha256(raw).hexdigest() != bundle.hash:
        raise BundleError(f"{bundle.path}: changed since the bundle was loaded: load it again")
    manifest: dict[str, Any] = json.loads(raw)
    for told, part in zip(manifest["golden"], bundle.golden, strict=True):
        # An older linegate has not written it.
        told["expected"] = _EXCUSED if part.excused else part.expected.value
    return manifest


@contextmanager
def _staged(path: Path) -> Iterator[Path]:
    """A folder beside `path` that takes its place where the block ends well, with a bundle in it that loads."""
    try:
        make_folder(path.parent, SHARED)
        staged = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        raise BundleError(f"{path}: not written: {error}") from error
    try:
        yield staged
        load_bundle(staged).golden_crops()
        settle(staged, SHARED)
        _put(staged, path)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: not written: {error}") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _expectation(label: Label, score: float, thresholds: Thresholds) -> str:
    """What bundle.json says of a golden part."""
    expected = expected_of(label)
    return expected.value if thresholds.outcome(score) is expected else _EXCUSED


def _write_manifest(staged: Path, manifest: Mapping[str, Any]) -> None:
    told = with_content_hash(manifest)
    (staged / MANIFEST).write_text(json.dumps(told, indent=1, allow_nan=False) + "\n", "utf-8")


def _now() -> str:
    return datetime.fromtimestamp(clock.utc(), UTC).isoformat(timespec="seconds")


def _facts(file: Path) -> dict[str, str | int]:
    return {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "bytes": file.stat().st_size}


def _keep_golden(staged: Path, manifest: dict[str, Any], bundle: Bundle, kept: Sequence[int]) -> None:
    """Take the other golden parts out of the folder and the manifest."""
    parts = [manifest["golden"][number] for number in kept]
    for part in manifest["golden"]:
        if part not in parts:
            (staged / part["file"]).unlink()
            del manifest["files"][part["file"]]
    manifest["golden"] = parts
    (staged / GOLDEN_CROPS).write_bytes(save({"crops": bundle.golden_crops()[list(kept)]}))
    manifest["files"][GOLDEN_CROPS] = _facts(staged / GOLDEN_CROPS)


def _copy_golden(
    staged: Path, golden: Sequence[tuple[Path, Label, float]], crops: Sequence[CropPixels], recipe: Recipe
) -> list[str]:
    if not golden:
        return []
    (staged / GOLDEN).mkdir()
    names: list[str] = []
    for number, (picture, label, _) in enumerate(golden):
        name = f"{GOLDEN}/{number:03d}-{label}{picture.suffix.lower()}"
        shutil.copyfile(picture, staged / name)
        names.append(name)
    stacked = np.stack([np.asarray(crop, np.uint8) for crop in crops])
    if stacked.shape != (len(golden), *recipe.crop_shape):
        raise BundleError(f"golden crops {list(stacked.shape)} for {len(golden)} parts of {list(recipe.crop_shape)}")
    (staged / GOLDEN_CROPS).write_bytes(save({"crops": stacked}))
    return names


def _put(staged: Path, path: Path) -> None:
    for file in staged.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
    if path.exists():
        # The old folder's documents (model card, licence of its pictures) are people's, not the bundle's. Its signature
        # fits nothing any more.
        replaced = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        path.rename(replaced / "old")
        staged.rename(path)
        for file in (replaced / "old").iterdir():
            if file.is_file() and file.suffix.lower() not in {*SUFFIXES, SIGNATURE_SUFFIX}:
                make_file(path / file.name, SHARED)
                shutil.copyfile(file, path / file.name)
        shutil.rmtree(replaced)
    else:
        staged.rename(path)
