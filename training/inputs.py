"""What a network learns from: features that its frozen part has made once, or the crops themselves.

Both give the same loop (see `training.fit.learning`) its batches, and know which part of the network is to see them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate
from tqdm import tqdm  # type: ignore[import-untyped]

from inspection.frame import CropPixels
from training.dataset import Sample
from training.device import in_bf16
from training.evaluate import truth_of
from training.pictures import batches
from training.probe import Pooled, pooled_features
from training.recipes import TrainingRecipe, Unfreeze, smaller
from training.views import lit, view
from vision.recipe import Recipe
from vision.resnet import ResNet18, normalise

Chosen = NDArray[np.intp]

_SCORED_AT_ONCE = 64
# Crops take their activations of every layer along.
_CROPS_AT_ONCE = 16
_SMALL_UNTIL = 0.85  # of the steps, at the lower resolution


class Inputs(Protocol):
    """Pictures with labels, int64 [pictures], 1 for ng."""

    @property
    def labels(self) -> NDArray[np.int64]: ...

    def drawn(self, chosen: Chosen, random: np.random.Generator, course: float) -> Tensor:
        """The chosen pictures [n, tiles, ...], each as one draw shows it; `course` is the share of the steps done."""
        ...

    def pooled(self, model: ResNet18) -> Pooled:
        """What the classifier of `model` gets from all pictures as they are: float32 [pictures, tiles, 512]."""
        ...

    def logits(self, model: ResNet18, pictures: Tensor) -> Tensor:
        """Of what `drawn` gave: float32 [n, tiles, 2], where `model` is."""
        ...

    def margins(self, model: ResNet18, chosen: Chosen) -> NDArray[np.float64]:
        """logit(ng) - logit(ok) of the chosen pictures as they are, the highest over the tiles: float64 [n]."""
        ...


def network_input(crops: Tensor, recipe: Recipe, device: torch.device) -> Tensor:
    """Crops [n, channels, size, size] of 0 to 255 as what the network gets, there, in the quick order of memory."""
    return normalise(crops.to(device), recipe.mean, recipe.std).contiguous(memory_format=torch.channels_last)


def trunk_features(
    model: ResNet18, crops: CropPixels, recipe: Recipe, unfreeze: Unfreeze = "layer4", *, quick: bool = False
) -> NDArray[np.float32]:
    """Crops uint8 [n, tiles, channels, size, size] to what `unfreeze` gets, as in `Features.values`.

    `quick`: in bfloat16 where the model's device is quick in it, in about half the time; good enough to learn from.
    """
    n, tiles = crops.shape[:2]
    with torch.inference_mode(), in_bf16(model.device, wanted=quick):
        flat = torch.from_numpy(crops.reshape(n * tiles, *crops.shape[2:])).to(model.device)
        x = network_input(flat, recipe, model.device) if quick else normalise(flat, recipe.mean, recipe.std)
        found = model.trunk(x) if unfreeze == "layer4" else model.short_trunk(x)
        values: NDArray[np.float32] = found.float().contiguous().cpu().numpy()
    return values.reshape(n, tiles, *values.shape[1:])


@dataclass(frozen=True, slots=True)
class Features:
    """Output of the trunk, float32 [pictures, tiles, channels, h, w], and labels int64 [pictures], 1 for ng.

    256 channels where layer4 is to learn, 128 with sides twice as long where layer3 is.

    `flipped` are those of the same pictures mirrored and upside down, each of the shape of `values`, in float16: what
    that rounds off is little beside what a flip changes.
    """

    values: NDArray[np.float32]
    labels: NDArray[np.int64]
    flipped: tuple[NDArray[np.float16], ...] = ()

    def drawn(self, chosen: Chosen, random: np.random.Generator, course: float) -> Tensor:  # noqa: ARG002 - Inputs
        """Each picture in one of the views that there are."""
        if not self.flipped:
            return torch.from_numpy(self.values[chosen])
        views = (self.values, *self.flipped)
        which = random.integers(len(views), size=len(chosen))
        return torch.from_numpy(np.stack([views[v][p].astype(np.float32) for v, p in zip(which, chosen, strict=True)]))

    def pooled(self, model: ResNet18) -> Pooled:
        return pooled_features(model, self.values)

    def logits(self, model: ResNet18, pictures: Tensor) -> Tensor:
        return model.head(pictures.to(model.device).flatten(0, 1)).reshape(*pictures.shape[:2], 2)

    def margins(self, model: ResNet18, chosen: Chosen) -> NDArray[np.float64]:
        return _margins(self, self.values, model, chosen, _SCORED_AT_ONCE)


@dataclass(frozen=True, slots=True)
class Crops:
    """uint8 [pictures, tiles, channels, size, size] and labels int64 [pictures], 1 for ng, for a recipe."""

    values: CropPixels
    labels: NDArray[np.int64]
    recipe: TrainingRecipe

    def drawn(self, chosen: Chosen, random: np.random.Generator, course: float) -> Tensor:
        """Mirrored, lit anew and scaled down as the recipe says, as float32."""
        pictures = torch.from_numpy(np.stack([self._drawn(self.values[number], random) for number in chosen])).float()
        if self.recipe.small_first and course < _SMALL_UNTIL:
            side = smaller(pictures.shape[-1])
            flat = interpolate(pictures.flatten(0, 1), size=(side, side), mode="bilinear", antialias=True)
            pictures = flat.reshape(*pictures.shape[:3], side, side)
        return pictures

    def pooled(self, model: ResNet18) -> Pooled:
        parts = []
        for start in range(0, len(self.values), _CROPS_AT_ONCE):
            some = self.values[start : start + _CROPS_AT_ONCE]
            parts.append(pooled_features(model, trunk_features(model, some, self.recipe.image, quick=True)))
        return np.concatenate(parts)

    def logits(self, model: ResNet18, pictures: Tensor) -> Tensor:
        """In bfloat16 where the model's device is quick in it while learning, else in float32."""
        with in_bf16(model.device, wanted=torch.is_grad_enabled()):
            found: Tensor = model(network_input(pictures.flatten(0, 1), self.recipe.image, model.device))
        return found.float().reshape(*pictures.shape[:2], 2)

    def margins(self, model: ResNet18, chosen: Chosen) -> NDArray[np.float64]:
        return _margins(self, self.values, model, chosen, _CROPS_AT_ONCE)

    def _drawn(self, tiles: CropPixels, random: np.random.Generator) -> CropPixels:
        """All tiles alike."""
        rows, columns = random.choice((1, -1), 2) if self.recipe.flips else (1, 1)
        mirrored = tiles[..., ::rows, ::columns]
        return lit(mirrored, random) if self.recipe.light else mirrored


