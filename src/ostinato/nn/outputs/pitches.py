"""Which pitch a sounding note has, given everything else in its frame: one definition for every output.

Shapes: N frames, V visible (88 notes), K notes that are looked at together.
"""

from collections.abc import Callable

import torch
from torch import Tensor

# Notes looked at together: 64 of them make at most 64 V frames to be scored.
_TOGETHER = 64


def pitch_log_probs(score: Callable[[Tensor, Tensor], Tensor], values: Tensor) -> Tensor:
    """Log-probability of each sounding note's pitch given the other notes of its frame, (N, V), in nats.

        log p(i | v without i, one note more) = s(v) - log sum_j exp s(v without i, with j)

    j runs over i and all silent notes; s is log p up to a constant of the frame, so that models whose
    normalization is unknown (an RBM's) have exact values, too. Silent notes have 0.

    Args:
        score: s of frames (K, V) uint8 under the distributions number `rows` (K,) int64: (K,).
        values: frames (N, V); what is not zero sounds.

    Returns:
        float64, on the device of the values.

    Example:
        >>> logits = torch.tensor([[1.0, 3.0, 4.0]]).log()  # independent notes: odds 1, 3 and 4
        >>> pitch_log_probs(lambda v, rows: (v * logits[rows]).sum(1), torch.tensor([[1, 0, 0]])).exp()
        tensor([[0.1250, 1.0000, 1.0000]], dtype=torch.float64)
    """
    return placed_log_probs(lambda frames, rows, _: score(frames, rows), values)


def placed_log_probs(score: Callable[[Tensor, Tensor, Tensor], Tensor], values: Tensor) -> Tensor:
    """`pitch_log_probs` where s is told, besides, at which pitch (K,) of each frame the note is."""
    on = values != 0
    found = torch.zeros(on.shape, dtype=torch.float64, device=on.device)
    frames, notes = on.nonzero(as_tuple=True)
    for rows, own in zip(frames.split(_TOGETHER), notes.split(_TOGETHER), strict=True):
        each = torch.arange(len(rows), device=on.device)
        others = on[rows]
        others[each, own] = False
        which, pitch = (~others).nonzero(as_tuple=True)
        tried = others[which].to(torch.uint8)
        tried[torch.arange(len(which), device=on.device), pitch] = 1
        table = found.new_full(others.shape, -torch.inf)
        table[which, pitch] = score(tried, rows[which], pitch).double()
        found[rows, own] = table[each, own] - table.logsumexp(1)
    return found
