"""Gauss-Newton products against the matrix J^T H J, built column by column with autograd in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ostinato.errors import UserError
from ostinato.nn import RNN, SequenceModel
from ostinato.nn.curvature.gauss_newton import GaussNewton
from ostinato.nn.kernels.nonlinearities import slope
from ostinato.nn.outputs import NADE, Bernoulli, ClassSoftmax, Softmax
from ostinato.optim import HessianFree

T, B, V, H = 5, 2, 3, 3
OUTPUTS = ("bernoulli", "softmax", "class-softmax", "nade", "nade backwards")
NETWORKS = ("tanh", "relu", "sigmoid", "identity", "two layers", "no bias", "learned leak")


def is_music(kind: str) -> bool:
    return kind == "bernoulli" or kind.startswith("nade")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(kind: str, leaky: bool, inputs: int = V) -> RNN:
    settings: dict[str, Any] = {"num_layers": 2 if kind == "two layers" else 1, "bias": kind != "no bias"}
    leak: Tensor | None = None
    if leaky or kind == "learned leak":
        leak = torch.tensor([0.05, 0.3, 0.9], dtype=torch.float64)
        leak.requires_grad_(kind == "learned leak")
    nonlinearity = kind if kind in ("tanh", "relu", "sigmoid", "identity") else "tanh"
    return RNN(
        inputs, H, nonlinearity=nonlinearity, leak=leak, generator=seeded(), dtype=torch.float64, **settings
    )


def output_layer(kind: str) -> nn.Module:
    factory: dict[str, Any] = {"generator": seeded(1), "dtype": torch.float64}
    if kind == "bernoulli":
        return Bernoulli(H, V, **factory)
    if kind.startswith("nade"):
        output = NADE(H, V, 4, order="high-to-low" if kind == "nade backwards" else "low-to-high", **factory)
        with torch.no_grad():  # weights of NADE start small: here all of it should count
            output.weight.normal_(generator=seeded(4))
            output.bias.normal_(generator=seeded(5))
        return output
    return Softmax(H, V, **factory) if kind == "softmax" else ClassSoftmax(H, [1, 2], **factory)


def segment(kind: str) -> dict[str, Tensor]:
    """Songs that start in the middle of streams, states carried in, and filler at an end."""
    generator = seeded(2)
    starts = torch.zeros(T, B, dtype=torch.bool)
    starts[0, 0] = starts[2, 1] = starts[4, 0] = True
    mask = torch.ones(T, B, dtype=torch.bool)
    mask[4:, 1] = False
    if is_music(kind):
        frames = (torch.rand(T + 1, B, V, generator=generator) < 0.4).to(torch.uint8)
    else:
        frames = torch.randint(V, (T + 1, B), generator=generator)
    return {"inputs": frames[:-1], "targets": frames[1:], "starts": starts, "mask": mask}


def states_for(model: SequenceModel) -> Tensor:
    shape = (model.rnn.num_layers, B, H)
    return torch.randn(shape, generator=seeded(3), dtype=torch.float64) / 2


def natural_parameters(model: SequenceModel, batch: dict[str, Tensor]) -> Callable[..., list[Tensor]]:
    """The model's logits, frame by frame, as a function of its parameters; for classes, both sets of them."""

    def of(parameters: dict[str, Tensor]) -> list[Tensor]:
        class Logits(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self) -> list[Tensor]:
                hidden = model.rnn(batch["inputs"], states_for(model), batch["starts"])[0][batch["mask"]]
                output: Any = model.output
                if isinstance(output, NADE):
                    return [nade_logits(output, hidden, batch["targets"][batch["mask"]])]
                if not isinstance(output, ClassSoftmax):
                    return [hidden @ output.weight.T + output.bias]
                classes = output.class_of[batch["targets"][batch["mask"]]]
                inside = [
                    (h @ output.weight[ids].T + output.bias[ids]).unsqueeze(0)
                    for h, k in zip(hidden, classes.tolist(), strict=True)
                    for ids in [slice(output.offsets[k], output.offsets[k + 1])]
                ]
                return [hidden @ output.class_weight.T + output.class_bias, *inside]

        prefixed = {f"model.{name}": value for name, value in parameters.items()}
        return functional_call(Logits(), prefixed, ())

    return of


def nade_logits(output: NADE, hidden: Tensor, frames: Tensor) -> Tensor:
    """The logit of every note given those before it, one note after another."""
    biases = output(hidden).biases
    a, logits = biases[:, V:], [torch.empty(0)] * V
    for i in range(V) if output.order is None else output.order.tolist():
        logits[i] = biases[:, i] + torch.sigmoid(a) @ output.decoder[i]
        a = a + frames[:, i : i + 1] * output.encoder[i]
    return torch.stack(logits, 1)


