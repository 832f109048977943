"""From margins on val to a probability.

A margin is logit(ng) - logit(ok) of a picture's worst tile. Losses with class weights, and fine-tuning on few
pictures, leave the softmax far from a probability.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Margins = NDArray[np.float64]
Truth = NDArray[np.bool_]

_TEMPERATURES = (0.25, 20.0)
_OFFSETS = (-20.0, 20.0)


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-logits)), without the overflow of exp for logits below -709."""
    return np.exp(-np.logaddexp(0, -logits))


@dataclass(frozen=True, slots=True)
class Calibration:
    """P(defect) = sigmoid((margin + offset) / temperature)."""

    temperature: float
    offset: float

    def probability(self, margins: Margins) -> NDArray[np.float64]:
        return sigmoid((margins + self.offset) / self.temperature)


def calibrate(margins: Margins, truth: Truth) -> Calibration:
    """Platt scaling: the slope and offset of a logistic regression on the margin.

    Platt: Probabilistic Outputs for Support Vector Machines, 1999, with his smoothed targets, so that classes
    which do not overlap on val give a finite slope. Newton's method with step halving, as in Lin, Lin, Weng:
    A Note on Platt's Probabilistic Outputs, Machine Learning 68 (2007).
    """
    n_ng, n_ok = int(truth.sum()), int((~truth).sum())
    target = np.where(truth, (n_ng + 1) / (n_ng + 2), 1 / (n_ok + 2))

    def loss(slope: float, shift: float) -> float:
        z = slope * margins + shift
        return float((np.logaddexp(0, z) - target * z).sum())

    slope, shift = 1.0, 0.0
    for _ in range(100):
        p = sigmoid(slope * margins + shift)
        design = np.stack([margins, np.ones_like(margins)])
        gradient = design @ (p - target)
        if np.abs(gradient).max() < 1e-9:
            break
        hessian = (design * (p * (1 - p))) @ design.T + 1e-12 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-10 and loss(slope - size * step[0], shift - size * step[1]) > loss(slope, shift):
            size /= 2
        slope, shift = slope - size * step[0], shift - size * step[1]
    temperature = float(np.clip(1 / slope, *_TEMPERATURES)) if slope > 0 else _TEMPERATURES[1]
    return Calibration(temperature, float(np.clip(shift * temperature, *_OFFSETS)))
