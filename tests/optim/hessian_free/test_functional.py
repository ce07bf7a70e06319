"""The operator of any module: explicit matrices, both ways of products, what passes leave behind."""

import copy
import gc
import itertools
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from ostinato.errors import UserError
from ostinato.nn import GRU, LSTM, RNN, SequenceModel
from ostinato.nn.curvature.gauss_newton import GaussNewton
from ostinato.nn.outputs import Bernoulli
from ostinato.optim.hessian_free import HessianFree, ModuleOperator
from ostinato.optim.hessian_free.operator import flatten


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)


def drawn(module: nn.Module, dtype: torch.dtype = torch.float64) -> nn.Module:
    generator = seeded(2)
    module.to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


class First(nn.Module):
    """The first of what a layer returns, and a linear layer on it."""

    def __init__(self, layer: nn.Module, size: int) -> None:
        super().__init__()
        self.layer, self.out = layer, nn.Linear(size, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layer(x)[0])


class Attention(nn.Module):
    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 5, dropout, batch_first=True)
        self.encoder, self.out = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.encoder(x))


class Tied(nn.Module):
    """An embedding whose weights are the output's too."""

    def __init__(self, sparse: bool = False) -> None:
        super().__init__()
        self.read, self.out = nn.Embedding(3, 4, sparse=sparse), nn.Linear(4, 3)
        self.out.weight = self.read.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.read(x).tanh())


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.idle, self.used = nn.Linear(2, 2), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def frozen() -> nn.Module:
    module = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    module[0].weight.requires_grad_(False)
    return module


def convolution() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 3)
    )


STEPS = normal(2, 2, 5)
TOKENS = torch.tensor([[0, 2, 1, 2]])
MODULES: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "layers": (lambda: nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 3)), STEPS),
    "lstm": (lambda: First(nn.LSTM(5, 2), 2), STEPS),
    "lstm, dropout": (lambda: First(nn.LSTM(5, 2, 2, dropout=0.5), 2), STEPS),
    "gru, bidirectional": (lambda: First(nn.GRU(5, 2, bidirectional=True), 4), STEPS),
    "attention": (Attention, STEPS[..., :4]),
    "attention, dropout": (lambda: Attention(0.4), STEPS[..., :4]),
    "batch norm": (convolution, normal(4, 1, 3, 3)),
    "dropout": (lambda: nn.Sequential(nn.Linear(5, 6), nn.Dropout(0.5), nn.Linear(6, 3)), STEPS),
    "spectral norm": (
        lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(5, 3)), nn.Tanh()),
        STEPS,
    ),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(5, 3)), STEPS),
    "tied": (Tied, TOKENS),
    "tied, sparse": (lambda: Tied(sparse=True), TOKENS),
    "sparse": (lambda: nn.Sequential(nn.Embedding(3, 4, sparse=True), nn.Tanh(), nn.Linear(4, 3)), TOKENS),
    "unused": (Unused, STEPS),
    "frozen": (frozen, STEPS),
}
quiet = pytest.mark.filterwarnings(
    "ignore:Gauss-Newton products of .* are made by double backward", "ignore:the loss has no curvature"
)


