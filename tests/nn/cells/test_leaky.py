import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils import parametrize, prune
from torch.utils.checkpoint import checkpoint

from ostinato.nn import RNN, sample_leak
from ostinato.nn.cells.initialization import INITIALIZATIONS, initialize_recurrent_


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def compare_with_torch(
    *,
    layers: int,
    batch_first: bool,
    dtype: torch.dtype,
    nonlinearity: str,
    bias: bool,
    shape: tuple[int, ...],
) -> float:
    """Largest relative difference (max norm) of outputs and gradients to torch.nn.RNN's."""
    steps, streams, inputs, hidden = shape
    theirs = torch.nn.RNN(inputs, hidden, layers, nonlinearity, bias, batch_first, dtype=dtype)
    ours = RNN(inputs, hidden, layers, nonlinearity, bias, batch_first, dtype=dtype, generator=seeded())
    ours.load_state_dict(theirs.state_dict())
    lead = (streams, steps) if batch_first else (steps, streams)
    draw = seeded(1)
    x = torch.randn(*lead, inputs, generator=draw, dtype=dtype)
    h0 = torch.randn(layers, streams, hidden, generator=draw, dtype=dtype)
    upstream = torch.randn(*lead, hidden, generator=draw, dtype=dtype)
    results = []
    for module in (ours, theirs):
        xs, hs = x.clone().requires_grad_(), h0.clone().requires_grad_()
        out, last = module(xs, hs)
        ((out * upstream).sum() + last.square().sum()).backward()
        results.append([out, last, xs.grad, hs.grad, *(p.grad for p in module.parameters())])
    names = [n for n, _ in ours.named_parameters()]
    assert names == [n for n, _ in theirs.named_parameters()]
    return max(
        ((a - b).abs().max() / b.abs().max().clamp_min(1e-30)).item() for a, b in zip(*results, strict=True)
    )


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 5e-6)])
def test_equals_torch_without_leak(
    layers: int, batch_first: bool, nonlinearity: str, dtype: torch.dtype, tolerance: float
) -> None:
    difference = compare_with_torch(
        layers=layers,
        batch_first=batch_first,
        dtype=dtype,
        nonlinearity=nonlinearity,
        bias=True,
        shape=(13, 4, 6, 20),
    )
    assert difference < tolerance


@settings(max_examples=30, deadline=None)
@given(
    steps=st.sampled_from([1, 2, 7]),
    streams=st.sampled_from([1, 3]),
    hidden=st.sampled_from([1, 17, 65]),
    inputs=st.sampled_from([1, 5]),
    bias=st.booleans(),
)
def test_equals_torch_for_odd_shapes(steps: int, streams: int, hidden: int, inputs: int, bias: bool) -> None:
    difference = compare_with_torch(
        layers=2,
        batch_first=False,
        dtype=torch.float64,
        nonlinearity="tanh",
        bias=bias,
        shape=(steps, streams, inputs, hidden),
    )
    assert difference < 1e-10


def test_state_dicts_load_both_ways() -> None:
    ours, theirs = RNN(3, 4, 2, generator=seeded()), torch.nn.RNN(3, 4, 2)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(5, 2, 3, generator=seeded())
    torch.testing.assert_close(ours(x)[0], theirs(x)[0])
    leaky = RNN(3, 4, 2, leak=0.5)
    leaky.load_state_dict(theirs.state_dict())
    assert leaky.leak is not None
    assert leaky.leak.tolist() == [0.5] * 4
    copy = RNN(3, 4, 2, leak=0.25)
    copy.load_state_dict(leaky.state_dict())
    torch.testing.assert_close(copy(x)[0], leaky(x)[0])


def test_leaky_units_follow_their_equation() -> None:
    leak = torch.tensor([0.0, 0.3, 0.9])
    rnn = RNN(2, 3, leak=leak, nonlinearity="sigmoid", generator=seeded())
    x = torch.randn(6, 1, 2, generator=seeded())
    out, _ = rnn(x)
    h = torch.zeros(1, 3)
    for t in range(6):
        z = x[t] @ rnn.weight_ih_l0.T + rnn.bias_ih_l0 + h @ rnn.weight_hh_l0.T + rnn.bias_hh_l0
        h = leak * h + (1 - leak) * torch.sigmoid(z)
        torch.testing.assert_close(out[t], h)


def test_carrying_the_state_equals_one_long_run_and_starts_reset_it() -> None:
    rnn = RNN(2, 3, 2, leak=0.4, generator=seeded())
    x = torch.randn(10, 2, 2, generator=seeded())
    whole, last = rnn(x)
    first, state = rnn(x[:4])
    second, state = rnn(x[4:], state)
    torch.testing.assert_close(whole, torch.cat([first, second]))
    torch.testing.assert_close(last, state)
    starts = torch.zeros(10, 2, dtype=torch.bool)
    starts[4] = True
    torch.testing.assert_close(rnn(x, starts=starts)[0][4:], rnn(x[4:])[0])


def test_inputs_of_every_kind_agree() -> None:
    rnn = RNN(5, 3, generator=seeded())
    tokens = torch.tensor([[0, 4], [2, 2], [1, 3]])
    one_hot = torch.nn.functional.one_hot(tokens, 5)
    from_tokens = rnn(tokens)[0]
    torch.testing.assert_close(from_tokens, rnn(one_hot.to(torch.uint8))[0])
    torch.testing.assert_close(from_tokens, rnn(one_hot.float())[0])
    torch.testing.assert_close(rnn(tokens[:, 0])[0], from_tokens[:, 0])
    batch_first = RNN(5, 3, batch_first=True, generator=seeded())
    torch.testing.assert_close(batch_first(tokens.T)[0].transpose(0, 1), from_tokens)


