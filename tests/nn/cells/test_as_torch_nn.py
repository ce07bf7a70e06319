"""Modules in the place of `torch.nn`'s: the same calls, numbers, gradients, state dicts, texts and mistakes.

The samples go through the settings that PyTorch's own test table of its modules goes through, and the checks
ask what its test file asks of every module; each is one function here, and is asked of every sample.
"""

import copy
import io
import itertools
import pickle
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import ostinato.nn as own
from ostinato.nn.cells import packed

STACKS, CELLS = ("RNN", "GRU", "LSTM"), ("RNNCell", "GRUCell", "LSTMCell")
double = torch.float64


@dataclass(frozen=True)
class Sample:
    """A module's settings, and the shapes it is called with."""

    name: str
    settings: dict[str, Any]
    input: tuple[int, ...]
    states: tuple[tuple[int, ...], ...] = ()
    lengths: tuple[int, ...] = ()

    def make(self, place: Any = own, **more: Any) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            return getattr(place, self.name)(**self.settings, **more)

    def tensors(self, dtype: torch.dtype = double) -> list[Tensor]:
        draw = torch.Generator().manual_seed(1)
        return [
            torch.randn(shape, generator=draw, dtype=double).to(dtype) for shape in (self.input, *self.states)
        ]

    def call(self, module: Any, tensors: list[Tensor]) -> list[Tensor]:
        """All that the module returns, flat."""
        x, *states = tensors
        given: Any = x
        if self.lengths:
            given = pack_padded_sequence(x, torch.tensor(self.lengths), self.settings["batch_first"])
        hx = None if not states else states[0] if len(states) == 1 else tuple(states)
        return flat(module(given) if hx is None else module(given, hx))


def flat(found: Any) -> list[Tensor]:
    if isinstance(found, Tensor):
        return [found]
    if isinstance(found, PackedSequence):
        return [found.data]
    return [x for part in found for x in flat(part)]


def samples(name: str) -> Iterator[Sample]:
    if name in CELLS:
        states = ((10,),) * (2 if name == "LSTMCell" else 1)
        kinds = [{}, {"bias": False}] + ([{"nonlinearity": "relu"}] if name == "RNNCell" else [])
        for kind, batch, given in itertools.product(kinds, ((), (4,)), (True, False)):
            shapes = tuple((*batch, *shape) for shape in states) if given else ()
            yield Sample(name, {"input_size": 5, "hidden_size": 10, **kind}, (*batch, 5), shapes)
        return
    choices: dict[str, tuple[Any, ...]] = dict.fromkeys(
        ("bias", "batch_first", "bidirectional"), (False, True)
    )
    if name == "RNN":
        choices["nonlinearity"] = ("relu", "tanh")
    if name == "LSTM":
        choices["proj_size"] = (0, 2)
    for values in itertools.product(*choices.values()):
        settings = {
            "input_size": 2,
            "hidden_size": 3,
            "num_layers": 2,
            **dict(zip(choices, values, strict=True)),
        }
        rows = 4 if settings["bidirectional"] else 2
        widths = (settings.get("proj_size") or 3, 3)[: 2 if name == "LSTM" else 1]
        yield Sample(name, settings, (3, 2))
        yield Sample(name, settings, (3, 2), tuple((rows, width) for width in widths))
        batch = (5, 3, 2) if settings["batch_first"] else (3, 5, 2)
        yield Sample(name, settings, batch, tuple((rows, 5, width) for width in widths))
        yield Sample(name, settings, batch, tuple((rows, 5, width) for width in widths), (3, 3, 2, 1, 1))
        yield Sample(name, settings, batch, (), (3, 2, 2, 2, 1))


def pair(sample: Sample, dtype: torch.dtype = double) -> tuple[Any, Any]:
    """Theirs, and ours with the same weights."""
    theirs, ours = sample.make(nn, dtype=dtype), sample.make(dtype=dtype)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def numbers(sample: Sample) -> None:
    for dtype in (double, torch.float32):
        theirs, ours = pair(sample, dtype)
        tensors = sample.tensors(dtype)
        torch.testing.assert_close(sample.call(ours, tensors), sample.call(theirs, tensors))