def targets_of(module: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.arange(functional_call(module, {}, (x,)).numel() // 3) % 3


def flat_cross_entropy(z: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(z.reshape(-1, 3), y)


def dense(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """J^T H J, with J row by row by autograd, from the state of the generator and buffers as they are now."""
    state = torch.get_rng_state()
    again = copy_of(module)
    outputs = again(x)
    torch.set_rng_state(state)
    trained = [p for p in again.parameters() if p.requires_grad]
    rows = [
        flatten(torch.autograd.grad(z, trained, retain_graph=True, materialize_grads=True))
        for z in outputs.flatten()
    ]
    j = torch.stack(rows)
    h = torch.autograd.functional.hessian(lambda z: flat_cross_entropy(z, y), outputs.detach())
    return j.T @ h.reshape(len(j), len(j)) @ j


def copy_of(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module)


def matrix(operator: ModuleOperator) -> Tensor:
    gradient = operator.gradient()
    unit = torch.eye(len(gradient), dtype=gradient.dtype)
    # nothing can be tested with a direction that moves nothing
    operator.curvature(torch.ones_like(gradient))
    return torch.stack([operator.curvature(v) for v in unit], 1)


@quiet
@pytest.mark.parametrize("name", MODULES)
def test_products_are_the_explicit_matrix(name: str) -> None:
    make, x = MODULES[name]
    module = drawn(make())
    y = targets_of(copy_of(module), x)
    expected = dense(module, x, y)
    state = torch.get_rng_state()
    for way in ("auto", "backward"):
        torch.set_rng_state(state)
        operator = ModuleOperator(copy_of(module), (x,), flat_cross_entropy, y, products=way)  # type: ignore[arg-type]
        torch.testing.assert_close(matrix(operator), expected, rtol=0, atol=1e-10)


def test_batch_statistics_and_attention_need_no_fallback() -> None:
    for name in ("batch norm", "attention"):
        make, x = MODULES[name]
        module = make().to(torch.float32)
        operator = ModuleOperator(module, (x.float(),), lambda z: z.square().mean(), products="forward")
        assert bool(operator.curvature(operator.gradient()).any())


class Flat(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x).reshape(-1, 3)


@quiet
@pytest.mark.parametrize("name", ["lstm", "batch norm"])
@pytest.mark.parametrize("loss", ["mse", "huber", "ce", "bce", "nll"])
def test_every_loss_through_modules_of_every_kind(name: str, loss: str) -> None:
    make, x = MODULES[name]
    module = Flat(drawn(make()))
    n = len(targets_of(copy_of(module), x))
    real = normal(n, 3, seed=5)
    criterion, y = {
        "mse": (nn.MSELoss(), real),
        "huber": (nn.HuberLoss(), real),
        "ce": (nn.CrossEntropyLoss(label_smoothing=0.1), torch.arange(n) % 3),
        "bce": (nn.BCEWithLogitsLoss(), real.sigmoid()),
        "nll": (nn.NLLLoss(), torch.arange(n) % 3),
    }[loss]
    if loss == "nll":  # of logits it is the cross-entropy
        found = matrix(ModuleOperator(nn.Sequential(module, nn.LogSoftmax(-1)), (x,), criterion, y))
        expected = matrix(ModuleOperator(module, (x,), lambda z: F.cross_entropy(z, y)))
    else:
        found = matrix(ModuleOperator(module, (x,), criterion, y))
        expected = matrix(ModuleOperator(module, (x,), lambda z: criterion(z, y), products="backward"))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_squared_error_as_a_plain_function_works() -> None:
    module = drawn(nn.Linear(5, 3))
    y = normal(4, 3)
    x = normal(4, 5, seed=3)
    optimizer = HessianFree(module.parameters(), 0.0, tolerance=1e-12, progress=None)
    for _ in range(2):
        optimizer.step(ModuleOperator(module, (x,), lambda z: F.mse_loss(z, y)))
    torch.testing.assert_close(module(x), y)


def test_the_fallback_is_noticed_once_for_a_module() -> None:
    module = First(nn.LSTM(5, 2), 2)
    x, y = STEPS.float(), torch.zeros(2, 2, 3)
    with pytest.warns(UserWarning, match="First are made by double backward, which is slower: .*mkldnn"):
        ModuleOperator(module, (x,), nn.MSELoss(), y).curvature(torch.ones(81))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ModuleOperator(module, (x,), nn.MSELoss(), y).curvature(torch.ones(81))
    with pytest.raises(UserError, match=r"no products by forward mode .* leave `products` out"):
        ModuleOperator(module, (x,), nn.MSELoss(), y, products="forward").curvature(torch.ones(81))


def test_what_cannot_be_differentiated_twice_is_refused_with_both_reasons() -> None:
    module = nn.EmbeddingBag(4, 3)
    operator = ModuleOperator(module, (TOKENS % 3,), nn.MSELoss(), torch.zeros(1, 3))
    operator.gradient()
    with pytest.raises(UserError, match=r"by forward mode: .*; by double backward: .*embedding_bag"):
        operator.curvature(torch.ones(12))


class WrongForward(torch.autograd.Function):
    """x^2, whose forward mode is another function's."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.square()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * grad

    @staticmethod
    def jvp(ctx: Any, change: Tensor) -> Tensor:
        return torch.zeros_like(change)


class CutOff(torch.autograd.Function):
    """x^2, whose way back cannot be differentiated, and does not say so."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return (2 * x * grad).detach() + 0 * grad


class Applied(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.linear, self.function = nn.Linear(5, 3), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.linear(x))


def test_a_wrong_forward_mode_is_found_out() -> None:
    module = drawn(Applied(WrongForward.apply))
    y = normal(2, 2, 3)
    with pytest.warns(UserWarning, match="forward mode does not work .*<u, J v>"):
        found = matrix(ModuleOperator(module, (STEPS,), nn.MSELoss(), y))
    plain = copy.copy(module)
    plain.function = torch.square
    torch.testing.assert_close(found, matrix(ModuleOperator(plain, (STEPS,), nn.MSELoss(), y)))


def test_a_way_back_that_is_cut_off_is_refused() -> None:
    module = drawn(Applied(CutOff.apply))
    operator = ModuleOperator(module, (STEPS,), nn.MSELoss(), normal(2, 2, 3))
    with pytest.raises(UserError, match="Applied has no Gauss-Newton products: <u, J v> is 0"):
        operator.curvature(torch.ones(18, dtype=torch.float64))


def test_masks_in_another_order_are_found_out() -> None:
    class Moody(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            z = self.linear(x)
            # forward mode asks for the mask in another layout, as attention's dropout does
            return z * (2.0 if torch.autograd.forward_ad.unpack_dual(z).tangent is None else 3.0)

    operator = ModuleOperator(Moody().double(), (STEPS,), nn.MSELoss(), torch.zeros_like(STEPS[..., :3]))
    with pytest.warns(
        UserWarning, match="forward mode does not work .passes .* have other outputs than the module"
    ):
        operator.curvature(torch.ones(18, dtype=torch.float64))


class TestWhatPassesLeave:
    """Buffers and random numbers are after a step what one forward pass makes of them."""

    def test_running_statistics_see_one_pass_a_step(self) -> None:
        module, x = drawn(convolution()), normal(4, 1, 3, 3)
        once = copy_of(module)
        once(x)
        operator = ModuleOperator(module, (x,), nn.CrossEntropyLoss(), torch.arange(4) % 3)
        report = HessianFree(module.parameters(), 0.1).step(operator)
        assert report.accepted
        assert report.losses > 2
        assert not module[1].running_mean.equal(torch.zeros(2, dtype=torch.float64))
        for name, buffer in module.named_buffers():
            assert buffer.equal(once.get_buffer(name)), name

    def test_a_module_in_eval_mode_keeps_them(self) -> None:
        module, x = drawn(convolution()).eval(), normal(4, 1, 3, 3)
        before = {name: b.clone() for name, b in module.named_buffers()}
        operator = ModuleOperator(module, (x,), nn.CrossEntropyLoss(), torch.arange(4) % 3)
        HessianFree(module.parameters(), 0.1).step(operator)
        assert all(b.equal(before[name]) for name, b in module.named_buffers())

    def test_masks_are_held_within_a_step_and_drawn_anew_for_the_next(self) -> None:
        module = drawn(nn.Sequential(nn.Linear(5, 40), nn.Dropout(0.5), nn.Linear(40, 3)))
        operator = ModuleOperator(module, (STEPS,), nn.MSELoss(), torch.zeros(2, 2, 3, dtype=torch.float64))
        torch.manual_seed(3)
        gradient = operator.gradient()
        value = operator.loss()
        products = operator.curvature(gradient)
        torch.rand(7)  # somebody else draws
        assert operator.loss() == value
        assert operator.curvature(gradient).equal(products)
        other = operator.gradient()
        assert not other.equal(gradient)
        assert operator.loss() != value
        torch.manual_seed(3)
        assert operator.gradient().equal(gradient)

    def test_a_generator_of_the_modules_own_is_held_and_goes_on_likewise(self) -> None:
        generator = torch.Generator().manual_seed(1)
        module = drawn(First(RNN(5, 6, 2, dropout=0.5, generator=generator), 6))
        operator = ModuleOperator(module, (STEPS,), nn.MSELoss(), torch.zeros(2, 2, 3, dtype=torch.float64))
        start = generator.get_state()
        gradient = operator.gradient()
        value, products = operator.loss(), operator.curvature(gradient)
        assert operator.loss() == value
        assert operator.curvature(gradient).equal(products)
        after = generator.get_state()
        generator.set_state(start)
        module(STEPS)
        assert generator.get_state().equal(after)
        assert not operator.gradient().equal(gradient)

    def test_the_generator_goes_on_as_after_one_pass(self) -> None:
        module = drawn(nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.5)))
        operator = ModuleOperator(module, (STEPS,), nn.MSELoss(), torch.zeros(2, 2, 4, dtype=torch.float64))
        torch.manual_seed(0)
        copy_of(module)(STEPS)
        expected = torch.rand(3)
        torch.manual_seed(0)
        operator.loss()
        HessianFree(module.parameters(), 0.1).step(operator)
        assert torch.rand(3).equal(expected)

    def test_a_loss_that_draws_draws_the_same(self) -> None:
        module = drawn(nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.3)))

        def noisy(z: Tensor) -> Tensor:
            return (F.dropout(z, 0.5) - 1).square().mean()

        torch.manual_seed(1)
        operator = ModuleOperator(module, (STEPS,), noisy)
        v = operator.gradient()
        # the loss is quadratic along every line, so that its second difference is the product
        ahead = [operator.loss()]
        theta = flatten(module.parameters())
        with torch.no_grad():
            for sign in (1, -1, 0):
                HessianFree._move(list(module.parameters()), theta + sign * v)
                ahead.append(operator.loss())
        assert ahead[1] + ahead[2] - 2 * ahead[0] == pytest.approx(float(v @ operator.curvature(v)), rel=1e-9)

    def test_noise_from_elsewhere_is_an_error(self) -> None:
        class Noisy(nn.Linear):
            calls = 0

            def forward(self, x: Tensor) -> Tensor:
                self.calls += 1
                return super().forward(x) + self.calls

        module = Noisy(5, 3).double()
        operator = ModuleOperator(module, (STEPS,), nn.MSELoss(), torch.zeros(2, 2, 3, dtype=torch.float64))
        with pytest.raises(UserError, match="expected the same loss at the same parameters, found"):
            HessianFree(module.parameters(), 0.1).step(operator)

    def test_switches_of_kernels_are_put_back(self) -> None:
        seen: list[bool] = []

        class Watched(nn.LSTM):
            def forward(self, *inputs: Any) -> Any:
                seen.append(torch.backends.cudnn.enabled or torch.backends.mha.get_fastpath_enabled())
                return super().forward(*inputs)

        module = First(Watched(5, 2), 2).double()
        operator = ModuleOperator(module, (STEPS,), nn.MSELoss(), torch.zeros(2, 2, 3, dtype=torch.float64))
        before = torch.backends.cudnn.enabled, torch.backends.mha.get_fastpath_enabled()
        operator.gradient()
        operator.loss()
        assert seen == [False, False]
        assert (torch.backends.cudnn.enabled, torch.backends.mha.get_fastpath_enabled()) == before


class TestParameters:
    def operator(self, module: nn.Module) -> ModuleOperator:
        return ModuleOperator(module, (STEPS,), nn.MSELoss(), normal(2, 2, 3))

    def test_any_order_is_that_of_the_operator(self) -> None:
        ends = []
        for order in itertools.islice(itertools.permutations(range(4)), 0, 24, 7):
            module = drawn(nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 3)))
            parameters = list(module.parameters())
            optimizer = HessianFree([parameters[i] for i in order], 0.1, preconditioner=True)
            for _ in range(3):
                optimizer.step(self.operator(module))
            ends.append((flatten(module.parameters()), optimizer.report))
        assert all(end.equal(ends[0][0]) and report == ends[0][1] for end, report in ends)

    def test_those_of_another_module_are_refused(self) -> None:
        module, other = drawn(nn.Linear(5, 3)), drawn(nn.Linear(5, 3))
        before = flatten(other.parameters())
        with pytest.raises(
            UserError, match=r"hold the 2 trained .*, found 2: 2 of them are missing, and 2 are"
        ):
            HessianFree(other.parameters(), 0.1).step(self.operator(module))
        assert flatten(other.parameters()).equal(before)
        with pytest.raises(UserError, match="found 1: 1 of them are missing, and 0 are not"):
            HessianFree([module.weight], 0.1).step(self.operator(module))

    def test_frozen_ones_stay(self) -> None:
        module = drawn(frozen())
        still = module[0].weight.clone()
        report = HessianFree(module.parameters(), 0.1).step(self.operator(module))
        assert report.accepted
        assert module[0].weight.equal(still)

    def test_with_all_of_them_frozen_there_is_nothing_to_train(self) -> None:
        module = drawn(nn.Linear(5, 3)).requires_grad_(False)
        with pytest.raises(UserError, match="nothing to train"):
            HessianFree(module.parameters()).step(self.operator(module))

    def test_unused_ones_stay(self) -> None:
        module = drawn(Unused())
        still = flatten(module.idle.parameters())
        assert HessianFree(module.parameters(), 0.1).step(self.operator(module)).accepted
        assert flatten(module.idle.parameters()).equal(still)

    def test_one_that_products_do_not_reach_is_refused(self) -> None:
        class Kept(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.linear, self.scale = nn.Linear(5, 3), nn.Parameter(torch.ones(3))
                self.kept = [self.scale]

            def forward(self, x: Tensor) -> Tensor:
                return self.linear(x) * self.kept[0]

        operator = self.operator(drawn(Kept()))
        with pytest.raises(UserError, match="depend on scale through the outputs of Kept alone"):
            operator.curvature(operator.gradient())

    def test_a_penalty_goes_by_way_of_the_outputs(self) -> None:
        class Both(nn.Linear):
            def forward(self, x: Tensor) -> Any:
                return super().forward(x), self.weight

        def penalised(z: Tensor, weight: Tensor) -> Tensor:
            return z.square().mean() + 0.3 * weight.square().sum()

        plain, both = drawn(nn.Linear(5, 3)), drawn(Both(5, 3))
        operator = ModuleOperator(plain, (STEPS,), lambda z: penalised(z, plain.weight))
        with pytest.raises(UserError, match="depend on weight through the outputs of Linear alone"):
            operator.curvature(operator.gradient())
        found = matrix(ModuleOperator(both, (STEPS,), lambda out: penalised(*out)))
        expected = matrix(ModuleOperator(plain, (STEPS,), lambda z: z.square().mean()))
        expected.diagonal()[:15].add_(0.6)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)

    def test_a_loss_without_any_is_refused(self) -> None:
        operator = ModuleOperator(nn.Linear(5, 3), (STEPS.float(),), lambda z: z.detach().sum())
        with pytest.raises(UserError, match="depends on trained parameters"):
            operator.gradient()


