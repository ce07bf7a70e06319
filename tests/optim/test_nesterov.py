import copy
import io
import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ostinato.errors import UserError
from ostinato.optim import ClassicalMomentum, SimplifiedNesterov, SutskeverMomentum
from ostinato.optim.nesterov import PlainDescent

momenta = st.lists(st.floats(0, 0.99), min_size=21, max_size=21)
rates = st.lists(st.floats(0, 0.1), min_size=21, max_size=21)


def gradient(x):
    """Of a smooth function that is not quadratic, with curvature at most 3: steps below 0.1 stay bounded."""
    return x + torch.sin(2 * x) + torch.roll(x, 1) * 0.1


def start(seed, size=5):
    return torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def run(optimizer, parameter, steps):
    path = []
    for _ in range(steps):
        parameter.grad = gradient(parameter.detach())
        optimizer.step()
        path.append(parameter.detach().clone())
    return path


def close(a, b, tolerance):
    return (a - b).abs().max() <= tolerance * max(1.0, float(b.abs().max()))


@given(momenta, rates, st.integers(0, 1000))
def test_simplified_nesterov_is_the_classical_one_seen_from_where_the_gradient_is_taken(mus, rates, seed):
    parameter = start(seed).requires_grad_()
    theta, v = start(seed), torch.zeros(5, dtype=torch.float64)
    path = run(SimplifiedNesterov([parameter], rates.__getitem__, mus.__getitem__), parameter, 20)
    for t in range(1, 21):
        v = mus[t - 1] * v - rates[t - 1] * gradient(theta + mus[t - 1] * v)  # equation 1
        theta = theta + v  # equation 2
        assert close(path[t - 1], theta + mus[t] * v, 1e-12)


@given(momenta, rates, st.integers(0, 1000))
def test_simplified_nesterov_is_equations_6_and_7(mus, rates, seed):
    parameter = start(seed).requires_grad_()
    theta, v = start(seed), torch.zeros(5, dtype=torch.float64)
    path = run(SimplifiedNesterov([parameter], rates.__getitem__, mus.__getitem__), parameter, 20)
    for t in range(1, 21):
        g, old = gradient(theta), v
        v = mus[t - 1] * old - rates[t - 1] * g
        theta = theta + mus[t] * mus[t - 1] * old - (1 + mus[t]) * rates[t - 1] * g
        assert close(path[t - 1], theta, 1e-12)


@given(momenta, rates, st.integers(0, 1000))
def test_classical_momentum_is_its_equations(mus, rates, seed):
    parameter = start(seed).requires_grad_()
    theta, v = start(seed), torch.zeros(5, dtype=torch.float64)
    path = run(ClassicalMomentum([parameter], rates.__getitem__, mus.__getitem__), parameter, 20)
    for t in range(1, 21):
        v = mus[t - 1] * v - rates[t - 1] * gradient(theta)
        theta = theta + v
        assert close(path[t - 1], theta, 1e-12)


@pytest.mark.parametrize(("ours", "nesterov"), [(SimplifiedNesterov, True), (ClassicalMomentum, False)])
@given(st.floats(0.01, 0.99), st.floats(1e-4, 0.1), st.integers(0, 1000))
def test_equals_torch_while_rate_and_momentum_are_constant(ours, nesterov, mu, rate, seed):
    a, b = start(seed).requires_grad_(), start(seed).requires_grad_()
    path = run(ours([a], rate, mu), a, 30)
    other = run(torch.optim.SGD([b], rate, momentum=mu, nesterov=nesterov), b, 30)
    for x, y in zip(path, other, strict=True):
        assert close(x, y, 1e-12)


def test_torch_keeps_the_velocity_over_minus_the_rate():
    a, b = start(0).requires_grad_(), start(0).requires_grad_()
    ours = SimplifiedNesterov([a], 0.05, 0.9)
    other = torch.optim.SGD([b], 0.05, momentum=0.9, nesterov=True)
    for _ in range(10):
        run(ours, a, 1)
        run(other, b, 1)
        assert close(ours.state[a]["velocity"], -0.05 * other.state[b]["momentum_buffer"], 1e-14)


@pytest.mark.parametrize("kind", [SimplifiedNesterov, ClassicalMomentum])
def test_without_momentum_it_is_gradient_descent_to_the_bit(kind):
    parameter, theta = start(1).requires_grad_(), start(1)
    for reached in run(kind([parameter], 0.1), parameter, 10):
        theta = theta + gradient(theta) * -0.1
        assert torch.equal(reached, theta) or close(reached, theta, 1e-15)


