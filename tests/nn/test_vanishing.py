"""The regulariser against vanishing gradients, against its definition by autograd on an unrolled network."""

import pytest
import torch
from torch import Tensor

import ostinato
from ostinato.domains.domain import domain_named
from ostinato.errors import UserError
from ostinato.nn import GRU, RNN, SequenceModel
from ostinato.nn.outputs import Softmax
from ostinato.nn.vanishing import recurrent_weights, vanishing_penalty
from ostinato.recipe.recipe import Recipe

T, B, H, S, C = 9, 4, 6, 5, 3


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(layers: int = 1, leak: Tensor | None = None, nonlinearity: str = "tanh") -> SequenceModel:
    settings = {"leak": leak, "generator": seeded(), "dtype": torch.float64}
    rnn = RNN(S, H, layers, nonlinearity, **settings)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in rnn.parameters():
            parameter.mul_(1.5)
    return SequenceModel(rnn, Softmax(H, C, generator=seeded(1), dtype=torch.float64))


def segment() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draw = seeded(2)
    inputs = torch.randn(T, B, S, generator=draw, dtype=torch.float64)
    targets = torch.randint(C, (T, B), generator=draw)
    starts, mask = torch.zeros(T, B, dtype=torch.bool), torch.rand(T, B, generator=draw) < 0.5
    starts[0], starts[4, 1], starts[6, 3] = True, True, True
    mask[-1, :2], mask[-1, 2:] = True, False
    return inputs, targets, starts, mask


PHI = {"tanh": torch.tanh, "relu": torch.relu}


def by_definition(net: SequenceModel, inputs, targets, starts, mask) -> tuple[Tensor, list[Tensor]]:
    """Omega and its immediate gradients: states of every step are leaves of one graph, their Jacobians of
    another.
    """
    rnn, below = net.rnn, inputs
    leak = torch.zeros(H, dtype=torch.float64) if rnn.leak is None else rnn.leak
    every, slopes = [], []
    for k in range(rnn.num_layers):
        w, u = getattr(rnn, f"weight_hh_l{k}"), getattr(rnn, f"weight_ih_l{k}")
        bias = getattr(rnn, f"bias_ih_l{k}") + getattr(rnn, f"bias_hh_l{k}")
        h, states, own = torch.zeros(B, H, dtype=torch.float64), [], []
        for t in range(T):
            h = torch.where(starts[t].unsqueeze(1), torch.zeros_like(h), h)
            z = below[t] @ u.T + bias + h @ w.T
            own.append(z.detach().requires_grad_())
            h = leak * h + (1 - leak) * PHI[rnn.nonlinearity](z)
            h.retain_grad()
            states.append(h)
        every.append(states)
        slopes.append([torch.autograd.grad(PHI[rnn.nonlinearity](z).sum(), z)[0] for z in own])
        below = states
    hidden = torch.stack(below)
    net.output.nll(hidden[mask], targets[mask]).div(int(mask.sum())).backward()
    total, gradients = torch.zeros((), dtype=torch.float64), []
    for k, of_layer in enumerate(every):
        w = getattr(rnn, f"weight_hh_l{k}").detach().clone().requires_grad_()
        terms = []
        for t in range(T - 1):
            for b in range(B):
                grad = of_layer[t + 1].grad[b]
                if starts[t + 1, b] or float(grad.square().sum()) < 1e-20:
                    continue
                jacobian = torch.diag(leak) + torch.diag((1 - leak) * slopes[k][t + 1][b]) @ w
                terms.append(((grad @ jacobian).square().sum() / grad.square().sum() - 1) ** 2)
        omega = torch.stack(terms).mean()
        gradients.append(torch.autograd.grad(omega, w)[0])
        total = total + omega.detach()
    for parameter in net.parameters():
        parameter.grad = None
    return total, gradients