def hessian_at(logits: Tensor, kind: str) -> Tensor:
    """The Hessian of -log p at the logits of one frame."""
    if is_music(kind):
        p = torch.sigmoid(logits)
        return torch.diag(p * (1 - p))
    p = torch.softmax(logits, 0)
    return torch.diag(p) - torch.outer(p, p)


def jacobian(function: Callable[..., list[Tensor]], parameters: dict[str, Tensor]) -> list[Tensor]:
    """For each tensor of outputs its Jacobian (rows, K, P) by reverse differentiation."""
    leaves = {name: p.detach().clone().requires_grad_() for name, p in parameters.items()}
    outputs = function(leaves)
    result = []
    for out in outputs:
        rows = [
            torch.cat(
                [
                    g.reshape(-1)
                    for g in torch.autograd.grad(
                        element, list(leaves.values()), retain_graph=True, materialize_grads=True
                    )
                ]
            )
            for element in out.flatten()
        ]
        result.append(torch.stack(rows).view(*out.shape, -1))
    return result


def explicit(model: SequenceModel, batch: dict[str, Tensor], kind: str) -> Tensor:
    """The Gauss-Newton matrix 1/N J^T H J."""
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    function = natural_parameters(model, batch)
    total: Any = 0
    for out, rows in zip(function(parameters), jacobian(function, parameters), strict=True):
        for logits, j in zip(out.detach(), rows, strict=True):
            total = total + j.T @ hessian_at(logits, kind) @ j
    return total / int(batch["mask"].sum())


def explicit_structural(model: SequenceModel, batch: dict[str, Tensor]) -> Tensor:
    """1/N sum over frames and layers of D^T diag(phi') D, D the Jacobian of the pre-activations."""
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    rnn, starts = model.rnn, batch["starts"]

    def drives(values: dict[str, Tensor]) -> list[Tensor]:
        own = {name.removeprefix("rnn."): x for name, x in values.items() if name.startswith("rnn.")}
        own = dict(rnn.named_buffers()) | own
        x = batch["inputs"]
        below = nn.functional.one_hot(x, V).double() if x.dim() == 2 else x.double()
        result = []
        for layer in range(rnn.num_layers):
            h, zs, hs = states_for(model)[layer], [], []
            for t in range(T):
                h = h.masked_fill(starts[t].unsqueeze(-1), 0)
                z = below[t] @ own[f"weight_ih_l{layer}"].T + h @ own[f"weight_hh_l{layer}"].T
                if rnn.bias:
                    z = z + own[f"bias_ih_l{layer}"] + own[f"bias_hh_l{layer}"]
                phi = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid}.get(
                    rnn.nonlinearity, lambda value: value
                )(z)
                leak = torch.sigmoid(own["leak_logit"]) if rnn.learned_leak else own.get("leak")
                h = phi if leak is None else leak * h + (1 - leak) * phi
                zs.append(torch.stack([z, phi]))
                hs.append(h)
            below = torch.stack(hs)
            result.append(torch.stack(zs, 1)[:, batch["mask"]])
        return result

    total: Any = 0
    for out, rows in zip(drives(parameters), jacobian(drives, parameters), strict=True):
        weights = slope(rnn.nonlinearity, out[1].detach()).flatten()
        d = rows[0].flatten(0, 1)
        total = total + d.T @ (weights.unsqueeze(1) * d)
    return total / int(batch["mask"].sum())


def operator(model: SequenceModel, batch: dict[str, Tensor], **options: Any) -> GaussNewton:
    return GaussNewton(
        model, batch["inputs"], batch["targets"], states_for(model), batch["starts"], batch["mask"], **options
    )


def columns(op: GaussNewton, structural: float = 0.0) -> Tensor:
    size = sum(p.numel() for p in op.model.parameters() if p.requires_grad)
    unit = torch.eye(size, dtype=torch.float64)
    return torch.stack([op.curvature(v, structural) for v in unit], 1)


@pytest.mark.parametrize("leaky", [False, True])
@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_products_are_the_explicit_matrix(output: str, kind: str, leaky: bool) -> None:
    model, batch = SequenceModel(network(kind, leaky), output_layer(output)), segment(output)
    torch.testing.assert_close(
        columns(operator(model, batch)), explicit(model, batch, output), atol=1e-10, rtol=0
    )