OPTIMIZERS = {
    "gradient descent": lambda p: ClassicalMomentum(p, 0.02),
    "classical": lambda p: ClassicalMomentum(p, 0.01, 0.8),
    "classical, scheduled": lambda p: ClassicalMomentum(
        p, lambda k: 0.02 / (1 + k / 2000), SutskeverMomentum(0.9)
    ),
    "nesterov": lambda p: SimplifiedNesterov(p, 0.01, 0.8),
    "nesterov, scheduled": lambda p: SimplifiedNesterov(
        p, lambda k: 0.02 / (1 + k / 2000), SutskeverMomentum(0.9)
    ),
}
PROBLEMS = {
    "bowl": (lambda x: ((x - 3) ** 2).sum(), [0.0, 10.0], [3.0, 3.0]),
    "long valley": (lambda x: 10 * (x[0] - 1) ** 2 + 0.2 * (x[1] + 2) ** 2, [0.0, 0.0], [1.0, -2.0]),
    "quartic": (lambda x: ((x**2 - 1) ** 2).sum(), [0.4, -0.7], [1.0, -1.0]),
    "log-sum-exp": (lambda x: torch.logsumexp(torch.cat([x, -x]), 0), [2.0, -1.0], [0.0, 0.0]),
    "mixed terms": (lambda x: x[0] ** 2 + x[0] * x[1] + x[1] ** 2 - x[0], [5.0, 5.0], [2 / 3, -1 / 3]),
}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_finds_the_minimum(optimizer, problem):
    loss, begin, minimum = PROBLEMS[problem]
    x = torch.tensor(begin, dtype=torch.float64, requires_grad=True)
    stepper = OPTIMIZERS[optimizer]([x])

    def closure():
        stepper.zero_grad()
        value = loss(x)
        value.backward()
        return value

    losses = [float(stepper.step(closure).detach()) for _ in range(2000)]
    assert close(x.detach(), torch.tensor(minimum, dtype=torch.float64), 1e-4)
    assert losses[-1] <= losses[0]


def problem_of_two(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in ((3, 4), (4,))]


def walk(optimizer, parameters, steps):
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = gradient(parameter.detach())
        optimizer.step()


def make(kind, parameters):
    groups = [{"params": parameters[:1]}, {"params": parameters[1:], "lr": 0.01, "momentum": 0.3}]
    return kind(groups, lambda k: 0.1 / (k + 1), SutskeverMomentum(0.95, stage=4))


@given(st.integers(0, 20), st.integers(0, 20), st.sampled_from([SimplifiedNesterov, ClassicalMomentum]))
def test_resumes_to_the_bit(before, after, kind):
    unbroken = problem_of_two()
    first = make(kind, unbroken)
    walk(first, unbroken, before)
    first.scale_learning_rate(0.5)

    saved = io.BytesIO()
    torch.save(first.state_dict(), saved)
    saved.seek(0)
    resumed = [p.detach().clone().requires_grad_() for p in unbroken]
    second = make(kind, resumed)
    second.load_state_dict(
        torch.load(saved, weights_only=True)
    )  # weights_only: so there is no function in it

    assert second.steps == before
    walk(first, unbroken, after)
    walk(second, resumed, after)
    assert all(torch.equal(a, b) for a, b in zip(unbroken, resumed, strict=True))


def test_the_state_is_tensors_and_json():
    parameters = problem_of_two()
    optimizer = make(SimplifiedNesterov, parameters)
    walk(optimizer, parameters, 3)
    state = optimizer.state_dict()
    assert json.loads(json.dumps(state["param_groups"])) == state["param_groups"]
    assert [list(entry) for entry in state["state"].values()] == [["velocity"], ["velocity"]]


def test_a_copy_walks_on_its_own():
    parameters = problem_of_two()
    optimizer = make(SimplifiedNesterov, parameters)
    walk(optimizer, parameters, 3)
    other = copy.deepcopy(optimizer)
    copies = [p for group in other.param_groups for p in group["params"]]
    walk(optimizer, parameters, 3)
    walk(other, copies, 3)
    assert all(torch.equal(a, b) for a, b in zip(parameters, copies, strict=True))


