"""Transfer learning: everything frozen but layer4 (or layer3 and layer4) and fc.

The frozen part gives the same features in every epoch, so they are computed once. That makes an epoch a
matter of seconds on two CPU cores.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]

from inspection.frame import CropPixels
from training.losses import loss_of
from training.recipes import TrainingRecipe, Unfreeze
from vision.cpu import has_bf16
from vision.recipe import Recipe
from vision.resnet import ResNet18, normalise

# Of the learning rate. What lies deeper is more general, and further from what the few pictures can tell.
_DEEPER = 0.3
# Share of an epoch. With one defect in a thousand most batches would hold none, and teach only that parts are good.
_RARER = 0.2


@dataclass(frozen=True, slots=True)
class Features:
    """Output of the trunk, float32 [pictures, tiles, channels, h, w], and labels int64 [pictures], 1 for ng.

    256 channels where layer4 is to learn, 128 with sides twice as long where layer3 is.

    `flipped` are those of the same pictures mirrored and upside down, each of the shape of `values`, in float16: what
    that rounds off is little beside what a flip changes.
    """

    values: NDArray[np.float32]
    labels: NDArray[np.int64]
    flipped: tuple[NDArray[np.float16], ...] = ()


@dataclass(frozen=True, slots=True)
class Epoch:
    train_loss: float
    val_loss: float


def trunk_features(
    model: ResNet18, crops: CropPixels, recipe: Recipe, unfreeze: Unfreeze = "layer4", *, quick: bool = False
) -> NDArray[np.float32]:
    """Crops uint8 [n, tiles, channels, size, size] to what `unfreeze` gets, as in `Features.values`.

    `quick`: in bfloat16 where the CPU computes in it, in about half the time; good enough to learn from.
    """
    n, tiles = crops.shape[:2]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=quick and has_bf16()):
        flat = torch.from_numpy(crops.reshape(n * tiles, *crops.shape[2:]))
        x = normalise(flat, recipe.mean, recipe.std)
        if quick:
            x = x.contiguous(memory_format=torch.channels_last)
        found = model.trunk(x) if unfreeze == "layer4" else model.short_trunk(x)
        values: NDArray[np.float32] = found.float().contiguous().numpy()
    return values.reshape(n, tiles, *values.shape[1:])


def fresh_head(model: ResNet18, seed: int) -> None:
    """Draw `fc` anew, as torch's own Linear does (uniform, bounded by the square root of 1 / inputs)."""
    random = torch.Generator().manual_seed(seed)
    bound = model.fc.in_features**-0.5
    with torch.no_grad():
        for parameter in (model.fc.weight, model.fc.bias):
            parameter.copy_(torch.rand(parameter.shape, generator=random) * 2 * bound - bound)


def fit(
    model: ResNet18, train: Features, val: Features, recipe: TrainingRecipe, seed: int, *, quiet: bool = False
) -> list[Epoch]:
    """Train layer4 and fc of `model` in place, and leave it with the weights of the best epoch on val."""
    history: list[Epoch] = []
    best, best_state, since = np.inf, copy.deepcopy(model.state_dict()), 0
    with tqdm(total=recipe.epochs, desc="training", unit="epoch", disable=quiet) as bar:
        for train_loss in learning(model, train, np.arange(len(train.labels)), recipe, seed):
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


def learning(
    model: ResNet18, train: Features, pictures: NDArray[np.intp], recipe: TrainingRecipe, seed: int
) -> Iterator[float]:
    """Train `model` in place, from `unfreeze` on, on some `pictures` of `train`; gives the loss after each epoch.

    Batch norms, frozen or not, stay in eval mode: a picture's score does not depend on the others of its
    batch, in training as in production. The same seed, data, library versions and number of threads give the
    same weights.
    """
    model.eval().requires_grad_(requires_grad=False)
    groups: list[dict[str, Any]] = [{"params": [*model.layer4.parameters(), *model.fc.parameters()]}]
    if recipe.unfreeze == "layer3":
        groups.append({"params": list(model.layer3.parameters()), "lr": recipe.learning_rate * _DEEPER})
    for group in groups:
        for parameter in group["params"]:
            parameter.requires_grad_(requires_grad=True)
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs)
    random = np.random.default_rng(seed)
    for _ in range(recipe.epochs):
        order = _balanced(pictures, train.labels, random) if recipe.balance else random.permutation(pictures)
        total = 0.0
        for chosen in np.array_split(order, -(-len(order) // recipe.batch)):
            values = _drawn(train, chosen, random)
            loss = _loss(model, values, train.labels[chosen], recipe)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item() * len(chosen)
        schedule.step()
        yield total / len(order)


def margins(model: ResNet18, features: NDArray[np.float32], batch: int = 64) -> NDArray[np.float64]:
    """logit(ng) - logit(ok), the highest over a picture's tiles, float64 [pictures]."""
    with torch.inference_mode():
        parts = [_margin(_logits(model, features[i : i + batch])) for i in range(0, len(features), batch)]
    return torch.cat(parts).numpy().astype(np.float64)


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


def _drawn(features: Features, chosen: NDArray[np.intp], random: np.random.Generator) -> NDArray[np.float32]:
    """The chosen pictures, each in one of the views that there are."""
    if not features.flipped:
        return features.values[chosen]
    views = (features.values, *features.flipped)
    drawn = random.integers(len(views), size=len(chosen))
    return np.stack([views[view][picture].astype(np.float32) for view, picture in zip(drawn, chosen, strict=True)])


def _loss_on(model: ResNet18, features: Features, recipe: TrainingRecipe) -> float:
    order = np.arange(len(features.labels))
    with torch.inference_mode():
        return sum(
            _loss(model, features.values[chosen], features.labels[chosen], recipe).item() * len(chosen)
            for chosen in np.array_split(order, -(-len(order) // 64))
        ) / len(order)


def _loss(model: ResNet18, values: NDArray[np.float32], labels: NDArray[np.int64], recipe: TrainingRecipe) -> Tensor:
    """The loss of each picture's worst tile: the part's score is the maximum, so that is what learns."""
    if values.shape[1] > 1:
        with torch.no_grad():
            logits = _logits(model, values)
            worst = (logits[..., 1] - logits[..., 0]).argmax(dim=1).numpy()
        values = values[np.arange(len(labels)), worst][:, None]
    logits = _logits(model, values)[:, 0]
    return loss_of(recipe.loss, logits, torch.from_numpy(labels))


def _logits(model: ResNet18, features: NDArray[np.float32]) -> Tensor:
    """[n, tiles, 256, h, w] to [n, tiles, 2]."""
    n, tiles = features.shape[:2]
    logits: Tensor = model.head(torch.from_numpy(features).flatten(0, 1))
    return logits.reshape(n, tiles, 2)


def _margin(logits: Tensor) -> Tensor:
    margin: Tensor = logits[..., 1] - logits[..., 0]
    return margin.amax(dim=1)