@pytest.mark.parametrize("leaky", [False, True])
@pytest.mark.parametrize("kind", NETWORKS)
def test_structural_damping_is_the_explicit_matrix(kind: str, leaky: bool) -> None:
    model, batch = SequenceModel(network(kind, leaky), output_layer("softmax")), segment("softmax")
    op = operator(model, batch)
    found = (columns(op, 0.7) - columns(op)) / 0.7
    torch.testing.assert_close(found, explicit_structural(model, batch), atol=1e-10, rtol=0)


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_l2_penalty_is_in_loss_gradient_and_curvature(output: str) -> None:
    plain = SequenceModel(network("two layers", leaky=True), output_layer(output))
    model, batch = SequenceModel(plain.rnn, plain.output, l2=0.3), segment(output)
    sizes = [(p, p.numel()) for p in model.parameters() if p.requires_grad]
    on_matrices = torch.cat([torch.full((n,), float(p.dim() == 2)).double() for p, n in sizes])
    theta = torch.cat([p.detach().flatten() for p, _ in sizes])
    with_penalty, without = operator(model, batch), operator(plain, batch)
    assert with_penalty.loss() - without.loss() == pytest.approx(
        0.15 * float((on_matrices * theta**2).sum()), rel=1e-10
    )
    torch.testing.assert_close(
        with_penalty.gradient() - without.gradient(), 0.3 * on_matrices * theta, atol=1e-12, rtol=0
    )
    torch.testing.assert_close(
        columns(with_penalty) - columns(without), torch.diag(0.3 * on_matrices), atol=1e-12, rtol=0
    )


@pytest.mark.parametrize("nonlinearity", ["tanh", "sigmoid"])
def test_structural_damping_is_the_hessian_of_the_cross_entropy(nonlinearity: str) -> None:
    z = torch.linspace(-3, 3, 13, dtype=torch.float64)

    def probability(x: Tensor) -> Tensor:
        return (torch.tanh(x) + 1) / 2 if nonlinearity == "tanh" else torch.sigmoid(x)

    q = probability(z)
    hessian = torch.autograd.functional.hessian(
        lambda x: nn.functional.binary_cross_entropy(probability(x), q, reduction="sum"), z
    )
    phi = torch.tanh(z) if nonlinearity == "tanh" else q
    torch.testing.assert_close(hessian.diagonal(), slope(nonlinearity, phi))


def test_an_embedding_is_the_transposed_input_weight() -> None:
    batch = segment("softmax")
    plain = SequenceModel(network("tanh", True), output_layer("softmax"))
    rnn = RNN(V, H, leak=plain.rnn.leak, token_inputs=True, dtype=torch.float64)
    embedded = SequenceModel(rnn, output_layer("softmax"))
    embedded.load_state_dict(plain.state_dict())
    one, other = operator(plain, batch), operator(embedded, batch)
    names = [[name for name, _ in model.named_parameters()] for model in (plain, embedded)]
    tangents = {
        name: torch.randn(p.shape, generator=seeded(6), dtype=torch.float64)
        for name, p in plain.named_parameters()
    }

    def vector(model: SequenceModel) -> Tensor:
        return torch.cat(
            [
                (tangents["rnn.weight_ih_l0"].T if name == "rnn.embedding" else tangents[name]).reshape(-1)
                for name, _ in model.named_parameters()
            ]
        )

    def named(model: SequenceModel, flat: Tensor) -> dict[str, Tensor]:
        parameters = dict(model.named_parameters())
        parts = flat.split([p.numel() for p in parameters.values()])
        out = {name: x.view(p.shape) for (name, p), x in zip(parameters.items(), parts, strict=True)}
        if "rnn.embedding" in out:
            out["rnn.weight_ih_l0"] = out.pop("rnn.embedding").T
        return out

    assert names[0] != names[1]
    torch.testing.assert_close(named(plain, one.gradient()), named(embedded, other.gradient()))
    torch.testing.assert_close(
        named(plain, one.curvature(vector(plain), 0.3)),
        named(embedded, other.curvature(vector(embedded), 0.3)),
    )


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("seed", range(5))
def test_products_are_symmetric_and_positive_semidefinite(output: str, seed: int) -> None:
    model, batch = SequenceModel(network("two layers", True), output_layer(output)), segment(output)
    op = operator(model, batch)
    size = sum(p.numel() for p in model.parameters())
    u, v = torch.randn(2, size, generator=seeded(seed), dtype=torch.float64)
    for structural in (0.0, 0.5):
        gu, gv = op.curvature(u, structural), op.curvature(v, structural)
        torch.testing.assert_close(u @ gv, v @ gu, rtol=1e-12, atol=1e-12)
        assert u @ gu >= 0
        assert v @ gv >= 0


def test_products_are_linear_and_follow_the_gradient() -> None:
    model, batch = SequenceModel(network("tanh", True), output_layer("bernoulli")), segment("bernoulli")
    op = operator(model, batch)
    v = op.gradient()
    before = op.curvature(v)
    torch.testing.assert_close(op.curvature(-3 * v), -3 * before)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    op.gradient()
    assert not torch.allclose(op.curvature(v), before)


