"""What training minimises: a scalar of logits, float [n, 2], and labels, int64 [n] with 1 for ng."""

from typing import Literal, assert_never

import torch
from torch import Tensor
from torch.nn import functional

LossName = Literal["focal", "cross_entropy"]

FOCAL_ALPHA = (0.1, 0.9)
FOCAL_GAMMA = 2.0


def focal(
    logits: Tensor, labels: Tensor, alpha: tuple[float, float] = FOCAL_ALPHA, gamma: float = FOCAL_GAMMA
) -> Tensor:
    """Mean of -alpha_t (1 - p_t)^gamma log p_t.

    Lin, Goyal, Girshick, He, Dollar: Focal Loss for Dense Object Detection, ICCV 2017, equation 5. `alpha`
    holds the weights of ok and ng. The mean is over pictures, not over weights.
    """
    log_p = functional.log_softmax(logits, dim=1).gather(1, labels[:, None]).squeeze(1)
    weight = torch.tensor(alpha, device=logits.device)[labels]
    return -(weight * (1 - log_p.exp()) ** gamma * log_p).mean()


def loss_of(name: LossName, logits: Tensor, labels: Tensor) -> Tensor:
    """The loss called `name`, with the reference's constants."""
    match name:
        case "focal":
            return focal(logits, labels)
        case "cross_entropy":
            return functional.cross_entropy(logits, labels)
        case _:
            assert_never(name)
