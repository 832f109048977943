"""ResNet18 in plain torch, with torchvision's parameter names.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016. Two classes by default: ok, ng.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inspection.errors import BundleError
from vision.weights import FULL, Widths, parsed, widths_of


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut; the first one halves the picture where `stride` is 2."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + shortcut)


class ResNet18(nn.Module):
    """float32 [n, 3, height, width], normalised RGB, to logits [n, classes].

    `trunk` and `head` are the two halves that training separates: the trunk (up to layer3, or to layer2) is frozen, so
    that its output can be kept; the head (the layers behind it, pooling, fc) learns. Numbers of
    channels below are those of the whole network: a narrow one has its `widths`.
    """

    def __init__(self, classes: int = 2, widths: Widths = FULL) -> None:
        super().__init__()
        one, two, three, four = widths
        self.widths = widths
        self.conv1 = nn.Conv2d(3, one, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(one)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(BasicBlock(one, one, 1), BasicBlock(one, one, 1))
        self.layer2 = nn.Sequential(BasicBlock(one, two, 2), BasicBlock(two, two, 1))
        self.layer3 = nn.Sequential(BasicBlock(two, three, 2), BasicBlock(three, three, 1))
        self.layer4 = nn.Sequential(BasicBlock(three, four, 2), BasicBlock(four, four, 1))
        self.fc = nn.Linear(four, classes)

    @property
    def device(self) -> torch.device:
        """Where its weights are, and its inputs have to be."""
        return self.conv1.weight.device

    def trunk(self, x: Tensor) -> Tensor:
        """[n, 3, h, w] to features of layer3 [n, 256, h / 16, w / 16]."""
        features: Tensor = self.layer3(self.short_trunk(x))
        return features

    def short_trunk(self, x: Tensor) -> Tensor:
        """[n, 3, h, w] to features of layer2 [n, 128, h / 8, w / 8]."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        features: Tensor = self.layer2(self.layer1(x))
        return features

    def pooled(self, features: Tensor) -> Tensor:
        """Features of `trunk` or of `short_trunk` to what the classifier gets, [n, 512]."""
        if features.shape[1] == self.widths[1]:
            features = self.layer3(features)
        return self._pooled(features)

    def head(self, features: Tensor) -> Tensor:
        """Features of `trunk` or of `short_trunk` to logits [n, classes]."""
        logits: Tensor = self.fc(self.pooled(features))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        # Not `head`: where layer2 and layer3 are equally wide, it could not tell their features apart.
        logits: Tensor = self.fc(self._pooled(self.trunk(x)))
        return logits

    def _pooled(self, features: Tensor) -> Tensor:
        means: Tensor = self.layer4(features).mean(dim=(2, 3))
        return means


def build_resnet18(tensors: Mapping[str, NDArray[np.float32]] | None = None) -> ResNet18:
    """A ResNet18 with two classes in eval mode, with a bundle's tensors, and as narrow as they are, where given.

    Raises BundleError when the tensors are not those of this network.
    """
    model = ResNet18(widths=widths_of(tensors) if tensors is not None else FULL).eval()
    if tensors is not None:
        _load(model, tensors, may_miss=())
    return model


def load_backbone(model: ResNet18, weights: Path) -> None:
    """Fill everything but `fc` from a safetensors file with torchvision's names. Raises BundleError."""
    try:
        raw = weights.read_bytes()
    except OSError as error:
        raise BundleError(f"{weights}: not readable: {error.strerror}") from error
    set_backbone(model, parsed(raw, weights), str(weights))


def set_backbone(model: ResNet18, tensors: Mapping[str, NDArray[np.generic]], source: str) -> None:
    """Fill everything but `fc` from tensors with torchvision's names. Raises BundleError naming `source`."""
    backbone = {name: array for name, array in tensors.items() if not name.startswith("fc.")}
    try:
        _load(model, backbone, may_miss=("fc.",))
    except BundleError as error:
        raise BundleError(f"{source}: {error}") from error


def _load(model: ResNet18, tensors: Mapping[str, NDArray[np.generic]], may_miss: tuple[str, ...]) -> None:
    state = {name: torch.from_numpy(np.array(array, dtype=np.float32)) for name, array in tensors.items()}
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise BundleError(f"the weights are not ResNet18's: {error}") from error
    # num_batches_tracked is a counter of torch's training mode: no forward pass reads it.
    missing = [name for name in missing if not name.endswith("num_batches_tracked") and not name.startswith(may_miss)]
    unexpected = [name for name in unexpected if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise BundleError(f"the weights are not ResNet18's: missing {missing[:3]}, unknown {unexpected[:3]}")


def normalise(crops: Tensor, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Tensor:
    """Crops uint8 [n, 1 gray or 3 BGR, h, w] to the network's input, float32 [n, 3, h, w] RGB."""
    x = crops.to(torch.float32) / 255.0
    x = x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x.flip(1)
    shift = torch.tensor(mean, device=x.device).view(1, 3, 1, 1)
    scale = torch.tensor(std, device=x.device).view(1, 3, 1, 1)
    return (x - shift) / scale
