"""All measurements of a network together, as numbers that can be written as JSON, and what they mean.

Shapes: T time, N streams, H units, S numbers in a flat state.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ostinato.diagnostics.broken import not_finite, passes_back
from ostinato.diagnostics.finding import Finding
from ostinato.diagnostics.findings import GROWS, findings
from ostinato.diagnostics.given import StepLoss, check_training, checked, gradient_of
from ostinato.diagnostics.lags import gradient_over_lag
from ostinato.diagnostics.networks import Network, network, network_of
from ostinato.diagnostics.products import singular_values, spectral_radii
from ostinato.diagnostics.spans import gradient_by_span, shares
from ostinato.diagnostics.trajectory import Trajectory, trajectory, whole_gradients
from ostinato.diagnostics.units import (
    gradient_shape,
    growth,
    state_norms,
    unit_gradients,
    units_of,
    values_of,
)
from ostinato.dynamics.lyapunov import lyapunov_exponents
from ostinato.errors import UserError, argument, without_marks
from ostinato.nn.cells.state import State, finite, select
from ostinato.nn.model import Segment, SequenceModel
from ostinato.optim import AverageNorm, grad_norm

# What is measured with: few streams say the same as many, and take less time.
STREAMS, SOURCES, EXPONENTS, SEGMENTS = 8, 16, 8, 24
# States that rise are followed for as many times the steps: slow units level off, others do not.
REPEATED = 4


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        record: every measurement, as JSON values.
        findings: what they mean, alarms first.
    """

    record: dict[str, Any]
    findings: list[Finding]

    @property
    def alarms(self) -> list[Finding]:
        """The causes of failure, the first one first."""
        return [each for each in self.findings if each.alarm]

    @property
    def opening(self) -> str | None:
        """The first sentence where nothing is alarming; None where the first alarm is."""
        if self.alarms:
            return None
        if (self.record.get("training") or {}).get("solved"):
            return "the problem is solved; what else was measured"
        return "nothing that was measured keeps the network from learning"

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        said = [each.to_dict() | {"advice": without_marks(each.advice)} for each in self.findings]
        return {"findings": said, **self.record}

    def __str__(self) -> str:
        first = [] if self.opening is None else [self.opening]
        return "\n".join(first + [f"{each.sentence}: {without_marks(each.advice)}" for each in self.findings])


def diagnose(
    cell: Any,
    inputs: Tensor,
    loss: StepLoss,
    *,
    hx: State | None = None,
    starts: Tensor | None = None,
    mask: Tensor | None = None,
    training: Mapping[str, Any] | None = None,
    generator: torch.Generator | None = None,
) -> Diagnosis:
    """Measure a recurrent network on some inputs.

    Args:
        cell: a recurrence, ours or of `torch.nn`, or what `adapted` made of one's own.
        inputs: (T, N, I), or tokens (T, N); with batch_first (N, T, I), as all that follows.
        loss: makes of the outputs (T, N, H) each step's own loss (T, N), or a tensor that adds up to them.
        hx: the states before the first step; those before a sequence if None.
        starts: boolean (T, N), where sequences start.
        mask: boolean (T, N), the steps whose loss counts.
        training: what is known of the training, by the names of `TRAINING`, such as
            {"needed_lag": 40, "clipped": True}: without the lag that a problem asks for none is too short.
        generator: of the first vectors of power iterations.

    Raises:
        UserError: these do not go together, or there is chance in the cell.

    Example:
        >>> lstm = torch.nn.LSTM(3, 8)
        >>> found = diagnose(lstm, torch.randn(40, 4, 3), lambda outputs: outputs.square().sum(-1))
        >>> found.record["gradient_over_lag"]["horizon"] < 40
        True
    """
    net = network(cell)
    told = {"nonlinearity": _nonlinearity(cell), **check_training(training)}
    drive, states, marks, counts = checked(net, inputs, hx, starts, mask)
    run = trajectory(net, drive, states, marks)
    own, is_finite = gradient_of(loss, net, run)
    on_outputs = [*(torch.zeros_like(layer) for layer in run.outputs[:-1]), own]
    record = measured(run, on_outputs, mask=counts, generator=generator)
    if not is_finite:
        record.setdefault("not_finite", {"what": "loss", "sentence": "of finite outputs it makes others"})
    record["training"] = told
    return Diagnosis(record, findings(record))


def _nonlinearity(cell: Any) -> str | None:
    found = getattr(cell, "nonlinearity", None)
    return found if isinstance(found, str) else None


