"""A backend without a network, for tests, benchmarks and drills: it scores brightness, and fails on demand."""

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from inspection.errors import BackendError, BundleError
from inspection.frame import CropPixels
from vision.classifier import Backend, expected

Fault = Literal["hang", "raise", "die", "nan", "short", "meet"]
OpeningFault = Literal["bundle", "backend", "raise", "die", "hang", "short"]

_MEET_S = 10.0


@dataclass
class Simulated:
    """The score of a crop is its mean brightness / 255.

    A crop whose first pixel is in `faults` makes its whole batch misbehave: the call never returns, raises,
    ends the process, gives NaN for every crop, one score too few, or waits until as many calls as there are
    `callers` are under way. While the file `held` exists, no call
    returns. `opening` is a fault of the start, and lasts while the file `broken` exists or, without one, for
    ever. Pass `open` to the worker as its opener.
    """

    batch_s: float = 0.0
    crop_s: float = 0.0
    faults: Mapping[int, Fault] = field(default_factory=dict)
    held: Path | None = None
    opening: OpeningFault | None = None
    broken: Path | None = None
    name: str = "simulated"
    callers: int = 1

    def open(self) -> Backend:
        if self._broken():
            match self.opening:
                case "bundle":
                    raise BundleError("bundle.json: simulated damage")
                case "backend":
                    raise BackendError("simulated disagreement with the golden set")
                case "raise":
                    raise RuntimeError("simulated driver error")
                case "die":
                    os._exit(9)
                case "hang":
                    while self._broken():
                        time.sleep(0.001)
                case "short":
                    return _Short(self.name)
        self._meeting = threading.Barrier(self.callers, timeout=_MEET_S)
        return self

    def _broken(self) -> bool:
        return self.opening is not None and (self.broken is None or self.broken.exists())

    def score(self, crops: CropPixels) -> NDArray[np.float32]:
        crops = expected(crops, crops.shape[1:], self.name)
        seconds = self.batch_s + self.crop_s * len(crops)
        if seconds:
            time.sleep(seconds)
        while self.held is not None and self.held.exists():
            time.sleep(0.001)
        scores: NDArray[np.float32] = crops.mean(axis=(1, 2, 3), dtype=np.float32) / np.float32(255)
        for first in crops[:, 0, 0, 0] if self.faults else ():
            fault = self.faults.get(int(first))
            if fault is not None:
                scores = self._misbehave(fault, scores)
        return scores

    def _misbehave(self, fault: Fault, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        match fault:
            case "hang":
                while True:
                    time.sleep(3600)
            case "raise":
                raise RuntimeError("simulated device error")
            case "die":
                os._exit(9)
            case "nan":
                return np.full(len(scores), np.nan, np.float32)
            case "short":
                return np.delete(scores, -1)
            case "meet":
                self._meeting.wait()
        return scores


class _Short:
    callers = 1

    def __init__(self, name: str) -> None:
        self.name = name

    def score(self, crops: CropPixels) -> NDArray[np.float32]:
        return np.zeros(len(crops) - 1, np.float32)
