"""OpenVINO on the CPU, in fp32 or with bf16 arithmetic."""

from typing import Literal

import numpy as np
import openvino
from numpy.typing import NDArray

from inspection.errors import BackendError
from inspection.frame import CropPixels
from vision.classifier import expected, probability

Precision = Literal["fp32", "bf16"]
_HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenvinoBackend:
    """One compiled model with one stream, its batch dynamic. `threads` 0 means one for each core.

    bf16 needs a CPU with AVX-512 BF16 or AMX; elsewhere OpenVINO emulates it, slowly.
    """

    def __init__(self, graph: bytes, precision: Precision, threads: int = 0) -> None:
        self.name = f"openvino-{precision}"
        config = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            # Two pinned processes on one box would sit on the same core.
            "ENABLE_CPU_PINNING": False,
            **({"INFERENCE_NUM_THREADS": threads} if threads else {}),
        }
        try:
            core = openvino.Core()
            model = core.read_model(graph)
            self._request = core.compile_model(model, "CPU", config).create_infer_request()
        except RuntimeError as error:
            raise BackendError(f"{self.name}: the graph cannot be compiled: {error}") from error
        self._shape = tuple(side.get_length() for side in list(model.input("crops").partial_shape)[1:])

    def score(self, crops: CropPixels) -> NDArray[np.float32]:
        """P(defect), float32 [n]. Raises BackendError for crops of another shape."""
        given = expected(crops, self._shape, self.name)
        return probability(self._request.infer({"crops": given}, share_inputs=True)["margin"])
