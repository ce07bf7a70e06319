"""Each stream's own share of the gradients, from a single backward pass over all streams.

Where B streams are one minibatch, the gradient of a weight that multiplies inputs x is a sum over frames,

    dL/dW = sum_t sum_b d_tb x_tb^T,

and a stream's own gradient is the sum over its frames alone. Nothing more has to be differentiated for it:
the same d and x are put together stream by stream. Layers that know how to do this ask `recorder` in their
forward pass whether somebody wants it, and in their backward pass give d and x to what it returned instead
of the gradient to autograd. Whatever does not know gives its gradients to autograd as always, and it shows:
then `StreamGradients.uncovered` names the parameter, and nothing may be concluded.

The norm of a large weight's own gradient, such as that of 10,000 words, is taken without making it:

    ||sum_t d_t x_t^T||^2 = sum_{t,t'} (d_t . d_t') (x_t . x_t').

Sources: Goodfellow 2015, "Efficient per-example gradient computations"; Li, Tramer, Liang, Hashimoto 2022,
"Large language models can be strong differentially private learners" (ghost norms).

Shapes: T time, B streams, N frames that count, O and I rows and columns of a weight.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

from ostinato.nn.kernels.plain import unwatched
from ostinato.nn.kernels.stream_parts import Dense, Grouped, Part, Product, Rows, alike, as_one

# Numbers in all streams' gradients of one weight: above it their norms are taken without making them.
LARGEST = 1 << 23

# Squared norms far from both ends of float32's range.
_SAFE = (1e-24, 1e36)

_recorder: ContextVar["StreamGradients | None"] = ContextVar("stream gradients", default=None)


class StreamGradients:
    """Collects, in one backward pass, what is needed of every stream's own gradient.

    Args:
        steps: T.
        streams: B.
        mask: boolean (T, B), the frames that count, which outputs are given; all if None.

    Example:
        >>> from ostinato.nn.kernels.projection import affine
        >>> weight = torch.nn.Parameter(torch.zeros(1, 1))
        >>> with StreamGradients(1, 2).recording() as found:
        ...     affine(torch.tensor([[3.0], [4.0]]), weight, None).sum().backward()
        >>> found.uncovered([weight]), found.norms().tolist()
        (None, [3.0, 4.0])
        >>> found.assign(torch.tensor([1.0, 0.5]))
        >>> weight.grad
        tensor([[5.]])
    """

    def __init__(self, steps: int, streams: int, mask: Tensor | None = None) -> None:
        self.steps, self.streams = steps, streams
        self._chosen = None if mask is None else mask.flatten().nonzero().squeeze(1)
        self._parts: dict[Tensor, list[Part]] = {}
        self._shared: dict[Tensor, float] = {}

    @property
    def counts(self) -> Tensor:
        """The frames of each stream that count, (B,) int64."""
        return torch.bincount(self.stream_of(self.frames), minlength=self.streams)

    @property
    def frames(self) -> int:
        """N."""
        return self.steps * self.streams if self._chosen is None else len(self._chosen)

    @contextmanager
    def recording(self) -> Iterator["StreamGradients"]:
        """Layers that run inside the `with` block record what their backward passes find."""
        token = _recorder.set(self)
        try:
            yield self
        finally:
            _recorder.reset(token)

    # What layers give in their backward passes; frames are (T, B, ...), (T B, ...) or, of outputs, (N, ...)

    def product(self, weight: Tensor | None, left: Tensor, right: Tensor) -> None:
        """A weight (O, I) whose gradient is sum left right^T, of frames (..., O) and (..., I)."""
        if weight is None or not weight.requires_grad:
            return
        left, right = self._laid_out(left), self._laid_out(right).to(left.dtype)
        if self.streams * weight.numel() > LARGEST:
            self._add(weight, Product(left, right))
        else:
            self._add(weight, Dense(torch.bmm(left.permute(1, 2, 0), right.transpose(0, 1))))

    def vector(self, bias: Tensor | None, delta: Tensor) -> None:
        """A bias (O,) whose gradient is the sum of `delta` (..., O)."""
        if bias is not None and bias.requires_grad:
            self._add(bias, Dense(self._laid_out(delta).sum(0)))

    def rows(self, weight: Tensor, tokens: Tensor, delta: Tensor, *, sparse: bool) -> None:
        """A weight (V, H) of which `tokens` (T, B) picked rows, with the gradient of what was picked."""
        if weight.requires_grad:
            self._add(weight, Rows(tokens, delta, weight, sparse))

    def grouped(self, weight: Tensor, groups: Sequence[tuple[slice, Tensor, Tensor, Tensor]]) -> None:
        """A weight (V, I) whose gradient is sum left right^T of frames in groups; see `Grouped`."""
        if weight.requires_grad:
            self._add(weight, Grouped(groups, weight.shape, self.streams))

    def given(self, parameter: Tensor, gradients: Tensor) -> None:
        """Every stream's gradient of a parameter, (B, ...)."""
        if parameter.requires_grad:
            self._add(parameter, Dense(gradients))

    def decay(self, parameters: Sequence[Tensor], factor: float) -> None:
        """Parameters p that every stream's gradient has the term `factor` p of, besides what is collected."""
        self._shared |= dict.fromkeys(parameters, factor)

    def stream_of(self, frames: int) -> Tensor:
        """The stream of each of the N frames that count, or of all T B frames."""
        if self._chosen is None or frames == self.steps * self.streams:
            place = None if self._chosen is None else self._chosen.device
            return torch.arange(self.streams, device=place).repeat(self.steps)
        return self._chosen % self.streams

    # What came of it

    def uncovered(self, parameters: Sequence[Tensor]) -> Tensor | None:
        """A parameter that autograd has given a gradient, so that some stream's own is not known whole."""
        odd = [p for p in parameters if p.grad is not None]
        odd += [p for p, parts in self._parts.items() if len(parts) > 1 and not alike(parts)]
        return odd[0] if odd else None

    @torch.no_grad()
    def norms(self, scale: Tensor | None = None) -> Tensor:
        """The norm of each stream's gradient over all parameters (B,), in float64.

        Args:
            scale: what the collected part of each stream's gradient is multiplied by first (B,); 1 if None.
        """
        squares = self._squares(None)
        if not bool(((squares > _SAFE[0]) & (squares < _SAFE[1])).all()):
            squares = self._squares(torch.float64)
        scale = torch.ones_like(squares) if scale is None else scale.to(squares)
        squares = squares * scale.square()
        for parameter, factor in self._shared.items():
            values = parameter.detach()
            for part in self._parts.get(parameter, ()):
                squares += 2 * factor * scale * part.inner(values).double()
            squares += factor**2 * values.double().square().sum()
        return squares.clamp_(min=0).sqrt()

    def _squares(self, dtype: torch.dtype | None) -> Tensor:
        found = [
            part.squares(dtype or parameter.dtype).double()
            for parameter, parts in self._parts.items()
            for part in as_one(parts)
        ]
        return torch.stack(found).sum(0) if found else torch.zeros(self.streams, dtype=torch.float64)

    @torch.no_grad()
    def assign(self, factors: Tensor, shared_factor: float = 1.0) -> None:
        """Give every parameter the sum of the streams' gradients, each times its factor (B,).

        Args:
            factors: (B,).
            shared_factor: what the term of `decay` is multiplied by.
        """
        for parameter in {**self._parts, **self._shared}:
            made: Tensor | None = None
            for part in as_one(self._parts.get(parameter, [])):
                made = part.weighted(factors.to(parameter.device, parameter.dtype))
            if parameter in self._shared:
                term = shared_factor * self._shared[parameter] * parameter.detach()
                made = term if made is None else term + made  # in this order: it may be sparse
            parameter.grad = made

    def _add(self, parameter: Tensor, part: Part) -> None:
        no_second_derivative()
        if forward_ad._current_level >= 0 or not unwatched():
            refuse_backward()
        self._parts.setdefault(parameter, []).append(part)

    def _laid_out(self, frames: Tensor) -> Tensor:
        """(T, B, ...) from (T, B, ...), (T B, ...) or the frames that count, with zeros where none is."""
        if frames.shape[:2] == (self.steps, self.streams) and frames.dim() == 3:
            return frames
        if len(frames) == self.steps * self.streams:
            return frames.unflatten(0, (self.steps, self.streams))
        assert self._chosen is not None
        whole = frames.new_zeros(self.steps * self.streams, *frames.shape[1:])
        return whole.index_copy_(0, self._chosen, frames).unflatten(0, (self.steps, self.streams))


