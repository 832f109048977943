"""The first step of `auto`: a linear probe on what the frozen network makes of a recipe's crops, fold by fold."""

import numpy as np

from training.budget import Budget
from training.candidates import Candidate
from training.folds import Folded
from training.inputs import trunk_features
from training.pictures import batches
from training.probe import Pooled, fit_probe, pooled_features
from training.trials import Trial, scored_folds
from vision.resnet import ResNet18

_BATCH = 16


def look(model: ResNet18, pictures: Folded, candidate: Candidate, budget: Budget) -> Trial:
    """One pass over all pictures and a probe for each fold. Raises DataError naming a picture that cannot be cut."""
    budget.doing(candidate.name)
    before = budget.spent
    pooled = _pooled(model, pictures, candidate, budget)
    margins = np.empty(len(pictures.samples))
    for others, own in pictures.splits():
        margins[own] = fit_probe(pooled[others], pictures.labels[others]).margins(pooled[own])
    folds = scored_folds(margins, pictures.truth, pictures.folds)
    return Trial(candidate.name, candidate.cost, budget.spent - before, folds, margins)


def _pooled(model: ResNet18, pictures: Folded, candidate: Candidate, budget: Budget) -> Pooled:
    parts = []
    for crops in batches(pictures.samples, candidate.image, _BATCH):
        parts.append(pooled_features(model, trunk_features(model, crops, candidate.image, quick=True)))
        budget.did(len(crops) * candidate.cost)
    return np.concatenate(parts)
