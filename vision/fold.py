"""What of a network can be computed before the first picture comes: numpy only, in float64."""

import numpy as np
from numpy.typing import NDArray

from vision.recipe import Recipe
from vision.weights import Tensors

_EPSILON = 1e-5  # of torch.nn.BatchNorm2d


def folded_norm(tensors: Tensors, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A batch norm in inference as scale and shift by channel."""
    scale = tensors[f"{name}.weight"].astype(np.float64) / np.sqrt(
        tensors[f"{name}.running_var"].astype(np.float64) + _EPSILON
    )
    return scale, tensors[f"{name}.bias"] - tensors[f"{name}.running_mean"] * scale


def folded_stem(tensors: Tensors, recipe: Recipe) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """conv1, bn1 and the normalisation as one convolution of raw pixels, and what is added to its result.

    Weight [64, 1 or 3 (BGR), 7, 7] and map [64, size/2, size/2], from
    conv1(norm(x)) = Z(x) * sum_c Wc / (255 sc) - Z(1) * sum_c Wc mc / sc, with Z the zero padding. Padding
    comes after the normalisation, so fewer taps see the mean near the border: the second term is a map.
    """
    scale, shift = folded_norm(tensors, "bn1")
    kernel = tensors["conv1.weight"].astype(np.float64) * scale[:, None, None, None]
    mean, std = np.asarray(recipe.mean), np.asarray(recipe.std)
    weight = kernel / (255.0 * std)[None, :, None, None]
    weight = weight[:, ::-1] if recipe.crop_shape[1] == 3 else weight.sum(axis=1, keepdims=True)
    offset = (kernel * (mean / std)[None, :, None, None]).sum(axis=1)
    taps = 2 * np.arange(recipe.size // 2)[:, None] + np.arange(7)[None, :] - 3
    inside = ((taps >= 0) & (taps < recipe.size)).astype(np.float64)
    seen = np.einsum("ih,jw,ohw->oij", inside, inside, offset, optimize=True)
    return weight, shift[:, None, None] - seen
