import copy
import io
import itertools
import json
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ostinato.errors import UserError
from ostinato.optim.hessian_free import HessianFree, ModuleOperator, RelativeProgress


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Point(nn.Module):
    """Outputs that are a function of the parameters alone."""

    def __init__(self, start: list[float], function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(start, dtype=torch.float64))
        self.function = function

    def forward(self) -> Tensor:
        return self.function(self.x)


def half_squares(residuals: Tensor) -> Tensor:
    return residuals.square().sum() / 2


def autoencoder(seed: int) -> tuple[nn.Module, Tensor]:
    """Curves through nine layers of units, two of them in the middle, from small weights: SGD stalls."""
    generator = seeded(seed)
    sizes = [12, 10, 8, 6, 2, 6, 8, 10, 12]
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layer = nn.Linear(a, b, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.normal_(0, 0.8 / math.sqrt(a), generator=generator)
            layer.bias.zero_()
        layers += [layer, nn.Tanh()]
    angle = torch.rand(200, 2, generator=generator, dtype=torch.float64) * 2 * math.pi
    phase = torch.linspace(0, math.pi, 12, dtype=torch.float64)
    data = torch.sigmoid(3 * torch.sin(angle[:, :1] + phase) + 2 * torch.cos(angle[:, 1:] * 2 + phase))
    return nn.Sequential(*layers[:-1]), data


def bernoulli_loss(data: Tensor) -> Callable[[Tensor], Tensor]:
    """Cross-entropy less the data's entropy, per example: 0 is perfect."""
    floor = nn.functional.binary_cross_entropy(data, data, reduction="sum") / len(data)

    def loss(logits: Tensor) -> Tensor:
        total = nn.functional.binary_cross_entropy_with_logits(logits, data, reduction="sum")
        return total / len(data) - floor

    return loss


def test_a_convex_quadratic_takes_one_step() -> None:
    generator = seeded()
    a = torch.randn(30, 12, generator=generator, dtype=torch.float64)
    b = torch.randn(30, generator=generator, dtype=torch.float64)
    module = Point([0.0] * 12, lambda x: a @ x - b)
    optimizer = HessianFree(module.parameters(), damping=0.0, tolerance=1e-12, progress=None)
    report = optimizer.step(ModuleOperator(module, (), half_squares))
    torch.testing.assert_close(module.x.data, torch.linalg.lstsq(a, b).solution, rtol=1e-8, atol=1e-10)
    assert (report.accepted, report.status, report.step_size) == (True, "converged", 1.0)
    assert report.rho == pytest.approx(1.0)


def test_rosenbrock_as_least_squares() -> None:
    module = Point([-1.2, 1.0], lambda x: torch.stack([1 - x[0], 10 * (x[1] - x[0] ** 2)]))
    optimizer = HessianFree(module.parameters(), damping=0.1, tolerance=1e-12, progress=None)
    losses = [optimizer.step(ModuleOperator(module, (), half_squares)).loss for _ in range(60)]
    torch.testing.assert_close(module.x.data, torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-6)
    assert all(later <= earlier for earlier, later in itertools.pairwise(losses))


def train_sgd(module: nn.Module, data: Tensor, rate: float, momentum: float, gradients: int) -> float:
    loss = bernoulli_loss(data)
    optimizer = torch.optim.SGD(module.parameters(), rate, momentum)
    value = loss(module(data))
    for _ in range(gradients):
        optimizer.zero_grad()
        value = loss(module(data))
        value.backward()
        optimizer.step()
    return float(value.detach()) if bool(value.isfinite()) else math.inf


@pytest.mark.slow
def test_a_deep_autoencoder_is_trained_where_gradient_descent_stalls() -> None:
    module, data = autoencoder(0)
    loss = bernoulli_loss(data)
    mean_only = float(loss(torch.logit(data.mean(0)).expand_as(data)))
    optimizer = HessianFree(module.parameters(), damping=1.0)
    cost, best = 0.0, math.inf
    while cost < 3000:
        report = optimizer.step(ModuleOperator(module, (data,), loss))
        # a product costs two gradients at most, a loss a third
        cost += 1 + 2 * report.products + report.losses / 3
        best = report.loss
    stalled = min(
        train_sgd(autoencoder(0)[0], data, rate, momentum, gradients=3000)
        for rate in (0.003, 0.01, 0.03, 0.1)
        for momentum in (0.0, 0.9)
    )
    assert best < 0.5 * stalled, (best, stalled, mean_only)


def wavy() -> Point:
    return Point([3.0, -2.0], lambda x: torch.stack([torch.sin(3 * x[0]) + x[1], x[0] * x[1], x[1] - 1]))


def test_the_loss_never_rises_and_rejected_steps_move_nothing() -> None:
    module = wavy()
    optimizer = HessianFree(module.parameters(), damping=1e-8)
    operator = ModuleOperator(module, (), half_squares)
    for _ in range(40):
        before, value = operator.loss(), module.x.data.clone()
        report = optimizer.step(operator)
        assert report.loss_before == before
        assert operator.loss() == report.loss <= before
        if not report.accepted:
            assert module.x.data.equal(value)
            assert report.step_size == 0


def test_a_step_that_cannot_help_is_rejected_and_damped() -> None:
    module = Point([1.0], lambda x: x)

    class Liar(ModuleOperator):
        def gradient(self) -> Tensor:
            return -super().gradient()

    optimizer = HessianFree(module.parameters(), damping=0.5)
    report = optimizer.step(Liar(module, (), half_squares))
    assert (report.accepted, report.step_size) == (False, 0.0)
    assert module.x.item() == 1.0
    assert optimizer.damping == 0.75


def test_nothing_changes_where_there_is_no_gradient_or_no_number() -> None:
    still = Point([0.0], lambda x: x)
    optimizer = HessianFree(still.parameters())
    assert optimizer.step(ModuleOperator(still, (), half_squares)).status == "no gradient"
    broken = Point([1.0], lambda x: x * torch.nan)
    optimizer = HessianFree(broken.parameters())
    assert optimizer.step(ModuleOperator(broken, (), half_squares)).status == "not finite"
    assert (broken.x.item(), optimizer.damping, optimizer.steps) == (1.0, 0.1, 1)


def test_an_exception_leaves_everything_as_it_was() -> None:
    module = wavy()
    optimizer = HessianFree(module.parameters())
    operator = ModuleOperator(module, (), half_squares)
    optimizer.step(operator)
    saved = copy.deepcopy(optimizer.state_dict())
    value = module.x.data.clone()

    def stop(number: int, objective: float) -> None:
        raise KeyboardInterrupt

    calls = itertools.count()

    class Failing(ModuleOperator):
        def loss(self) -> float:
            if next(calls) == 1:
                raise RuntimeError("out of memory")
            return super().loss()

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(operator, stop)
    with pytest.raises(RuntimeError, match="memory"):
        optimizer.step(Failing(module, (), half_squares))
    assert module.x.data.equal(value)
    now = optimizer.state_dict()
    assert now["param_groups"] == saved["param_groups"]
    assert now["state"][0]["direction"].equal(saved["state"][0]["direction"])


def test_it_goes_on_from_its_state_bit_for_bit() -> None:
    module = wavy()
    optimizer = HessianFree(module.parameters(), 1.0)
    for _ in range(3):
        optimizer.step(ModuleOperator(module, (), half_squares))
    file = io.BytesIO()
    torch.save({"model": module.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file)
    other = wavy()
    other.load_state_dict(saved["model"])
    again = HessianFree(other.parameters(), 1.0)
    again.load_state_dict(saved["optimizer"])
    twin = copy.deepcopy(module)
    copied = copy.deepcopy(optimizer)
    copied.param_groups[0]["params"] = list(twin.parameters())
    assert copied.rule == optimizer.rule
    for _ in range(4):
        first = optimizer.step(ModuleOperator(module, (), half_squares))
        assert again.step(ModuleOperator(other, (), half_squares)) == first
    assert module.x.data.equal(other.x.data)


@pytest.mark.parametrize("preconditioner", [False, True])
def test_with_and_without_preconditioner_the_same_minimum(preconditioner: bool) -> None:
    scales = torch.logspace(0, 3, 8, dtype=torch.float64)
    module = Point([1.0] * 8, lambda x: scales * (x - 2))

    class Squared(ModuleOperator):
        def squared_gradient(self) -> Tensor:
            return self.gradient().square()

    optimizer = HessianFree(module.parameters(), 1e-3, preconditioner=preconditioner, tolerance=1e-10)
    for _ in range(5):
        optimizer.step(Squared(module, (), half_squares))
    torch.testing.assert_close(module.x.data, torch.full((8,), 2.0, dtype=torch.float64), atol=1e-6, rtol=0)


def test_warm_starts_decay() -> None:
    module = wavy()
    optimizer = HessianFree(module.parameters(), 10.0, decay=0.5, max_iterations=1)
    optimizer.step(ModuleOperator(module, (), half_squares))
    kept = optimizer.state[module.x]["direction"].clone()
    assert optimizer._start([module.x]).equal(0.5 * kept)  # type: ignore[union-attr]
    assert HessianFree(module.parameters(), decay=0.0)._start([module.x]) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"damping": -1.0}, "damping"),
        ({"damping": math.nan}, "damping"),
        ({"decay": 1.5}, "decay"),
        ({"structural_damping": -0.1}, "structural"),
        ({"max_iterations": 0}, "iteration"),
    ],
)
def test_settings_are_checked(settings: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        HessianFree([torch.zeros(1, requires_grad=True)], **settings)  # type: ignore[arg-type]


def test_a_start_from_another_problem_does_not_stop_it() -> None:
    scales = torch.logspace(0, 2, 6, dtype=torch.float64)
    module = Point([1.0] * 6, lambda x: scales * (x - 2))
    optimizer = HessianFree(module.parameters(), 0.1, max_iterations=2)
    optimizer.state[module.x]["direction"] = torch.full((6,), -100.0, dtype=torch.float64)
    report = optimizer.step(ModuleOperator(module, (), half_squares))
    assert report.accepted
    assert report.rho > 0


def test_one_group_only() -> None:
    groups = [{"params": [torch.zeros(1, requires_grad=True)]} for _ in range(2)]
    with pytest.raises(UserError, match="one group"):
        HessianFree(groups)
    optimizer = HessianFree(groups[:1])
    with pytest.raises(UserError, match="one group"):
        optimizer.add_param_group(groups[1])
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("name", ["weight_decay", "lr", "momentum", "maximize"])
def test_settings_that_a_group_cannot_have_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"Hessian-free has no {name} for a group of parameters"):
        HessianFree([{"params": [torch.zeros(1, requires_grad=True)], name: 0.1}])


