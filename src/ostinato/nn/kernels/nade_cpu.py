"""NADE in native code, on the CPU, in float32 and float64: what `native/nade/` offers, with its checks.

Shapes: N frames, V visible, J hidden units. `biases` is [b, c] of every frame, (N, V + J); `encoder` is W
and `decoder` U, both (V, J). The equations are those of `nade_torch`.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ostinato.nn.kernels import cpu
from ostinato.nn.kernels.plain import dense


class Gradients(NamedTuple):
    """Of sum_n weights_n (-log p(v_n)): with respect to biases, encoder and decoder; or a change of these."""

    biases: Tensor
    encoder: Tensor
    decoder: Tensor


def likelihood(
    values: Tensor,
    biases: Tensor,
    encoder: Tensor,
    decoder: Tensor,
    weights: Tensor | None = None,
    *,
    gradients: bool = False,
    extension: Any = None,
) -> tuple[Tensor, Gradients | None]:
    """log p (N,) of binary frames, and, if wanted, the gradients of their weighted negative sum.

    Args:
        values: frames (N, V) uint8.
        biases: (N, V + J).
        encoder: (V, J).
        decoder: (V, J).
        weights: of each frame (N,); ones by default.
        gradients: whether to make the gradients in the same pass.
        extension: the native kernels of one instruction set; the best by default.
    """
    sizes = _sizes(values, biases, encoder, decoder)
    values, biases = values.contiguous(), biases.contiguous()
    encoder, decoder = encoder.contiguous(), decoder.contiguous()
    weights = None if weights is None else weights.contiguous()
    log_prob = biases.new_empty(len(biases))
    made = None
    if gradients:
        # no frames: their biases have no address, which tells the kernel that no gradients are wanted
        new = torch.empty_like if len(biases) else torch.zeros_like
        made = Gradients(*(new(x) for x in (biases, encoder, decoder)))
    (extension or cpu.extension()).nade(
        biases.dtype is torch.float64,
        sizes,
        values.data_ptr(),
        biases.data_ptr(),
        encoder.data_ptr(),
        decoder.data_ptr(),
        0 if weights is None else weights.data_ptr(),
        log_prob.data_ptr(),
        *((0, 0, 0) if made is None else (x.data_ptr() for x in made)),
        torch.get_num_threads(),
    )
    return log_prob, made


def curvature(
    values: Tensor,
    biases: Tensor,
    encoder: Tensor,
    decoder: Tensor,
    variance: Tensor,
    change: Gradients,
    extension: Any = None,
) -> Gradients:
    """J^T diag(variance) J applied to a change, J the derivative of all notes' logits by all three.

    Args:
        values: frames (N, V) uint8.
        biases: (N, V + J).
        encoder: (V, J).
        decoder: (V, J).
        variance: p (1 - p) of every note given those before it, (N, V).
        change: of biases, encoder and decoder.
        extension: the native kernels of one instruction set; the best by default.
    """
    sizes = _sizes(values, biases, encoder, decoder)
    _sizes(values, *change)
    _expect("the variance", variance, biases.dtype, tuple(values.shape))
    # held in names: an address is good for as long as its tensor lives
    point = [x.contiguous() for x in (values, biases, encoder, decoder, variance, *change)]
    made = Gradients(*(torch.empty_like(x) for x in point[1:4]))
    if not len(biases):
        return Gradients(*(x.zero_() for x in made))
    (extension or cpu.extension()).nade_curvature(
        biases.dtype is torch.float64,
        sizes,
        *(x.data_ptr() for x in (*point, *made)),
        torch.get_num_threads(),
    )
    return made


def sample(
    biases: Tensor,
    encoder: Tensor,
    decoder: Tensor,
    uniform: Tensor,
    fixed: Tensor | None,
    values: Tensor,
    extension: Any = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Frames (N, V) uint8, the log-weight (N,) of their fixed notes, and P(note | notes before) (N, V).

    Note i is on where uniform_i < sigmoid(z_i); fixed notes keep the value they have in `values`.
    """
    sizes = _sizes(values, biases, encoder, decoder)
    _expect("uniform", uniform, biases.dtype, tuple(values.shape))
    if fixed is not None:
        _expect("the mask of fixed notes", fixed, torch.bool, tuple(values.shape))
        fixed = fixed.contiguous()
    values, uniform = values.contiguous().clone(), uniform.contiguous()
    biases, encoder, decoder = biases.contiguous(), encoder.contiguous(), decoder.contiguous()
    log_weight, conditional = biases.new_empty(len(biases)), torch.empty_like(uniform)
    (extension or cpu.extension()).nade_sample(
        biases.dtype is torch.float64,
        sizes,
        biases.data_ptr(),
        encoder.data_ptr(),
        decoder.data_ptr(),
        uniform.data_ptr(),
        0 if fixed is None else fixed.data_ptr(),
        values.data_ptr(),
        log_weight.data_ptr(),
        conditional.data_ptr(),
        torch.get_num_threads(),
    )
    return values, log_weight, conditional


def _sizes(values: Tensor, biases: Tensor, encoder: Tensor, decoder: Tensor) -> tuple[int, int, int]:
    """(N, V, J), after checking everything that the native code takes on trust."""
    if encoder.dim() != 2:
        raise ValueError(f"the encoder must have shape (V, J), got {tuple(encoder.shape)}")
    frames, (visible, hidden) = len(biases), encoder.shape
    _expect("frames", values, torch.uint8, (frames, visible))
    if biases.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"biases must be float32 or float64, got {biases.dtype}")
    _expect("biases", biases, biases.dtype, (frames, visible + hidden))
    _expect("the encoder", encoder, biases.dtype, (visible, hidden))
    _expect("the decoder", decoder, biases.dtype, (visible, hidden))
    return frames, visible, hidden


def _expect(name: str, tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    if tensor.dtype is not dtype or tuple(tensor.shape) != shape or not dense(tensor):
        raise ValueError(
            f"{name} must be {dtype} {shape} in the memory of the CPU, "
            f"got {tensor.dtype} {tuple(tensor.shape)} on {tensor.device}"
        )
