"""A narrow network learns what a whole one answers, from many views of the pictures that there are.

It learns the margin, the share of each place in it (the map before the mean, see `vision.explain`), so that it looks
where the whole one looks, and the pooled features through a linear map of its own. Hinton, Vinyals, Dean: Distilling
the Knowledge in a Neural Network, 2015; Romero et al.: FitNets, ICLR 2015.

Margins and shares are compared by asinh. A gross defect may have a margin of hundreds where the thresholds are at a
few: the squared error of those would leave nothing of the parts in doubt.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity
from tqdm import tqdm  # type: ignore[import-untyped]

from inspection import clock
from inspection.frame import CropPixels
from training.dataset import Sample
from training.device import in_bf16
from training.inputs import network_input
from training.pictures import batches
from training.views import mixed_view
from vision.recipe import Recipe
from vision.resnet import ResNet18

_BATCH = 32
_PICTURES_AT_ONCE = 8
_RATE, _DECAY = 2e-3, 1e-2
_WARM = 0.1  # of the way, while the rate rises
_MEMORY = 0.99  # of the running mean of weights, in each step
_IN_DOUBT = 2.0  # in logits of the calibrated probability: up to here a difference counts in full


@dataclass(frozen=True, slots=True)
class Answers:
    """What the whole network makes of `crops`, uint8 [n, channels, size, size].

    `maps` are float32 [n, rows, columns], with the margins as their means, and `pooled` float32 [n, features].
    """

    crops: CropPixels
    maps: NDArray[np.float32]
    pooled: NDArray[np.float32]


def ask(
    teacher: ResNet18,
    crops: CropPixels,
    recipe: Recipe,
    count: int,
    file: Path,
    *,
    seed: int,
    seconds: float,
    quiet: bool,
) -> Answers:
    """Show up to `count` views of `crops`, each crop equally often, and keep views, in `file`, and answers.

    First of all each crop as it is. Ends after about so many `seconds`, but not before one batch.
    """
    random = np.random.default_rng(seed)
    views = np.lib.format.open_memmap(file, "w+", np.uint8, (count, *crops.shape[1:]))
    order = np.concatenate([random.permutation(len(crops)) for _ in range(-(-count // len(crops)))])[:count]
    maps: list[NDArray[np.float32]] = []
    pooled: list[NDArray[np.float32]] = []
    teacher = teacher.to(memory_format=torch.channels_last)
    done, began = 0, clock.monotonic()
    with tqdm(total=count, desc="teacher", unit="view", disable=quiet) as bar:
        while done < count and (not done or clock.monotonic() - began < seconds):
            some = order[done : done + _BATCH]
            for row, number in enumerate(some, done):
                views[row] = crops[number] if row < len(crops) else mixed_view(crops, int(number), random)
            with torch.inference_mode(), in_bf16(teacher.device):
                found, features = _mapped(teacher, views[done : done + len(some)], recipe)
            maps.append(found.float().cpu().numpy())
            pooled.append(features.float().cpu().numpy())
            done += len(some)
            bar.update(len(some))
        if done < count:
            _end_early(bar)
    return Answers(views[:done], np.concatenate(maps), np.concatenate(pooled))


def distil(
    student: ResNet18, answers: Answers, recipe: Recipe, passes: int, *,
    temperature: float, seed: int, seconds: float, quiet: bool,
) -> ResNet18:  # fmt: skip
    """`student` after so many passes over the answers: the running mean of its weights, in eval mode.

    `temperature` is the teacher's: its margin over that is the logit of a probability. Where learning would take longer
    than `seconds`, fewer steps with the same course of the rate. Where it does not, the same answers, seed, library
    versions and number of threads give the same weights.
    """
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    student = student.to(memory_format=torch.channels_last).train()
    mean = copy.deepcopy(student)
    adapter = nn.Linear(student.fc.in_features, answers.pooled.shape[1]).to(student.device)
    wanted = _Wanted.of(answers, _IN_DOUBT * temperature, student.device)
    optimizer = torch.optim.AdamW([*student.parameters(), *adapter.parameters()], weight_decay=_DECAY)
    batches_of_pass = max(len(answers.maps) // _BATCH, 1)
    steps, done, began = passes * batches_of_pass, 0, clock.monotonic()
    with tqdm(total=steps, desc="student", unit="step", disable=quiet) as bar:
        for _ in range(passes):
            for chosen in np.array_split(random.permutation(len(answers.maps)), batches_of_pass):
                course = max(done / steps, (clock.monotonic() - began) / seconds)
                if course >= 1:
                    _end_early(bar)
                    return mean.eval()
                for group in optimizer.param_groups:
                    group["lr"] = _RATE * min(course / _WARM, (1 + math.cos(math.pi * course)) / 2)
                with in_bf16(student.device):
                    maps, pooled = _mapped(student, answers.crops[chosen], recipe)
                loss = wanted.missed(chosen, maps.float(), adapter(pooled.float()))
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                _follow(mean, student, min(_MEMORY, done / (done + 10)))
                done += 1
                bar.update()
                bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    return mean.eval()


def _end_early(bar: tqdm) -> None:
    """Show a bar as complete whose time is up: what is left will not be done."""
    bar.total = bar.n
    bar.set_postfix_str("time is up")


def margins_of(
    model: ResNet18, samples: Sequence[Sample], recipe: Recipe, *, quiet: bool = False
) -> NDArray[np.float64]:
    """logit(ng) - logit(ok) in float32, the highest over a picture's tiles, float64 [pictures]. Raises DataError."""
    found = []
    with tqdm(total=len(samples), desc="scoring", unit="picture", disable=quiet) as bar:
        for crops in batches(samples, recipe, _PICTURES_AT_ONCE):
            with torch.inference_mode():
                maps, _ = _mapped(model, crops.reshape(-1, *crops.shape[2:]), recipe)
            found.append(maps.mean(dim=(1, 2)).reshape(len(crops), -1).amax(dim=1))
            bar.update(len(crops))
    return torch.cat(found).cpu().numpy().astype(np.float64)