def as_one_of_a_batch(sample: Sample) -> None:
    """What has no dimension of streams is a batch of one."""
    stack = sample.name in STACKS
    if sample.lengths or len(sample.input) != (2 if stack else 1):
        return
    module, (x, *states) = sample.make(dtype=double), sample.tensors()
    where = 0 if not stack or sample.settings["batch_first"] else 1
    batched = [x.unsqueeze(where), *(s.unsqueeze(1 if stack else 0) for s in states)]
    found, wanted = sample.call(module, [x, *states]), sample.call(module, batched)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a.flatten(), b.flatten())


def factory_arguments(sample: Sample) -> None:
    for device in ("cpu", "meta"):
        made = sample.make(device=device, dtype=double)
        assert {(x.device.type, x.dtype) for x in made.parameters()} == {(device, double)}


def device_of_the_context(sample: Sample) -> None:
    with torch.device("meta"):
        made = sample.make()
    assert all(x.is_meta for x in made.parameters())


def to_empty_and_to(sample: Sample) -> None:
    theirs, ours = pair(sample, torch.float32)
    made = sample.make(device="meta").to_empty(device="cpu")
    made.load_state_dict(theirs.state_dict())
    tensors = sample.tensors(torch.float32)
    torch.testing.assert_close(sample.call(made, tensors), sample.call(ours, tensors))
    tensors = sample.tensors()
    torch.testing.assert_close(sample.call(ours.double(), tensors), sample.call(theirs.to(double), tensors))


def text(sample: Sample) -> None:
    theirs, ours = repr(sample.make(nn)), repr(sample.make())
    assert ours.replace("'", "").replace(", nonlinearity=relu", "") == theirs.replace(
        ", nonlinearity=relu", ""
    )


def saved(sample: Sample) -> None:
    module, tensors = sample.make(dtype=double), sample.tensors()
    wanted = sample.call(module, tensors)
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    copies = (again, pickle.loads(pickle.dumps(module)), copy.copy(module), copy.deepcopy(module))
    for made in copies:
        torch.testing.assert_close(sample.call(made, tensors), wanted, rtol=0, atol=0)
    with torch.no_grad():
        copies[2].weight_hh_l0.zero_() if sample.name in STACKS else copies[2].weight_hh.zero_()
    assert not any(
        parameter.any()
        for name, parameter in module.named_parameters()
        if name in ("weight_hh", "weight_hh_l0")
    )


def state_dicts(sample: Sample) -> None:
    theirs, ours = sample.make(nn), sample.make()
    assert [(n, p.shape) for n, p in ours.named_parameters()] == [
        (n, p.shape) for n, p in theirs.named_parameters()
    ]
    theirs.load_state_dict(ours.state_dict())
    tensors = sample.tensors(torch.float32)
    torch.testing.assert_close(sample.call(ours, tensors), sample.call(theirs, tensors))
    if sample.name in STACKS:
        ours.flatten_parameters()
        assert [[w.shape for w in ws] for ws in ours.all_weights] == [
            [w.shape for w in ws] for ws in theirs.all_weights
        ]


def gradients(sample: Sample) -> None:
    """The first derivatives of a function of all outputs, and those of a function of these."""
    results = []
    for module in pair(sample):
        tensors = [x.requires_grad_() for x in sample.tensors()]
        wanted = [*tensors, *module.parameters()]
        total = sum((k + 1) * torch.sin(x + k).sum() for k, x in enumerate(sample.call(module, tensors)))
        first = torch.autograd.grad(total, wanted, create_graph=True)
        second = torch.autograd.grad(sum(torch.cos(x).sum() for x in first), wanted, materialize_grads=True)
        results.append([*first, *second])
    torch.testing.assert_close(results[1], results[0], rtol=1e-9, atol=1e-11)


def strided_tensors(sample: Sample) -> None:
    """Inputs that are not contiguous, as inputs and for gradients."""
    module = sample.make(dtype=double)
    results = []
    for spread in (False, True):
        tensors = sample.tensors()
        if spread:
            tensors = [torch.stack((x, x), -1)[..., 0] for x in tensors]
        tensors = [x.requires_grad_() for x in tensors]
        out = sample.call(module, tensors)
        up = [torch.ones(*x.shape, 2, dtype=double)[..., 0] for x in out]
        results.append([*out, *torch.autograd.grad(out, [*tensors, *module.parameters()], up)])
    torch.testing.assert_close(results[1], results[0])


