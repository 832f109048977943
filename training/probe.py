"""A linear classifier on the frozen network's pooled features: what a recipe's crops are worth, for one look at each.

It is also where fine-tuning starts from. A drawn head spoils the features of layer4 before it has learnt its own
direction; one that was fitted first keeps them, and transfers better to parts that were never seen. Kumar et al.:
Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution, ICLR 2022.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from training.calibrate import sigmoid
from vision.resnet import ResNet18

Pooled = NDArray[np.float32]
Labels = NDArray[np.int64]

# Seen on three materials: the fold AUROC of the probe moves by less than 0.01 from a tenth to ten times of it.
_L2 = 1e-2
_SMALLEST_DEVIATION = 1e-2
_ROUNDS = 5
_STEPS = 50
_PICTURES_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Probe:
    """Margin of a tile = features . weight + bias, weight float64 [512]."""

    weight: NDArray[np.float64]
    bias: float

    def margins(self, pooled: Pooled) -> NDArray[np.float64]:
        """[pictures, tiles, 512] to the highest margin over a picture's tiles, float64 [pictures]."""
        worst: NDArray[np.float64] = (pooled @ self.weight + self.bias).max(axis=1)
        return worst

    def into(self, model: ResNet18) -> None:
        """Make `fc` of `model` this probe."""
        half = torch.from_numpy(self.weight / 2).to(torch.float32)
        with torch.no_grad():
            model.fc.weight.copy_(torch.stack([-half, half]))
            model.fc.bias.copy_(torch.tensor([-self.bias / 2, self.bias / 2]))


def fit_probe(pooled: Pooled, labels: Labels) -> Probe:
    """Logistic regression with an L2 penalty and classes of equal weight, of [pictures, tiles, 512] and 1 for ng.

    With several tiles, all those of a good picture are good, and the worst of a bad one is bad: found in a few rounds,
    the first of which takes the means over the tiles. Andrews, Tsochantaridis, Hofmann: Support Vector Machines for
    Multiple-Instance Learning, NIPS 2002.
    """
    flat = pooled.reshape(-1, pooled.shape[2]).astype(np.float64)
    mean, deviation = flat.mean(axis=0), np.maximum(flat.std(axis=0), _SMALLEST_DEVIATION)
    scaled = ((flat - mean) / deviation).reshape(pooled.shape)
    tiles = pooled.shape[1]
    weight = _logistic(scaled.mean(axis=1), labels)
    if tiles > 1:
        good = scaled[labels == 0].reshape(-1, pooled.shape[2])
        bad = scaled[labels == 1]
        truth = np.r_[np.zeros(len(good), np.int64), np.ones(len(bad), np.int64)]
        worst = np.full(len(bad), -1)
        for _ in range(_ROUNDS):
            before, worst = worst, (bad @ weight[:-1]).argmax(axis=1)
            if np.array_equal(before, worst):
                break
            weight = _logistic(np.concatenate([good, bad[np.arange(len(bad)), worst]]), truth, weight)
    slope = weight[:-1] / deviation
    return Probe(slope, float(weight[-1] - slope @ mean))


def mean_probe(probes: Sequence[Probe]) -> Probe:
    """Its margins are the means of theirs, but for the maximum over tiles."""
    return Probe(np.mean([probe.weight for probe in probes], axis=0), float(np.mean([probe.bias for probe in probes])))


def pooled_features(model: ResNet18, features: NDArray[np.float32]) -> Pooled:
    """The trunk's features [n, tiles, channels, h, w] through all but the classifier: float32 [n, tiles, 512]."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(features), _PICTURES_AT_ONCE):
            some = features[start : start + _PICTURES_AT_ONCE]
            found = model.pooled(torch.from_numpy(some).flatten(0, 1).to(model.device))
            parts.append(found.reshape(*some.shape[:2], -1).cpu().numpy())
    return np.concatenate(parts)


def _logistic(x: NDArray[np.float64], labels: Labels, start: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Weights and, last, the bias, by Newton's method with step halving. The penalty leaves the bias alone."""
    if len(x) < x.shape[1]:  # the weights are a sum of pictures: as many unknowns are enough
        basis = np.linalg.qr(x.T)[0]
        weight = _logistic(x @ basis, labels, None if start is None else np.r_[start[:-1] @ basis, start[-1]])
        whole: NDArray[np.float64] = np.r_[basis @ weight[:-1], weight[-1]]
        return whole
    design = np.c_[x, np.ones(len(x))]
    n_ng = int(labels.sum())
    share = np.where(labels == 1, 0.5 / max(n_ng, 1), 0.5 / max(len(labels) - n_ng, 1))
    penalty = np.r_[np.full(x.shape[1], _L2), 1e-9]

    def loss(weight: NDArray[np.float64]) -> float:
        z = design @ weight
        return float((share * (np.logaddexp(0, z) - labels * z)).sum() + 0.5 * penalty @ weight**2)

    weight = np.zeros(design.shape[1]) if start is None else start
    now = loss(weight)
    for _ in range(_STEPS):
        p = sigmoid(design @ weight)
        gradient = design.T @ (share * (p - labels)) + penalty * weight
        hessian = (design * (share * p * (1 - p))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-6 and (new := loss(weight - size * step)) > now:
            size /= 2
        weight, gain, now = weight - size * step, now - new, new
        if gain < 1e-9:
            break
    return weight
