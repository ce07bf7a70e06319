"""Gates that copy what was seen: their formula, gradients, curvature, and that they copy."""

import numpy as np
import pytest
import torch

from ostinato.data.side import Side, columns, inputs
from ostinato.nn import GRU, RNN, SequenceModel
from ostinato.nn.curvature.gauss_newton import GaussNewton
from ostinato.nn.kernels.by_stream import StreamGradients
from ostinato.nn.outputs import NADE, Bernoulli, CopyGates, Onsets, Seen

P, V, H, L = 2, 4, 3, 2
DOUBLE = {"dtype": torch.float64}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


OUTPUTS = {
    "bernoulli": lambda g: Bernoulli(H + V, V, generator=g, **DOUBLE),
    "nade": lambda g: NADE(H + V, V, 4, generator=g, **DOUBLE),
    "bernoulli, onsets": lambda g: Onsets(Bernoulli(H + V, V, generator=g, **DOUBLE)),
    "nade, onsets": lambda g: Onsets(NADE(H + V, V, 4, order="high-to-low", generator=g, **DOUBLE)),
}


def song(steps: int, seed: int) -> tuple[np.ndarray, Side]:
    """Valid frames with onsets that recur after 3 and 6, and two features."""
    draw = np.random.default_rng(seed)
    sounds = np.tile(draw.random((3, P)) < 0.6, (steps // 3 + 1, 1))[:steps]
    struck = sounds & (draw.random((steps, P)) < 0.4)
    struck[1:] |= sounds[1:] & ~sounds[:-1]
    struck[0] = sounds[0]
    side = Side(draw.integers(0, 2, (steps, 2)), np.tile([3, 6], (steps, 1)))
    return np.concatenate([sounds, struck], 1).astype(np.uint8), side


def batch(steps: int, streams: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs (T, B, I) and frames (T, B, V)."""
    songs = [song(steps, seed) for seed in range(streams)]
    read = np.stack([inputs(*one) for one in songs], 1)
    return torch.from_numpy(read), torch.from_numpy(np.stack([frames for frames, _ in songs], 1))


def seen() -> Seen:
    size = song(1, 0)[1].size(V)
    return Seen(size, *columns(size, V, L), L)


@pytest.fixture(params=OUTPUTS)
def layer(request: pytest.FixtureRequest) -> CopyGates:
    """With weights that say something."""
    found = CopyGates(OUTPUTS[request.param](seeded(3)), H, seen())
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.normal_(0, 0.5, generator=seeded(parameter.numel()))
    return found


def test_a_gate_moves_the_log_odds_of_all_notes_by_what_it_is() -> None:
    read, _ = batch(8, 1)
    state = torch.randn(8, 1, H, **DOUBLE, generator=seeded(1))
    hidden = torch.cat([state, read.to(state.dtype)], 2)
    plain = Bernoulli(H, V, generator=seeded(2), **DOUBLE)
    layer = CopyGates(Bernoulli(H + V, V, generator=seeded(2), **DOUBLE), H, seen())
    with torch.no_grad():
        layer.output.weight[:, :H] = plain.weight
        layer.output.bias.copy_(plain.bias)
        layer.weight.normal_(generator=seeded(5))
    x = torch.cat([state, read[..., V : V + 2], read[..., -L * 5 :]], 2).to(state.dtype)
    gates = (1 + torch.exp(x @ layer.weight.T + layer.bias)).log()
    torch.testing.assert_close(layer.gates(hidden), gates)
    expected = plain(state).logits
    for k, back in enumerate((3, 6)):
        frames = torch.zeros(8, 1, V)
        frames[back:] = torch.from_numpy(song(8, 0)[0])[: 8 - back, None]
        expected = expected + gates[..., k : k + 1] * (2 * frames - 1)
    torch.testing.assert_close(layer(hidden).logits, expected)


@pytest.mark.parametrize("state_scale", [0.0, 0.1, 1.0])
def test_nade_takes_offsets_as_log_odds_whatever_it_makes_of_the_state(state_scale: float) -> None:
    nade = NADE(H + V, V, 5, state_scale=state_scale, generator=seeded(0), **DOUBLE)
    nade.initialize_offsets_()
    offsets = torch.randn(V, generator=seeded(1), **DOUBLE)
    with_them, without = (nade(torch.cat([torch.zeros(H, **DOUBLE), x])) for x in (offsets, 0 * offsets))
    torch.testing.assert_close(with_them.biases[:V] - without.biases[:V], offsets * bool(state_scale))
    torch.testing.assert_close(with_them.biases[V:], without.biases[V:])


def test_nll_is_minus_log_prob_and_its_gradient_is_right(layer: CopyGates) -> None:
    read, frames = (x.flatten(0, 1) for x in batch(7, 1))
    hidden = torch.randn(7, H, generator=seeded(5), **DOUBLE)

    def nll(hidden: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return layer.nll(torch.cat([hidden, read.to(hidden.dtype)], 1), frames)

    whole = torch.cat([hidden, read.to(hidden.dtype)], 1)
    torch.testing.assert_close(nll(hidden), -layer(whole).log_prob(frames).sum())
    assert torch.autograd.gradcheck(nll, (hidden.requires_grad_(), layer.weight, layer.bias))


@pytest.mark.parametrize("cell", [RNN, GRU])
def test_curvature_is_that_of_the_rows_asked_for(layer: CopyGates, cell: type) -> None:
    """G v against J^T H J v from automatic derivatives of the logits that are asked for."""
    read, frames = batch(7, 2)
    model = SequenceModel(cell(read.shape[2], H, generator=seeded(2), **DOUBLE), layer)
    operator = GaussNewton(model, read, frames)
    gradient = operator.gradient()
    vector = torch.randn(len(gradient), generator=seeded(4), **DOUBLE)
    own = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def each(flat: torch.Tensor) -> torch.Tensor:
        """log p of every row given those before it."""
        parts = flat.split([p.numel() for p in own.values()])
        given = {name: x.view(p.shape) for (name, p), x in zip(own.items(), parts, strict=True)}
        predicted, _ = torch.func.functional_call(model, given, (read,))
        if hasattr(predicted, "rows"):
            predicted = predicted.rows.settled(*predicted._certain(frames))
        return predicted.note_log_probs(frames).flatten()

    flat = torch.cat([p.detach().flatten() for p in own.values()])
    jacobian = torch.autograd.functional.jacobian(each, flat)
    p = each(flat).detach().exp()
    weight = torch.where(p < 1, p / (1 - p), 0.0)
    expected = jacobian.T @ (weight * (jacobian @ vector)) / (frames.shape[0] * frames.shape[1])
    torch.testing.assert_close(operator.curvature(vector), expected, rtol=1e-6, atol=1e-9)


def test_each_stream_has_gradients_of_its_own(layer: CopyGates) -> None:
    read, frames = batch(6, 3)
    hidden = torch.cat([torch.randn(6, 3, H, generator=seeded(1), **DOUBLE), read.double()], 2)
    parameters = list(layer.parameters())
    with StreamGradients(6, 3).recording() as found:
        layer.nll(hidden.flatten(0, 1), frames.flatten(0, 1)).backward()
    assert found.uncovered(parameters) is None
    for stream, norm in enumerate(found.norms().tolist()):
        own = torch.autograd.grad(layer.nll(hidden[:, stream], frames[:, stream]), parameters)
        assert norm == pytest.approx(float(torch.cat([g.flatten() for g in own]).norm()))


def test_a_model_with_gates_copies_what_one_without_cannot() -> None:
    """Songs of one random bar of four frames, over and over: what the state cannot hold, a gate copies."""
    draw, pitches, back = np.random.default_rng(0), 12, 4
    bars = (draw.random((40, back, pitches)) < 0.5).astype(np.uint8)
    songs = np.tile(bars, (1, 4, 1))
    side = Side(np.zeros((songs.shape[1], 1)), np.full((songs.shape[1], 1), back))
    read = torch.from_numpy(np.stack([inputs(one, side) for one in songs], 1))
    frames = torch.from_numpy(songs.transpose(1, 0, 2).copy())
    size = side.size(pitches)

    def trained(gates: bool) -> float:
        width = pitches if gates else 0
        output = Bernoulli(2 + width, pitches, generator=seeded(1))
        layer = CopyGates(output, 2, Seen(size, *columns(size, pitches, 1), 1)) if gates else output
        model = SequenceModel(RNN(size, 2, generator=seeded(0)), layer)
        optimizer = torch.optim.Adam(model.parameters(), 0.05)
        for _ in range(150):
            optimizer.zero_grad()
            loss = model.loss(read, frames)
            loss.objective.backward()
            optimizer.step()
        with torch.no_grad():
            predicted, _ = model(read)
            return float(-predicted.log_prob(frames)[back:].mean())

    with_gates, without = trained(True), trained(False)
    assert with_gates < 0.3
    assert without > 5
