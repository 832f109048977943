"""Where networks learn."""

import numpy as np
import pytest
import torch

from inspection.errors import DataError
from training.device import CPU, learning_device
from training.fit import fresh_head, learning
from training.inputs import Features, trunk_features
from training.recipes import TrainingRecipe
from vision.resnet import ResNet18

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    assert learning_device("auto") == learning_device("cpu") == CPU
    with pytest.raises(DataError, match=r"--device cuda: torch finds no GPU.*or take cpu"):
        learning_device("cuda")


def test_with_a_gpu_auto_takes_it_and_cpu_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    assert learning_device("auto").type == learning_device("cuda").type == "cuda"
    assert learning_device("cpu") == CPU


def test_a_network_says_where_it_is() -> None:
    assert ResNet18().device == CPU
    assert ResNet18().to("meta").device.type == "meta"


@on_a_gpu
def test_what_is_learnt_on_a_gpu_is_the_same_each_time_and_near_to_the_cpus() -> None:
    random = np.random.default_rng(0)
    crops = random.integers(0, 256, (16, 1, 1, 64, 64), np.uint8)
    recipe = TrainingRecipe(epochs=2, batch=8)

    def learnt(name: str) -> list[float]:
        torch.manual_seed(0)
        model = ResNet18().eval().to(learning_device(name))
        fresh_head(model, 0)
        inputs = Features(trunk_features(model, crops, recipe.image), np.arange(16) % 2)
        for _ in learning(model, inputs, np.arange(16), recipe, 0):
            pass
        return list(inputs.margins(model, np.arange(16)))

    assert learnt("cuda") == learnt("cuda")
    assert learnt("cuda") == pytest.approx(learnt("cpu"), abs=1e-2)