def training_and_evaluation(sample: Sample) -> None:
    module, tensors = sample.make(dtype=double), sample.tensors()
    wanted = sample.call(module.train(), tensors)
    torch.testing.assert_close(sample.call(module.eval(), tensors), wanted, rtol=0, atol=0)


def replaced_weights(sample: Sample) -> None:
    """Pruning, weight normalisation and parametrisations act here as they act there."""
    name = "weight_hh_l0" if sample.name in STACKS else "weight_hh"
    for change in (
        lambda m: prune.custom_from_mask(
            m, name, torch.arange(getattr(m, name).numel()).view_as(getattr(m, name)) % 2
        ),
        lambda m: parametrizations.weight_norm(m, name),
        lambda m: parametrize.register_parametrization(m, name, nn.Tanh()),
    ):
        theirs, ours = pair(sample)
        results = []
        for module in (theirs, ours):
            change(module)
            with torch.no_grad():  # what is in the weight's place is made of the parameters as they are now
                for parameter in module.parameters():
                    parameter.mul_(1.5)
            results.append(sample.call(module, sample.tensors()))
        torch.testing.assert_close(results[1], results[0])


# asked of every sample
OF_CALLS: tuple[Callable[[Sample], None], ...] = (
    numbers,
    as_one_of_a_batch,
    gradients,
    strided_tensors,
    training_and_evaluation,
)
# asked of one sample of each choice of settings
OF_SETTINGS: tuple[Callable[[Sample], None], ...] = (
    factory_arguments,
    device_of_the_context,
    to_empty_and_to,
    text,
    saved,
    state_dicts,
    replaced_weights,
)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("name", [*STACKS, *CELLS])
@pytest.mark.parametrize("check", [*OF_CALLS, *OF_SETTINGS], ids=lambda check: check.__name__)
def test_every_sample_is_as_in_torch(name: str, check: Callable[[Sample], None]) -> None:
    seen = []
    for sample in samples(name):
        if check in OF_SETTINGS and sample.settings in seen:
            continue
        seen.append(sample.settings)
        try:
            check(sample)
        except Exception as error:
            error.add_note(f"in {sample}")
            raise


Mistake = tuple[dict[str, Any], Callable[[Any], Any] | None]


def mistakes(name: str) -> Iterator[Mistake]:
    """Settings, and a call where making the module goes well."""
    sizes: dict[str, Any] = {"input_size": 10, "hidden_size": 20}
    if name in CELLS:
        pairs = name == "LSTMCell"

        def after(*shape: int) -> Any:
            return (torch.ones(shape), torch.ones(shape)) if pairs else torch.ones(shape)

        for kind in ({}, {"nonlinearity": "relu"}) if name == "RNNCell" else ({},):
            for x, h in (
                ((3, 11), (3, 20)),
                ((3, 10), (3, 21)),
                ((3, 10), (5, 20)),
                ((3, 10), (3, 1, 1, 20)),
            ):
                yield sizes | kind, lambda m, x=x, h=h: m(torch.ones(x), after(*h))
        yield sizes, lambda m: m(torch.ones(2, 3, 10))
        return
    for wrong in (
        {"hidden_size": 0},
        {"num_layers": 0},
        {"input_size": 0},
        {"input_size": -1},
        {"input_size": 3.0},
        {"input_size": "10"},
        {"hidden_size": 5.0},
        {"bias": 0},
        {"bias": "True"},
        {"batch_first": 1},
        {"dropout": 1.5},
        {"dropout": True},
        {"proj_size": 20},
    ):
        yield sizes | wrong, None

    def state(*shape: int) -> Any:
        return (torch.ones(shape), torch.ones(shape)) if name == "LSTM" else torch.ones(shape)

    yield sizes, lambda m: m(torch.ones(2, 4, 10, dtype=double))
    yield sizes, lambda m: m(torch.ones(2, 4, 11))
    yield sizes, lambda m: m(torch.ones(10))
    yield sizes, lambda m: m(torch.ones(2, 2, 4, 10))
    yield sizes, lambda m: m(torch.ones(0, 4, 10))
    yield sizes, lambda m: m(torch.ones(2, 4, 10), state(1, 20))
    yield sizes, lambda m: m(torch.ones(2, 10), state(1, 1, 20))
    yield sizes, lambda m: m(torch.ones(2, 4, 10), state(1, 3, 20))
    yield sizes | {"bidirectional": True}, lambda m: m(torch.ones(2, 4, 10), state(1, 4, 20))
    packed = pack_padded_sequence(torch.ones(2, 2, 11), torch.tensor([2, 1]))
    if name != "LSTM":  # whose matrix product is the first that looks at it, in torch
        yield sizes, lambda m: m(packed)


