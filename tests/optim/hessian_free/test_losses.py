"""The curvature of losses at their outputs, against Hessians that autograd writes out, in float64."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ostinato.errors import UserError
from ostinato.optim.hessian_free.losses import LossCurvature, any_curvature, known_curvature

GENERATOR = torch.Generator().manual_seed(0)
Z = torch.randn(2, 3, generator=GENERATOR, dtype=torch.float64) * 1.5
# some of the errors are small, some large
REAL = Z + torch.tensor([[0.3, -0.8, 1.2], [2.5, -0.1, -3.0]], dtype=torch.float64)
SHARE = torch.rand(2, 3, generator=GENERATOR, dtype=torch.float64)
MIXED = SHARE / SHARE.sum(1, keepdim=True)
CLASSES = torch.tensor([2, 0])
WEIGHT = torch.tensor([0.5, 2.0, 1.5], dtype=torch.float64)
DEEP = torch.randn(1, 2, 3, generator=GENERATOR, dtype=torch.float64)

KNOWN: dict[str, tuple[Callable[..., Tensor], Tensor, Tensor]] = {
    "mse": (nn.MSELoss(), Z, REAL),
    "mse, sum": (nn.MSELoss(reduction="sum"), Z, REAL),
    "mse_loss": (F.mse_loss, Z, REAL),
    "mse_loss, sum": (partial(F.mse_loss, reduction="sum"), Z, REAL),
    "huber": (nn.HuberLoss(delta=0.7), Z, REAL),
    "huber_loss": (F.huber_loss, Z, REAL),
    "huber, sum": (partial(F.huber_loss, reduction="sum", delta=2.0), Z, REAL),
    "smooth l1": (nn.SmoothL1Loss(beta=0.6), Z, REAL),
    "smooth_l1_loss": (F.smooth_l1_loss, Z, REAL),
    "smooth l1, beta 0": (nn.SmoothL1Loss(beta=0.0), Z, REAL),
    "bce": (nn.BCEWithLogitsLoss(), Z, SHARE),
    "bce, sum": (partial(F.binary_cross_entropy_with_logits, reduction="sum"), Z, SHARE),
    "bce, weights": (nn.BCEWithLogitsLoss(weight=WEIGHT, pos_weight=WEIGHT.flip(0)), Z, SHARE),
    "ce": (nn.CrossEntropyLoss(), Z, CLASSES),
    "ce, sum": (nn.CrossEntropyLoss(reduction="sum"), Z, CLASSES),
    "ce, weights": (nn.CrossEntropyLoss(weight=WEIGHT), Z, CLASSES),
    "ce, ignored": (nn.CrossEntropyLoss(ignore_index=2, weight=WEIGHT), Z, CLASSES),
    "ce, -100": (F.cross_entropy, Z, torch.tensor([1, -100])),
    "ce, smoothed": (nn.CrossEntropyLoss(label_smoothing=0.3), Z, CLASSES),
    "ce, all": (
        nn.CrossEntropyLoss(WEIGHT, ignore_index=0, label_smoothing=0.3),
        Z,
        CLASSES,
    ),
    "ce, all, sum": (
        partial(F.cross_entropy, weight=WEIGHT, ignore_index=0, label_smoothing=0.3, reduction="sum"),
        Z,
        CLASSES,
    ),
    "ce, one example": (F.cross_entropy, Z[0], torch.tensor(1)),
    "ce, deep": (nn.CrossEntropyLoss(WEIGHT[:2]), DEEP, torch.tensor([[1, 0, -100]])),
    "ce, distributions": (nn.CrossEntropyLoss(), Z, MIXED),
    "ce, distributions, all": (nn.CrossEntropyLoss(WEIGHT, label_smoothing=0.2), Z, SHARE),
    "ce, distributions, sum": (nn.CrossEntropyLoss(reduction="sum"), Z, SHARE),
    "ce, distributions, deep": (nn.CrossEntropyLoss(), DEEP, DEEP.softmax(1)),
}


def dense(loss: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    return torch.autograd.functional.hessian(loss, z).reshape(z.numel(), z.numel())


def columns(curvature: LossCurvature, z: Tensor) -> Tensor:
    unit = torch.eye(z.numel(), dtype=z.dtype)
    return torch.stack([curvature.product((v.view_as(z),))[0].flatten() for v in unit], 1)


def over_all_signs(curvature: LossCurvature, z: Tensor) -> Tensor:
    """The mean of u u^T over every choice of signs."""
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=z.numel())), dtype=z.dtype)
    drawn = torch.stack([curvature.spread((s.view_as(z),))[0].flatten() for s in signs])
    return drawn.T @ drawn / len(signs)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", KNOWN)
def test_known_losses_have_the_hessian_of_autograd(name: str) -> None:
    criterion, z, y = KNOWN[name]
    curvature = known_curvature(criterion, z, y)
    assert curvature is not None
    expected = dense(lambda outputs: criterion(outputs, y), z)
    assert bool(expected.any()) == (name != "smooth l1, beta 0")
    close(columns(curvature, z), expected)
    close(over_all_signs(curvature, z), expected)


@pytest.mark.parametrize("criterion", [nn.NLLLoss(), F.nll_loss, nn.NLLLoss(WEIGHT, ignore_index=2)])
def test_nll_has_the_curvature_of_the_logits_cross_entropy(criterion: Callable[..., Tensor]) -> None:
    z = Z.log_softmax(1)
    curvature = known_curvature(criterion, z, CLASSES)
    assert curvature is not None
    j = torch.autograd.functional.jacobian(lambda x: x.log_softmax(1), Z).reshape(6, 6)
    expected = dense(lambda logits: criterion(logits.log_softmax(1), CLASSES), Z)
    close(j.T @ columns(curvature, z) @ j, expected)
    close(j.T @ over_all_signs(curvature, z) @ j, expected)


def test_nll_of_what_is_no_distribution_is_refused() -> None:
    with pytest.raises(UserError, match="expected log-probabilities for nll_loss"):
        known_curvature(F.nll_loss, Z, CLASSES)


class Half(nn.MSELoss):
    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return super().forward(z, y) / 2


def hooked() -> nn.Module:
    criterion = nn.MSELoss()
    criterion.register_forward_hook(lambda module, inputs, value: value * 3)
    return criterion


@pytest.mark.parametrize(
    ("criterion", "y"),
    [
        (Half(), REAL),
        (hooked(), REAL),
        (lambda z, y: F.mse_loss(z, y), REAL),
        (partial(F.mse_loss, target=REAL), REAL),
        (partial(F.mse_loss, Z), REAL),
        (nn.MSELoss(reduction="none"), REAL),
        (nn.MSELoss(), REAL[:, :1]),
        (nn.HuberLoss(), REAL[:, :1]),
        (nn.SmoothL1Loss(), REAL[:, :1]),
        (nn.BCEWithLogitsLoss(), REAL[:, :1]),
        (nn.BCEWithLogitsLoss(weight=-WEIGHT), SHARE),
        (nn.CrossEntropyLoss(-WEIGHT, reduction="sum"), CLASSES),
        (nn.L1Loss(), REAL),
        (nn.MSELoss(), None),
        (nn.MSELoss(), (REAL,)),
    ],
)
def test_what_may_be_another_loss_is_not_taken_for_a_known_one(criterion: Any, y: Any) -> None:
    assert known_curvature(criterion, Z, y) is None


def test_outputs_that_are_several_tensors_are_for_no_known_loss() -> None:
    assert known_curvature(nn.MSELoss(), (Z, Z), REAL) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "loss",
    [
        lambda z: F.mse_loss(z, REAL),  # no forward mode over its gradient: "ZeroTensors are immutable"
        lambda z: F.huber_loss(z, REAL),
        lambda z: F.soft_margin_loss(z, REAL.sign()),
        lambda z: F.poisson_nll_loss(z, SHARE),
        lambda z: z.logsumexp(1).square().sum(),
        lambda z: F.binary_cross_entropy(z.sigmoid(), SHARE),
    ],
)
def test_any_other_loss_is_differentiated(loss: Callable[[Tensor], Tensor]) -> None:
    curvature = any_curvature(lambda leaves: loss(leaves[0]), (Z,), str)
    close(columns(curvature, Z), dense(loss, Z))
    slope = torch.autograd.functional.jacobian(loss, Z).flatten()
    close(over_all_signs(curvature, Z), torch.diag(slope.square()))


def test_a_loss_of_several_outputs() -> None:
    def loss(leaves: tuple[Tensor, ...]) -> Tensor:
        return (leaves[0].exp() * leaves[1].square()).sum()

    z = (Z[0], REAL[0])
    expected = dense(lambda both: loss((both[:3], both[3:])), torch.cat(z))
    curvature = any_curvature(loss, z, pytest.fail)
    unit = torch.eye(6, dtype=torch.float64)
    close(torch.stack([torch.cat(curvature.product((v[:3], v[3:]))) for v in unit], 1), expected)


def test_a_loss_without_curvature_is_noticed_once() -> None:
    heard: list[str] = []
    curvature = any_curvature(lambda z: z[0].sum() + F.l1_loss(z[0], REAL), (Z,), heard.append)
    for _ in range(2):
        assert not curvature.product((REAL,))[0].any()
    assert len(heard) == 1
    assert "the loss has no curvature" in heard[0]
    assert "logits" in heard[0]


def test_a_loss_without_second_derivatives_is_refused() -> None:
    curvature = any_curvature(lambda z: F.multi_margin_loss(z[0], CLASSES), (Z,), pytest.fail)
    with pytest.raises(UserError, match="expected a loss with second derivatives"):
        curvature.product((REAL,))


def test_a_mistake_in_the_loss_is_not_hidden() -> None:
    curvature = any_curvature(lambda z: F.cross_entropy(z[0], CLASSES[:1]), (Z,), pytest.fail)
    with pytest.raises(ValueError, match="batch_size"):
        curvature.product((REAL,))
