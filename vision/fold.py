"""What of a network can be computed before the first picture comes: numpy only, in float64."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vision.recipe import Recipe
from vision.weights import LAYERS, Tensors

_EPSILON = 1e-5  # of torch.nn.BatchNorm2d


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution with its batch norm: weight [out, in, side, side] and bias [out], float64.

    `conv1` takes raw pixels and, as one channel more, a picture of ones. `fc` has weight [1, in] and bias [1].
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]


Layers = dict[str, Layer]
"""By torchvision's names of the convolutions: conv1, layer1.0.conv1, layer2.0.downsample.0 ...; and fc."""


def folded_layers(tensors: Tensors, recipe: Recipe, temperature: float) -> Layers:
    """The network from uint8 crops to margin / temperature."""
    layers = folded_trunk(tensors, recipe)
    # softmax(z / T)[1] of two classes = sigmoid((z1 - z0) / T)
    weight, bias = (tensors[f"fc.{part}"].astype(np.float64) / temperature for part in ("weight", "bias"))
    return layers | {"fc": Layer(weight[1:] - weight[:1], bias[1:] - bias[:1])}


def folded_trunk(tensors: Tensors, recipe: Recipe) -> Layers:
    """The convolutions that are among `tensors`, from uint8 crops on."""
    layers = {"conv1": _stem(tensors, recipe)}
    for number, _ in LAYERS:
        for block in (0, 1):
            name = f"layer{number}.{block}"
            for conv, norm in (("conv1", "bn1"), ("conv2", "bn2"), ("downsample.0", "downsample.1")):
                if f"{name}.{conv}.weight" in tensors:
                    scale, shift = _norm(tensors, f"{name}.{norm}")
                    weight = tensors[f"{name}.{conv}.weight"] * scale[:, None, None, None]
                    layers[f"{name}.{conv}"] = Layer(weight, shift)
    return layers


def _norm(tensors: Tensors, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A batch norm in inference as scale and shift by channel."""
    scale = tensors[f"{name}.weight"].astype(np.float64) / np.sqrt(
        tensors[f"{name}.running_var"].astype(np.float64) + _EPSILON
    )
    return scale, tensors[f"{name}.bias"] - tensors[f"{name}.running_mean"] * scale


def _stem(tensors: Tensors, recipe: Recipe) -> Layer:
    """conv1, bn1 and the normalisation as one convolution: weight [64, 1 or 3 (BGR), and 1 of ones, 7, 7].

    From conv1(norm(x)) = Z(x) * sum_c Wc / (255 sc) - Z(1) * sum_c Wc mc / sc, with Z the zero padding. Padding
    comes after the normalisation, so fewer taps see the mean near the border: it is no part of the bias.
    """
    scale, shift = _norm(tensors, "bn1")
    kernel = tensors["conv1.weight"].astype(np.float64) * scale[:, None, None, None]
    mean, std = np.asarray(recipe.mean), np.asarray(recipe.std)
    weight = kernel / (255.0 * std)[None, :, None, None]
    weight = weight[:, ::-1] if recipe.crop_shape[1] == 3 else weight.sum(axis=1, keepdims=True)
    offset = (kernel * (mean / std)[None, :, None, None]).sum(axis=1, keepdims=True)
    return Layer(np.concatenate([weight, -offset], axis=1), shift)


def seen_of_ones(kernels: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """What conv1's kernels [out, 7, 7] make of a picture of ones, `size` square: [out, size/2, size/2].

    Near the border some of their taps lie on the padding, which is zero.
    """
    taps = 2 * np.arange(size // 2)[:, None] + np.arange(7)[None, :] - 3
    inside = ((taps >= 0) & (taps < size)).astype(np.float64)
    seen: NDArray[np.float64] = np.einsum("ih,jw,ohw->oij", inside, inside, kernels, optimize=True)
    return seen