@quiet
@pytest.mark.parametrize("name", MODULES)
def test_the_preconditioner_works_for_any_module(name: str) -> None:
    make, x = MODULES[name]
    module = drawn(make())
    y = targets_of(copy_of(module), x)
    optimizer = HessianFree(module.parameters(), 0.1, preconditioner=True)
    report = optimizer.step(ModuleOperator(module, (x,), flat_cross_entropy, y))
    assert report.accepted
    assert report.loss < report.loss_before


@pytest.mark.parametrize("preconditioner", [False, True])
def test_an_lstm_of_torch_in_single_precision_learns(preconditioner: bool) -> None:
    # its kernel has neither forward mode nor, within torch.func, a way back
    module = drawn(Flat(First(nn.LSTM(5, 4), 4)), torch.float32)
    x, y = STEPS.float(), torch.tensor([0, 1, 2, 1])
    optimizer = HessianFree(module.parameters(), 0.1, preconditioner=preconditioner)
    with pytest.warns(UserWarning, match="Flat are made by double backward") as heard:
        reports = [optimizer.step(ModuleOperator(module, (x,), nn.CrossEntropyLoss(), y)) for _ in range(4)]
    assert len(heard) == 1
    assert reports[-1].loss < 0.2 * reports[0].loss_before


def test_squared_gradients_have_the_mean_of_the_diagonal() -> None:
    module = drawn(nn.Linear(5, 3))
    x, y = normal(4, 5), torch.tensor([0, 1, 2, 2])
    operator = ModuleOperator(module, (x,), nn.CrossEntropyLoss(), y)
    diagonal = matrix(operator).diagonal()
    found = []
    for seed in range(3000):
        back = operator._linearized().drawn(seeded(seed))
        found.append(flatten(back.values()).square())
    squares = torch.stack(found)
    error = squares.std(0) / len(found) ** 0.5
    assert bool(((squares.mean(0) - diagonal).abs() < 4.5 * error).all())
    operator.gradient()
    assert operator.squared_gradient().equal(found[0])


