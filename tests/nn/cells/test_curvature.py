"""Gauss-Newton products of gated cells against the matrix J^T H J, by autograd in float64."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from ostinato.nn import GRU, LSTM, RNN, SequenceModel
from ostinato.nn.cells.linearized import LinearizedByAutograd
from ostinato.nn.cells.state import map_state, select
from ostinato.nn.curvature.gauss_newton import GaussNewton
from ostinato.nn.outputs import Bernoulli, Softmax
from ostinato.optim import HessianFree

T, B, V, H = 5, 2, 3, 3
CELLS = (GRU, LSTM)
NETWORKS = ("plain", "leaky", "learned leak", "two layers", "no bias")
double = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(kind: type, variant: str, **options: Any) -> Any:
    leak = None
    if "leak" in variant:
        leak = torch.tensor([0.05, 0.3, 0.9], dtype=double, requires_grad=variant == "learned leak")
    layers = 2 if variant == "two layers" else 1
    return kind(
        V,
        H,
        num_layers=layers,
        bias=variant != "no bias",
        leak=leak,
        generator=seeded(),
        dtype=double,
        **options,
    )


def output_layer(kind: str) -> Any:
    return (Bernoulli if kind == "bernoulli" else Softmax)(H, V, generator=seeded(1), dtype=double)


def segment(kind: str) -> dict[str, Tensor]:
    """Songs that start in the middle of streams, and filler at an end."""
    starts = torch.zeros(T, B, dtype=torch.bool)
    starts[0, 0] = starts[2, 1] = starts[4, 0] = True
    mask = torch.ones(T, B, dtype=torch.bool)
    mask[4:, 1] = False
    if kind == "bernoulli":
        frames = (torch.rand(T + 1, B, V, generator=seeded(2)) < 0.4).to(torch.uint8)
    else:
        frames = torch.randint(V, (T + 1, B), generator=seeded(2))
    return {"inputs": frames[:-1], "targets": frames[1:], "starts": starts, "mask": mask}


def states_for(model: SequenceModel) -> Any:
    seeds = iter((3, 4))
    return map_state(
        lambda x: torch.randn(x.shape, generator=seeded(next(seeds)), dtype=double) / 2,
        model.rnn.initial_state(B),
    )


def operator(model: SequenceModel, batch: dict[str, Tensor], **options: Any) -> GaussNewton:
    return GaussNewton(
        model, batch["inputs"], batch["targets"], states_for(model), batch["starts"], batch["mask"], **options
    )


def columns(op: GaussNewton, structural: float = 0.0) -> Tensor:
    size = sum(p.numel() for p in op.model.parameters() if p.requires_grad)
    return torch.stack([op.curvature(v, structural) for v in torch.eye(size, dtype=double)], 1)


def jacobian(model: SequenceModel, batch: dict[str, Tensor], what: str) -> Tensor:
    """The derivative of the frames' logits, or of all layers' outputs, (frames, values, P)."""

    class Values(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self) -> Tensor:
            layers, _ = model.rnn(batch["inputs"], states_for(model), batch["starts"], all_layers=True)
            chosen = [layer[batch["mask"]] for layer in layers]
            if what == "outputs":
                return torch.cat(chosen)
            output: Any = model.output
            return chosen[-1] @ output.weight.T + output.bias

    parameters = {f"model.{k}": p.detach() for k, p in model.named_parameters()}
    rows = jacrev(lambda p: functional_call(Values(), p, ()))(parameters)
    return torch.cat([x.flatten(2) for x in rows.values()], 2)


def explicit(model: SequenceModel, batch: dict[str, Tensor], output: str) -> Tensor:
    j = jacobian(model, batch, "logits")
    with torch.no_grad():
        hidden = model.rnn(batch["inputs"], states_for(model), batch["starts"])[0][batch["mask"]]
        logits = hidden @ model.output.weight.T + model.output.bias  # type: ignore[attr-defined]
    if output == "bernoulli":
        p = torch.sigmoid(logits)
        hessian = torch.diag_embed(p * (1 - p))
    else:
        p = torch.softmax(logits, 1)
        hessian = torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)
    return torch.einsum("nkp,nkl,nlq->pq", j, hessian, j) / len(logits)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("variant", NETWORKS)
@pytest.mark.parametrize("output", ["bernoulli", "softmax"])
def test_products_are_the_explicit_matrix(kind: type, variant: str, output: str) -> None:
    model, batch = SequenceModel(network(kind, variant), output_layer(output)), segment(output)
    matrix = explicit(model, batch, output)
    torch.testing.assert_close(columns(operator(model, batch)), matrix, atol=1e-12, rtol=1e-10)
    assert matrix.abs().max() > 1e-3


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("variant", NETWORKS)
def test_structural_damping_is_half_the_squared_change_of_the_outputs(kind: type, variant: str) -> None:
    model, batch = SequenceModel(network(kind, variant), output_layer("softmax")), segment("softmax")
    op = operator(model, batch)
    found = (columns(op, 0.7) - columns(op)) / 0.7
    d = jacobian(model, batch, "outputs")
    expected = torch.einsum("nkp,nkq->pq", d, d) / int(batch["mask"].sum())
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("variant", NETWORKS)
def test_an_rnn_linearised_by_autograd_is_the_one_on_its_kernels(variant: str) -> None:
    rnn, batch = network(RNN, variant), segment("softmax")
    model = SequenceModel(rnn, output_layer("softmax"))
    given = batch["inputs"], states_for(model), batch["starts"]
    own, general = rnn.linearize(*given), LinearizedByAutograd(rnn, *given)
    tangents = {k: torch.randn(p.shape, generator=seeded(6), dtype=double) for k, p in rnn.named_parameters()}
    up = torch.randn(T, B, H, generator=seeded(7), dtype=double)
    torch.testing.assert_close(own.outputs, general.outputs)
    torch.testing.assert_close(own.tangent(tangents), general.tangent(tangents))
    torch.testing.assert_close(own.adjoint(up, None, tangents), general.adjoint(up, None, tangents))


@pytest.mark.parametrize("kind", CELLS)
def test_an_embedding_is_the_transposed_input_weight(kind: type) -> None:
    batch = segment("softmax")
    plain = SequenceModel(network(kind, "two layers"), output_layer("softmax"))
    embedded = SequenceModel(network(kind, "two layers", token_inputs=True), output_layer("softmax"))
    embedded.load_state_dict(plain.state_dict())
    named = {}
    for model in (plain, embedded):
        parameters = dict(model.named_parameters())
        tangents = []
        for name, p in parameters.items():
            # the same change of both, whichever way they are held
            draw = torch.randn(
                p.shape[::-1] if name == "rnn.embedding" else p.shape, generator=seeded(8), dtype=double
            )
            tangents.append((draw.T if name == "rnn.embedding" else draw).reshape(-1))
        product = operator(model, batch).curvature(torch.cat(tangents), 0.3)
        parts = product.split([p.numel() for p in parameters.values()])
        named[model] = {k: x.view(p.shape) for (k, p), x in zip(parameters.items(), parts, strict=True)}
    found = named[embedded]
    found["rnn.weight_ih_l0"] = found.pop("rnn.embedding").T
    torch.testing.assert_close(found, named[plain])


@pytest.mark.parametrize("kind", CELLS)
def test_streams_of_the_curvature_bring_their_states(kind: type) -> None:
    model, batch = SequenceModel(network(kind, "leaky"), output_layer("softmax")), segment("softmax")
    chosen = torch.tensor([1])
    some = {name: x[:, chosen] for name, x in batch.items()}
    own = select(states_for(model), chosen)
    alone = GaussNewton(model, some["inputs"], some["targets"], own, some["starts"], some["mask"])
    few = operator(model, batch, curvature_streams=chosen)
    torch.testing.assert_close(columns(few), columns(alone), rtol=1e-12, atol=1e-14)
    op = operator(model, batch)
    squared = sum(
        (op_b.gradient() * op_b.frames / int(batch["mask"].sum())).square()
        for b in range(B)
        for op_b in [
            GaussNewton(
                model,
                *(batch[k][:, b : b + 1] for k in ("inputs", "targets")),
                select(states_for(model), torch.tensor([b])),
                *(batch[k][:, b : b + 1] for k in ("starts", "mask")),
            )
        ]
    )
    torch.testing.assert_close(op.squared_gradient(), squared)


@pytest.mark.parametrize("kind", CELLS)
def test_frozen_parameters_are_left_out(kind: type) -> None:
    model, batch = SequenceModel(network(kind, "two layers"), output_layer("softmax")), segment("softmax")
    whole = columns(operator(model, batch))
    frozen = {"rnn.weight_hh_l0", "rnn.bias_ih_l1", "output.bias"}
    kept = torch.cat([torch.full((p.numel(),), k not in frozen) for k, p in model.named_parameters()])
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)
    torch.testing.assert_close(columns(operator(model, batch)), whole[kept][:, kept], rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("structural", [0.0, 0.3])
def test_hessian_free_trains_it(kind: type, structural: float) -> None:
    model, batch = SequenceModel(network(kind, "leaky"), output_layer("softmax")), segment("softmax")
    optimizer = HessianFree(model.parameters(), 0.1, structural_damping=structural)
    losses = []
    for _ in range(20):
        report = optimizer.step(operator(model, batch))
        losses.append(report.loss_before)
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("kind", CELLS)
def test_what_cannot_be_done_is_refused(kind: type) -> None:
    tokens = torch.zeros(3, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match="time first"):
        kind(V, H, batch_first=True).linearize(tokens.T)
    dropping = kind(V, H, 2, dropout=0.5)
    with pytest.raises(ValueError, match="no dropout"):
        dropping.linearize(tokens)
    dropping.eval().linearize(tokens)