def test_a_group_has_its_damping() -> None:
    parameter = torch.zeros(1, requires_grad=True)
    assert HessianFree([{"params": [parameter], "damping": 3.0}]).damping == 3
    with pytest.raises(UserError, match="expected a damping of at least 0, found -1"):
        HessianFree([{"params": [parameter], "damping": -1.0}])


def test_parameters_with_names_are_parameters() -> None:
    module = wavy()
    optimizer = HessianFree(module.named_parameters())
    assert optimizer.step(ModuleOperator(module, (), half_squares)).accepted
    json.dumps(optimizer.flat_state([module.x])[1])


def test_a_closure_is_no_operator() -> None:
    module = wavy()
    with pytest.raises(UserError, match=r"expected an operator with loss\(\).*, found function"):
        HessianFree(module.parameters()).step(lambda: 1.0)  # type: ignore[arg-type]


class Bare:
    """An operator that has what it must have and no more: x^2 / 2 for every parameter."""

    def __init__(self, x: Tensor, elements: int) -> None:
        self.x, self.elements = x, elements

    def loss(self) -> float:
        return float(self.x.detach().square().sum() / 2)

    def gradient(self) -> Tensor:
        return self.x.detach().flatten()[: self.elements].clone()

    def curvature(self, vector: Tensor, structural: float = 0.0) -> Tensor:
        return vector.clone()


def test_an_operator_need_not_say_what_its_parameters_are() -> None:
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    still = torch.ones(2)
    report = HessianFree([still, x], 0.0, tolerance=1e-9).step(Bare(x, 3))
    assert (report.accepted, report.loss) == (True, 0)
    with pytest.raises(UserError, match=r"expected a gradient of 3 elements, .* found shape \(2,\)"):
        HessianFree([x]).step(Bare(x, 2))
    x.data.fill_(1)
    with pytest.raises(UserError, match="Bare has no squared_gradient"):
        HessianFree([x], preconditioner=True).step(Bare(x, 3))


def test_relative_progress_is_the_default_and_can_be_left_out() -> None:
    parameter = torch.zeros(1, requires_grad=True)
    assert HessianFree([parameter]).progress == RelativeProgress()
    assert HessianFree([parameter], progress=None).progress is None
