"""Mixtures of language models, token by token: p = sum_m lambda_m p_m, and the weights that fit a text best.

Shapes: N tokens, M models.
"""

import numpy as np

from ostinato.errors import UserError


def mix(log_probs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Log-probability of each token under the mixture, shape (N,).

    Args:
        log_probs: of each token under each model (M, N), nats.
        weights: lambda (M,), at least 0 and of sum 1.

    Example:
        >>> np.exp(mix(np.log([[0.5, 0.1], [0.1, 0.5]]), np.array([0.5, 0.5])))
        array([0.3, 0.3])
    """
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != (len(log_probs),) or (weights < 0).any() or abs(weights.sum() - 1) > 1e-9:
        raise ValueError(f"expected {len(log_probs)} weights of sum 1, got {weights}")
    used = weights > 0
    terms = log_probs[used] + np.log(weights[used])[:, np.newaxis]
    top = terms.max(0)
    # where every model says -inf, so does the mixture
    safe = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return safe + np.log(np.exp(terms - safe).sum(0))


def fit_weights(log_probs: np.ndarray, steps: int = 1000, tolerance: float = 1e-8) -> np.ndarray:
    """The weights lambda (M,) under which a held-out text is most probable, by expectation maximisation.

        lambda_m <- (1 / N) sum_n lambda_m p_m(n) / sum_k lambda_k p_k(n)

    Every step raises the likelihood, which is concave in lambda: the fit is the best one. Source: Jelinek &
    Mercer 1980.

    Args:
        log_probs: of each token under each model (M, N), nats.
        steps: at most so many.
        tolerance: stop when no weight moves more.

    Example:
        >>> same = np.log(np.full((2, 4), 0.25))
        >>> fit_weights(same)
        array([0.5, 0.5])
    """
    top = log_probs.max(0)
    if log_probs.shape[1] == 0 or not np.isfinite(top).all():
        raise UserError(
            "expected held-out text that some model gives a probability, found none or an impossible word"
        )
    relative = np.exp(log_probs - top)
    weights = np.full(len(log_probs), 1 / len(log_probs))
    for _ in range(steps):
        joint = weights[:, np.newaxis] * relative
        new = (joint / joint.sum(0)).mean(1)
        moved = float(np.abs(new - weights).max())
        weights = new
        if moved < tolerance:
            break
    return weights / weights.sum()