def test_an_operator_that_nobody_needs_frees_its_graphs_at_once() -> None:
    gc.collect()
    gc.disable()
    try:
        for module in (drawn(nn.Linear(5, 3)), drawn(nn.utils.parametrizations.weight_norm(nn.Linear(5, 3)))):
            operator = ModuleOperator(module, (STEPS,), lambda z: z.square().sum())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                operator.curvature(operator.gradient())
            linear = weakref.ref(operator._linearized()._linear)
            del operator
            assert linear() is None
    finally:
        gc.enable()


def test_curvature_on_other_inputs_and_targets_than_the_gradient() -> None:
    module = drawn(nn.Sequential(nn.Linear(5, 3), nn.Tanh()))
    x, y = normal(6, 5), normal(6, 3, seed=4)
    both = ModuleOperator(module, (x,), nn.MSELoss(), y, curvature_inputs=(x[:2],), curvature_targets=y[:2])
    many, few = (ModuleOperator(module, (x[:n],), nn.MSELoss(), y[:n]) for n in (6, 2))
    v = both.gradient()
    assert v.equal(many.gradient())
    few.gradient()
    assert both.curvature(v).equal(few.curvature(v))
    with pytest.raises(UserError, match="expected curvature_targets with curvature_inputs"):
        ModuleOperator(module, (x,), nn.MSELoss(), y, curvature_inputs=(x[:2],))
    with pytest.raises(UserError, match="expected curvature_inputs with curvature_targets"):
        ModuleOperator(module, (x,), nn.MSELoss(), y, curvature_targets=y[:2])


