"""A narrow ResNet18 that begins as much like a whole one as its few channels allow.

Which channels stay: those by which all others are best predicted, found greedily. Then convolution by convolution, from
the picture on, weights by least squares: with what the narrow network gives so far, make the sums of the whole one. So
each convolution takes back what those before it have lost. After He, Zhang, Sun: Channel Pruning for Accelerating Very
Deep Neural Networks, ICCV 2017, who choose channels by a lasso.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

from vision.resnet import BasicBlock, ResNet18
from vision.weights import LAYERS, Widths

_PLACES = 64  # of each picture, by which a convolution is fitted
_AT_ONCE = 16
_RIDGE = 1e-3  # of the mean square of the inputs
_EPSILON = 1e-5


@dataclass(frozen=True, slots=True)
class _Flow:
    """What the same pictures are in both networks, after the same step: [n, channels, h, w].

    `kept` are the channels of the whole one that the narrow one has.
    """

    whole: Tensor
    narrow: Tensor
    kept: Tensor


def narrowed(whole: ResNet18, widths: Widths, seen: Tensor) -> ResNet18:
    """In eval mode. `seen` are normalised pictures to fit to, float32 [n, 3, h, w]; a hundred are enough."""
    narrow = ResNet18(widths=widths).eval()
    random = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        data = torch.cat([_stem(whole, seen[at : at + _AT_ONCE]) for at in range(0, len(seen), _AT_ONCE)])
        begun = _outputs(whole, data)
        kept = spanning([data, *begun[:2]], widths[0])
        _copy_stem(whole, narrow, kept)
        flow = _Flow(data, data[:, kept], kept)
        for (number, _), channels, after in zip(
            LAYERS, widths, (begun[:2], begun[2:4], begun[4:6], begun[6:]), strict=True
        ):
            layer, small = getattr(whole, f"layer{number}"), getattr(narrow, f"layer{number}")
            kept = flow.kept if number == 1 else spanning(after, channels)
            for block, mine in zip(layer, small, strict=True):
                flow = _block(block, mine, flow, kept, random)
        weight = whole.fc.weight
        inputs, wanted = flow.narrow.mean(dim=(2, 3)), flow.whole.mean(dim=(2, 3)) @ weight.T + whole.fc.bias
        solved, bias = _least_squares(inputs, wanted)
        narrow.fc.weight.copy_(solved)
        narrow.fc.bias.copy_(bias)
    return narrow


def spanning(seen: list[Tensor], count: int) -> Tensor:
    """Numbers of `count` channels that predict all of them best, int64 sorted; `seen` are [n, channels, h, w].

    In each step the channel that takes most from the summed squared error of predicting the others linearly, as in
    Cholesky's decomposition with pivots.
    """
    rest = torch.stack([_moments(values) for values in seen]).sum(dim=0)
    floor = _EPSILON * rest.diagonal().max()
    chosen: list[int] = []
    for _ in range(count):
        left = rest.diagonal().clamp(min=0)
        gains = rest.square().sum(dim=0) / (left + floor)
        gains[chosen] = -1
        best = int(gains.argmax())
        chosen.append(best)
        column = rest[:, best] / (left[best] + floor).sqrt()
        rest = rest - column[:, None] * column[None, :]
    return torch.tensor(sorted(chosen))


def _moments(values: Tensor) -> Tensor:
    """Second moments of channels about their means, with a mean variance of 1: [channels, channels]."""
    flat = values.transpose(0, 1).flatten(1)
    flat = (flat - flat.mean(dim=1, keepdim=True)).double()
    found = flat @ flat.T / flat.shape[1]
    return found / found.diagonal().mean().clamp(min=_EPSILON)


def _stem(whole: ResNet18, seen: Tensor) -> Tensor:
    """What layer1 gets. Its sums are the largest of the network by far: a few pictures at a time."""
    data: Tensor = whole.maxpool(torch.relu(whole.bn1(whole.conv1(seen))))
    return data


def _outputs(whole: ResNet18, data: Tensor) -> list[Tensor]:
    """What each block of `whole` gives."""
    found = []
    for number, _ in LAYERS:
        for block in getattr(whole, f"layer{number}"):
            data = block(data)
            found.append(data)
    return found


def _copy_stem(whole: ResNet18, narrow: ResNet18, kept: Tensor) -> None:
    """Both see the same picture: the kept kernels are the same."""
    narrow.conv1.weight.copy_(whole.conv1.weight[kept])
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(narrow.bn1, name).copy_(getattr(whole.bn1, name)[kept])


def _block(whole: BasicBlock, narrow: BasicBlock, flow: _Flow, kept: Tensor, random: torch.Generator) -> _Flow:
    inner = torch.relu(whole.bn1(whole.conv1(flow.whole)))
    some = spanning([inner], narrow.conv1.out_channels)
    _fitted(narrow.conv1, narrow.bn1, flow.narrow, whole.bn1(whole.conv1(flow.whole))[:, some], random)
    mine = torch.relu(narrow.bn1(narrow.conv1(flow.narrow)))
    shortcut, short = flow.whole, flow.narrow
    if whole.downsample is not None and narrow.downsample is not None:
        shortcut = whole.downsample(flow.whole)
        _fitted(narrow.downsample[0], narrow.downsample[1], flow.narrow, shortcut[:, kept], random)
        short = narrow.downsample(flow.narrow)
    sums = whole.bn2(whole.conv2(inner)) + shortcut
    _fitted(narrow.conv2, narrow.bn2, mine, sums[:, kept] - short, random)
    return _Flow(torch.relu(sums), torch.relu(narrow.bn2(narrow.conv2(mine)) + short), kept)


def _fitted(conv: nn.Module, norm: nn.Module, inputs: Tensor, wanted: Tensor, random: torch.Generator) -> None:
    """Set `conv` and its batch norm so that what they make of `inputs` is nearest to `wanted`, [n, out, h, w]."""
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    side = conv.kernel_size[0]
    rows, columns = wanted.shape[2:]
    places = torch.randint(rows * columns, (min(_PLACES, rows * columns),), generator=random)
    patches = []
    for at in range(0, len(inputs), _AT_ONCE):
        spread = unfold(inputs[at : at + _AT_ONCE], side, padding=side // 2, stride=conv.stride[0])
        patches.append(spread[:, :, places].transpose(1, 2).flatten(0, 1))
    targets = wanted.flatten(2)[:, :, places].transpose(1, 2).flatten(0, 1)
    weight, bias = _least_squares(torch.cat(patches), targets)
    conv.weight.copy_(weight.reshape(conv.weight.shape))
    sums = conv(inputs)
    mean, variance = sums.mean(dim=(0, 2, 3)), sums.var(dim=(0, 2, 3), unbiased=False)
    # In training the norm takes mean and variance out, and these two put them back.
    found = {"weight": (variance + norm.eps).sqrt(), "bias": mean + bias, "running_mean": mean, "running_var": variance}
    norm.load_state_dict(found, strict=False)


def _least_squares(inputs: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Weight [out, in] and bias [out] of the linear map from [n, in] to [n, out], with a small ridge."""
    centre, middle = inputs.mean(dim=0), wanted.mean(dim=0)
    x, y = (inputs - centre).double(), (wanted - middle).double()
    moments = x.T @ x
    ridge = _RIDGE * moments.diagonal().mean().clamp(min=_EPSILON)
    weight = torch.linalg.solve(moments + ridge * torch.eye(len(moments), dtype=moments.dtype), x.T @ y).T.float()
    return weight, middle - weight @ centre
