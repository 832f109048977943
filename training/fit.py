"""Transfer learning: everything frozen but layer4 (or layer3 too, or layer2) and fc.

As far down as layer3 the frozen part gives the same features in every epoch, so they are computed once. That makes an
epoch a matter of seconds on two CPU cores.
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm  # type: ignore[import-untyped]

from training.ahead import ahead
from training.inputs import Inputs
from training.losses import loss_of
from training.recipes import TrainingRecipe, Unfreeze
from vision.resnet import ResNet18

# Share of an epoch. With one defect in a thousand most batches would hold none, and teach only that parts are good.
_RARER = 0.2
# Epochs. Less than that is left by rounding alone.
_NOTHING = 1e-9


@dataclass(frozen=True, slots=True)
class Epoch:
    train_loss: float
    val_loss: float


def fresh_head(model: ResNet18, seed: int) -> None:
    """Draw `fc` anew, as torch's own Linear does (uniform, bounded by the square root of 1 / inputs)."""
    random = torch.Generator().manual_seed(seed)
    bound = model.fc.in_features**-0.5
    with torch.no_grad():
        for parameter in (model.fc.weight, model.fc.bias):
            parameter.copy_(torch.rand(parameter.shape, generator=random) * 2 * bound - bound)


def fit(
    model: ResNet18, train: Inputs, val: Inputs, recipe: TrainingRecipe, seed: int, *, quiet: bool = False
) -> list[Epoch]:
    """Train `model` in place, and leave it with the weights of the best epoch on val."""
    history: list[Epoch] = []
    best, best_state, since = np.inf, copy.deepcopy(model.state_dict()), 0
    with tqdm(total=recipe.epochs, desc="training", unit="epoch", disable=quiet) as bar:
        for train_loss, _ in learning(model, train, np.arange(len(train.labels)), recipe, seed):
            val_loss = _loss_on(model, val, recipe)
            history.append(Epoch(train_loss, val_loss))
            if val_loss < best:
                best, best_state, since = val_loss, copy.deepcopy(model.state_dict()), 0
            else:
                since += 1
            bar.set_postfix(train=f"{train_loss:.4f}", val=f"{val_loss:.4f}", best=f"{best:.4f}")
            bar.update()
            if since >= recipe.patience:
                break
    model.load_state_dict(best_state)
    return history


def one_epoch(_left: float) -> float:
    """What a pass stands for where there is no hurry."""
    return 1.0


def learning(
    model: ResNet18,
    inputs: Inputs,
    pictures: NDArray[np.intp],
    recipe: TrainingRecipe,
    seed: int,
    *,
    stride: Callable[[float], float] = one_epoch,
) -> Iterator[tuple[float, float]]:
    """Train `model` in place, from `unfreeze` on, on some `pictures` of `inputs`.

    After each pass over them it gives the loss, and how many of the recipe's epochs that pass stood for. `stride` says
    how many, before the pass, told how many are left. With more than one the course of the rate and of the views is the
    same, in fewer steps.

    Batch norms, frozen or not, stay in eval mode: a picture's score does not depend on the others of its batch, in
    training as in production. The same seed, data, library versions and number of threads give the same weights.
    """
    model.eval().requires_grad_(requires_grad=False)
    groups: list[dict[str, Any]] = []
    for depth, layers in enumerate(_learning_layers(model, recipe.unfreeze)):
        parameters = [parameter for layer in layers for parameter in layer.parameters()]
        for parameter in parameters:
            parameter.requires_grad_()
        groups.append({"params": parameters, "lr": recipe.learning_rate * recipe.deeper**depth})
    optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
    steps = -(-len(pictures) // recipe.batch)
    rates = [group["lr"] for group in groups]
    random = np.random.default_rng(seed)
    done = 0.0
    while (left := recipe.epochs - done) > _NOTHING:
        epochs = stride(left)
        order = _balanced(pictures, inputs.labels, random) if recipe.balance else random.permutation(pictures)
        total = 0.0
        draw = partial(_draw, inputs, random, recipe.epochs)
        courses = ((done + epochs * step / steps, chosen) for step, chosen in enumerate(np.array_split(order, steps)))
        for course, chosen, drawn in ahead(draw, courses, threads=1, most=1):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * _rate(course, steps, recipe)
            loss = _loss(model, inputs, drawn, inputs.labels[chosen], recipe)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item() * len(chosen)
        done += epochs
        yield total / len(order), epochs


def _draw(
    inputs: Inputs, random: np.random.Generator, epochs: int, step: tuple[float, NDArray[np.intp]]
) -> tuple[float, NDArray[np.intp], Tensor]:
    """A step, after so many of the epochs, with such pictures, and what is drawn of them."""
    course, chosen = step
    return course, chosen, inputs.drawn(chosen, random, course / epochs)


def _learning_layers(model: ResNet18, unfreeze: Unfreeze) -> list[list[nn.Module]]:
    """From the classifier down, what learns at the same rate together."""
    layers: list[list[nn.Module]] = [[model.layer4, model.fc], [model.layer3], [model.layer2]]
    return layers[: ("layer4", "layer3", "layer2").index(unfreeze) + 1]


def _rate(course: float, steps: int, recipe: TrainingRecipe) -> float:
    """Factor of the learning rate after so many epochs of so many steps: up in a line, then down a cosine by epochs."""
    rising = recipe.warm_up * recipe.epochs
    if course < rising:
        return (course * steps + 1) / (rising * steps + 1)
    return (1 + math.cos(math.pi * math.floor(course) / recipe.epochs)) / 2


def _balanced(pictures: NDArray[np.intp], labels: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.intp]:
    """As many of `pictures` in a drawn order, the rarer class repeated where it is less than `_RARER` of them."""
    bad = labels[pictures] == 1
    rare, common = (pictures[bad], pictures[~bad]) if bad.mean() < 0.5 else (pictures[~bad], pictures[bad])
    wanted = round(_RARER * len(pictures))
    if not 0 < len(rare) < wanted:
        return random.permutation(pictures)
    turns = -(-wanted // len(rare))
    drawn = np.concatenate([random.permutation(rare) for _ in range(turns)])[:wanted]
    return random.permutation(np.concatenate([drawn, random.permutation(common)[: len(pictures) - wanted]]))


def _loss_on(model: ResNet18, inputs: Inputs, recipe: TrainingRecipe) -> float:
    """Of inputs for a recipe's `plain`: nothing is drawn by chance."""
    order, unused = np.arange(len(inputs.labels)), np.random.default_rng()
    with torch.inference_mode():
        return sum(
            _loss(model, inputs, inputs.drawn(chosen, unused, 1), inputs.labels[chosen], recipe).item() * len(chosen)
            for chosen in np.array_split(order, -(-len(order) // 64))
        ) / len(order)


def _loss(model: ResNet18, inputs: Inputs, drawn: Tensor, labels: NDArray[np.int64], recipe: TrainingRecipe) -> Tensor:
    """The loss of each picture's worst tile: the part's score is the maximum, so that is what learns."""
    if drawn.shape[1] > 1:
        with torch.no_grad():
            logits = inputs.logits(model, drawn)
            worst = (logits[..., 1] - logits[..., 0]).argmax(dim=1)
        drawn = drawn[torch.arange(len(labels)), worst.cpu()][:, None]
    logits = inputs.logits(model, drawn)[:, 0]
    return loss_of(recipe.loss, logits, torch.from_numpy(labels).to(model.device))
