"""Where in a picture a model sees the defect.

The network ends in an average over places and a weighted sum over channels, and both are linear: the weighted sum of
each place is that place's share of the margin, and the mean of them all is the margin itself. This is the class
activation map of Zhou et al. 2016 (arXiv:1512.04150), here without any approximation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from inspection.errors import BackendError
from inspection.frame import Pixels
from vision.bank import build_bank_graph
from vision.bundle import Bundle
from vision.classifier import probability
from vision.enhance import Image, Region, checked, eight_bits
from vision.graph import build_graph
from vision.session import answers, cpu_session

_MOST_OPAQUE = 0.55
_LINE = (255, 255, 255)
_INK, _PAPER = (0, 0, 0), (255, 255, 255)
_LETTERS = cv2.FONT_HERSHEY_SIMPLEX
_NARROWEST = 560  # pixels, so that a caption is legible under a small picture too


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where the model looked, in pixels of the frame.

    `score` is P(defect) in float32. `heat` is float32 [height, width]: the margin as each place alone would have it,
    above 0 where it speaks for a defect; NaN where the model does not look. `hottest` is x, y of the place that speaks
    loudest, and `box` what is connected with it above half of the way from the map's mean to there.
    """

    score: float
    heat: NDArray[np.float32]
    hottest: tuple[int, int]
    box: Region


class Explainer:
    """The float32 network of a bundle, with the map before the average as its second answer. Needs no torch.

    It is a network of its own, beside the one that judges: none of the live backends pays for it.
    """

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        """`threads` 0 means one for each core. Raises BackendError where the network cannot be loaded."""
        self._recipe = bundle.recipe
        self._session = cpu_session(mapping_graph(bundle).SerializeToString(), threads)

    def explain(self, pixels: Pixels, bit_depth: int = 8) -> Explanation:
        """`pixels` as `Recipe.crops` takes them, with its errors. Of several crops, the highest counts at each place.

        Raises BackendError where the network's answer is not finite.
        """
        crops = self._recipe.crops(pixels, bit_depth)
        margins, maps = answers(self._session, ("margin", "map"), crops)
        score = float(probability(margins).max())
        if not np.isfinite(score):
            raise BackendError("the network's answer is not finite: there is nothing to explain")
        heat = self._recipe.spread(maps[:, 0], pixels.shape[1], pixels.shape[0])
        return Explanation(score, heat, *_hottest(heat))


def mapping_graph(bundle: Bundle) -> Any:
    """`build_graph` with one output more: `map`, float32 [N, 1, rows, columns], whose mean is the margin.

    A bank has its own: how strange each place is, with no mean that says anything.
    """
    if bundle.arch == "resnet18-bank":
        return build_bank_graph(bundle)
    model = build_graph(bundle)
    graph = model.graph
    (pool,) = (node for node in graph.node if node.op_type == "GlobalAveragePool")
    (last,) = (node for node in graph.node if node.op_type == "Gemm")
    constants = {constant.name: numpy_helper.to_array(constant) for constant in graph.initializer}
    weight = constants[last.input[1]]  # [1, channels], as after the pool
    graph.initializer.append(numpy_helper.from_array(weight[:, :, None, None], "map.weight"))
    graph.node.append(helper.make_node("Conv", [pool.input[0], "map.weight", last.input[2]], ["map"], name="map"))
    graph.output.append(helper.make_tensor_value_info("map", TensorProto.FLOAT, ["N", 1, "rows", "columns"]))
    return model


def overlay(pixels: Pixels, bit_depth: int, found: Explanation) -> Image:
    """The frame, uint8 [height, width, 3] BGR, with the map in colour upon it and a box around its hottest region.

    Colours go from the map's mean (none) to its highest value (red): they tell where, and never how much, which is
    the score's part.
    """
    shown = eight_bits(checked(pixels, bit_depth), bit_depth)
    frame = cv2.cvtColor(shown, cv2.COLOR_GRAY2BGR) if shown.ndim == 2 else shown
    share = _above_mean(found.heat)
    colours = cv2.applyColorMap((255 * share).astype(np.uint8), cv2.COLORMAP_JET)
    opacity = _MOST_OPAQUE * share[:, :, None]
    mixed = np.asarray(np.rint(frame * (1 - opacity) + colours * opacity), np.uint8)
    box, thickness = found.box, max(1, round(max(frame.shape[:2]) / 400))
    far = (box.x + box.width - 1, box.y + box.height - 1)
    cv2.rectangle(mixed, (box.x, box.y), far, _LINE, thickness)
    return mixed


def captioned(image: Image, lines: Sequence[str]) -> Image:
    """`image`, uint8 [height, width, 3] BGR, above `lines` of ASCII text and a legend of the map's colours.

    A narrow image gets a white margin at its right.
    """
    width = max(image.shape[1], _NARROWEST)
    scale = width / 1400
    row = round(42 * scale) + 8
    panel = np.full((row * (len(lines) + 1) + 8, width, 3), 255, np.uint8)
    for number, line in enumerate(lines, start=1):
        _write(panel, line, 8, number * row - row // 4, scale)
    base, ramp = (len(lines) + 1) * row - row // 4, width // 4
    _write(panel, "mean of the picture", 8, base, scale)
    left = 16 + _width("mean of the picture", scale)
    colours = cv2.applyColorMap(np.linspace(0, 255, ramp).astype(np.uint8)[None, :], cv2.COLORMAP_JET)
    panel[base - row // 2 : base, left : left + ramp] = colours
    _write(panel, "its highest place; box: hottest region", left + ramp + 8, base, scale)
    wide = cv2.copyMakeBorder(image, 0, 0, 0, width - image.shape[1], cv2.BORDER_CONSTANT, value=_PAPER)
    return np.asarray(np.concatenate([wide, panel]), np.uint8)


def _write(panel: Image, text: str, left: int, base: int, scale: float) -> None:
    cv2.putText(panel, text, (left, base), _LETTERS, scale, _INK, max(1, round(2 * scale)), cv2.LINE_AA)


def _width(text: str, scale: float) -> int:
    (width, _), _ = cv2.getTextSize(text, _LETTERS, scale, max(1, round(2 * scale)))
    return int(width)


def _hottest(heat: NDArray[np.float32]) -> tuple[tuple[int, int], Region]:
    row, column = np.unravel_index(np.nanargmax(heat), heat.shape)
    _, parts = cv2.connectedComponents((_above_mean(heat) >= 0.5).astype(np.uint8))
    return (int(column), int(row)), Region(*cv2.boundingRect((parts == parts[row, column]).astype(np.uint8)))


def _above_mean(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """0 at the mean and below it and where nothing is seen, 1 at the highest place; 1 all over a flat map."""
    mean, high = np.nanmean(heat), np.nanmax(heat)
    share = (heat - mean) / (high - mean) if high > mean else np.where(np.isnan(heat), heat, 1)
    return np.asarray(np.clip(np.nan_to_num(share), 0, 1), np.float32)
