"""Every optimizer by its name: it learns, is saved as tensors and JSON, and goes on bit for bit."""

import json

import pytest
import torch

from ostinato.errors import UserError
from ostinato.optim import (
    ClassicalMomentum,
    Constant,
    Cosine,
    GradientDescent,
    HessianFree,
    OneCycle,
    SimplifiedNesterov,
    SutskeverMomentum,
    make_optimizer,
    optimizer_names,
    register_optimizer,
)
from ostinato.optim.declared import OPTIMIZERS
from ostinato.optim.hessian_free import ModuleOperator
from ostinato.runs.checkpoint import decode, encode

# Adafactor and Rprop set the length of their steps otherwise; Muon takes matrices only.
RATES = {"adafactor": 0.3, "adadelta": 3.0, "adagrad": 0.3, "asgd": 0.1}
MATRICES_ONLY = {"muon"}
NAMES = optimizer_names()


def parameters(name="", dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3), (3, 5)] if name in MATRICES_ONLY else [(4, 3), (5,), ()]
    return [torch.randn(s, generator=generator, dtype=dtype).requires_grad_() for s in shapes]


def walk(optimizer, weights, steps, done=0):
    """Gradients of a bowl with noise that depends on the step alone."""
    for k in range(done, done + steps):
        for i, weight in enumerate(weights):
            noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(100 * k + i))
            weight.grad = 2 * (weight.detach() - 0.5) + 0.1 * noise.to(weight.dtype)
        optimizer.step()


def far(weights):
    return sum(float((w.detach() - 0.5).square().sum()) for w in weights)


def through_a_checkpoint(tensors, state):
    return decode(encode(tensors, json.loads(json.dumps(state))))


def test_all_of_torch_but_what_cannot_train_here_has_a_name():
    theirs = {
        n.lower()
        for n, kind in vars(torch.optim).items()
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)
    }
    assert theirs - set(NAMES) == {"optimizer", "lbfgs", "sparseadam"}
    assert {"sgd", "nesterov", "classical", "adam", "adamw", "rmsprop"} <= set(NAMES)
    assert len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_goes_downhill(name):
    weights = parameters(name)
    before = far(weights)
    walk(GradientDescent(make_optimizer(name, weights, learning_rate=RATES.get(name, 0.05))), weights, 60)
    assert far(weights) < 0.5 * before


def goes_on_bit_for_bit(name, dtype, before, rate):
    decay = None if name == "rprop" else 0.1

    def make(weights):
        groups = [{"params": weights[:1]}, {"params": weights[1:], "lr": 0.02}]
        return GradientDescent(make_optimizer(name, groups, learning_rate=0.05, weight_decay=decay), rate)

    unbroken = parameters(name, dtype)
    first = make(unbroken)
    walk(first, unbroken, before)
    first.scale_learning_rate(0.3)
    # the order of the parameters need not be that of the groups
    saved = through_a_checkpoint(*first.flat_state(unbroken[::-1]))
    resumed = [w.detach().clone().requires_grad_() for w in unbroken]
    second = make(resumed)
    second.load_flat_state(resumed[::-1], *saved)
    assert second.pace() == first.pace()
    walk(first, unbroken, 6, done=before)
    walk(second, resumed, 6, done=before)
    assert all(torch.equal(a, b) for a, b in zip(unbroken, resumed, strict=True))
    assert second.steps == first.steps == before + 6
    (tensors, state), (others, other) = first.flat_state(unbroken), second.flat_state(resumed)
    torch.testing.assert_close(tensors, others, rtol=0, atol=0)
    assert state == other


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("before", [0, 7])
def test_every_optimizer_goes_on_bit_for_bit(name, dtype, before):
    goes_on_bit_for_bit(name, dtype, before, Cosine(20, warmup=3))


