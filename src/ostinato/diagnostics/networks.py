"""A recurrent network step by step, whatever it is: what the measurements of this package work on.

    o_t, s_t = F(s_{t-1}, x_t)

Shapes: T time, N streams, I inputs, H units of a layer, L layers, S numbers in a flat state.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ostinato.dynamics.maps import StepMap, step_map
from ostinato.errors import UserError, argument
from ostinato.nn.cells import GRU, LSTM, RNN
from ostinato.nn.cells.protocol import Recurrence
from ostinato.nn.cells.state import State, map_state, named_tensors


class Network(ABC):
    """A recurrent network in steps; `network` and `adapted` make it.

    Attributes:
        flow: the map of its flat states.
        parameters: what it is trained by, by name.
        units: the places (n,) in a flat state of each layer's numbers, by the layer's name.
        leak: the share of the old state that each number of a flat state keeps, (S,); None where there is
            none.
    """

    flow: StepMap
    parameters: Mapping[str, Tensor]
    units: dict[str, Tensor]
    leak: Tensor | None = None

    #: Whether its steps are of operators that all of PyTorch's function transforms take.
    is_ours = False
    #: Whether inputs, and all that goes with them, have the streams before the time.
    batch_first = False

    @abstractmethod
    def step(self, states: Tensor, input: Tensor, starts: Tensor | None) -> tuple[list[Tensor], Tensor]:
        """One step.

        Args:
            states: flat ones, (N, S).
            input: (N, I), or tokens (N,).
            starts: boolean (N,), where a sequence starts at this step; None for nowhere.

        Returns:
            The outputs (N, H) of every layer, the last one's being what the loss reads; the states after.
        """

    def beginning(self, streams: int) -> Tensor:
        """The flat states (N, S) before a sequence."""
        return self.flow.beginning(streams)

    def time_first(self, x: Tensor) -> Tensor:
        """What the network takes or gives in its own layout with the time first, or the reverse of it."""
        return x.transpose(0, 1) if self.batch_first else x

    def weights(self) -> dict[str, Tensor]:
        """The matrices that multiply states, such as `weight_hh_l0`, by their parameters' names."""
        return {
            name: parameter.detach()
            for name, parameter in self.parameters.items()
            if "weight_hh" in name and parameter.dim() == 2
        }

    def check(self, states: Tensor, inputs: Tensor) -> None:  # noqa: B027 - a network may have nothing to say
        """A UserError if states (N, S) and inputs (T, N, ...), time first, are none of this network's."""


class _CellNetwork(Network):
    """A recurrence's."""

    def __init__(self, cell: Recurrence) -> None:
        self.cell, self.flow, self.is_ours = cell, step_map(cell), True
        self.parameters = dict(cell.named_parameters())
        self.batch_first = bool(cell.batch_first)
        self._time = 1 if cell.batch_first else 0
        size = self.flow.beginning(1).shape[1]
        places = self.flow.formed(torch.arange(size).unsqueeze(0))
        self.units = _by_layer(places, cell.num_layers)
        self.leak = _leak_of(cell, places, size)

    def step(self, states: Tensor, input: Tensor, starts: Tensor | None) -> tuple[list[Tensor], Tensor]:
        marks = None if starts is None else starts.unsqueeze(self._time)
        formed = self.flow.formed(states)
        outputs, last = self.cell(input.unsqueeze(self._time), formed, marks, all_layers=True)
        return [out.squeeze(self._time) for out in outputs], self.flow.flat(last)

    def weights(self) -> dict[str, Tensor]:
        made = super().weights()
        effective = getattr(self.cell, "recurrent_weight", None)
        if effective is None:
            return made
        # of a cell whose parameters are not the weights: those with signs, zeros and fixed connections
        return {f"weight_hh_l{k}": effective(k).detach() for k in range(self.cell.num_layers)}

    def check(self, states: Tensor, inputs: Tensor) -> None:
        wanted = states.dtype
        if wanted not in (torch.float32, torch.float64):
            raise UserError(
                f"expected {argument('cell')} in float32 or float64, found {wanted}; call its float() first"
            )
        if self.cell.token_inputs:
            if inputs.is_floating_point() or inputs.dim() != 2:
                raise UserError(
                    f"expected {argument('inputs')} as tokens (T, N), whole numbers, found "
                    f"{tuple(inputs.shape)} of {inputs.dtype}"
                )
            return
        size = self.cell.input_size
        if inputs.dim() != 3 or inputs.shape[-1] != size:
            raise UserError(
                f"expected {argument('inputs')} (T, N, {size}), found {tuple(inputs.shape)}"
                + (" with the time first" if self.batch_first else "")
            )
        if inputs.dtype not in (wanted, torch.uint8, torch.bool):
            raise UserError(
                f"expected {argument('inputs')} of the cell's own type {wanted}, found {inputs.dtype}; "
                "convert either, as by cell.double()"
            )