def test_outputs_of_several_tensors() -> None:
    x = STEPS
    module = drawn(nn.MultiheadAttention(5, 1))
    assert module(x, x, x, need_weights=False)[1] is None

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = module

        def forward(self, x: Tensor) -> Any:
            return self.attention(x, x, x, need_weights=False)

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = module

        def forward(self, x: Tensor) -> Any:
            return {"z": self.attention(x, x, x)[0], "w": self.attention(x, x, x)[1]}

    plain = ModuleOperator(Own(), (x,), lambda out: out[0].square().mean())
    v = plain.gradient()
    assert bool(plain.curvature(v).any())
    two = ModuleOperator(Both(), (x,), lambda out: out["z"].square().mean() + 0 * out["w"].sum())
    two.gradient()
    torch.testing.assert_close(two.curvature(v), plain.curvature(v))


@pytest.mark.parametrize(
    ("module", "inputs", "loss", "message"),
    [
        (nn.Linear(5, 3), STEPS, F.mse_loss, r"expected inputs as a tuple, found Tensor; write \(x,\)"),
        (nn.Linear(5, 3), (STEPS.float(),), nn.MSELoss(reduction="none"), "expected a loss of one number"),
        (nn.Linear(5, 3), (STEPS.float(),), lambda z, y: 3.0, "expected a loss of one number, found float"),
    ],
)
def test_mistakes_are_said(module: nn.Module, inputs: Any, loss: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ModuleOperator(module, inputs, loss, torch.zeros(2, 2, 3)).gradient()


def test_other_mistakes_are_said() -> None:
    module = nn.Linear(5, 3).double()
    with pytest.raises(UserError, match="expected products auto, forward or backward, found 'both'"):
        ModuleOperator(module, (STEPS,), torch.sum, products="both")  # type: ignore[arg-type]

    class Classes(nn.Linear):
        def forward(self, x: Tensor) -> Any:
            z = super().forward(x)
            return z, z.argmax(-1)

    operator = ModuleOperator(Classes(5, 3).double(), (STEPS,), lambda out: out[0].square().mean())
    v = operator.gradient()
    with pytest.raises(UserError, match=r"outputs are tensors of real numbers, found torch.int64 among them"):
        operator.curvature(v)
    with pytest.raises(ValueError, match="structural"):
        operator.curvature(v, 0.1)


def test_a_recurrent_network_of_torch_learns() -> None:
    torch.manual_seed(0)

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = nn.RNN(2, 5), nn.Linear(5, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(x)[0][-1])

    module = Last()
    x = normal(6, 20, 2, seed=0, dtype=torch.float32)
    y = x[:, :, 0].sum(0, keepdim=True).T / 3
    optimizer = HessianFree(module.parameters(), 0.1)
    operator = ModuleOperator(module, (x,), lambda z: (z - y).square().mean())
    before = operator.loss()
    for _ in range(15):
        report = optimizer.step(operator)
    assert report.loss < 0.1 * before


@pytest.mark.parametrize("cell", [RNN, GRU, LSTM])
def test_our_own_layers_have_the_products_of_their_kernels(cell: Any) -> None:
    generator = seeded(3)
    layer = cell(4, 3, generator=generator, dtype=torch.float64)
    model = SequenceModel(layer, Bernoulli(3, 4, generator=generator, dtype=torch.float64))
    frames = (torch.rand(5, 2, 4, generator=generator) < 0.4).to(torch.uint8)

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.output = model.rnn, model.output

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(self.rnn(x)[0], self.output.weight, self.output.bias)

    kernels = GaussNewton(model, frames, frames)
    v = kernels.gradient()
    expected = kernels.curvature(v)
    loss = nn.BCEWithLogitsLoss(reduction="sum")
    for way in ("forward", "backward"):
        operator = ModuleOperator(Logits(), (frames.double(),), loss, frames.double(), products=way)  # type: ignore[arg-type]
        torch.testing.assert_close(operator.gradient() / 10, v, rtol=0, atol=1e-12)
        torch.testing.assert_close(operator.curvature(v) / 10, expected, rtol=0, atol=1e-12)
