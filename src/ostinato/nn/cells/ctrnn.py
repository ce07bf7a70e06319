"""CTRNN: rate networks in discretised continuous time, as neuroscience trains them.

Shapes: T time, B streams, I inputs, H hidden, L layers.
"""

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ostinato.errors import UserError, argument
from ostinato.nn.cells import calls, rate_steps, time_constant
from ostinato.nn.cells.constrained import ConstrainedStack
from ostinato.nn.cells.linearized import LinearizedByAutograd
from ostinato.nn.cells.state import State
from ostinato.nn.kernels import nonlinearities
from ostinato.nn.scan.noise import Noise, new_key

FORMS = ("outside", "preactivation", "inside")
NOISE_AT = ("input", "state")

#: A number, or numbers (H,): a tensor, an array, or a list.
Numbers = float | Tensor | Sequence[float]

_TAU = "tau_logit"
_INITIAL = "initial"


class CTRNN(ConstrainedStack):
    """A stack of layers of a continuous-time rate network, by Euler's method with step dt.

    With a = dt / tau, u_t = U x_t + b_ih + b_hh and noise n_t = sqrt(2 / a) sigma xi_t, xi_t standard normal
    and of each unit, stream and step its own, the `form` is

        outside         r_t = (1 - a) r_{t-1} + a phi(W r_{t-1} + u_t + n_t)        noise_at="input"
                        r_t = (1 - a) r_{t-1} + a (phi(W r_{t-1} + u_t) + n_t)      noise_at="state"
        preactivation   h_t = (1 - a) h_{t-1} + a (W r_{t-1} + u_t + n_t),   r_t = phi(h_t)
        inside          r_t = phi((1 - a) r_{t-1} + a (W r_{t-1} + u_t + n_t))

    The outputs are the rates r. The state that is carried is r, and h in the form "preactivation".

    Sources: "outside" with noise at the input is the cell of Yang et al. 2019 (Nature Neuroscience 22:297,
    multitask), with noise at the state that of trainRNNbrain (Engel lab); "preactivation" is the
    excitatory-inhibitory network of Song, Yang, Wang 2016 (PLOS Computational Biology 12(2):e1004792) and
    nn-brain; "inside" is nn-brain's CTRNN (Yang & Molano-Mazon).

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout: as in `torch.nn.RNN`.
        nonlinearity: phi: a name as in `RNN`, or a function of a tensor, which is run step by step in PyTorch
            and not in the native scan.
        form: "outside", "preactivation" or "inside".
        dt: step, in the units of tau.
        tau: time constant, a number or (H,), each at least dt. It may be set later, `rnn.tau = 50.0`.
        tau_bounds: (low, high), each at least dt: tau is then learned, and never leaves them; None fixes it.
            One that is given at a bound starts as near to it as it can learn from: sqrt(machine epsilon) of
            the range inside.
        noise: sigma, a number or (H,), which may be set later. Noise acts while training; see
            `noise_in_eval`.
        noise_at: where it enters the form "outside": "input" or "state".
        noise_in_eval: whether noise acts in evaluation, too.
        dale: Dale's law: the share of excitatory units, which come first, or the signs (H,) of all units.
            The parameter is then |W|, and W = |W| times the signs of its columns. It starts balanced: every
            unit gets as much inhibition as excitation.
        connectivity: the recurrent connections that exist, (H, H), zeros and ones; all, if None.
        plasticity: the recurrent connections that learn, likewise. The others never change.
        input_mask, input_plasticity: the same for the first layer's input weights, (H, I).
        learned_initial: whether the state before a sequence is a parameter, `initial` (L, H), rather than
            zero. `starts` resets to it.
        initialization, spectral_radius, token_inputs, sparse, device, dtype: as in `RNN`; under Dale's law
            "echo-state" weights have their radius with their signs.
        generator: source of randomness for weights, dropout and noise.

    Parameters are named as those of `RNN`; where weights are constrained they are V in
    `ostinato.nn.cells.constraint`: `recurrent_weight` and `input_weight` give the weights themselves, and
    `assign_recurrent_` and `assign_input_` set them.

    Raises:
        ValueError: an argument is out of its range or has another shape.

    Example:
        >>> rnn = CTRNN(3, 10, dt=20.0, tau=100.0, noise=0.05, dale=0.8, nonlinearity="softplus",
        ...             generator=torch.Generator().manual_seed(0))
        >>> rates, last = rnn(torch.zeros(7, 2, 3))
        >>> rates.shape, bool((rnn.recurrent_weight()[:, :8] >= 0).all())
        (torch.Size([7, 2, 10]), True)
    """

    cell: ClassVar[str] = "CTRNN"

    noise: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str | Callable[[Tensor], Tensor] = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        *,
        form: str = "outside",
        dt: float = 1.0,
        tau: Numbers = 5.0,
        tau_bounds: tuple[float, float] | None = None,
        noise: Numbers = 0.0,
        noise_at: str = "input",
        noise_in_eval: bool = False,
        dale: Any = None,
        connectivity: Any = None,
        plasticity: Any = None,
        input_mask: Any = None,
        input_plasticity: Any = None,
        learned_initial: bool = False,
        **further: Any,
    ) -> None:
        _check_choices(form=form, noise_at=noise_at)
        _check_nonlinearity(nonlinearity)
        for refused in ("bidirectional", "proj_size", "leak"):
            if refused in further:
                raise TypeError(
                    f"CTRNN has no {refused}: it runs forwards in time, and tau says how it leaks"
                )
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, **further)
        if self.token_inputs and (input_mask is not None or input_plasticity is not None):
            raise ValueError(
                "input_mask and input_plasticity are for inputs of numbers, not for token_inputs"
            )
        del self._buffers["leak"]  # nn.Module would let it be set, without any effect
        self.nonlinearity, self.form, self.dt = nonlinearity, form, time_constant.checked_step(dt)
        self.noise_at, self.noise_in_eval = noise_at, noise_in_eval
        self._register_times(tau, tau_bounds)
        self._register_noise(noise)
        self.learned_initial = learned_initial
        if learned_initial:
            zeros = self.weight_hh_l0.new_zeros(num_layers, hidden_size).detach()
            self.register_parameter(_INITIAL, nn.Parameter(zeros))
        self._constrain(dale, connectivity, plasticity, input_mask, input_plasticity)
        if callable(nonlinearity):
            _tell_of_function()

    def _register_times(self, tau: Any, bounds: Any) -> None:
        tensor = time_constant.checked(tau, self.dt, self.hidden_size, self.weight_hh_l0)
        self.tau_bounds = None if bounds is None else time_constant.checked_bounds(bounds, tensor, self.dt)
        if self.tau_bounds is None:
            self._buffers["tau"] = tensor
        else:
            logit = time_constant.logit_of(tensor, *self.tau_bounds)
            self.register_parameter(_TAU, nn.Parameter(logit))

    def _register_noise(self, noise: Any) -> None:
        sigma = time_constant.as_numbers("noise", noise, self.hidden_size, self.weight_hh_l0)
        if not sigma.is_meta and not bool((torch.isfinite(sigma) & (sigma >= 0)).all()):
            raise ValueError(f"noise is a standard deviation, at least 0, got {float(sigma.min()):g}")
        self._buffers["noise"] = sigma
        self._see_noise()

    def _see_noise(self) -> None:
        """Find out whether there is noise, once: every call asks."""
        self.is_noisy = True if self.noise.is_meta else bool((self.noise > 0).any())

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; `tau` and `noise` are checked as in the constructor."""
        if name == "noise":
            self._register_noise(value)
        elif name == "tau":
            tensor = time_constant.checked(value, self.dt, self.hidden_size, self.weight_hh_l0)
            if self.tau_bounds is None:
                self._buffers["tau"] = tensor
            else:
                time_constant.checked_bounds(self.tau_bounds, tensor, self.dt)
                with torch.no_grad():
                    getattr(self, _TAU).copy_(time_constant.logit_of(tensor, *self.tau_bounds))
        else:
            super().__setattr__(name, value)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: Any, strict: bool, *rest: Any
    ) -> None:
        if self.tau_bounds is None and f"{prefix}tau" in state_dict:
            time_constant.checked(state_dict[f"{prefix}tau"], self.dt, self.hidden_size, self.weight_hh_l0)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, *rest)
        self._see_noise()

    def reset_parameters(self) -> None:
        """Draw every weight again from the generator; tau and the initial state stay."""
        kept = {n: p.detach().clone() for n, p in self.named_parameters() if n in (_TAU, _INITIAL)}
        super().reset_parameters()
        with torch.no_grad():
            for name, values in kept.items():
                getattr(self, name).copy_(values)
        if "constraints_hh" in self._modules:
            self._settle()

    @property
    def tau(self) -> Tensor:
        """The time constants, (H,)."""
        if self.tau_bounds is None:
            found = self._buffers["tau"]
            assert found is not None
            return found
        return time_constant.bounded(getattr(self, _TAU), *self.tau_bounds)

    @property
    def alpha(self) -> Tensor:
        """a = dt / tau, (H,): the share of the new in a step."""
        return self.dt / self.tau

    @property
    def leak(self) -> Tensor:
        """1 - a, (H,): the share of the old state that is kept."""
        return 1 - self.alpha

    @leak.setter
    def leak(self, value: Any) -> None:
        raise AttributeError("a CTRNN's leak is 1 - dt / tau, and cannot be set")

    def _take_leak(self, state_dict: dict[str, Any], constant: str, learned: str) -> None:
        """Nothing: a state dict has tau, and no leak."""

    @torch.no_grad()
    def slopes(self, index: int, below: Tensor, before: Tensor) -> Tensor | None:
        """phi' of a layer's units, (T, B, H), without noise and the step's factor; None of a function.

        Args:
            index: the layer, from 0.
            below: what it reads: the network's inputs (T, B, I), or tokens (T, B), or outputs of the layer
                below it.
            before: states before each step, (T, B, H), the initial ones where a sequence starts.

        Example:
            >>> cell = CTRNN(3, 5, nonlinearity="relu", bias=False)
            >>> float(cell.slopes(0, torch.zeros(7, 2, 3), torch.zeros(7, 2, 5)).sum())
            0.0
        """
        phi = self.nonlinearity
        if not isinstance(phi, str):
            return None
        if index == 0:
            below = self._input(below)
        drive = (
            self._embedded(self._weight_names[index][0], below, None, None)
            if self._reads_tokens(index)
            else below.to(before.dtype) @ self.input_weight(index).T
        )
        fed = nonlinearities.value(phi, before) if self.form == "preactivation" else before
        drive = drive + fed @ self.recurrent_weight(index).T
        if self.bias:
            drive = drive + self._own(f"bias_ih_l{index}") + self._own(f"bias_hh_l{index}")
        z = drive if self.form == "outside" else (1 - self.alpha) * before + self.alpha * drive
        return nonlinearities.slope(phi, nonlinearities.value(phi, z))

    def initial_state(self, batch: int) -> State:
        """The state of `batch` streams before a sequence, (L, B, H): zeros, or the learned one."""
        if not self.learned_initial:
            return super().initial_state(batch)
        initial: Tensor = getattr(self, _INITIAL)
        return initial.unsqueeze(1).expand(-1, batch, -1)

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: State | None = None,
        starts: Tensor | None = None,
        lengths: Any = None,
        all_layers: bool = False,
        draws: Tensor | None = None,
    ) -> tuple[Any, Any]:
        """Run over a batch of streams, or over one sequence without a stream dimension.

        Args:
            input, hx, starts, lengths, all_layers: as for `RNN`; without hx, and where a sequence starts, the
                state is that of `initial_state`.
            draws: xi, standard normal, (T, B, H) in the form that the outputs have, or (L, ..., H) for
                several layers: noise that is given and not drawn, in evaluation as well. Not with lengths or
                packed sequences.

        Returns:
            The rates of the last layer, and the state after the last step.
        """
        if draws is None:
            return super().forward(input, hx, starts, lengths, all_layers)
        if lengths is not None or isinstance(input, PackedSequence):
            raise ValueError("draws go with a padded batch that has no lengths; without them noise is drawn")
        self._begin_dropping()
        below, state, marks, unbatched = calls.standard_form(self, input, hx, starts)
        given = self._draws(draws, below, unbatched)

        def run(index: int, below: Tensor, state: Any) -> tuple[Tensor, State]:
            return self._noisy_layer(index, below, state, marks, Noise(given[index]))

        outputs, final = self._stacked(below, state, run)
        if unbatched and isinstance(final, Tensor):
            final = final.squeeze(1)
        return self._in_form(outputs, unbatched, all_layers), final

    def _draws(self, draws: Tensor, below: Tensor, unbatched: bool) -> Tensor:
        """Given noise as (L, T, B, H)."""
        if self.num_layers == 1 and draws.dim() == (2 if unbatched else 3):
            draws = draws.unsqueeze(0)
        if unbatched:
            draws = draws.unsqueeze(-2)
        elif self.batch_first and draws.dim() == 4:
            draws = draws.transpose(1, 2)
        wanted = (self.num_layers, *below.shape[:2], self.hidden_size)
        if tuple(draws.shape) != wanted:
            raise ValueError(f"draws must have shape {wanted} with time first, got {tuple(draws.shape)}")
        if draws.dtype is not self.weight_hh_l0.dtype:
            raise ValueError(
                f"draws must be of the weights' type {self.weight_hh_l0.dtype}, got {draws.dtype}"
            )
        return draws

    def _layer(
        self, index: int, below: Tensor, state: Any, starts: Tensor | None, leak: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        xi = None
        if self.is_noisy and (self.training or self.noise_in_eval):
            xi = self._drawn((*below.shape[:2], self.hidden_size))
        return self._noisy_layer(index, below, state, starts, xi)

    def _drawn(self, size: tuple[int, ...]) -> Noise:
        """xi of a layer, (T, B, H): of a key that the generator draws, where both are the CPU's."""
        like = self.weight_hh_l0
        place = like.device if self.generator is None else self.generator.device
        if place.type == "cpu" and like.dtype in (torch.float32, torch.float64):
            key = new_key(self.generator)
            if like.device.type == "cpu":
                return Noise(key=key)
            return Noise(Noise(key=key).drawn(size, like.dtype).to(like.device))
        drawn = torch.randn(size, generator=self.generator, dtype=like.dtype, device=place)
        return Noise(drawn.to(like.device))

    def _noisy_layer(
        self, index: int, below: Tensor, state: Any, starts: Tensor | None, xi: Noise | None
    ) -> tuple[Tensor, Tensor]:
        """One layer's rates (T, B, H) and last state (1, B, H), with noise (T, B, H) if there is any."""
        _, _, bias_ih, bias_hh = self._weight_names[index]
        initial = self._own(_INITIAL)[index] if self.learned_initial else None
        layer = rate_steps.RateLayer(
            form=self.form,
            phi=self.nonlinearity if isinstance(self.nonlinearity, str) else _kept(self.nonlinearity),
            alpha=self.alpha,
            weight=self._recurrent(f"weight_hh_l{index}", self.recurrent_weight(index)),
            input_weight=None if self._reads_tokens(index) else self.input_weight(index),
            biases=(self._own(bias_ih), self._own(bias_hh)) if self.bias else (None, None),
            initial=initial,
            noise=self.noise if self.noise_at == "input" or self.form != "outside" else None,
            state_noise=self.noise if self.noise_at == "state" and self.form == "outside" else None,
            masked=self.constraints_hh[index].mask is not None,
        )
        drive = None
        if self._reads_tokens(index):
            drive = self._embedded(self._weight_names[index][0], below, *layer.biases)
        h0 = None if state is None else state.squeeze(0)
        return rate_steps.run(layer, below, drive, h0, starts, xi)

    def _is_captured(self, starts: Tensor | None, leak: Tensor | None) -> bool:
        """Never: a trace keeps this package's operators, and ONNX has none of them."""
        return False

    def __prepare_scriptable__(self) -> nn.Module:
        raise RuntimeError("torch.jit.script has no CTRNN; torch.export and torch.compile take it")

    def linearize(self, input: Tensor, hx: Any = None, starts: Tensor | None = None) -> LinearizedByAutograd:
        """The network at its present parameters and these inputs, for Gauss-Newton products.

        Raises:
            UserError: noise acts: a product needs the same network every time.
        """
        if self.is_noisy and (self.training or self.noise_in_eval):
            raise UserError(
                "a Gauss-Newton product needs the same network every time: no noise in training mode, found "
                f"{argument('noise')} {float(self.noise.max()):g}"
            )
        return LinearizedByAutograd(self, input, hx, starts)

    def extra_repr(self) -> str:
        """The settings that differ from the defaults."""
        phi = self.nonlinearity
        shown = [f"nonlinearity={phi if isinstance(phi, str) else getattr(phi, '__name__', phi)}"]
        shown += [f"form={self.form}", f"dt={self.dt:g}"]
        if self.tau_bounds is not None:
            shown.append(f"tau_bounds={self.tau_bounds}")
        if self.is_noisy:
            shown.append(f"noise_at={self.noise_at}")
        if self.learned_initial:
            shown.append("learned_initial=True")
        layers = "" if self.num_layers == 1 else f", num_layers={self.num_layers}"
        return f"{self.input_size}, {self.hidden_size}{layers}, {', '.join(shown)}"


