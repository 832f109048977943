"""The tensors of a network by torchvision's names: their shapes, and how they are stored."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from inspection.errors import BundleError

Tensors = dict[str, NDArray[np.float32]]
Widths = tuple[int, int, int, int]
Arch = Literal["resnet18", "resnet18-narrow", "resnet18-bank"]
"""A ResNet18 with two classes; one with fewer channels, as many as its tensors have; or the first layers of the whole
one with a bank of what good parts look like: see `vision.bank`."""

LAYERS = ((1, 1), (2, 2), (3, 2), (4, 2))  # number, stride of the first block
FULL: Widths = (64, 128, 256, 512)
"""Channels of layer1 to layer4. conv1 has those of layer1."""


def resnet18_shapes(widths: Widths = FULL, classes: int = 2) -> dict[str, tuple[int, ...]]:
    """Every tensor that inference needs, with its shape (He et al. 2015, arXiv:1512.03385, table 1)."""
    before = widths[0]
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (before, 3, 7, 7)} | _norm("bn1", before)
    for (number, stride), channels in zip(LAYERS, widths, strict=True):
        for block in (0, 1):
            name = f"layer{number}.{block}"
            shapes[f"{name}.conv1.weight"] = (channels, before, 3, 3)
            shapes[f"{name}.conv2.weight"] = (channels, channels, 3, 3)
            shapes |= _norm(f"{name}.bn1", channels) | _norm(f"{name}.bn2", channels)
            if stride != 1 and block == 0:
                shapes[f"{name}.downsample.0.weight"] = (channels, before, 1, 1)
                shapes |= _norm(f"{name}.downsample.1", channels)
            before = channels
    return shapes | {"fc.weight": (classes, before), "fc.bias": (classes,)}


def arch_of(widths: Widths) -> Arch:
    return "resnet18" if widths == FULL else "resnet18-narrow"


def widths_of(tensors: Mapping[str, NDArray[np.generic]]) -> Widths:
    """The channels that a network's tensors have. Raises BundleError for a layer with none, or more than ResNet18's."""
    found = []
    for (number, _), most in zip(LAYERS, FULL, strict=True):
        name = f"layer{number}.0.conv1.weight"
        if name not in tensors:
            raise BundleError(f"the tensor {name} is missing")
        channels = len(tensors[name]) if tensors[name].ndim else 0
        if not 1 <= channels <= most:
            raise BundleError(f"a layer{number} of {channels} channels: not between 1 and {most}")
        found.append(channels)
    one, two, three, four = found
    return one, two, three, four


BANK_WIDTH = 128
_MOST_ENTRIES = 16384
BANK_LEVELS = ((2, 128), (3, 256))
"""Number and channels of the layers by which a bank describes places."""


def bank_shapes(entries: int) -> dict[str, tuple[int, ...]]:
    """Every tensor of a resnet18-bank with so many entries, with its shape. Raises BundleError for too few or many."""
    if not 1 < entries <= _MOST_ENTRIES:
        raise BundleError(f"a bank of {entries} entries: not between 2 and {_MOST_ENTRIES}")
    trunk = {name: shape for name, shape in resnet18_shapes().items() if not name.startswith(("layer4.", "fc."))}
    levels = {f"bank.layer{number}.weight": (BANK_WIDTH, channels, 1, 1) for number, channels in BANK_LEVELS}
    return (
        trunk | levels | {"bank.shift": (BANK_WIDTH,), "bank.entries": (entries, BANK_WIDTH, 1, 1), "bank.limit": (1,)}
    )


def _shapes(arch: Arch, tensors: Mapping[str, NDArray[np.generic]]) -> dict[str, tuple[int, ...]]:
    if arch != "resnet18-bank":
        return resnet18_shapes(FULL if arch == "resnet18" else widths_of(tensors))
    entries = tensors.get("bank.entries")
    return bank_shapes(len(entries) if entries is not None and entries.ndim else 0)


def _norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}


def as_stored(tensors: Mapping[str, NDArray[np.generic]], arch: Arch = "resnet18") -> dict[str, NDArray[np.generic]]:
    """What goes to disk: the tensors of the network, convolutions as float16, the rest as float32.

    Others (num_batches_tracked) are left out. Raises BundleError for one that is missing, of another shape or
    type, or not finite, and for a negative variance. Reference scores are to be made with these values, not with those
    before the rounding.
    """
    stored: dict[str, NDArray[np.generic]] = {}
    for name, shape in _shapes(arch, tensors).items():
        if name not in tensors:
            raise BundleError(f"the tensor {name} is missing")
        tensor = tensors[name]
        if tensor.shape != shape:
            raise BundleError(f"the tensor {name} has the shape {list(tensor.shape)}, expected {list(shape)}")
        if tensor.dtype.kind != "f":
            raise BundleError(f"the tensor {name} holds {tensor.dtype}, expected floating point")
        with np.errstate(over="ignore"):
            stored[name] = np.ascontiguousarray(tensor, np.float16 if tensor.ndim == 4 else np.float32)
        if not np.isfinite(stored[name]).all():
            raise BundleError(f"the tensor {name} holds values that are not finite")
        if name.endswith("running_var") and np.less(stored[name], 0).any():
            raise BundleError(f"the tensor {name} holds negative variances")
    return stored


def weights_bytes(tensors: Mapping[str, NDArray[np.generic]], arch: Arch = "resnet18") -> bytes:
    """The safetensors file of `as_stored`."""
    # One entry only: safetensors writes several in an order that changes from call to call, and equal weights
    # are to give equal files.
    return save(as_stored(tensors, arch), {"format": "pt"})


def parsed(raw: bytes, path: Path) -> dict[str, NDArray[np.generic]]:
    """All tensors of the safetensors file `raw`. Raises BundleError, which names `path`."""
    try:
        return dict(load(raw))
    except (SafetensorError, ValueError, KeyError, struct.error) as error:
        # A KeyError names a type that numpy does not have, such as BF16.
        raise BundleError(f"{path}: not a readable safetensors file: {error}: take another copy of it") from error


def read_weights(raw: bytes, path: Path, arch: Arch = "resnet18") -> Tensors:
    """The tensors of the safetensors file `raw` as float32.

    Raises BundleError, which names `path`, for a damaged file and for tensors that are not such a network's.
    """
    tensors = parsed(raw, path)
    try:
        stored = as_stored(tensors, arch)
    except BundleError as error:
        raise BundleError(f"{path}: {error}: train again") from error
    return {name: tensor.astype(np.float32) for name, tensor in stored.items()}