def _parts(state: State) -> list[Tensor]:
    """The tensors of a state, in order."""
    return [*named_tensors(state, "").values()]


def _by_layer(places: State, layers: int) -> dict[str, Tensor]:
    """Of places in a flat state, formed as a state (L, 1, H), those of each layer."""
    found: dict[str, list[Tensor]] = {f"layer {k + 1}": [] for k in range(layers)}
    for part in _parts(places):
        for k, row in enumerate(part[:, 0].long()):
            # a state with rows of its own besides those of layers has them in the last
            found[f"layer {min(k, layers - 1) + 1}"].append(row)
    return {name: torch.cat(rows) for name, rows in found.items()}


def _leak_of(cell: Any, places: State, size: int) -> Tensor | None:
    leak = getattr(cell, "leak", None)
    if not isinstance(leak, Tensor):
        return None
    found = leak.detach().new_zeros(size)

    def keep(part: Tensor) -> Tensor:
        rows = part[:, 0].long()
        if rows.shape[1] == leak.numel():
            found[rows.flatten()] = leak.detach().expand(rows.shape[0], -1).flatten()
        return part

    map_state(keep, places)
    return found


_OURS: dict[type[nn.RNNBase], Any] = {nn.RNN: RNN, nn.GRU: GRU, nn.LSTM: LSTM}


def _of_torch(module: nn.RNNBase) -> Network:
    """A module of `torch.nn`: ours of the same weights, which computes the same."""
    kind = next((kind for kind in _OURS if isinstance(module, kind)), None)
    own_step = kind is not None and type(module).forward is not kind.forward
    if kind is None or own_step or module.bidirectional:
        found = "both directions" if module.bidirectional else f"a {type(module).__name__}"
        found += " with a forward of its own" if own_step else ""
        raise UserError(
            f"expected {argument('cell')} as an RNN, GRU or LSTM that reads the past alone, found {found}; "
            "give a function of a step to ostinato.diagnostics.adapted"
        )
    if module.training and module.dropout > 0:
        raise UserError(
            f"expected {argument('cell')} without chance, found dropout={module.dropout} while training; "
            "call its eval() first"
        )
    first = next(module.parameters())
    further: dict[str, Any] = {"nonlinearity": module.nonlinearity} if isinstance(module, nn.RNN) else {}
    if module.proj_size:
        further["proj_size"] = module.proj_size
    made = _OURS[kind](
        module.input_size,
        module.hidden_size,
        module.num_layers,
        bias=module.bias,
        batch_first=module.batch_first,
        dtype=first.dtype,
        device=first.device,
        **further,
    )
    # the weights themselves, which a parametrization makes of other parameters
    weights = {name: getattr(module, name).detach() for name, _ in made.named_parameters()}
    made.load_state_dict(weights, strict=False)
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(getattr(module, name).requires_grad)
    return _CellNetwork(made.eval())


#: One's own step: f(inputs (N, I), state) -> the next state, or (output, state).
Step = Callable[[Tensor, Any], Any]


class _Adapted(Network):
    """One's own module."""

    def __init__(
        self,
        step: Step,
        state: State,
        output: Callable[[Any], Tensor] | None,
        parameters: Mapping[str, Tensor],
    ) -> None:
        self._call, self._output, self.parameters = step, output, parameters
        self._form = map_state(lambda x: x, state)
        parts = _parts(state)
        if any(part.dim() != 2 or part.shape[0] != 1 for part in parts):
            shapes = ", ".join(str(tuple(part.shape)) for part in parts)
            raise UserError(
                f"expected {argument('state')} of one stream, (1, H), or a tuple of such, found {shapes}"
            )
        self.sizes = [part.shape[1] for part in parts]
        self._first = torch.cat([part.detach() for part in parts], 1)
        self.flow = _AdaptedMap(self)
        self.units = {"layer 1": torch.arange(sum(self.sizes))}

    def formed(self, states: Tensor) -> State:
        """Flat states as the module takes them."""
        pieces = iter(states.split(self.sizes, 1))
        return map_state(lambda _: next(pieces), self._form)

    def flat(self, state: State) -> Tensor:
        """The reverse."""
        return state if isinstance(state, Tensor) else torch.cat(_parts(state), -1)

    def beginning(self, streams: int) -> Tensor:
        return self._first.expand(streams, -1).clone()

    @torch.no_grad()
    def check(self, states: Tensor, inputs: Tensor) -> None:
        once, again = (self.step(states, inputs[0], None)[1] for _ in range(2))
        if not torch.equal(once.nan_to_num(), again.nan_to_num()):
            raise UserError(
                "expected a step without chance, found one that gives other states a second time; call the "
                "module's eval() first, or fix its draws"
            )

    def step(self, states: Tensor, input: Tensor, starts: Tensor | None) -> tuple[list[Tensor], Tensor]:
        if starts is not None:
            states = torch.where(starts.unsqueeze(1), self.beginning(len(states)), states)
        made = self._call(input, self.formed(states))
        output, state = self._parted(made)
        following = self.flat(state)
        if following.shape != states.shape:
            raise UserError(
                f"expected the module to return a state of shape {tuple(states.shape)} in all, found "
                f"{tuple(following.shape)}"
            )
        return [output], following

    def _parted(self, made: Any) -> tuple[Tensor, Any]:
        """Output and state of what the module returned."""
        if self._output is not None:
            return self._output(made), made
        tuple_state = not isinstance(self._form, Tensor)
        returned_pair = isinstance(made, tuple) and len(made) == 2
        if returned_pair and (not tuple_state or isinstance(made[1], tuple)):
            return made[0], made[1]
        return (made[0] if tuple_state else made), made


