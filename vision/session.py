"""ONNX Runtime on the CPU, for what looks at pictures beside the line. The live backends have their own."""

from collections.abc import Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

from inspection.errors import BackendError
from inspection.frame import CropPixels

_AT_ONCE = 8


def cpu_session(graph: bytes, threads: int = 0) -> onnxruntime.InferenceSession:
    """A session of a serialised graph. `threads` 0 means one for each core. Raises BackendError."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except RuntimeException as error:
        raise BackendError(f"the network cannot be loaded: {error}") from error


def answers(
    session: onnxruntime.InferenceSession, names: Sequence[str], crops: CropPixels
) -> list[NDArray[np.float32]]:
    """What the outputs called `names` give for all crops, each [crops, ...], some crops at a time."""
    parts = [session.run(names, {"crops": crops[at : at + _AT_ONCE]}) for at in range(0, len(crops), _AT_ONCE)]
    return [np.concatenate(found) for found in zip(*parts, strict=True)]