def test_groups_have_their_own_rate_and_momentum():
    parameters = problem_of_two()
    optimizer = make(SimplifiedNesterov, parameters)
    assert optimizer.learning_rates() == [0.1, 0.01]
    assert optimizer.momenta() == [0.5, 0.3]
    walk(optimizer, parameters, 4)
    assert optimizer.learning_rates() == [0.1 / 5, 0.01]
    assert optimizer.momenta() == [0.75, 0.3]
    optimizer.scale_learning_rate(0.5)
    assert optimizer.learning_rates() == pytest.approx([0.1 / 10, 0.005])


def test_a_late_group_joins_at_the_current_step():
    early, late = problem_of_two()
    optimizer = SimplifiedNesterov([early], lambda k: 1.0 / (k + 1))
    walk(optimizer, [early], 3)
    optimizer.add_param_group({"params": [late]})
    assert optimizer.learning_rates() == [0.25, 0.25]


def test_works_with_torch_schedulers():
    (parameter,) = problem_of_two()[:1]
    optimizer = SimplifiedNesterov([parameter], 0.1, 0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.1)
    walk(optimizer, [parameter], 1)
    scheduler.step()
    assert optimizer.learning_rates() == pytest.approx([0.01])


@pytest.mark.parametrize("kind", [SimplifiedNesterov, ClassicalMomentum])
def test_parameters_without_a_gradient_stay(kind):
    moved, still = problem_of_two()
    before = still.detach().clone()
    optimizer = kind([moved, still], 0.1, 0.9)
    walk(optimizer, [moved], 3)
    assert torch.equal(still, before)
    assert still not in optimizer.state
    assert optimizer.steps == 3


@pytest.mark.parametrize("kind", [SimplifiedNesterov, ClassicalMomentum])
def test_a_rate_of_zero_leaves_the_weights_to_the_bit(kind):
    parameters = problem_of_two()
    before = [p.detach().clone() for p in parameters]
    walk(kind(parameters, 0.0, 0.9), parameters, 5)
    assert all(torch.equal(a, b) for a, b in zip(parameters, before, strict=True))


def test_sparse_gradients_are_dense_ones_written_short():
    sparse, dense = start(0, 6).view(3, 2).requires_grad_(), start(0, 6).view(3, 2).requires_grad_()
    optimizers = SimplifiedNesterov([sparse], 0.1, 0.9), SimplifiedNesterov([dense], 0.1, 0.9)
    rows = torch.tensor([2, 0, 2])
    for _ in range(4):
        for weight, optimizer, is_sparse in ((sparse, optimizers[0], True), (dense, optimizers[1], False)):
            optimizer.zero_grad()
            (torch.nn.functional.embedding(rows, weight, sparse=is_sparse) ** 2).sum().backward()
            optimizer.step()
    assert sparse.grad.is_sparse
    assert close(sparse.detach(), dense.detach(), 1e-15)


def test_mixed_types_take_the_steps_each_would_alone():
    together = [start(0).float().requires_grad_(), start(1).requires_grad_()]
    alone = [p.detach().clone().requires_grad_() for p in together]
    walk(SimplifiedNesterov(together, 0.1, 0.5), together, 5)
    for parameter in alone:
        walk(SimplifiedNesterov([parameter], 0.1, 0.5), [parameter], 5)
    assert all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))


@pytest.mark.parametrize("settings", [{"lr": -0.1}, {"lr": math.nan}, {"lr": math.inf}])
def test_refuses_an_impossible_rate(settings):
    with pytest.raises(UserError, match="expected a learning rate of at least 0, found"):
        SimplifiedNesterov(problem_of_two(), **settings)


@pytest.mark.parametrize("momentum", [1.0, -0.1, math.nan])
def test_refuses_an_impossible_momentum(momentum):
    with pytest.raises(UserError, match=r"expected a momentum in \[0, 1\), found"):
        ClassicalMomentum(problem_of_two(), 0.1, momentum)


@pytest.mark.parametrize(("ours", "nesterov"), [(SimplifiedNesterov, True), (ClassicalMomentum, False)])
@given(st.sampled_from([0.0, 0.5, 0.95]), st.floats(0.0, 0.5), st.integers(0, 100))
def test_weight_decay_is_that_of_torch(ours, nesterov, mu, decay, seed):
    a, b = start(seed).requires_grad_(), start(seed).requires_grad_()
    path = run(ours([a], 0.05, mu, weight_decay=decay), a, 30)
    other = run(
        torch.optim.SGD([b], 0.05, momentum=mu, weight_decay=decay, nesterov=nesterov and mu > 0), b, 30
    )
    for x, y in zip(path, other, strict=True):
        assert close(x, y, 1e-12)