def crops_in(samples: Sequence[Sample], recipe: TrainingRecipe, file: Path, *, quiet: bool = False) -> Crops:
    """The crops of all pictures, kept in `file`. Raises DataError."""
    values = np.lib.format.open_memmap(file, "w+", np.uint8, (len(samples), *recipe.image.crop_shape))
    done = 0  # a disabled bar counts nothing
    with tqdm(total=len(samples), desc="crops", unit="picture", disable=quiet) as bar:
        for crops in batches(samples, recipe.image, _CROPS_AT_ONCE):
            values[done : done + len(crops)] = crops
            done += len(crops)
            bar.update(len(crops))
    return Crops(values, truth_of(samples).astype(np.int64), recipe)


def views_in(samples: Sequence[Sample], recipe: TrainingRecipe, file: Path, *, seed: int) -> Crops:
    """One view of each crop, drawn by `seed`, kept in `file`: to judge what changes disturb. Raises DataError."""
    crops, random = crops_in(samples, recipe, file, quiet=True), np.random.default_rng(seed)
    for tiles in crops.values:
        tiles[...] = [view(tile, random) for tile in tiles]
    return crops


def _margins(
    inputs: Inputs, values: NDArray[np.generic], model: ResNet18, chosen: Chosen, at_once: int
) -> NDArray[np.float64]:
    parts = []
    with torch.inference_mode():
        for start in range(0, len(chosen), at_once):
            logits = inputs.logits(model, torch.from_numpy(values[chosen[start : start + at_once]]))
            parts.append((logits[..., 1] - logits[..., 0]).amax(dim=1))
    return torch.cat(parts).cpu().numpy().astype(np.float64)