def test_loss_and_gradient_are_the_models() -> None:
    model, batch = (
        SequenceModel(network("relu", True), output_layer("bernoulli"), l1=0.1),
        segment("bernoulli"),
    )
    op = operator(model, batch)
    loss = model.loss(batch["inputs"], batch["targets"], states_for(model), batch["starts"], batch["mask"])
    gradients = torch.autograd.grad(loss.objective, list(model.parameters()))
    assert op.loss() == loss.objective.item()
    torch.testing.assert_close(op.gradient(), torch.cat([g.reshape(-1) for g in gradients]))
    assert (op.last_nll, op.frames) == (float(loss.nll), loss.frames)


def test_the_penalty_has_no_curvature() -> None:
    batch = segment("bernoulli")
    with_l1, without = (
        columns(operator(SequenceModel(network("relu", False), output_layer("bernoulli"), l1=l1), batch))
        for l1 in (0.3, 0.0)
    )
    torch.testing.assert_close(with_l1, without, rtol=0, atol=0)


def test_curvature_on_some_streams_is_that_of_these_streams() -> None:
    model, batch = SequenceModel(network("tanh", True), output_layer("softmax")), segment("softmax")
    chosen = torch.tensor([1])
    some = {name: x[:, chosen] for name, x in batch.items()}
    alone = GaussNewton(
        model, some["inputs"], some["targets"], states_for(model)[:, chosen], some["starts"], some["mask"]
    )
    torch.testing.assert_close(
        columns(operator(model, batch, curvature_streams=chosen)), columns(alone), rtol=1e-12, atol=1e-14
    )


def test_squared_gradients_are_those_of_the_streams() -> None:
    model, batch = SequenceModel(network("tanh", False), output_layer("softmax")), segment("softmax")
    op, parts = operator(model, batch), []
    for b in range(B):
        loss = model.loss(
            *(batch[k][:, b : b + 1] for k in ("inputs", "targets")),
            states_for(model)[:, b : b + 1],
            *(batch[k][:, b : b + 1] for k in ("starts", "mask")),
        )
        share = loss.objective * loss.frames / int(batch["mask"].sum())
        parts.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(share, list(model.parameters()))]))
    torch.testing.assert_close(sum(parts), op.gradient())
    torch.testing.assert_close(torch.stack(parts).square().sum(0), op.squared_gradient())


def test_frozen_parameters_are_left_out() -> None:
    model, batch = (
        SequenceModel(network("two layers", False), output_layer("bernoulli")),
        segment("bernoulli"),
    )
    whole = columns(operator(model, batch))
    names = [name for name, _ in model.named_parameters()]
    frozen = {"rnn.weight_hh_l0", "rnn.bias_ih_l1", "output.bias"}
    kept = torch.cat([torch.full((p.numel(),), name not in frozen) for name, p in model.named_parameters()])
    for name in frozen & set(names):
        model.get_parameter(name).requires_grad_(False)
    torch.testing.assert_close(columns(operator(model, batch)), whole[kept][:, kept], rtol=0, atol=1e-14)


def test_what_cannot_be_done_is_refused() -> None:
    batch = segment("bernoulli")
    dropping = RNN(V, H, num_layers=2, dropout=0.5, generator=seeded())
    with pytest.raises(ValueError, match="dropout"):
        GaussNewton(SequenceModel(dropping, Bernoulli(H, V)), batch["inputs"], batch["targets"])

    class NoCurvature(nn.Module):
        pass

    with pytest.raises(ValueError, match="no method `linearize`"):
        GaussNewton(SequenceModel(RNN(V, H), NoCurvature()), batch["inputs"], batch["targets"])  # type: ignore[arg-type]
    first = GaussNewton(
        SequenceModel(RNN(V, H, batch_first=True), Bernoulli(H, V)), batch["inputs"], batch["targets"]
    )
    with pytest.raises(ValueError, match="time first"):
        first.curvature(torch.zeros(sum(p.numel() for p in first.model.parameters())))


def test_the_optimizer_goes_by_the_operators_order() -> None:
    generator = torch.Generator().manual_seed(0)
    frames = (torch.rand(6, 3, 5, generator=generator) < 0.3).to(torch.uint8)
    ends = []
    for backwards in (False, True):
        generator.manual_seed(1)
        model = SequenceModel(RNN(5, 5, generator=generator), Bernoulli(5, 5, generator=generator))
        parameters = list(model.parameters())
        optimizer = HessianFree(parameters[::-1] if backwards else parameters, max_iterations=10)
        for _ in range(2):
            optimizer.step(GaussNewton(model, frames, frames))
        ends.append(torch.cat([p.detach().flatten() for p in parameters]))
    assert ends[0].equal(ends[1])
    with pytest.raises(UserError, match="expected the optimizer to hold the 6 trained parameters"):
        HessianFree(parameters[1:]).step(GaussNewton(model, frames, frames))
