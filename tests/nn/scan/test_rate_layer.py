"""A rate network's layer in one call against the composition of its parts, and what takes the composition."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from ostinato.nn import CTRNN
from ostinato.nn.kernels import cpu, nonlinearities, rates_cpu
from ostinato.nn.scan import rate_layer as module
from ostinato.nn.scan.noise import NOISE

pytestmark = pytest.mark.skipif(not cpu.has_noise(), reason="the extension is not built")

KINDS = ["key", "draws", "none"]
FORMS = ["leaky", "state", "no leak", "fed back"]


def arguments(
    form: str,
    kind: str,
    phi: str = "tanh",
    *,
    sizes: tuple[int, int, int, int] = (9, 3, 2, 7),
    starts: bool = False,
    given_drive: bool = False,
    biases: int = 2,
) -> list[Any]:
    steps, streams, inputs, hidden = sizes
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    h0 = normal(streams, hidden)
    layer = rates_cpu.RateLayer(
        None if given_drive else normal(steps, streams, inputs),
        None if given_drive else normal(hidden, inputs),
        normal(hidden) if biases > 0 and not given_drive else None,
        normal(hidden) if biases > 1 and not given_drive else None,
        normal(steps, streams, hidden) if given_drive else None,
        (normal(hidden, hidden).detach() / hidden**0.5).requires_grad_(),
        None if form == "no leak" else torch.rand(hidden, generator=generator, dtype=torch.float64) * 0.9,
        None if kind == "none" else torch.rand(hidden, generator=generator, dtype=torch.float64),
        normal(steps, streams, hidden).detach() if kind == "draws" else None,
        torch.tensor(2**62 + 1234567) if kind == "key" else None,
        h0,
        nonlinearities.value(phi, h0).detach().requires_grad_() if form == "fed back" else None,
        torch.rand(steps, streams, generator=generator) < 0.3 if starts else None,
    )
    return [*layer, module.Settings(phi, noise_at_state=form == "state")]


def compare(given: list[Any], rtol: float = 1e-10) -> None:
    wanted = [x for x in given if isinstance(x, Tensor) and x.requires_grad]
    assert module._fuses(rates_cpu.RateLayer(*given[:-1]))
    made, expected = module._apply(*given, True), module._composition(*given)
    assert type(made[0].grad_fn).__name__ == "_RateLayerBackward"
    torch.testing.assert_close(made, expected, rtol=rtol, atol=1e-12)
    up = torch.randn(made[0].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours, theirs = (torch.autograd.grad(x[0], wanted, up, retain_graph=True) for x in (made, expected))
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=1e-11)
    # of the last state, alone and beside that of the rates
    for outputs in (lambda x: [x[1]], lambda x: list(x)):
        ups = [up[-1:], up[:1]] if len(outputs(made)) == 1 else [up, up[:1]]
        ours, theirs = (
            torch.autograd.grad(
                outputs(x), wanted, ups[: len(outputs(x))], retain_graph=True, allow_unused=True
            )
            for x in (made, expected)
        )
        torch.testing.assert_close(ours, theirs, rtol=rtol, atol=1e-11)


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("form", "kind"),
    [(f, k) for f in FORMS for k in KINDS if (f, k) != ("state", "none")],  # no noise is at no place
)
@pytest.mark.parametrize("starts", [False, True])
@pytest.mark.parametrize(
    "sizes",
    [(9, 3, 2, 7), (1, 1, 1, 1), (40, 1, 3, 33), (70, 9, 20, 100), (33, 16, 3, 130)],
    ids=str,
)
@pytest.mark.usefixtures("threads")
def test_equals_the_composition(form: str, kind: str, starts: bool, sizes: tuple[int, int, int, int]) -> None:
    compare(arguments(form, kind, starts=starts, sizes=sizes))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("phi", nonlinearities.NONLINEARITIES)
def test_of_every_nonlinearity(form: str, phi: str) -> None:
    compare(arguments(form, "key", phi, starts=True))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS[:2])
def test_of_a_drive_and_without_biases(form: str, kind: str) -> None:
    compare(arguments(form, kind, given_drive=True))
    compare(arguments(form, kind, biases=0))
    compare(arguments(form, kind, biases=1))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("instruction_set", cpu.instruction_sets())
def test_in_float32_on_every_instruction_set(
    form: str, instruction_set: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = arguments(form, "key", "softplus", sizes=(20, 9, 3, 70))
    expected = module._composition(*given)[0]
    narrow = [x.detach().float() if isinstance(x, Tensor) and x.is_floating_point() else x for x in given]
    monkeypatch.setattr(cpu, "extension", lambda: cpu.Kernel(instruction_set).native)
    made = module._apply(*narrow, True)[0].double()
    torch.testing.assert_close(made, expected.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_derivatives_of_derivatives_and_batches_of_gradients(form: str) -> None:
    given = arguments(form, "key", sizes=(4, 2, 2, 3))
    places = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]

    def run(*values: Tensor) -> tuple[Tensor, Tensor]:
        again = list(given)
        for place, value in zip(places, values, strict=True):
            again[place] = value
        return module._apply(*again, True)

    values = [given[i] for i in places]
    assert torch.autograd.gradcheck(run, values)
    assert torch.autograd.gradgradcheck(run, values)
    rates = run(*values)[0]
    ups = torch.randn(5, *rates.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    together = torch.autograd.grad(rates, values, ups, is_grads_batched=True, retain_graph=True)
    one_by_one = [torch.autograd.grad(rates, values, up, retain_graph=True) for up in ups]
    expected = tuple(torch.stack(group) for group in zip(*one_by_one, strict=True))
    torch.testing.assert_close(together, expected, rtol=1e-9, atol=1e-11)


def test_a_tensor_in_two_places_has_each_place_s_gradient() -> None:
    given = arguments("leaky", "key")
    given[3] = given[2]  # one bias, twice
    loss = module._apply(*given, True)[0].square().sum()
    (bias,) = torch.autograd.grad(loss, [given[2]], create_graph=True)
    expected = torch.autograd.grad(module._composition(*given)[0].square().sum(), [given[2]])[0]
    torch.testing.assert_close(bias, expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", cpu.instruction_sets())
@pytest.mark.parametrize("form", ["leaky", "fed back"])
@pytest.mark.parametrize(
    "sizes",
    [(20, 64, 3, 33), (16, 64, 2, 16), (9, 64, 1, 5), (70, 16, 9, 20), (70, 17, 4, 20), (300, 3, 3, 130)],
    ids="T={0[0]},B={0[1]},I={0[2]},H={0[3]}".format,
)
def test_sums_made_while_the_scan_runs_are_those_of_all_frames(
    sizes: tuple[int, int, int, int], form: str, name: str, threads: int
) -> None:
    """Of deltas kept of a few steps or of all, few inputs and more, rows that fill vectors or do not."""
    *tensors, _ = arguments(form, "none", sizes=sizes, starts=True)
    without_graph: Any = (x if x is None else x.detach() for x in tensors)
    layer = rates_cpu.RateLayer(*without_graph)
    native = cpu.Kernel(name).native
    made = rates_cpu.forward(layer, "tanh", False, native)
    assert made.slopes is not None
    assert layer.inputs is not None
    assert layer.starts is not None
    up = torch.randn(made.rates.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    grads = rates_cpu.backward(layer, made.rates, made.slopes, up, (True,) * 4, True, native)
    assert grads.drive is not None
    g, start = grads.drive.flatten(0, 1), layer.h0 if layer.r0 is None else layer.r0
    previous = torch.cat([start, made.rates[:-1].flatten(0, 1)])
    previous = previous.masked_fill(layer.starts.flatten().unsqueeze(-1), 0)
    torch.testing.assert_close(grads.weight_hh, g.T @ previous, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(grads.weight_ih, g.T @ layer.inputs.flatten(0, 1), rtol=1e-10, atol=1e-10)
    for bias in (grads.bias, grads.second_bias):
        torch.testing.assert_close(bias, g.sum(0), rtol=1e-10, atol=1e-10)


def test_rates_that_somebody_holds_are_never_written_again() -> None:
    """Their memory goes to a later pass only when they are gone: several passes, and graphs used twice."""
    given = arguments("leaky", "key", sizes=(40, 8, 3, 30))
    weight = given[5]
    held = [module._apply(*given, True)[0] for _ in range(3)]
    copies = [x.detach().clone() for x in held]
    expected = torch.autograd.grad(module._composition(*given)[0].square().sum(), weight)[0]
    for _ in range(2):
        for x in held:
            made = torch.autograd.grad(x.square().sum(), weight, retain_graph=True)[0]
            torch.testing.assert_close(made, expected, rtol=1e-10, atol=1e-10)
            module._apply(*given, True)
    view = held.pop(0)[3:5]
    module._apply(*given, True)
    assert torch.equal(view, copies[0][3:5])
    assert all(torch.equal(x, y) for x, y in zip(held, copies[1:], strict=True))


@pytest.mark.parametrize(
    ("form", "noise_at"),
    [("outside", "input"), ("outside", "state"), ("inside", "input"), ("preactivation", "input")],
)
@pytest.mark.parametrize(
    "settings", [{}, {"dale": 0.8}, {"learned_initial": True}, {"tau_bounds": (1.5, 9.0)}], ids=str
)
def test_a_network_s_noise_is_that_of_its_key_on_every_path(
    form: str, noise_at: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> tuple[Tensor, list[Any]]:
        rnn = CTRNN(
            3, 20, form=form, noise_at=noise_at, noise=0.3, tau=3.0, dtype=torch.float64,
            generator=torch.Generator().manual_seed(5), **settings,
        )  # fmt: skip
        rates = rnn(torch.ones(6, 4, 3, dtype=torch.float64))[0]
        rates.square().sum().backward()
        return rates.detach(), [p.grad for p in rnn.parameters()]

    fused = run()
    monkeypatch.setattr(module, "_fuses", lambda layer: False)
    torch.testing.assert_close(fused, run(), rtol=1e-9, atol=1e-11)
    monkeypatch.setattr(cpu, "has_noise", lambda: False)
    torch.testing.assert_close(fused, run(), rtol=1e-9, atol=1e-11)


def test_what_wants_more_takes_the_composition() -> None:
    given = arguments("leaky", "draws")
    assert module._fuses(rates_cpu.RateLayer(*given[:-1]))
    for place in (6, 7, 8):  # leak, scale, draws
        changed = list(given)
        changed[place] = given[place].detach().clone().requires_grad_()
        assert not module._fuses(rates_cpu.RateLayer(*changed[:-1]))
        with torch.no_grad():
            assert module._fuses(rates_cpu.RateLayer(*changed[:-1]))
    with torch.autocast("cpu"):
        assert not module._fuses(rates_cpu.RateLayer(*given[:-1]))


def test_the_operator_of_noise_is_one_of_pytorch_s() -> None:
    key = torch.tensor(3)
    torch.library.opcheck(NOISE, (key, [2, 3, 4], True))
    several = torch.vmap(lambda k: NOISE(k, [2, 3, 4], True))(torch.tensor([3, 5]))
    assert torch.equal(several[0], NOISE(key, [2, 3, 4], True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight_hh": torch.zeros(3, 3)}, "inputs must be"),
        ({"scale": torch.zeros(2)}, "the noise's scale must be"),
        ({"h0": torch.zeros(3, 7, dtype=torch.float32)}, "the initial state must be"),
        ({"draws": torch.zeros(9, 3, 7, dtype=torch.float64)}, "either draws or a key"),
        ({"weight_hh": torch.zeros(7, 7, dtype=torch.float16)}, "float32 or float64"),
        ({"inputs": torch.zeros(0, 3, 2, dtype=torch.float64)}, "at least"),
    ],
)
def test_refused(changes: dict[str, Tensor], message: str) -> None:
    layer = rates_cpu.RateLayer(*arguments("leaky", "key")[:-1])
    with pytest.raises(ValueError, match=message):
        rates_cpu.forward(layer._replace(**changes), "tanh", False)
