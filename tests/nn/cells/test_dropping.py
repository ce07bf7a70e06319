"""Dropout of inputs, outputs and recurrent states: what is dropped, how often, and what stays."""

import pytest
import torch

from ostinato.nn import GRU, LSTM, RNN, SequenceModel
from ostinato.nn.cells import CTRNN
from ostinato.nn.cells.dropping import acting
from ostinato.nn.cells.state import map_state
from ostinato.nn.curvature.gauss_newton import GaussNewton
from ostinato.nn.outputs import Softmax
from ostinato.nn.streamwise import Minibatch, clipped_backward

CELLS = [RNN, GRU, LSTM, CTRNN]
NEW = ("input_dropout", "output_dropout", "recurrent_dropout")


def made(cell: type, seed: int = 0, **settings: float) -> torch.nn.Module:
    settings.setdefault("token_inputs", False)
    generator = torch.Generator().manual_seed(seed)
    return cell(6, 8, generator=generator, dtype=torch.float64, **settings)


def values(steps: int = 5, streams: int = 3) -> torch.Tensor:
    draws = torch.Generator().manual_seed(7)
    return torch.randn(steps, streams, 6, generator=draws, dtype=torch.float64)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", NEW)
def test_it_acts_while_training_alone_and_by_the_generator(cell, name) -> None:
    x = values()
    plain = made(cell)(x)[0]
    dropping = made(cell, **{name: 0.5})
    first = dropping(x)[0]
    assert not torch.equal(first, plain)
    assert torch.equal(made(cell, **{name: 0.5})(x)[0], first)
    assert not torch.equal(dropping(x)[0], first)
    assert torch.equal(dropping.eval()(x)[0], plain)
    assert acting(dropping) == {}


@pytest.mark.parametrize("cell", CELLS)
def test_outputs_are_dropped_behind_the_states(cell) -> None:
    x = values(40, 9)
    plain, states = made(cell)(x)
    found, last = made(cell, output_dropout=0.25)(x)
    gone = found == 0
    assert torch.allclose(found[~gone], plain[~gone] / 0.75)
    assert 0.2 < float(gone.double().mean()) < 0.3
    map_state(lambda a, b: torch.testing.assert_close(a, b), last, states)


@pytest.mark.parametrize("cell", CELLS)
def test_inputs_that_are_dropped_are_zero(cell) -> None:
    x = values()
    everything = made(cell, input_dropout=1.0)
    torch.testing.assert_close(everything(x)[0], made(cell)(torch.zeros_like(x))[0])
    # each mask is one of the inputs: with one left of each kind the output is that of masked inputs
    dropping = made(cell, input_dropout=0.5)
    state = dropping.generator.get_state()
    found = dropping(x)[0]
    dropping.generator.set_state(state)
    mask = torch.empty_like(x).bernoulli_(0.5, generator=dropping.generator)
    torch.testing.assert_close(found, made(cell)(x * mask / 0.5)[0])
    binary = (x > 0).to(torch.uint8)
    torch.testing.assert_close(everything(binary)[0], everything(x)[0])


@pytest.mark.parametrize("cell", CELLS)
def test_embeddings_are_dropped_and_biases_stay(cell) -> None:
    tokens = torch.tensor([[1, 2], [3, 1], [0, 5]])
    everything = made(cell, input_dropout=1.0, token_inputs=True)
    silent = made(cell, token_inputs=True)
    with torch.no_grad():
        silent.embedding.zero_()
    torch.testing.assert_close(everything(tokens)[0], silent(tokens)[0])
    everything(tokens)[0].sum().backward()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
