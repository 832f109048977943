"""A data set: pictures with labels, from a manifest or from folders called ok and ng, each of them once.

A manifest is a CSV file with a header: `path,label[,defect_type][,split][,group]`; see `camera.manifest`. Pictures of
one group (one part under several lights, one position, one batch) never lie in two splits, and neither do two files
that show the same picture.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from camera.files import MANIFEST, WRITTEN_SPLIT, counted
from camera.manifest import COLUMNS, manifest_bytes
from camera.names import shown
from inspection.errors import DataError
from inspection.part import Label
from inspection.whole import commit_file
from training.data.content import contents_of
from training.data.copies import without_copies
from training.data.kept import (
    Followed,
    assigned,
    changes,
    follow,
    kept_split_path,
    read_kept,
    told,
    whole_groups,
    write_kept,
)
from training.data.listing import listed
from training.data.sample import SPLITS, Dataset, Sample, Split

__all__ = [
    "COLUMNS", "MANIFEST", "SPLITS", "WRITTEN_SPLIT", "Dataset", "Sample", "Split", "load_dataset", "require_classes",
    "split_dataset", "write_manifest",
]  # fmt: skip


def load_dataset(data: Path, bit_depth: int = 16, *, quiet: bool = True) -> Dataset:
    """Read a manifest, or a folder with manifest.csv or with ok/ and ng/; `bit_depth` as in `Sample`, for all.

    Every picture is read once, to know copies. One that is there twice is left out; one that is labelled both ok and
    ng, or lies in two splits of the manifest, raises DataError, as everything does that cannot be used. The sides of
    the split that `split_dataset` keeps are taken up; pictures that are new since have none.
    """
    found = listed(data)
    contents = contents_of([sample.path for sample in found.samples], quiet=quiet)
    samples = [
        replace(sample, bit_depth=bit_depth, sha256=content.sha256, pixels=content.pixels)
        for sample, content in zip(found.samples, contents, strict=True)
    ]
    followed = follow(samples, read_kept(kept_split_path(found.source)))
    notes = list(found.notes)
    if found.fixed:
        notes += _taught_by_test(samples, followed)
    else:
        samples = list(followed.samples)
    kept, single, copies = without_copies(samples, fixed=found.fixed)
    notes += copies
    if damaged := [sample.name for sample in single if not sample.pixels]:
        notes.append(counted("files that are no readable picture (an error where their split is used)", damaged))
    if not found.fixed:
        single = list(whole_groups(single))
        new = [sample.name for sample in single if not sample.split]
        if 0 < len(new) < len(single):
            notes.append(counted("pictures that have no split yet (linegate train gives them one)", new))
    looks = np.stack([contents[number].look for number in kept])
    return replace(found, samples=tuple(single), notes=tuple(notes), looks=looks)


def split_dataset(dataset: Dataset, seed: int, new_to: Split | None = None) -> Dataset:
    """`dataset` itself where its manifest has a split; else with the one that is kept beside it, brought up to date.

    Pictures keep their sides. What is new gets one by group, or goes to `new_to` where there was a split before. Raises
    DataError when there are too few groups, or the split cannot be written.
    """
    if dataset.fixed:
        return dataset
    file = kept_split_path(dataset.source)
    before = read_kept(file)
    followed = follow(dataset.samples, before)
    samples = assigned(dataset.samples, seed, new_to)
    counts = changes(followed, samples, before) if before else {}
    notes = (*dataset.notes, *told(counts, file))
    try:
        write_kept(file, samples, followed.gone)
    except OSError as error:
        if not all(sample.split for sample in dataset.samples):
            raise DataError(
                f"{shown(file)}: the new split cannot be written ({error.strerror});"
                " make the folder writable, or add a column 'split' to the manifest"
            ) from error
        notes = (*notes, f"{shown(file)}: cannot be brought up to date ({error.strerror})")
    return replace(dataset, samples=samples, notes=notes, changes=counts)


def _taught_by_test(samples: Sequence[Sample], followed: Followed) -> list[str]:
    """What to tell where a manifest's own split has in train what tested the models before."""
    taught = [
        sample.name
        for sample, row in zip(samples, followed.rows, strict=True)
        if row and (row.split, sample.split) == ("test", "train")
    ]
    what = f"pictures of train in the manifest that are in test in {WRITTEN_SPLIT} (figures from before do not compare)"
    return [counted(what, taught)] if taught else []


def write_manifest(file: Path, samples: Sequence[Sample]) -> None:
    """A manifest of `samples`, whole or not at all. Raises OSError."""
    rows = ((s.name, s.label.value, s.defect_type, s.split, s.group) for s in samples)
    commit_file(file, manifest_bytes([COLUMNS, *rows]))


def require_classes(dataset: Dataset, split: Split) -> tuple[Sample, ...]:
    """The pictures of `split`. Raises DataError unless it holds good and bad ones."""
    samples = dataset.of(split)
    for label in Label:
        if not any(s.label is label for s in samples):
            remedy = "add some: new ones go to the split that lacks them"
            if dataset.fixed:
                remedy = "add some, or leave the column 'split' out to have one made"
            raise DataError(
                f"{shown(dataset.source)}: split '{split}' holds no picture labelled {label.value}; {remedy};"
                " where there are good ones alone, train --recipe ok-only"
            )
    return samples