LEAK = torch.tensor([0.0, 0.3, 0.9, 0.5, 0.0, 0.2], dtype=torch.float64)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("leak", [None, LEAK])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_it_is_what_its_source_says(layers, leak, nonlinearity):
    net, (inputs, targets, starts, mask) = model(layers, leak, nonlinearity), segment()
    found = vanishing_penalty(net, inputs, targets, None, starts, mask)
    omega, gradients = by_definition(net, inputs, targets, starts, mask)
    assert found.omega == pytest.approx(float(omega), rel=1e-10)
    for one, other in zip(found.gradients, gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert [tuple(w.shape) for w in recurrent_weights(net)] == [(H, H)] * layers


def test_gradients_that_keep_their_norm_cost_nothing():
    net = model(1, None, "tanh")
    with torch.no_grad():
        net.rnn.nonlinearity = "identity"
        net.rnn.weight_hh_l0.copy_(torch.linalg.qr(torch.randn(H, H, dtype=torch.float64))[0])
    inputs, targets, _, mask = segment()
    mask = torch.zeros_like(mask)
    mask[-1] = True
    found = vanishing_penalty(net, inputs, targets, None, None, mask)
    assert found.omega == pytest.approx(0, abs=1e-20)
    assert found.ratio == pytest.approx((1.0,))
    with torch.no_grad():
        net.rnn.weight_hh_l0.mul_(0.5)
    found = vanishing_penalty(net, inputs, targets, None, None, mask)
    assert (found.omega, found.ratio[0]) == pytest.approx(((0.25 - 1) ** 2, 0.5))


def test_nothing_before_the_last_frame_that_counts_is_no_gradient():
    net, (inputs, targets, _, mask) = model(), segment()
    mask = torch.zeros_like(mask)
    mask[0] = True
    found = vanishing_penalty(net, inputs, targets, None, None, mask)
    assert found.omega == 0
    assert not found.gradients[0].any()


def test_other_cells_and_other_frames_are_refused():
    net, (inputs, targets, starts, mask) = model(), segment()
    with pytest.raises(ValueError, match="expected targets"):
        vanishing_penalty(net, inputs, targets[:-1], None, starts, mask)
    gated = SequenceModel(GRU(S, H), Softmax(H, C))
    with pytest.raises(TypeError, match="expected a model whose recurrence is an RNN, found GRU"):
        vanishing_penalty(gated, inputs.float(), targets)


def test_an_update_goes_along_it_too():
    problem = {"length": 20, "hidden_size": 12, "epochs": 1, "epoch_sequences": 20, "learning_rate": 0.1}
    settings = {"domain": "delays", "data": "temporal-order", "dtype": "float64", **problem}
    plain, zero, strong = (
        ostinato.train("SGD", **settings, vanishing_penalty=weight).model for weight in (0.0, 0.0, 3.0)
    )
    recipe = Recipe.parse("SGD", **settings)
    domain = domain_named("delays")
    data = domain.load(recipe)
    start = domain.model(recipe, domain.identity(data))
    segment = domain.streams(recipe, data, 0)[0]
    found = vanishing_penalty(start, segment.inputs, segment.targets, None, segment.starts, segment.mask)
    assert plain.rnn.weight_hh_l0.equal(zero.rnn.weight_hh_l0)
    torch.testing.assert_close(
        strong.rnn.weight_hh_l0 - plain.rnn.weight_hh_l0, -0.1 * 3.0 * found.gradients[0]
    )
    assert found.gradients[0].abs().max() > 1e-3
    assert strong.rnn.weight_ih_l0.equal(plain.rnn.weight_ih_l0)


def test_what_it_does_not_go_with_is_refused():
    for wrong in (
        {"num_layers": 2, "dropout": 0.1},
        {"clip": 1.0, "clip_by": "sequence"},
    ):
        with pytest.raises(UserError, match=r"vanishing_penalty 1.0 .* go with"):
            Recipe.parse("SGD", vanishing_penalty=1.0, **wrong)
    assert "vanishing_penalty" not in Recipe.parse("SGD", cell="gru")
