"""OpenVINO on the CPU: in fp32, with bf16 arithmetic, or in INT8."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from inspection.errors import BackendError
from inspection.frame import CropPixels
from vision.classifier import expected, probability

# Otherwise `import openvino` alone sends an event to its maker's statistics. Without the package it takes a stub.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino  # noqa: E402

_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
_MOST_STREAMS = 8


class OpenvinoBackend:
    """The network compiled twice. `precision` is fp32, bf16 or int8; `threads` 0 means one for each core.

    One crop is worked on by all cores at once, which is fastest for it alone. Of more crops each core takes one after
    another: cores that share a layer wait for each other at its end, and where cameras and broker take one of them
    away now and then, all wait. For the same reason two calls may be under way: a core that is done with its last
    crop of one batch begins with the next.

    bf16 needs a CPU with AVX-512 BF16 or AMX; elsewhere OpenVINO emulates it, slowly, or refuses it. INT8 is in the
    graph itself, and the hint is for what of it is in float32.
    """

    callers = 2

    def __init__(self, graph: bytes, precision: str, threads: int = 0) -> None:
        self.name = f"openvino-{precision}"
        config = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            # Pinned, two processes that take fewer than all cores would sit on the same ones.
            "ENABLE_CPU_PINNING": False,
            **({"INFERENCE_NUM_THREADS": threads} if threads else {}),
        }
        # With a thread for every core, pinning keeps two from waking on one core after a rest.
        spread = {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": not threads}
        apart = {"PERFORMANCE_HINT": "THROUGHPUT", "PERFORMANCE_HINT_NUM_REQUESTS": _MOST_STREAMS}
        try:
            core = openvino.Core()
            model = core.read_model(graph)
            together = core.compile_model(model, "CPU", {**config, **spread})
            self._together = together.create_infer_request()
            streams = core.compile_model(model, "CPU", {**config, **apart})
        except RuntimeError as error:
            raise BackendError(f"{self.name}: the graph cannot be compiled: {error}") from error
        self._shape = tuple(side.get_length() for side in list(model.input("crops").partial_shape)[1:])
        # The first tensor of a process must not be made by two threads: one waits in a constructor of openvino's for
        # the interpreter, the other holds the interpreter and waits for the constructor, and both for ever.
        self._together.infer({"crops": np.zeros((1, *self._shape), np.uint8)}, share_inputs=True)
        self._sharing = threading.Lock()
        self._mine = threading.local()
        self._width = int(streams.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._apart = ThreadPoolExecutor(self._width, "stream", partial(_own_request, streams, self._mine))

    def score(self, crops: CropPixels) -> NDArray[np.float32]:
        """P(defect), float32 [n]. Raises BackendError for crops of another shape."""
        given = expected(crops, self._shape, self.name)
        # As many as keep every stream busy to the end.
        apart = len(given) // self._width * self._width if self._width > 1 else 0
        margins = [self._apart.submit(_margin, self._mine, given[at : at + 1]) for at in range(apart)]
        left: list[NDArray[np.float32]] = []
        if apart < len(given):
            with self._sharing:
                left = [np.array(self._together.infer({"crops": given[apart:]}, share_inputs=True)["margin"])]
        return probability(np.concatenate([*(margin.result() for margin in margins), *left]))


def _own_request(network: openvino.CompiledModel, mine: threading.local) -> None:
    mine.request = network.create_infer_request()


def _margin(mine: threading.local, crop: CropPixels) -> NDArray[np.float32]:
    return np.array(mine.request.infer({"crops": crop}, share_inputs=True)["margin"])