def _mapped(model: ResNet18, crops: CropPixels, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Maps [n, rows, columns], with the margins as their means, and pooled features [n, channels]."""
    places = model.layer4(model.trunk(network_input(torch.from_numpy(crops), recipe, model.device)))
    weight, bias = model.fc.weight[1] - model.fc.weight[0], model.fc.bias[1] - model.fc.bias[0]
    return torch.einsum("nchw,c->nhw", places, weight) + bias, places.mean(dim=(2, 3))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Answers as they are compared: asinh of margins [n] and maps [n, rows, columns], and pooled features."""

    scale: float
    margins: Tensor
    maps: Tensor
    pooled: Tensor

    @classmethod
    def of(cls, answers: Answers, scale: float, device: torch.device) -> "_Wanted":
        maps, pooled = (torch.from_numpy(array).to(device) for array in (answers.maps, answers.pooled))
        return cls(scale, (maps.mean(dim=(1, 2)) / scale).asinh(), (maps / scale).asinh(), pooled)

    def missed(self, chosen: NDArray[np.intp], maps: Tensor, pooled: Tensor) -> Tensor:
        """Squared errors of margin and map in units of their variance, and the angle between pooled features."""
        some = torch.from_numpy(chosen).to(maps.device)
        of_margin = ((maps.mean(dim=(1, 2)) / self.scale).asinh() - self.margins[some]).square().mean()
        of_map = ((maps / self.scale).asinh() - self.maps[some]).square().mean()
        errors = of_margin / self.margins.var().clamp(min=1e-6) + of_map / self.maps.var().clamp(min=1e-6)
        return errors + 1 - cosine_similarity(pooled, self.pooled[some]).mean()


def _follow(mean: ResNet18, student: ResNet18, memory: float) -> None:
    with torch.no_grad():
        for kept, new in zip(mean.state_dict().values(), student.state_dict().values(), strict=True):
            if kept.is_floating_point():
                kept.lerp_(new, 1 - memory)