def _check_choices(form: str, noise_at: str) -> None:
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
    if noise_at not in NOISE_AT:
        raise ValueError(f"noise_at must be one of {', '.join(NOISE_AT)}, got {noise_at!r}")
    if noise_at == "state" and form != "outside":
        raise ValueError(f"noise_at='state' is for form='outside'; in form={form!r} both places are one")


def _check_nonlinearity(phi: Any) -> None:
    if isinstance(phi, str):
        nonlinearities.check(phi)
    elif isinstance(phi, type) or not callable(phi):
        names = ", ".join(nonlinearities.NONLINEARITIES)
        raise ValueError(f"nonlinearity must be one of {names}, or a function of a tensor, got {phi!r}")


def _kept(phi: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A function of one's own that has to give one rate for every unit, in the type it was given."""

    def apply(x: Tensor) -> Tensor:
        made = phi(x)
        if not isinstance(made, Tensor) or made.shape != x.shape or made.dtype is not x.dtype:
            got = f"{tuple(made.shape)} of {made.dtype}" if isinstance(made, Tensor) else type(made).__name__
            raise ValueError(
                f"nonlinearity must make of a tensor {tuple(x.shape)} of {x.dtype} another such, got {got}"
            )
        return made

    return apply


@functools.cache
def _tell_of_function() -> None:
    logging.getLogger("ostinato").warning(
        "a nonlinearity that is a function of its own runs step by step in PyTorch; one of %s runs in the "
        "native scan",
        ", ".join(nonlinearities.NONLINEARITIES),
    )
