"""NADE's likelihood and its samples as operations on tensors, on the fastest kernel that applies.

    a_1 = c,  a_{i+1} = a_i + v_i W_i,  z_i = b_i + U_i . sigmoid(a_i)
    log p(v) = sum_i v_i z_i - softplus(z_i)

Larochelle & Murray 2011. Shapes: N frames, V visible, J hidden units. `biases` is [b, c] of every frame,
(N, V + J); `encoder` is W and `decoder` U, both (V, J).
"""

from typing import Any

import torch
from torch import Tensor

from ostinato.nn.devices import uniform
from ostinato.nn.kernels import nade_cpu, nade_torch, select
from ostinato.nn.kernels.by_stream import StreamGradients, no_second_derivative, recorder
from ostinato.nn.kernels.note_order import order_biases, order_frames, order_rows
from ostinato.nn.kernels.operator import eager, register

KERNELS = ("definition", "torch", "cpu")


def _binary(values: Tensor) -> Tensor:
    """Frames as bytes, which must be able to hold them.

    Raises:
        ValueError: something is neither 0 nor 1.
    """
    frames = values.to(torch.uint8)
    exact = values.dtype in (torch.uint8, torch.bool) or torch.equal(frames.to(values.dtype), values)
    if not exact or (frames.numel() and int(frames.max()) > 1):
        raise ValueError("expected binary frames, found values that are neither 0 nor 1")
    return frames


def _log_prob(values: Tensor, biases: Tensor, encoder: Tensor, decoder: Tensor) -> Tensor:
    if select.is_native(biases):
        return nade_cpu.likelihood(_binary(values), biases, encoder, decoder)[0]
    return nade_torch.log_prob(_binary(values), biases, encoder, decoder)


def _gradients(
    weights: Tensor, values: Tensor, biases: Tensor, encoder: Tensor, decoder: Tensor
) -> tuple[Tensor, ...]:
    if not select.is_native(biases):
        return nade_torch.gradients_in_pieces(weights, values, biases, encoder, decoder)
    _, made = nade_cpu.likelihood(_binary(values), biases, encoder, decoder, -weights, gradients=True)
    assert made is not None
    return tuple(made)


def _sample(
    biases: Tensor, encoder: Tensor, decoder: Tensor, drawn: Tensor, fixed: Tensor | None, values: Tensor
) -> tuple[Tensor, ...]:
    path: Any = nade_cpu if select.is_native(biases) else nade_torch
    return tuple(path.sample(biases, encoder, decoder, drawn, fixed, values))


_GRADIENTS = register(
    "nade_gradients(Tensor weights, Tensor values, Tensor biases, Tensor encoder, Tensor decoder)"
    " -> (Tensor, Tensor, Tensor)",
    _gradients,
    nade_torch.unseen_gradients,
    fake=lambda weights, values, *point: tuple(x.new_empty(x.shape) for x in point),
)
_LOG_PROB = register(
    "nade_log_prob(Tensor values, Tensor biases, Tensor encoder, Tensor decoder) -> Tensor",
    _log_prob,
    nade_torch.unseen_log_prob,
    fake=lambda values, biases, encoder, decoder: biases.new_empty(biases.shape[:1]),
    backward=lambda grad, *arguments: (None, *_GRADIENTS(grad[0], *arguments)),
    left_out=(0,),
)
_SAMPLE = register(
    "nade_sample(Tensor biases, Tensor encoder, Tensor decoder, Tensor uniform, Tensor? fixed, Tensor values)"
    " -> (Tensor, Tensor, Tensor)",
    _sample,
    nade_torch.sample,
    fake=lambda biases, encoder, decoder, uniform, fixed, values: (
        values.new_empty(values.shape),
        biases.new_empty(biases.shape[:1]),
        uniform.new_empty(uniform.shape),
    ),
)


class _LogProb(torch.autograd.Function):
    """log p of every frame; the gradients are made when the weights of the frames are known."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, biases: Tensor, encoder: Tensor, decoder: Tensor) -> Tensor:
        ctx.save_for_backward(values, biases, encoder, decoder)
        return nade_cpu.likelihood(values, biases, encoder, decoder)[0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled() or not eager(grad):
            return None, *_GRADIENTS(grad, *ctx.saved_tensors)
        return None, *_gradients(grad, *ctx.saved_tensors)


class _NegativeLogLikelihood(torch.autograd.Function):
    """Sum over frames of -log p, its gradients made in the same pass as the value."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, biases: Tensor, encoder: Tensor, decoder: Tensor) -> Tensor:
        wanted = any(ctx.needs_input_grad)
        log_prob, gradients = nade_cpu.likelihood(values, biases, encoder, decoder, gradients=wanted)
        ctx.save_for_backward(values, biases, encoder, decoder, *(gradients or ()))
        return -log_prob.sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        arguments, made = ctx.saved_tensors[:4], ctx.saved_tensors[4:]
        if torch.is_grad_enabled():
            return None, *_GRADIENTS(-grad.expand(len(arguments[0])), *arguments)
        return None, *(x * grad for x in made)