def test_recurrent_units_are_dropped_for_all_steps(cell, layers) -> None:
    """The same as a network whose recurrent weights have lost columns, each layer its own."""
    x, other = values(), made(cell, num_layers=layers)
    dropping = made(cell, num_layers=layers, recurrent_dropout=0.5)
    found, last = dropping(x)
    masks = [dropping._columns[f"weight_hh_l{layer}"].clone() for layer in range(layers)]
    assert all(set(mask.tolist()) == {0.0, 2.0} for mask in masks)
    assert layers == 1 or not torch.equal(*masks)
    with torch.no_grad():
        for layer, mask in enumerate(masks):
            getattr(other, f"weight_hh_l{layer}").mul_(mask)
    plain, states = other(x)
    torch.testing.assert_close(found, plain)
    map_state(lambda a, b: torch.testing.assert_close(a, b), last, states)
    grad = torch.autograd.grad(found.square().sum(), dropping.weight_hh_l0)[0]
    wanted = torch.autograd.grad(plain.square().sum(), other.weight_hh_l0)[0]
    torch.testing.assert_close(grad, wanted * masks[0])


@pytest.mark.parametrize("cell", [RNN, GRU, LSTM])
def test_packed_sequences_lose_the_same_units_everywhere(cell) -> None:
    x = values()
    dropping = made(cell, recurrent_dropout=0.5)
    state = dropping.generator.get_state()
    whole = dropping(x)[0]
    dropping.generator.set_state(state)
    padded = dropping(x, lengths=torch.tensor([5, 2, 4]))[0]
    torch.testing.assert_close(padded[:2], whole[:2])
    torch.testing.assert_close(padded[4, 0], whole[4, 0])


@pytest.mark.parametrize("name", NEW)
def test_where_chance_cannot_be_it_is_refused(name) -> None:
    model = SequenceModel(RNN(6, 8, token_inputs=True, **{name: 0.5}), Softmax(8, 6))
    tokens = torch.ones(3, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match="dropout"):
        GaussNewton(model, tokens, tokens)
    with pytest.raises(ValueError, match="dropout"):
        model.rnn.linearize(tokens)
    with pytest.raises(RuntimeError, match=name):
        torch.jit.script(RNN(6, 8, **{name: 0.5}))
    with pytest.raises(ValueError, match=f"{name} should be a probability"):
        RNN(6, 8, **{name: 1.5})


@pytest.mark.parametrize("name", NEW)
def test_streams_are_clipped_by_themselves(name) -> None:
    """With recurrent dropout each stream gets a pass of its own; no gradient is lost in any case."""
    model = SequenceModel(GRU(6, 8, token_inputs=True, **{name: 0.5}), Softmax(8, 6))
    tokens = torch.randint(0, 6, (5, 3), generator=torch.Generator().manual_seed(0))
    found = clipped_backward(model, Minibatch(tokens, tokens, None, None, None), 1e-3)
    assert len(found.norms) == 3
    assert (found.uncovered == "rnn.weight_hh_l0") == (name == "recurrent_dropout")
    assert all(p.grad is not None for p in model.parameters())
    total = torch.cat([p.grad.to_dense().flatten() for p in model.parameters()]).norm()
    assert float(total) <= 1e-3 * (1 + 1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_an_embedding_of_a_size_is_a_layer_before_the_first(cell) -> None:
    """Rows of the embedding, read as numbers by a network with the other weights."""
    tokens = torch.tensor([[1, 2], [3, 1], [0, 5]])
    embedded = made(cell, token_inputs=True, embedding_size=6)
    assert embedded.embedding.shape == (6, 6)
    plain = made(cell)
    plain.load_state_dict({k: v for k, v in embedded.state_dict().items() if k != "embedding"})
    found, last = embedded(tokens)
    wanted, states = plain(embedded.embedding[tokens].detach())
    torch.testing.assert_close(found, wanted)
    map_state(lambda a, b: torch.testing.assert_close(a, b), last, states)
    found.sum().backward()
    assert embedded.embedding.grad.is_sparse
    assert float(embedded.embedding.grad.to_dense()[4].abs().sum()) == 0
    again = made(cell, 1, token_inputs=True, embedding_size=6)
    again.load_state_dict(embedded.state_dict())
    torch.testing.assert_close(again(tokens)[0], found)
    # of a token all numbers are dropped, as of numbers
    masked = made(cell, token_inputs=True, embedding_size=6, input_dropout=1.0)
    torch.testing.assert_close(masked(tokens)[0], plain(torch.zeros(3, 2, 6, dtype=torch.float64))[0])
