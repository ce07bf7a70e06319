"""Expected frame-level accuracy, in the two definitions that are around.

Both are expectations over frames drawn from the model's predictive distribution. For independent notes
they are computed exactly: the numbers of right and of wrong notes are sums of independent Bernoulli
variables (Poisson binomial). For other distributions they are means over drawn frames.
Shapes: N frames, V visible, S drawn frames.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from ostinato.nn.outputs import BernoulliFrames

BAY = (
    "expected accuracy (a), Bay et al. 2009: pooled sum TP / sum (TP + FP + FN) under the predictive "
    "distribution, first frame of each song included"
)
PER_FRAME = (
    "expected accuracy (b): per frame TP / max(|predicted|, |true|), empty against empty counts 1, mean "
    "over frames, first frame of each song included"
)


@dataclass(frozen=True)
class ExpectedAccuracy:
    """Per-frame expectations, each of shape (N,).

    Arguments:
        hits: E[TP], right notes.
        errors: E[TP + FP + FN], notes that are predicted or true.
        overlap: E[TP / max(|predicted|, |true|)], with 0 / 0 = 1.
    """

    hits: Tensor
    errors: Tensor
    overlap: Tensor


def expected_accuracy(frames: BernoulliFrames, targets: Tensor, chunk: int = 4096) -> ExpectedAccuracy:
    """Exact expectations for independent notes.

    Args:
        frames: predictive distributions of N frames.
        targets: the true frames, (N, V).
        chunk: frames worked on at once; bounds memory.

    Example:
        >>> sure = BernoulliFrames(torch.tensor([[50.0, -50.0, -50.0]]))
        >>> expected_accuracy(sure, torch.tensor([[1, 1, 0]])).overlap
        tensor([0.5000], dtype=torch.float64)
    """
    p, y = frames.mean.double(), targets.double()
    hits = (p * y).sum(-1)
    errors = y.sum(-1) + (p * (1 - y)).sum(-1)
    parts = [_overlap(p[i : i + chunk], y[i : i + chunk]) for i in range(0, len(p), chunk)]
    return ExpectedAccuracy(hits, errors, torch.cat(parts) if parts else hits.clone())


def sampled_accuracy(
    frames: Distribution, targets: Tensor, samples: int, generator: torch.Generator | None = None
) -> ExpectedAccuracy:
    """The same quantities of S frames drawn from any distribution: fields of shape (S, N), to be averaged.

    Args:
        frames: predictive distributions of N frames, with a `sample` that takes a generator.
        targets: the true frames, (N, V).
        samples: S.
        generator: source of randomness.

    Example:
        >>> sure = BernoulliFrames(torch.tensor([[50.0, -50.0, -50.0]]))
        >>> sampled_accuracy(sure, torch.tensor([[1, 1, 0]]), samples=2).overlap
        tensor([[0.5000],
                [0.5000]], dtype=torch.float64)
    """
    drawn = (frames.sample(generator=generator) for _ in range(samples))  # type: ignore[call-arg]
    return accuracy_of(drawn, targets)


def accuracy_of(drawn: Iterable[Tensor], targets: Tensor) -> ExpectedAccuracy:
    """The same quantities of frames (N, V) that were drawn: fields of shape (S, N)."""
    true = targets.to(torch.uint8)
    count = true.sum(-1).double()
    hits, errors, overlap = [], [], []
    for frames in drawn:
        right, size = (frames & true).sum(-1).double(), frames.sum(-1).double()
        larger = torch.maximum(size, count)
        hits.append(right)
        errors.append(count + size - right)
        overlap.append(torch.where(larger > 0, right / larger.clamp_min(1), 1.0))
    return ExpectedAccuracy(torch.stack(hits), torch.stack(errors), torch.stack(overlap))


def _overlap(p: Tensor, y: Tensor) -> Tensor:
    """E[TP / max(TP + FP, R)] with R = |true|, summing over both counts' distributions."""
    true = y.sum(-1).long()
    most = int(true.max())
    right = _count_distribution(p * y, most)
    wrong = _count_distribution(p * (1 - y), p.shape[-1])
    result = p.new_empty(len(p))
    tp = torch.arange(most + 1, dtype=p.dtype, device=p.device).unsqueeze(1)
    fp = torch.arange(wrong.shape[1], dtype=p.dtype, device=p.device)
    for notes in true.unique().tolist():
        rows = true == notes
        size = (tp + fp).clamp_min(notes)
        # an empty frame is right exactly where nothing is predicted
        value = torch.where(size > 0, tp / size.clamp_min(1), 1.0)
        result[rows] = ((right[rows] @ value) * wrong[rows]).sum(-1)
    return result


def _count_distribution(p: Tensor, most: int) -> Tensor:
    """P(sum of independent Bernoulli(p_v) = k) for k = 0 ... most, shape (N, most + 1)."""
    counts = p.new_zeros(len(p), most + 1)
    counts[:, 0] = 1
    # Only so many columns can be other than zero after so many notes.
    for v in range(p.shape[1]):
        reach = min(v + 1, most)
        q = p[:, v : v + 1]
        step = counts[:, :reach] * q
        counts[:, : reach + 1] *= 1 - q
        counts[:, 1 : reach + 1] += step
    return counts