def tried(kind: Any, settings: dict[str, Any], call: Callable[[Any], Any] | None) -> None:
    module = kind(**settings)
    assert call is not None, f"made with {settings}"
    call(module)


@pytest.mark.parametrize("name", [*STACKS, *CELLS])
def test_mistakes_are_refused_as_in_torch(name: str) -> None:
    for settings, call in mistakes(name):
        errors = []
        for place in (nn, own):
            with pytest.raises((ValueError, TypeError, RuntimeError)) as caught:
                tried(getattr(place, name), settings, call)
            errors.append((caught.type, str(caught.value)))
        # older versions check less, or say it in other words
        if torch.__version__ >= "2.13":
            assert errors[0] == errors[1]


@pytest.mark.parametrize("name", STACKS)
def test_dropout_with_one_layer_warns(name: str) -> None:
    texts = []
    for place in (nn, own):
        with pytest.warns(UserWarning, match="non-zero dropout expects num_layers greater than 1") as caught:
            getattr(place, name)(2, 3, dropout=0.5)
        texts.append(str(caught[0].message))
    assert texts[0] == texts[1]


def test_positional_arguments_have_torch_s_order() -> None:
    wanted = {"num_layers": 2, "bias": False, "batch_first": True, "dropout": 0.1, "bidirectional": True}
    for name in STACKS:
        before = ("relu",) if name == "RNN" else ()
        module = getattr(own, name)(2, 3, 2, *before, False, True, 0.1, True)
        assert {key: getattr(module, key) for key in wanted} == wanted
        assert getattr(module, "nonlinearity", "relu") == "relu"
    assert own.LSTM(2, 3, 1, True, False, 0.0, False, 2).proj_size == 2


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("leak", [None, 0.3])
def test_lengths_are_as_one_sequence_after_the_other(name: str, leak: float | None) -> None:
    """In any order, in both directions, with dropout's place, token ids and states of their own."""
    for reads, batch_first in itertools.product(("frames", "bytes", "tokens"), (False, True)):
        draw = torch.Generator().manual_seed(0)
        module = getattr(own, name)(
            6,
            3,
            2,
            batch_first=batch_first,
            bidirectional=True,
            leak=leak,
            dtype=double,
            token_inputs=reads == "tokens",
        )
        lengths = torch.tensor([2, 7, 1, 7, 4])
        x = torch.randn(7, 5, 6, generator=draw, dtype=double)
        x = {"frames": x, "bytes": (x > 1).byte(), "tokens": torch.randint(6, (7, 5), generator=draw)}[reads]
        states = [torch.randn(4, 5, 3, generator=draw, dtype=double) for _ in module.state_tensors]
        hx = tuple(states) if len(states) > 1 else states[0]
        given = x.transpose(0, 1) if batch_first else x
        for start in (None, hx):
            out, last = module(given, start, lengths=lengths)
            out = out.transpose(0, 1) if batch_first else out
            assert not any(out[n:, b].any() for b, n in enumerate(lengths))
            for b, n in enumerate(lengths):
                own_start = None if start is None else [s[:, b] for s in states]
                one, end = module(
                    x[:n, b], own_start if own_start is None or len(states) > 1 else own_start[0]
                )
                torch.testing.assert_close(out[:n, b], one)
                torch.testing.assert_close([s[:, b] for s in flat(last)], flat(end))


