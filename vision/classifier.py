"""What the station asks of whoever scores: the local worker, or a remote pool."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inspection.errors import BackendError
from inspection.frame import CropPixels


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of one call: float32 [n], P(defect) of each crop, possibly non-finite (the judge decides).

    `model` is the first 12 hex digits of the bundle's hash, `backend` the name of the one that scored. `queued` and
    `inferred` are seconds.
    """

    scores: NDArray[np.float32]
    model: str
    queued: float
    inferred: float
    backend: str = ""


class Classifier(Protocol):
    async def score(self, crops: CropPixels, deadline: float) -> Scored:
        """Score crops, uint8 [n, channels, height, width], before `deadline` (monotonic seconds).

        Raises NotScored with the reason: deadline, overload, worker_failed, worker_hung, shutdown.
        """
        ...


class Backend(Protocol):
    """One network on one device, in the worker's process.

    `callers`: calls of `score` that may be under way at once, each from a thread of its own; 1, or as many as it
    takes to keep the device busy from one batch to the next.
    """

    name: str
    callers: int

    def score(self, crops: CropPixels) -> NDArray[np.float32]:
        """P(defect), float32 [n], for crops uint8 [n, channels, height, width]. Blocks until done.

        Not finite where the network's answer is not. Raises BackendError for anything but one crop or more of
        the network's shape.
        """
        ...


def expected(crops: CropPixels, shape: tuple[int, ...], backend: str) -> CropPixels:
    """The same crops in one piece of memory, if each of them has `shape`: [channels, height, width].

    Raises BackendError naming `backend`: a runtime would raise something of its own, or scale silently.
    """
    if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != shape or len(crops) == 0:
        raise BackendError(
            f"{backend}: {crops.dtype} crops of shape {list(crops.shape)}, expected uint8 [n, {str(list(shape))[1:]}"
        )
    return np.ascontiguousarray(crops)


def probability(margins: NDArray[np.floating]) -> NDArray[np.float32]:
    """P(defect), float32 [n], of (logit of ng - logit of ok) / temperature.

    NaN where that is not finite: the sigmoid of an overflow is 0 or 1, and 0 would read as the surest PASS.
    """
    wide = margins.astype(np.float64)
    known = np.isfinite(wide)
    scores = 0.5 + 0.5 * np.tanh(np.where(known, wide, 0) / 2)
    return np.where(known, scores, np.nan).astype(np.float32)
