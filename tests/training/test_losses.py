import math

import pytest
import torch

from training.losses import focal, loss_of


def test_the_focal_loss_is_its_closed_form() -> None:
    # P(ng) is 0.8 and 0.3; the first picture is bad, the second good.
    logits = torch.tensor([[0.0, math.log(0.8 / 0.2)], [0.0, math.log(0.3 / 0.7)]])
    labels = torch.tensor([1, 0])

    bad = -0.9 * 0.2**2 * math.log(0.8)
    good = -0.1 * 0.3**2 * math.log(0.7)
    assert focal(logits, labels).item() == pytest.approx((bad + good) / 2, rel=1e-5)
    assert loss_of("focal", logits, labels).item() == pytest.approx((bad + good) / 2, rel=1e-5)


def test_without_focus_and_weights_it_is_cross_entropy() -> None:
    logits, labels = torch.tensor([[0.4, -1.0], [2.0, 0.1], [0.0, 3.0]]), torch.tensor([0, 1, 1])

    plain = focal(logits, labels, alpha=(1.0, 1.0), gamma=0.0)

    assert plain.item() == pytest.approx(loss_of("cross_entropy", logits, labels).item(), rel=1e-6)


def test_a_hopelessly_wrong_picture_gives_a_finite_loss_and_gradient() -> None:
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)

    loss = focal(logits, torch.tensor([1]))
    loss.backward()  # type: ignore[no-untyped-call]

    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
