"""NADE in PyTorch operations: the definition, and two paths without a loop over notes for any device.

    a_1 = c,  a_{i+1} = a_i + v_i W_i,  z_i = b_i + U_i . sigmoid(a_i)
    log p(v) = sum_i v_i z_i - softplus(z_i)

Shapes: N frames, V visible, J hidden units. `biases` is [b, c] of every frame, (N, V + J); `encoder` is W
and `decoder` U, both (V, J).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# Numbers in the largest intermediate array: frames are worked on in pieces that stay below it.
_PIECE = 1 << 25


def _softplus(z: Tensor) -> Tensor:
    # torch's own softplus drops log1p(exp(-z)) above 20: 2e-9, which float64 would notice
    return -F.logsigmoid(-z)


def definition(values: Tensor, biases: Tensor, encoder: Tensor, decoder: Tensor) -> Tensor:
    """log p (N,), one step a note, as the equations say it: slow, differentiable, the reference."""
    visible, a = len(encoder), biases[:, len(encoder) :]
    on = values.to(biases.dtype)
    log_prob = biases.new_zeros(len(biases))
    for i in range(visible):
        z = biases[:, i] + torch.sigmoid(a) @ decoder[i]
        log_prob = log_prob + on[:, i] * z - _softplus(z)
        a = a + on[:, i : i + 1] * encoder[i]
    return log_prob


def log_prob(values: Tensor, biases: Tensor, encoder: Tensor, decoder: Tensor) -> Tensor:
    """log p (N,), differentiable to any order; looks at the frames."""
    return note_log_probs(values, biases, encoder, decoder).sum(1)


def note_log_probs(values: Tensor, biases: Tensor, encoder: Tensor, decoder: Tensor) -> Tensor:
    """Log-probability of each note's value given the notes before it (N, V), differentiable to any order.

    A frame with k notes on has k + 1 distinct hidden vectors ("slots"); all logits of all slots are one
    matrix product, of which each note takes the one it needs.
    """
    most = int(values.sum(1).max()) if len(values) else 0
    rows = max(1, _PIECE // ((most + 1) * sum(encoder.shape)))
    parts = [
        _note_log_probs(v, x, encoder, decoder)
        for v, x in zip(values.bool().split(rows), biases.split(rows), strict=True)
    ]
    return torch.cat(parts)


def _note_log_probs(values: Tensor, biases: Tensor, encoder: Tensor, decoder: Tensor) -> Tensor:
    frames, visible = values.shape
    before = values.long().cumsum(1) - values.long()  # notes on below each note: its slot
    most = int(values.sum(1).max()) if frames else 0
    added = biases.new_zeros(frames, most + 1, encoder.shape[1])
    frame, note = values.nonzero(as_tuple=True)
    added = added.index_put((frame, before[frame, note] + 1), encoder[note])
    states = torch.sigmoid(biases[:, None, visible:] + added.cumsum(1))
    every = states @ decoder.T  # (N, slots, V)
    z = biases[:, :visible] + every.gather(1, before.unsqueeze(1)).squeeze(1)
    return values.to(z.dtype) * z - _softplus(z)


def unseen_note_log_probs(values: Tensor, biases: Tensor, encoder: Tensor, decoder: Tensor) -> Tensor:
    """`note_log_probs` without a look at the frames: a hidden vector for every note, (N, V, J) numbers.

    For compilers, transforms and fake tensors; also differentiable by the values.
    """
    on, _, z = _unseen(values, biases, encoder, decoder)
    return on * z - _softplus(z)


def unseen_log_prob(values: Tensor, biases: Tensor, encoder: Tensor, decoder: Tensor) -> Tensor:
    """`log_prob` without a look at the frames."""
    return unseen_note_log_probs(values, biases, encoder, decoder).sum(1)


def unseen_gradients(
    weights: Tensor, values: Tensor, biases: Tensor, encoder: Tensor, decoder: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Of sum_n weights_n log p(v_n), by biases, encoder and decoder; differentiable to any order.

    r_i = w (v_i - sigmoid(z_i)),  d/db = r,  d/dU_i = sum_n r_i h_i
    s_i = r_i U_i h_i (1 - h_i),   d/dc = sum_i s_i,  d/dW_k = sum_n v_k sum_{i>k} s_i
    """
    on, states, z = _unseen(values, biases, encoder, decoder)
    wrong = weights.unsqueeze(1) * (on - torch.sigmoid(z))
    of_states = wrong.unsqueeze(2) * decoder * states * (1 - states)
    return (
        torch.cat([wrong, of_states.sum(1)], 1),
        (on.unsqueeze(2) * _sum_before(of_states.flip(1)).flip(1)).sum(0),
        (wrong.unsqueeze(2) * states).sum(0),
    )


def gradients_in_pieces(
    weights: Tensor, values: Tensor, biases: Tensor, encoder: Tensor, decoder: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`unseen_gradients` of some frames after others, so that intermediate arrays stay small."""
    rows = max(1, _PIECE // max(1, encoder.numel()))
    split = zip(weights.split(rows), values.split(rows), biases.split(rows), strict=True)
    parts = [unseen_gradients(w, v, x, encoder, decoder) for w, v, x in split]
    of_biases, of_encoder, of_decoder = zip(*parts, strict=True)
    return torch.cat(of_biases), torch.stack(of_encoder).sum(0), torch.stack(of_decoder).sum(0)


def _unseen(
    values: Tensor, biases: Tensor, encoder: Tensor, decoder: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The frames as numbers (N, V), every note's hidden vector (N, V, J) and its logit (N, V)."""
    visible = encoder.shape[0]
    on = values.to(biases.dtype)
    added = _sum_before(on.unsqueeze(2) * encoder)
    states = torch.sigmoid(biases[:, visible:].unsqueeze(1) + added)
    return on, states, biases[:, :visible] + (states * decoder).sum(2)


def _sum_before(x: Tensor) -> Tensor:
    """For every note of (N, V, J) the sum over those before it."""
    return torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1).cumsum(1)


def sample(
    biases: Tensor,
    encoder: Tensor,
    decoder: Tensor,
    uniform: Tensor,
    fixed: Tensor | None,
    values: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Frames (N, V) uint8, the log-weight (N,) of their fixed notes, and P(note | notes before) (N, V).

    Note i is on where uniform_i < sigmoid(z_i); fixed notes keep the value they have in `values`.
    """
    visible, a = len(encoder), biases[:, len(encoder) :]
    log_weight = biases.new_zeros(biases.shape[0])
    frames, conditional = [], []
    for i in range(visible):
        z = biases[:, i] + torch.sigmoid(a) @ decoder[i]
        p = torch.sigmoid(z)
        drawn = (uniform[:, i] < p).to(torch.uint8)
        if fixed is not None:
            drawn = torch.where(fixed[:, i], values[:, i], drawn)
            given = drawn.to(z.dtype) * z - _softplus(z)
            log_weight = log_weight + given.masked_fill(~fixed[:, i], 0)
        frames.append(drawn)
        conditional.append(p)
        a = a + drawn.to(a.dtype).unsqueeze(1) * encoder[i]
    return torch.stack(frames, 1), log_weight, torch.stack(conditional, 1)