class _ByStream(torch.autograd.Function):
    """The same, stream by stream: the streams' own gradients of encoder and decoder are collected."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        biases: Tensor,
        encoder: Tensor,
        decoder: Tensor,
        order: Tensor | None,
        found: StreamGradients,
    ) -> Tensor:
        ctx.found, ctx.parameters, ctx.order = found, (encoder, decoder), order
        weights = order_rows(encoder, order), order_rows(decoder, order)
        own, streams = order_biases(biases, order), found.stream_of(len(values))
        nll, of_biases = biases.new_zeros(()), torch.empty_like(own)
        ctx.gradients = []
        for stream in range(found.streams):
            rows = (streams == stream).nonzero().squeeze(1)
            log_prob, made = nade_cpu.likelihood(values[rows], own[rows], *weights, gradients=True)
            assert made is not None
            nll -= log_prob.sum()
            of_biases[rows] = made.biases
            ctx.gradients.append((made.encoder, made.decoder))
        ctx.save_for_backward(of_biases)
        return nll

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        no_second_derivative()
        back = None if ctx.order is None else ctx.order.argsort()
        for parameter, each in zip(ctx.parameters, zip(*ctx.gradients, strict=True), strict=True):
            ctx.found.given(parameter, torch.stack([order_rows(x, back) for x in each]) * grad)
        (of_biases,) = ctx.saved_tensors
        return None, order_biases(of_biases, back) * grad, None, None, None, None


def _chosen(kernel: str | None, *tensors: Tensor) -> str:
    """The kernel that is asked for, or by default the fastest that gives all that is asked for."""
    if kernel not in (None, *KERNELS):
        raise ValueError(f"kernel must be one of {', '.join(KERNELS)} or None, got {kernel!r}")
    if kernel in ("definition", "torch"):
        return kernel
    quick = eager(*tensors) and not tensors[0].requires_grad
    if quick and select.is_native(tensors[1]):
        return "cpu"
    if kernel == "cpu":
        raise ValueError("the native kernel is not available here for this device and type")
    return "torch" if quick else "operator"


def log_prob(
    values: Tensor, biases: Tensor, encoder: Tensor, decoder: Tensor, *, kernel: str | None = None
) -> Tensor:
    """Log-probability of every frame in nats, (N,); differentiable to any order, in both modes.

    Args:
        values: binary frames (N, V), of any type.
        biases: (N, V + J).
        encoder: W, (V, J).
        decoder: U, (V, J).
        kernel: "definition", "torch" or "cpu"; by default the fastest that applies.

    Example:
        >>> biases, weights = torch.zeros(1, 3 + 2), torch.zeros(3, 2)
        >>> log_prob(torch.tensor([[1, 0, 1]]), biases, weights, weights).exp()
        tensor([0.1250])
    """
    match _chosen(kernel, values, biases, encoder, decoder):
        case "cpu":
            return _LogProb.apply(_binary(values), biases, encoder, decoder)
        case "operator":
            return _LOG_PROB(values, biases, encoder, decoder)
        case "definition":
            return nade_torch.definition(values, biases, encoder, decoder)
    return nade_torch.log_prob(_binary(values), biases, encoder, decoder)


def note_log_probs(values: Tensor, biases: Tensor, encoder: Tensor, decoder: Tensor) -> Tensor:
    """Log-probability of each note's value given the notes before it, (N, V); their sum is `log_prob`.

    Arguments as for `log_prob`; PyTorch operations only.

    Example:
        >>> biases, weights = torch.zeros(1, 3 + 2), torch.zeros(3, 2)
        >>> note_log_probs(torch.tensor([[1, 0, 1]]), biases, weights, weights).exp()
        tensor([[0.5000, 0.5000, 0.5000]])
    """
    if _chosen(None, values, biases, encoder, decoder) == "operator":
        return nade_torch.unseen_note_log_probs(values, biases, encoder, decoder)
    return nade_torch.note_log_probs(_binary(values), biases, encoder, decoder)


def nll(
    values: Tensor,
    biases: Tensor,
    encoder: Tensor,
    decoder: Tensor,
    *,
    order: Tensor | None = None,
    kernel: str | None = None,
) -> Tensor:
    """Sum over frames of -log p, as a scalar; differentiable to any order, in both modes.

    Args:
        values, biases, encoder, decoder, kernel: as for `log_prob`.
        order: the notes in the order they are drawn in, (V,) int64; that they are in if None.
    """
    values = order_frames(values, order)
    native = _chosen(kernel, values, biases, encoder, decoder) == "cpu"
    found = recorder(encoder, decoder)
    if found is not None and native:
        return _ByStream.apply(_binary(values), biases, encoder, decoder, order, found)
    biases = order_biases(biases, order)
    encoder, decoder = order_rows(encoder, order), order_rows(decoder, order)
    if native:
        return _NegativeLogLikelihood.apply(_binary(values), biases, encoder, decoder)
    return -log_prob(values, biases, encoder, decoder, kernel=kernel).sum()


def sample(
    biases: Tensor,
    encoder: Tensor,
    decoder: Tensor,
    *,
    fixed: Tensor | None = None,
    values: Tensor | None = None,
    generator: torch.Generator | None = None,
    kernel: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw a frame for every row of biases, note by note, with some notes held fixed if asked.

    Args:
        biases: (N, V + J).
        encoder: W, (V, J).
        decoder: U, (V, J).
        fixed: boolean (N, V), the notes that keep the value they have in `values`.
        values: (N, V) uint8; needed where notes are fixed.
        generator: source of randomness.
        kernel: as for `log_prob`.

    Returns:
        Frames (N, V) uint8; the log-weight (N,), sum over the fixed notes of log p(note | notes before it);
        and P(note on | notes before it), (N, V).
    """
    shape = (biases.shape[0], encoder.shape[0])
    with torch.no_grad():
        drawn = uniform(shape, biases, generator)
        if values is None:
            values = torch.zeros(shape, dtype=torch.uint8, device=biases.device)
        arguments = (biases, encoder, decoder, drawn, fixed, values)
        match _chosen(kernel, values, biases, encoder, decoder):
            case "cpu":
                return nade_cpu.sample(*arguments)
            case "operator":
                return _SAMPLE(*arguments)
        return nade_torch.sample(*arguments)