def measured(
    run: Trajectory,
    on_outputs: Sequence[Tensor],
    *,
    mask: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, Any]:
    """Everything that is read from one run and the gradient of its losses by the outputs, as JSON values."""
    record: dict[str, Any] = {"steps": run.steps, "streams": run.streams}
    norms = state_norms(run)
    record["states"] = {"norms": norms, "growth": growth(norms)}
    if (record["states"]["growth"] or 0) > GROWS:  # or only slow: again and again they level off
        record["states"]["growth"] = growth(state_norms(run, REPEATED))
    record["units"] = {
        name: own.to_dict() | _bounds(values)
        for (name, own), values in zip(units_of(run, mask).items(), values_of(run), strict=False)
    }
    if run.network.leak is not None:
        record["largest_leak"] = float(run.network.leak.max())
    broken = not_finite(run, on_outputs)
    if broken is not None:
        record["not_finite"] = broken
    if bool(run.before.isfinite().all()) and all(bool(own.isfinite().all()) for own in on_outputs):
        record["detached"] = not passes_back(run)
        record |= _of_gradients(run, on_outputs, mask)
        try:
            record |= _of_products(run, generator)
        except RuntimeError as error:
            if run.network.is_ours:
                raise
            record["not_transformed"] = str(error).partition("\n")[0]
    return record


def _bounds(values: Tensor) -> dict[str, bool]:
    """Whether a layer's units are within -1 and 1."""
    return {"bounded": bool(values.abs().max() <= 1)}


def _of_gradients(run: Trajectory, on_outputs: Sequence[Tensor], mask: Tensor | None) -> dict[str, Any]:
    lags = gradient_over_lag(run, on_outputs, sources=SOURCES, mask=mask)
    found: dict[str, Any] = {"gradient_over_lag": lags.to_dict()}
    if any(p.requires_grad for p in run.network.parameters.values()):
        found["spans"] = shares(gradient_by_span(run, on_outputs))
    whole = whole_gradients(run, on_outputs)
    found["gradient_at_states"] = whole.double().square().sum((1, 2)).sqrt().tolist()
    shape = gradient_shape(unit_gradients(run, whole, on_outputs[-1]))
    found["gradient_shape"] = None if shape is None else shape.to_dict()
    return found


def _of_products(run: Trajectory, generator: torch.Generator | None) -> dict[str, Any]:
    """Of Jacobians along the run as one sequence, whose starts are passed over."""
    generator = torch.Generator(run.before.device).manual_seed(0) if generator is None else generator
    few = slice(0, min(4, run.streams))
    inputs, states = run.inputs[:, few], run.before[0, few]
    size = states.shape[1]
    lags = [2**k for k in range(12) if 2**k <= min(run.steps, 64)]
    values = singular_values(run.network, inputs, states, lags, min(4, size), generator=generator)
    found: dict[str, Any] = {
        "products": {
            "lags": lags,
            "singular_values": values.median(1).values.tolist(),
            "largest": values[:, :, 0].median(1).values.tolist(),
        },
        "spectral_radius": spectral_radii(run.network, inputs[-1], run.before[-1, few]),
    }
    if run.steps >= 10:
        number = min(EXPONENTS, size)
        one = slice(0, 1)
        try:
            exponents = lyapunov_exponents(
                run.network.flow, inputs[:, one], number, hx=states[one], generator=generator
            )
        except UserError as error:
            found["lyapunov"] = {"exponents": None, "why": str(error)}
        else:
            found["lyapunov"] = {
                "exponents": exponents.mean.tolist(),
                "standard_error": exponents.mean_standard_error.tolist(),
                "steps": exponents.steps,
            }
    return found


def diagnose_model(
    model: SequenceModel,
    segments: Iterable[Segment],
    *,
    carries_state: bool = True,
    at_first: SequenceModel | None = None,
    training: Mapping[str, Any] | None = None,
    states: State | None = None,
) -> Diagnosis:
    """Measure a model on segments of its data, one after the other.

    The norms of the gradient are those of each segment's loss, at weights that do not move. All else is
    measured on the last segment, from the state that was carried there, in at most 8 streams.

    Args:
        model: the model. It is as it was afterwards: gradients, mode, random numbers.
        segments: at most 24 are taken.
        carries_state: whether the state at a segment's end is where the next one begins.
        at_first: the model as training began with it.
        training: what is known of the training, as in `diagnose`.
        states: carried into the first segment.

    Raises:
        UserError: there are no segments.
    """
    with _untouched(model):
        record = _walked(model, segments, carries_state, states)
    last, carried = record.pop("last")
    with _untouched(model):
        record |= _on_segment(model, last, carried)
    record["states"] |= record.pop("walked_states")
    if at_first is not None:
        with _untouched(at_first):
            run, _, pushed = _run_on(at_first, last, None)
        record["units_at_first"] = {
            name: own.to_dict() for name, own in units_of(run, _few(last.mask, run.streams)).items()
        }
        record |= {} if pushed is None else {"l1_gradient": pushed[0], "loss_gradient": pushed[1]}
    record["training"] = {
        "nonlinearity": _nonlinearity(model.rnn),
        "l1": model.l1,
        **check_training(training),
    }
    return Diagnosis(record, findings(record))


@contextmanager
def _untouched(model: SequenceModel) -> Iterator[None]:
    """Puts back what measuring moves: gradients, the mode, the random numbers."""
    was, generator = model.training, model.generator
    state = None if generator is None else generator.get_state()
    kept = [(p, p.grad) for p in model.parameters()]
    model.eval()
    try:
        yield
    finally:
        model.train(was)
        for parameter, gradient in kept:
            parameter.grad = gradient
        if generator is not None and state is not None:
            generator.set_state(state)