def test_dropout_takes_the_generator_and_only_acts_in_training() -> None:
    def outputs(seed: int) -> torch.Tensor:
        rnn = RNN(2, 30, 2, dropout=0.5, generator=seeded(seed))
        return rnn(torch.ones(3, 1, 2))[0]

    torch.testing.assert_close(outputs(0), outputs(0))
    rnn = RNN(2, 30, 2, dropout=0.5, generator=seeded()).eval()
    torch.testing.assert_close(rnn(torch.ones(3, 1, 2))[0], rnn(torch.ones(3, 1, 2))[0])


@pytest.mark.parametrize("method", INITIALIZATIONS)
def test_initializations(method: str) -> None:
    w = initialize_recurrent_(torch.empty(40, 40), method, generator=seeded())
    torch.testing.assert_close(w, initialize_recurrent_(torch.empty(40, 40), method, generator=seeded()))
    if method == "orthogonal":
        torch.testing.assert_close(w @ w.T, torch.eye(40), atol=1e-5, rtol=0)
    if method == "echo-state":
        assert ((w != 0).sum(1) == 15).all()
        assert torch.linalg.eigvals(w).abs().max().item() == pytest.approx(1.1, rel=1e-4)
    assert RNN(3, 40, initialization=method, generator=seeded())(torch.ones(2, 1, 3))[0].isfinite().all()


def test_a_replaced_weight_is_the_one_that_is_used() -> None:
    """Parametrizations, pruning and functional calls put another tensor in a parameter's place."""
    rnn = RNN(3, 5, leak=0.5, generator=seeded())
    x = torch.randn(4, 2, 3, generator=seeded(1))
    half = RNN(3, 5, leak=0.5, generator=seeded())
    with torch.no_grad():
        half.weight_hh_l0.mul_(0.5)
    expected = half(x)[0]

    replaced = dict(rnn.named_parameters()) | {"weight_hh_l0": rnn.weight_hh_l0 * 0.5}
    torch.testing.assert_close(torch.func.functional_call(rnn, replaced, x)[0], expected)

    class Halved(torch.nn.Module):
        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            return weight * 0.5

    parametrize.register_parametrization(rnn, "weight_hh_l0", Halved())
    torch.testing.assert_close(rnn(x)[0], expected)
    parametrize.remove_parametrizations(rnn, "weight_hh_l0")
    torch.testing.assert_close(rnn(x)[0], expected)

    prune.custom_from_mask(rnn, "weight_hh_l0", torch.zeros(5, 5))
    with torch.no_grad():
        half.weight_hh_l0.zero_()
    torch.testing.assert_close(rnn(x)[0], half(x)[0])


def test_a_tensor_kept_from_a_functorch_transform_is_an_input_like_any_other() -> None:
    kept = []

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept.append(x)
        return x.sum()

    x = torch.randn(4, 2, 3, generator=seeded(1))
    torch.func.grad(keep)(x)
    rnn = RNN(3, 5, leak=0.5, generator=seeded())
    torch.testing.assert_close(rnn(kept[0])[0], rnn(x)[0])


def test_a_checkpoint_may_be_made_and_used_by_other_numbers_of_threads() -> None:
    rnn = RNN(3, 5, leak=0.5, generator=seeded())
    x = torch.randn(4, 9, 3, generator=seeded(1))
    (expected,) = torch.autograd.grad(rnn(x)[0].sum(), rnn.weight_hh_l0)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        states = checkpoint(lambda x: rnn(x)[0], x.requires_grad_(), use_reentrant=False)
        torch.set_num_threads(2)
        states.sum().backward()
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(rnn.weight_hh_l0.grad, expected)


def test_vmap_takes_the_networks_streams_together(capfd: pytest.CaptureFixture[str]) -> None:
    """And not one call for each of them, of which PyTorch would warn."""
    rnn = RNN(3, 5, generator=seeded(), dtype=torch.float64)
    x = torch.randn(6, 4, 2, 3, generator=seeded(1), dtype=torch.float64)
    torch.testing.assert_close(torch.vmap(lambda x: rnn(x)[0])(x), torch.stack([rnn(part)[0] for part in x]))
    assert "performance drop" not in capfd.readouterr().err


def test_sampled_leaks() -> None:
    slow = sample_leak(200, 0.25, 0.8, 0.98, generator=seeded())
    assert (slow > 0).sum() == 50
    assert slow[slow > 0].min() >= 0.8
    assert slow.max() <= 0.98
    with pytest.raises(ValueError, match="leak range"):
        sample_leak(10, 0.5, 0.2, 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RNN(2, 3, leak=1.0), r"lie in \[0, 1\)"),
        (lambda: RNN(2, 3, leak=0.9999, dtype=torch.bfloat16), r"lie in \[0, 1\), in torch.bfloat16 too"),
        (lambda: RNN(2, 3, leak=torch.zeros(2)), r"shape \(3,\)"),
        (lambda: RNN(2, 3, nonlinearity="gelu"), "Unknown nonlinearity 'gelu'. Select from 'tanh', 'relu'"),
    ],
)
def test_wrong_arguments_are_named(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