class _AdaptedMap(StepMap):
    """Its map of flat states."""

    def __init__(self, own: _Adapted) -> None:
        self._own = own

    def step(self, states: Tensor, input: Tensor | None) -> Tensor:
        if input is None:
            raise UserError(f"expected {argument('inputs')} for a module of one's own, found None")
        return self._own.step(states, input, None)[1]

    def flat(self, state: State) -> Tensor:
        return self._own.flat(state)

    def formed(self, states: Tensor) -> State:
        return self._own.formed(states)

    def beginning(self, streams: int) -> Tensor:
        return self._own.beginning(streams)


def network(cell: Any) -> Network:
    """A recurrence, ours or of `torch.nn`, as the measurements need it; a `Network` is one already.

    A module of `torch.nn` is measured by ours of the same weights, which computes the same (its weights are
    copied: measure again after a step).

    Args:
        cell: such as `ostinato.nn.RNN` or `torch.nn.LSTM`; other modules go through `adapted`.

    Raises:
        UserError: it is none, or there is chance in it.

    Example:
        >>> list(network(torch.nn.LSTM(3, 5, 2)).units)
        ['layer 1', 'layer 2']
    """
    if isinstance(cell, Network):
        return cell
    if isinstance(cell, nn.RNNBase):
        return _of_torch(cell)
    if isinstance(cell, Recurrence):
        return _CellNetwork(cell)
    raise UserError(
        f"expected {argument('cell')} as a recurrence such as ostinato.nn.RNN or torch.nn.LSTM, found a "
        f"{type(cell).__name__}; give its step to ostinato.diagnostics.adapted"
    )


def network_of(model: nn.Module) -> Network:
    """The recurrence of a model.

    Raises:
        UserError: it has none that shows its states, as a program's own network, or there is chance in it.
    """
    cell = getattr(model, "rnn", None)
    if cell is None:
        raise UserError(
            "expected a recurrence of ostinato's, found a program's own network, which reads sequences whole "
            "and shows no states; give its step to ostinato.diagnostics.adapted"
        )
    return network(cell)


def adapted(
    step: Step,
    state: State,
    *,
    output: Callable[[Any], Tensor] | None = None,
    parameters: Mapping[str, Tensor] | None = None,
) -> Network:
    """One's own module, which maps (inputs, state) to the next state, as the measurements need it.

    Args:
        step: takes inputs (N, I) and a state (N, H), and returns the next state, or a pair (output, state),
            each stream by itself, without chance. A module for whole sequences goes in as
            `lambda x, s: module(x.unsqueeze(0), s.unsqueeze(0))[1].squeeze(0)`, with its `parameters`.
        state: before a sequence: (1, H), or a tuple of such.
        output: makes what the loss reads of what `step` returned; by default the first of a pair, or the
            state (of a tuple its first tensor).
        parameters: by name, such as `dict(module.named_parameters())`; by default those of `step`, if it is a
            module. Without any, what belongs to weights is left out: spans and spectral radii.

    Raises:
        UserError: the state is of another form.

    Example:
        >>> cell = adapted(torch.nn.GRUCell(3, 5), torch.zeros(1, 5))
        >>> len(cell.parameters), cell.beginning(2).shape
        (4, torch.Size([2, 5]))
    """
    if parameters is None:
        parameters = dict(step.named_parameters()) if isinstance(step, nn.Module) else {}
    return _Adapted(step, state, output, parameters)
