"""What a network sees in a crop, as numbers by which pictures can be compared. Needs no torch."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from inspection.errors import BackendError
from inspection.frame import Pixels
from vision.bank import build_bank_graph
from vision.bundle import Bundle
from vision.graph import build_graph
from vision.session import answers, cpu_session


@dataclass(frozen=True, slots=True)
class Description:
    """`margin`, the logit of P(defect), and the features of the crop that it comes from, float32 [width]."""

    margin: float
    features: NDArray[np.float32]


class Describer:
    """The float32 network of a bundle, with what it makes its decision of as its second answer."""

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        """`threads` 0 means one for each core. Raises BackendError where the network cannot be loaded."""
        self._recipe = bundle.recipe
        self._session = cpu_session(describing_graph(bundle).SerializeToString(), threads)

    def describe(self, pixels: Pixels, bit_depth: int = 8) -> Description:
        """`pixels` as `Recipe.crops` takes them, with its errors. Of several crops, the one that scores highest.

        Raises BackendError where the network's answer is not finite.
        """
        crops = self._recipe.crops(pixels, bit_depth)
        margins, features = answers(self._session, ("margin", "features"), crops)
        if not (np.isfinite(margins).all() and np.isfinite(features).all()):
            raise BackendError("the network's answer is not finite: the bundle is broken")
        worst = int(margins.argmax())
        return Description(float(margins[worst]), features[worst])


def describing_graph(bundle: Bundle) -> Any:
    """The bundle's graph with one output more: `features`, float32 [N, width].

    Of a ResNet they are what its last layer weighs; of a bank the mean of what it compares with its entries.
    """
    if bundle.arch == "resnet18-bank":
        model = build_bank_graph(bundle)
        model.graph.node.append(helper.make_node("GlobalAveragePool", ["bank.at"], ["bank.mean"], name="bank.mean"))
        model.graph.node.append(helper.make_node("Flatten", ["bank.mean"], ["features"], name="features"))
    else:
        model = build_graph(bundle)
    model.graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", "width"]))
    return model