@pytest.mark.parametrize("name", ["nesterov", "adam"])
@pytest.mark.parametrize("rate", [Constant(1.0), OneCycle(20), lambda k: 1 / (k + 1)])
def test_under_every_schedule(name, rate):
    goes_on_bit_for_bit(name, torch.float32, 5, rate)


def test_torchs_own_way_of_loading_would_have_rounded():
    """Why it is not used: NAdam keeps a float32 product beside float64 weights."""
    (weight,) = parameters(dtype=torch.float64)[:1]
    first = torch.optim.NAdam([weight], lr=0.05)
    walk(first, [weight], 3)
    second = torch.optim.NAdam([weight.detach().clone().requires_grad_()], lr=0.05)
    second.load_state_dict(first.state_dict())
    (own,), (loaded,) = first.state.values(), second.state.values()
    assert own["mu_product"].dtype != loaded["mu_product"].dtype


def test_settings_reach_the_optimizer_and_tuples_stay_tuples():
    (weight,) = parameters()[:1]
    descent = GradientDescent(make_optimizer("AdamW", [weight], learning_rate=0.1, betas=(0.8, 0.9)))
    walk(descent, [weight], 2)
    assert descent.optimizer.param_groups[0]["weight_decay"] == 0.01  # torch's own
    tensors, state = through_a_checkpoint(*descent.flat_state([weight]))
    other = GradientDescent(make_optimizer("adamw", [weight], learning_rate=0.1))
    other.load_flat_state([weight], tensors, state)
    assert other.optimizer.param_groups[0]["betas"] == (0.8, 0.9)
    assert other.momenta() == [0.8]


def test_plain_descent_is_the_old_default_to_the_bit():
    one, other = parameters(), parameters()
    walk(GradientDescent(make_optimizer("sgd", one, learning_rate=0.05)), one, 5)
    walk(SimplifiedNesterov(other, 0.05, 0.0), other, 5)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("kind", [SimplifiedNesterov, ClassicalMomentum])
def test_wrapped_it_takes_the_same_steps(kind):
    one, other = parameters(), parameters()
    momentum = SutskeverMomentum(0.95, stage=3)
    wrapped = GradientDescent(kind(one, 0.05, momentum))
    walk(wrapped, one, 10)
    walk(kind(other, 0.05, momentum), other, 10)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert wrapped.pace() == {"learning_rate": 0.05, "momentum": momentum(10)}


def test_a_run_of_before_there_were_schedules_goes_on():
    """Its checkpoint has the groups' rate and steps only, and the velocities."""
    weights = parameters()
    first = SimplifiedNesterov(weights, 0.05, SutskeverMomentum(0.9, stage=2))
    walk(first, weights, 5)
    first.scale_learning_rate(0.5)
    tensors = {f"{i}.velocity": first.state[w]["velocity"].clone() for i, w in enumerate(weights)}
    state = {"groups": [{"lr": 0.025, "steps": 5}]}
    resumed = [w.detach().clone().requires_grad_() for w in weights]
    second = GradientDescent(SimplifiedNesterov(resumed, 0.05, SutskeverMomentum(0.9, stage=2)))
    second.load_flat_state(resumed, tensors, state)
    assert (second.steps, second.pace()["learning_rate"]) == (5, 0.025)
    walk(first, weights, 5, done=5)
    walk(second, resumed, 5, done=5)
    assert all(torch.equal(a, b) for a, b in zip(weights, resumed, strict=True))


def test_what_was_learned_goes_back_while_rates_and_counts_stay():
    (weight,) = parameters()[:1]
    descent = GradientDescent(make_optimizer("adam", [weight], learning_rate=0.05), Cosine(20))
    walk(descent, [weight], 3)
    tensors, _ = descent.flat_state([weight])
    walk(descent, [weight], 3)
    descent.scale_learning_rate(0.5)
    _, values = descent.flat_state([weight])
    descent.load_flat_state([weight], tensors, values)
    assert descent.steps == 6
    assert descent.learning_rates() == [0.025 * Cosine(20)(6)]
    assert int(descent.optimizer.state[weight]["step"]) == 3