def recorder(*parameters: Tensor | None) -> "StreamGradients | None":
    """What collects streams' gradients just now, if anything does and these parameters can be collected.

    They can where they are a model's own parameters, and not made from some, as by weight normalisation, and
    where nothing but reverse differentiation goes on.
    """
    if torch.compiler.is_compiling():
        return None  # nothing is collected there, and a context variable cannot be traced
    found = _recorder.get()
    if found is None or not unwatched():
        return None
    return found if all(p is None or p.is_leaf for p in parameters) else None


def no_second_derivative() -> None:
    """Refuse a backward pass of `create_graph=True`: what is collected is in no graph.

    Raises:
        RuntimeError: it is one.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(
            "streams' own gradients are collected by a backward pass that is not differentiated again; "
            "take derivatives of higher order (create_graph=True) outside `recording()`"
        )


def refuse_backward() -> NoReturn:
    """An error where a backward pass is no plain one.

    Raises:
        RuntimeError: always, with what is expected.
    """
    no_second_derivative()
    raise RuntimeError(
        "streams' own gradients are collected by a backward pass without is_grads_batched, forward "
        "mode, transforms of torch.func, compilers and autocast"
    )


class _Affine(torch.autograd.Function):
    """W x + b whose weights' gradients are collected stream by stream."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, found: StreamGradients
    ) -> Tensor:
        ctx.parameters, ctx.found = (weight, bias), found
        ctx.save_for_backward(inputs)
        return F.linear(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        no_second_derivative()
        (inputs,), (weight, bias) = ctx.saved_tensors, ctx.parameters
        ctx.found.product(weight, grad, inputs)
        ctx.found.vector(bias, grad)
        return grad @ weight.detach() if ctx.needs_input_grad[0] else None, None, None, None


class _Embedding(torch.autograd.Function):
    """Rows of a weight, whose gradients are collected stream by stream."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, rows: Tensor, sparse: bool, found: StreamGradients) -> Tensor:
        ctx.rows, ctx.sparse, ctx.found = rows, sparse, found
        ctx.save_for_backward(tokens)
        return F.embedding(tokens, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, ...]:
        no_second_derivative()
        ctx.found.rows(ctx.rows, ctx.saved_tensors[0], grad, sparse=ctx.sparse)
        return None, None, None, None


class _Product(torch.autograd.Function):
    """x W, the gradient of W collected stream by stream."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, found: StreamGradients) -> Tensor:
        ctx.weight, ctx.found = weight, found
        ctx.save_for_backward(inputs)
        return inputs @ weight

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        no_second_derivative()
        ctx.found.product(ctx.weight, ctx.saved_tensors[0], grad)
        return grad @ ctx.weight.detach().T if ctx.needs_input_grad[0] else None, None, None


class _Shifted(torch.autograd.Function):
    """x + b, the gradient of b collected stream by stream."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, bias: Tensor, found: StreamGradients) -> Tensor:
        ctx.bias, ctx.found = bias, found
        return inputs + bias

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        no_second_derivative()
        ctx.found.vector(ctx.bias, grad)
        return grad, None, None


def affine(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear`, of which streams' own gradients can be collected; inputs (..., I), weight (O, I)."""
    found = recorder(weight, bias)
    if found is None:
        return F.linear(inputs, weight, bias)
    return _Affine.apply(inputs, weight, bias, found)


def product(inputs: Tensor, weight: Tensor) -> Tensor:
    """inputs @ weight, of which streams' own gradients can be collected; inputs (..., I), weight (I, O)."""
    found = recorder(weight)
    return inputs @ weight if found is None else _Product.apply(inputs, weight, found)


def embedding(tokens: Tensor, rows: Tensor, *, sparse: bool = False) -> Tensor:
    """`F.embedding`, of which streams' own gradients can be collected; tokens (T, B), rows (V, H)."""
    found = recorder(rows)
    if found is None or tokens.dim() != 2:
        return F.embedding(tokens, rows, sparse=sparse)
    return _Embedding.apply(tokens, rows, sparse, found)


def shifted(inputs: Tensor, bias: Tensor | None) -> Tensor:
    """inputs + bias, of which streams' own gradients can be collected; inputs (..., O), bias (O,) or None."""
    if bias is None:
        return inputs
    found = recorder(bias)
    return inputs + bias if found is None else _Shifted.apply(inputs, bias, found)
