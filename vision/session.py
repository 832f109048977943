"""ONNX Runtime on the CPU, for what looks at pictures beside the line. The live backends have their own."""

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

from inspection.errors import BackendError


def cpu_session(graph: bytes, threads: int = 0) -> onnxruntime.InferenceSession:
    """A session of a serialised graph. `threads` 0 means one for each core. Raises BackendError."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except RuntimeException as error:
        raise BackendError(f"the network cannot be loaded: {error}") from error
