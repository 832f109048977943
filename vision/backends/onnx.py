"""ONNX Runtime: the CPU anywhere, in fp32 or INT8; CUDA and TensorRT where onnxruntime-gpu is installed.

The CUDA and TensorRT providers have not been run on a GPU.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from inspection.errors import BackendError
from inspection.frame import CropPixels
from vision.classifier import expected, probability

# onnxruntime's errors share no base class of their own.
_REFUSALS = (
    state.EPFail,
    state.EngineError,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NotImplemented,
    state.RuntimeException,
)
_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "int8": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}


class OnnxBackend:
    """One session on `device` cpu, int8 (the CPU too), cuda or tensorrt. `threads` 0 means one for each core."""

    callers = 1

    def __init__(self, graph: bytes, device: str, threads: int = 0, cache_dir: Path | None = None) -> None:
        provider = _PROVIDERS[device]
        if provider not in onnxruntime.get_available_providers():
            raise BackendError(
                f"onnx-{device}: this onnxruntime has no {provider}: install onnxruntime-gpu, or choose another backend"
            )
        self.name = f"onnx-{device}"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # A spinning pool takes the cores from cameras and broker between two batches.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=_providers(device, cache_dir))
        except _REFUSALS as error:
            raise BackendError(f"{self.name}: the graph cannot be loaded: {error}") from error
        self._shape = tuple(self._session.get_inputs()[0].shape[1:])
        if provider not in self._session.get_providers():
            raise BackendError(f"{self.name}: {provider} did not start: see that driver and CUDA libraries match")

    def score(self, crops: CropPixels) -> NDArray[np.float32]:
        """P(defect), float32 [n]. Raises BackendError for crops of another shape."""
        given = expected(crops, self._shape, self.name)
        return probability(self._session.run(["margin"], {"crops": given})[0])


def _providers(device: str, cache_dir: Path | None) -> list[tuple[str, dict[str, Any]]]:
    chosen: list[tuple[str, dict[str, Any]]] = []
    if device == "tensorrt":
        kept = {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(cache_dir)} if cache_dir else {}
        chosen.append((_PROVIDERS["tensorrt"], {"trt_fp16_enable": True, **kept}))
    if device in {"cuda", "tensorrt"}:
        chosen.append((_PROVIDERS["cuda"], {"cudnn_conv_algo_search": "HEURISTIC"}))
    return [*chosen, (_PROVIDERS["cpu"], {})]