def _walked(
    model: SequenceModel, segments: Iterable[Segment], carries_state: bool, states: State | None
) -> dict[str, Any]:
    """The norms of the segments' gradients, the carried states, and the last segment with its state."""
    norms, sizes, last = [], [], None
    has_starts = False
    walked = []
    for index, segment in enumerate(segments):
        if index == SEGMENTS:
            break
        last = (segment, states)
        walked.append(segment)
        for parameter in model.parameters():
            parameter.grad = None
        with torch.enable_grad():
            loss = model.loss(segment.inputs, segment.targets, states, segment.starts, segment.mask)
            loss.objective.backward()
        norms.append(grad_norm(model.parameters()))
        has_starts |= index > 0 and segment.starts is not None and bool(segment.starts.any())
        states = finite(loss.states) if carries_state else None
        sizes.append(_rms(model.recurrent(loss.states)))
    if last is None:
        raise UserError(f"expected {argument('segments')} to measure on, found none")
    carries = carries_state and not has_starts
    grown = growth(sizes)
    if carries and (grown or 0) > GROWS:
        grown = growth(sizes + _walked_on(model, walked * (REPEATED - 1), states))
    return {
        "gradient_norms": _distribution(norms),
        "walked_states": {"carried": sizes, "carries": carries, "carried_growth": grown},
        "last": last,
    }


@torch.no_grad()
def _walked_on(model: SequenceModel, segments: Sequence[Segment], states: State | None) -> list[float]:
    """How large the carried states are after each of further segments."""
    sizes = []
    for segment in segments:
        made = model.loss(segment.inputs, segment.targets, states, segment.starts, segment.mask).states
        sizes.append(_rms(made))
        states = finite(made)
    return sizes


def _rms(state: State) -> float:
    if isinstance(state, Tensor):
        return float(state.double().square().mean(-1).sqrt().max())
    return max(_rms(part) for part in state)


def _distribution(norms: Sequence[float]) -> dict[str, Any]:
    """Of gradient norms, with the threshold that the paper's rule gives: their average."""
    average = AverageNorm()
    for norm in norms:
        average.add(norm)
    found = sorted(norm for norm in norms if math.isfinite(norm))
    record: dict[str, Any] = {"count": len(norms), "non_finite": average.skipped, "norms": list(norms)}
    if not found:
        return record
    values = torch.tensor(found, dtype=torch.float64)
    low, median, high = torch.quantile(values, torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)).tolist()
    record |= {"median": median, "p10": low, "p90": high, "largest": found[-1]}
    if average.total > 0:
        above = sum(norm > average.value for norm in found) / len(found)
        record |= {"threshold": average.value, "beyond": above}
    return record


def _few(x: Tensor | None, streams: int) -> Tensor | None:
    return None if x is None else x[:, :streams]


def _run_on(
    model: SequenceModel, segment: Segment, states: State | None
) -> tuple[Trajectory, list[Tensor], tuple[float, float] | None]:
    """A run on some streams of a segment, and what the loss of each step gives the outputs.

    The last are the mean absolute gradients of the L1 penalty and of the loss without it, at the last
    layer's outputs, where there is such a penalty.
    """
    net: Network = network_of(model)
    streams = min(STREAMS, segment.inputs.shape[1])
    inputs, targets = segment.inputs[:, :streams], segment.targets[:, :streams]
    if states is not None:
        states = select(states, torch.arange(streams, device=inputs.device))
    starts = _few(segment.starts, streams)
    flat = None if states is None else net.flow.flat(model.recurrent(states))
    run, beside = trajectory(net, inputs, flat, starts), model.beside(inputs, states, starts)
    leaves = [layer.detach().requires_grad_() for layer in run.outputs]
    mask = _few(segment.mask, streams)
    chosen = None if mask is None else mask.flatten().nonzero().squeeze(1)

    def frames_of(x: Tensor) -> Tensor:
        flat = x.flatten(0, 1)
        return flat if chosen is None else flat.index_select(0, chosen)

    with torch.enable_grad():
        values = frames_of(targets)
        hidden = frames_of(model.told(leaves[-1], inputs))
        more = tuple(frames_of(x) for x in beside)
        cost = model.cost(hidden, more, values, None, model.generator) / max(len(values), 1)
        own = torch.autograd.grad(cost, leaves, allow_unused=True)
        on_outputs = [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, own, strict=True)]
        if not model.l1:
            return run, on_outputs, None
        size = torch.stack([frames_of(leaf).abs().sum() for leaf in leaves]).sum()
        penalty = torch.autograd.grad(model.l1 / max(len(values), 1) * size, leaves)
    pair = float(penalty[-1].abs().mean()), float(on_outputs[-1].abs().mean())
    return run, [a + b for a, b in zip(on_outputs, penalty, strict=True)], pair


def _on_segment(model: SequenceModel, segment: Segment, states: State | None) -> dict[str, Any]:
    run, on_outputs, _ = _run_on(model, segment, states)
    return measured(run, on_outputs, mask=_few(segment.mask, run.streams))