@pytest.mark.parametrize("name", STACKS)
def test_packed_sequences_in_any_order_are_torch_s(name: str) -> None:
    """Unsorted, with a state for each, and the gradients of everything."""
    results = []
    theirs, ours = pair(
        Sample(name, {"input_size": 2, "hidden_size": 3, "num_layers": 2, "bidirectional": True}, (1,))
    )
    for module in (theirs, ours):
        draw = torch.Generator().manual_seed(0)
        x = torch.randn(6, 4, 2, generator=draw, dtype=double).requires_grad_()
        states = [
            torch.randn(4, 4, 3, generator=draw, dtype=double).requires_grad_() for _ in ours.state_tensors
        ]
        packed = pack_padded_sequence(x, torch.tensor([3, 6, 1, 3]), enforce_sorted=False)
        out, last = module(packed, tuple(states) if len(states) > 1 else states[0])
        padded, lengths = pad_packed_sequence(out)
        assert lengths.tolist() == [3, 6, 1, 3]
        made = [padded, *flat(last)]
        wanted = [x, *states, *module.parameters()]
        results.append([*made, *torch.autograd.grad([y.cos().sum() for y in made], wanted)])
    torch.testing.assert_close(results[1], results[0], rtol=1e-9, atol=1e-12)


def test_padding_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = []
    layer = own.RNN._layer

    def counted(self: Any, index: int, below: Tensor, *rest: Any) -> Any:
        frames.append(below.shape[0] * below.shape[1])
        return layer(self, index, below, *rest)

    monkeypatch.setattr(own.RNN, "_layer", counted)
    own.RNN(2, 3)(torch.ones(100, 20, 2), lengths=[100, *[1] * 19])
    assert sum(frames) == 119


def test_packed_frames_are_those_that_torch_packs() -> None:
    x, lengths = torch.arange(70.0).view(7, 5, 2), torch.tensor([3, 7, 1, 5, 2])
    made, places = packed.pack(x, lengths)
    wanted = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    for found, expected in zip(made, wanted, strict=True):
        assert torch.equal(found, expected)
    x[torch.arange(7).unsqueeze(1) >= lengths] = 0
    assert torch.equal(packed.pad(made, places, 7), x)


def test_lengths_of_no_streams_are_refused() -> None:
    with pytest.raises(ValueError, match="got an input of no streams"):
        own.GRU(2, 3)(torch.ones(4, 0, 2), lengths=torch.zeros(0, dtype=torch.int64))


@pytest.mark.parametrize("name", STACKS)
def test_starts_part_sequences_in_both_directions(name: str) -> None:
    module = getattr(own, name)(2, 3, 2, bidirectional=True, leak=0.2, dtype=double)
    x = torch.randn(9, 1, 2, generator=torch.Generator().manual_seed(0), dtype=double)
    starts = torch.zeros(9, 1, dtype=torch.bool)
    starts[[0, 4, 5]] = True
    out, _ = module(x, None, starts)
    alone = torch.cat([module(part)[0] for part in x.split([4, 1, 4])])
    torch.testing.assert_close(out, alone)


@pytest.mark.parametrize("name", STACKS)
def test_both_directions_are_returned_for_every_layer(name: str) -> None:
    module = getattr(own, name)(2, 3, 2, bidirectional=True)
    layers, _ = module(torch.ones(4, 2, 2), all_layers=True)
    assert [layer.shape for layer in layers] == [(4, 2, 6)] * 2
    torch.testing.assert_close(layers[1], module(torch.ones(4, 2, 2))[0])


def test_representations_name_what_differs() -> None:
    made = own.RNN(
        2, 3, 2, "relu", False, True, 0.5, True, leak=0.3, initialization="orthogonal", dtype=double
    )
    assert repr(made) == (
        "RNN(2, 3, num_layers=2, bias=False, batch_first=True, dropout=0.5, bidirectional=True, "
        "leaky_units=3, initialization='orthogonal', nonlinearity='relu')"
    )
    made = own.GRU(2, 3, token_inputs=True, sparse=False, leak=torch.full((3,), 0.5, requires_grad=True))
    assert repr(made) == "GRU(2, 3, learned_leak=True, token_inputs=True, sparse=False)"
    made = own.LSTM(2, 3, proj_size=1)
    assert re.fullmatch(r"LSTM\(2, 3, proj_size=1\)", repr(made))
    assert (
        repr(own.RNNCell(2, 3, False, "relu", leak=0.5))
        == "RNNCell(2, 3, bias=False, leak=True, nonlinearity='relu')"
    )