def test_what_was_not_there_yet_is_gone_again():
    (weight,) = parameters()[:1]
    descent = GradientDescent(make_optimizer("nesterov", [weight], learning_rate=0.05, momentum=0.9))
    first = descent.flat_state([weight])
    walk(descent, [weight], 3)
    descent.load_flat_state([weight], *first)
    assert descent.flat_state([weight]) == first
    assert first[0] == {}


def test_rates_are_those_of_the_groups_times_scale_and_schedule():
    weights = parameters()
    groups = [{"params": weights[:1]}, {"params": weights[1:], "lr": 0.4}]
    descent = GradientDescent(make_optimizer("adam", groups, learning_rate=0.1), Cosine(10))
    for k in range(12):
        assert descent.learning_rates() == pytest.approx([0.1 * Cosine(10)(k), 0.4 * Cosine(10)(k)])
        walk(descent, weights, 1, done=k)
    descent.scale_learning_rate(2.0)
    assert descent.learning_rates() == [0.0, 0.0]


@pytest.mark.parametrize("name", ["adam", "rmsprop", "sgd"])
def test_sparse_gradients_are_dense_ones_written_short(name):
    ends = []
    for sparse in (True, False):
        weight = parameters()[0]
        optimizer = GradientDescent(make_optimizer(name, [weight], learning_rate=0.05))
        for _ in range(3):
            weight.grad = None
            torch.nn.functional.embedding(
                torch.tensor([3, 0, 3]), weight, sparse=sparse
            ).square().sum().backward()
            optimizer.step()
        ends.append(weight.detach())
    torch.testing.assert_close(*ends)


def test_hessian_free_has_the_same_protocol():
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 9).unsqueeze(1)

    def operator(module):
        return ModuleOperator(module, (x,), lambda y: (y - 3 * x - 2).square().mean())

    lines = [torch.nn.Linear(1, 1) for _ in range(2)]
    optimizers = [HessianFree(line.parameters(), damping=1.0, max_iterations=1) for line in lines]
    for _ in range(3):
        optimizers[0].step(operator(lines[0]))
    lines[1].load_state_dict(lines[0].state_dict())
    own, others = (list(line.parameters()) for line in lines)
    optimizers[1].load_flat_state(others, *through_a_checkpoint(*optimizers[0].flat_state(own)))
    assert optimizers[1].pace() == optimizers[0].pace() == {"damping": optimizers[0].damping}
    for optimizer, line in zip(optimizers, lines, strict=True):
        optimizer.step(operator(line))
    assert all(torch.equal(a, b) for a, b in zip(own, others, strict=True))
    assert [o.steps for o in optimizers] == [4, 4]
    optimizers[0].scale_learning_rate(1.0)
    with pytest.raises(UserError, match="no learning rate"):
        optimizers[0].scale_learning_rate(0.5)


@pytest.fixture
def own_names(monkeypatch):
    monkeypatch.setattr(OPTIMIZERS, "_registered", dict(OPTIMIZERS._registered))


def test_one_from_outside_takes_one_line(own_names):
    class Sign(torch.optim.Optimizer):
        """Steps of equal length."""

        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    state = self.state[p]
                    state["flips"] = state.get("flips", 0) + 1  # a number, not a tensor
                    p.sub_(p.grad.sign(), alpha=group["lr"] / state["flips"])

    register_optimizer("sign", Sign)
    assert "sign" in optimizer_names()
    unbroken = parameters()
    first = GradientDescent(make_optimizer("Sign", unbroken, learning_rate=0.05))
    walk(first, unbroken, 3)
    resumed = [w.detach().clone().requires_grad_() for w in unbroken]
    second = GradientDescent(make_optimizer("sign", resumed, learning_rate=0.05))
    second.load_flat_state(resumed, *through_a_checkpoint(*first.flat_state(unbroken)))
    walk(first, unbroken, 3, done=3)
    walk(second, resumed, 3, done=3)
    assert all(torch.equal(a, b) for a, b in zip(unbroken, resumed, strict=True))
    for taken in ("sign", "adam", "Sign2"):
        with pytest.raises(ValueError, match="a new name"):
            register_optimizer(taken, Sign)