def test_weight_decay_on_sparse_gradients_is_on_all_rows():
    rows = torch.tensor([2, 0])
    for momentum in (0.0, 0.9):
        ends = []
        for sparse in (True, False):
            weight = start(0, 6).view(3, 2).requires_grad_()
            optimizer = SimplifiedNesterov([weight], 0.1, momentum, weight_decay=0.2)
            for _ in range(3):
                optimizer.zero_grad()
                (torch.nn.functional.embedding(rows, weight, sparse=sparse) ** 2).sum().backward()
                optimizer.step()
            ends.append(weight.detach())
        assert close(ends[0], ends[1], 1e-15)
        assert not torch.equal(ends[0][1], start(0, 6).view(3, 2)[1])


@pytest.mark.parametrize("kind", [SimplifiedNesterov, ClassicalMomentum])
def test_rate_momentum_and_decay_are_entries_of_the_groups(kind):
    groups = [{"params": p, "weight_decay": d} for p, d in zip(problem_of_two(), (0.1, 0.2), strict=True)]
    optimizer = kind(groups, 0.3, 0.9)
    found = [[g[k] for k in ("lr", "momentum", "weight_decay")] for g in optimizer.param_groups]
    assert found == [[0.3, 0.9, 0.1], [0.3, 0.9, 0.2]]
    scheduled = kind(problem_of_two(), lambda k: 0.1, lambda k: k / 10)
    for k in range(3):
        assert scheduled.param_groups[0]["momentum"] == scheduled.momenta()[0] == k / 10
        walk(scheduled, scheduled.param_groups[0]["params"], 1)


@pytest.mark.parametrize("kind", [SimplifiedNesterov, ClassicalMomentum])
def test_a_momentum_that_others_set_follows_the_equations(kind):
    mus = [0.0, 0.5, 0.9, 0.0, 0.0, 0.7, 0.95, 0.2]
    parameter = start(3).requires_grad_()
    optimizer = kind([parameter], 0.05, 0.0)
    theta, v, last = start(3), torch.zeros(5, dtype=torch.float64), 0.0
    for mu in mus:
        optimizer.param_groups[0]["momentum"] = mu
        run(optimizer, parameter, 1)
        if kind is SimplifiedNesterov:  # mu is mu_t, the one before it mu_{t-1}
            v = last * v - 0.05 * gradient(theta + last * v)
            theta, reached = theta + v, theta + v + mu * v
        else:  # mu is mu_{t-1}; a velocity begins where the momentum does
            v = mu * v - 0.05 * gradient(theta) if mu or v.any() else v
            theta = reached = theta + (v if v.any() else -0.05 * gradient(theta))
        last = mu
        assert close(parameter.detach(), reached, 1e-13)


@pytest.mark.parametrize("kind", [SimplifiedNesterov, ClassicalMomentum])
@pytest.mark.parametrize(
    "scheduler",
    [
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=20, cycle_momentum=True),
        lambda o: torch.optim.lr_scheduler.CyclicLR(
            o, base_lr=0.01, max_lr=0.1, step_size_up=4, cycle_momentum=True
        ),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 20),
    ],
    ids=["OneCycleLR", "CyclicLR", "CosineAnnealingLR"],
)
def test_torch_schedulers_govern_rate_and_momentum(kind, scheduler):
    a, b = start(0).requires_grad_(), start(0).requires_grad_()
    ours, theirs = kind([a], 0.1, 0.9), torch.optim.SGD([b], 0.1, momentum=0.9)
    own, other = scheduler(ours), scheduler(theirs)
    theta, v, last, seen = start(0), torch.zeros(5, dtype=torch.float64), 0.0, set()
    for _ in range(19):
        (group,), (same,) = ours.param_groups, theirs.param_groups
        assert (group["lr"], group["momentum"]) == (same["lr"], same["momentum"])
        eps, mu = group["lr"], group["momentum"]
        seen.add((eps, mu))
        if kind is SimplifiedNesterov:
            v = last * v - eps * gradient(theta + last * v)
            theta, last = theta + v, mu
            reached = theta + mu * v
        else:
            v = mu * v - eps * gradient(theta)
            theta = reached = theta + v
        run(ours, a, 1)
        run(theirs, b, 1)
        own.step()
        other.step()
        assert close(a.detach(), reached, 1e-13)
    assert len(seen) >= 5


