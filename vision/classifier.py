"""What the station asks of whoever scores: the local worker, or a remote pool."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inspection.frame import CropPixels


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of one call: float32 [n], P(defect) of each crop, possibly non-finite (the judge decides).

    `model` is the first 12 hex digits of the bundle's hash. `queued` and `inferred` are seconds.
    """

    scores: NDArray[np.float32]
    model: str
    queued: float
    inferred: float


class Classifier(Protocol):
    async def score(self, crops: CropPixels, deadline: float) -> Scored:
        """Score crops, uint8 [n, channels, height, width], before `deadline` (monotonic seconds).

        Raises NotScored with the reason: deadline, overload, worker_failed, worker_hung, shutdown.
        """
        ...


class Backend(Protocol):
    """One network on one device, in the worker's process. Not thread-safe: one caller."""

    name: str

    def score(self, crops: CropPixels) -> NDArray[np.float32]:
        """P(defect), float32 [n], for crops uint8 [n, channels, height, width]. Blocks until done."""
        ...