def test_a_state_that_no_checkpoint_can_hold_is_an_error():
    weight = parameters()[0]
    optimizer = torch.optim.SGD([weight], 0.1)
    optimizer.state[weight]["history"] = [weight]
    with pytest.raises(TypeError, match=r"0\.history"):
        GradientDescent(optimizer).flat_state([weight])
    optimizer.state[weight] = {"pair": {1: "a key that JSON would change"}}
    with pytest.raises(TypeError, match=r"0\.pair"):
        GradientDescent(optimizer).flat_state([weight])


def test_the_state_of_another_optimizer_is_refused():
    weights, settings = parameters(), {"learning_rate": 0.1, "momentum": 0.9}
    descent = GradientDescent(make_optimizer("nesterov", weights, **settings), Cosine(10))
    walk(descent, weights, 1)
    tensors, state = descent.flat_state(weights)
    other = GradientDescent(make_optimizer("nesterov", weights, **settings), Cosine(20))
    with pytest.raises(UserError, match=r"'total': 10.*'total': 20"):
        other.load_flat_state(weights, tensors, state)
    groups = [{"params": [w]} for w in weights]
    separate = GradientDescent(make_optimizer("nesterov", groups, learning_rate=0.1), Cosine(10))
    with pytest.raises(ValueError, match="3 groups of parameters, got 1"):
        separate.load_flat_state(weights, tensors, state)
    with pytest.raises(ValueError, match="1 parameters, got that of more"):
        descent.load_flat_state(weights[:1], tensors, state)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("adm", {}, "unknown optimizer 'adm': did you mean adam"),
        ("LBFGS", {}, "LBFGS cannot train here: it asks for the loss several times a step"),
        ("SparseAdam", {}, "SparseAdam cannot train here: it takes sparse gradients only"),
        ("Optimizer", {}, "unknown optimizer"),
        ("adam", {"momentum": 0.9}, "adam has no momentum, found momentum = 0.9; leave it out"),
        ("sgd", {"momentum": 0.9}, "sgd has no momentum"),
        ("rprop", {"weight_decay": 0.1}, "rprop has no weight_decay"),
        ("adam", {"beta": (0.9, 0.9)}, "adam has no setting 'beta': did you mean betas"),
        ("adam", {"maximize": True}, "adam has no setting 'maximize'"),
        ("adam", {"betas": (0.9, 2.0)}, "adam does not take these settings or parameters: Invalid beta"),
        ("rmsprop", {"momentum": SutskeverMomentum(0.9)}, "rmsprop takes a number as momentum"),
        ("muon", {}, "muon does not take these settings or parameters"),
        ("nesterov", {"momentum": 1.5}, r"expected a momentum in \[0, 1\)"),
    ],
)
def test_what_cannot_be_had_is_one_clear_line(name, settings, message):
    with pytest.raises(UserError, match=message):
        make_optimizer(name, parameters(), learning_rate=0.1, **settings)


def test_a_schedule_inside_the_optimizer_is_refused():
    with pytest.raises(UserError, match="give its schedule as `rate`"):
        GradientDescent(SimplifiedNesterov(parameters(), lambda k: 0.1))


def test_zero_asks_for_nothing():
    assert isinstance(
        make_optimizer("rprop", parameters(), learning_rate=0.1, weight_decay=0.0), torch.optim.Rprop
    )
    adamw = make_optimizer("adamw", parameters(), learning_rate=0.1, weight_decay=0.0)
    assert adamw.param_groups[0]["weight_decay"] == 0