def test_a_scheduled_momentum_is_nobody_elses_to_set():
    parameters = problem_of_two()
    optimizer = SimplifiedNesterov(parameters, 0.1, SutskeverMomentum(0.9, stage=2))
    walk(optimizer, parameters, 3)
    optimizer.param_groups[0]["momentum"] = 0.3
    with pytest.raises(UserError, match="it is a function of the step"):
        optimizer.step()


@pytest.mark.parametrize("momentum", [0.9, SutskeverMomentum(0.9, stage=2)])
def test_a_state_of_before_momentum_was_in_the_groups_goes_on_to_the_bit(momentum):
    unbroken = problem_of_two()
    first = SimplifiedNesterov(unbroken, 0.1, momentum)
    walk(first, unbroken, 5)
    state = copy.deepcopy(first.state_dict())
    for group in state["param_groups"]:
        for name in ("momentum", "last_momentum", "weight_decay"):
            del group[name]
    resumed = [p.detach().clone().requires_grad_() for p in unbroken]
    second = SimplifiedNesterov(resumed, 0.1, momentum)
    second.load_state_dict(state)
    walk(first, unbroken, 5)
    walk(second, resumed, 5)
    assert all(torch.equal(a, b) for a, b in zip(unbroken, resumed, strict=True))


def test_refuses_an_impossible_decay():
    with pytest.raises(UserError, match="expected a weight decay of at least 0, found -1"):
        SimplifiedNesterov(problem_of_two(), 0.1, weight_decay=-1)


KINDS = [SimplifiedNesterov, ClassicalMomentum, PlainDescent]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ["maximize", "foreach", "capturable", "nesterov", "weight_decy", "learning_rate"]
)
def test_settings_that_it_does_not_have_are_refused(kind, name):
    (parameter,) = problem_of_two()[:1]
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
        kind([parameter], 0.1, **{name: True})
    with pytest.raises(UserError, match=f"{kind.__name__} has no {name} for a group of parameters"):
        kind([{"params": [parameter], name: True}], 0.1)


def test_what_others_keep_in_a_group_stays():
    (parameter,) = problem_of_two()[:1]
    groups = [{"params": [parameter], "name": "head", "initial_lr": 0.5, "max_momentum": 0.9}]
    assert SimplifiedNesterov(groups, 0.1).param_groups[0]["name"] == "head"


def test_a_group_added_has_its_own_decay():
    first, second = problem_of_two()
    optimizer = ClassicalMomentum([first], 0.1, 0.5, weight_decay=0.2)
    optimizer.add_param_group({"params": [second], "weight_decay": 0.0})
    before = [first.detach().clone(), second.detach().clone()]
    for parameter in (first, second):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(first.detach(), before[0] * (1 - 0.1 * 0.2))
    assert second.detach().equal(before[1])


def test_the_state_of_another_optimizer_is_refused():
    (parameter,) = problem_of_two()[:1]
    other = torch.optim.SGD([parameter], 0.1, momentum=0.9)
    fresh = other.state_dict()
    walk(other, [parameter], 1)
    counted = other.state_dict()
    counted["param_groups"][0]["steps"] = 1
    cases = (
        (counted, "momentum_buffer"),
        (other.state_dict(), "momentum_buffer"),
        (fresh, "no count of steps"),
    )
    for state, found in cases:
        with pytest.raises(UserError, match=f"expected the state of SimplifiedNesterov, .*{found}"):
            SimplifiedNesterov([parameter], 0.1, 0.9).load_state_dict(state)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_scaler_scales_back_and_skips_what_is_not_finite(kind):
    plain, scaled = ([p.double() for p in problem_of_two()] for _ in range(2))
    plain, scaled = ([p.detach().requires_grad_() for p in ps] for ps in (plain, scaled))
    optimizers = kind(plain, 0.1), kind(scaled, 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=16.0)
    for factor in (1.0, 2.0, math.inf, 3.0):
        for parameters, optimizer in zip((plain, scaled), optimizers, strict=True):
            optimizer.zero_grad()
            loss = factor * sum((p**2).sum() for p in parameters)
            if parameters is scaled:
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
            elif factor < math.inf:
                loss.backward()
                optimizer.step()
    assert all(a.equal(b) for a, b in zip(plain, scaled, strict=True))
    assert [optimizer.steps for optimizer in optimizers] == [3, 3]
    assert scaler.get_scale() == 8
