"""How far the quadratic model is trusted: the reduction ratio and the rule that moves lambda by it.

Sources: Levenberg 1944, Marquardt 1963; Martens 2010, sections 4.1 and 4.7.
"""

import math
from dataclasses import dataclass

from torch import Tensor

from ostinato.errors import UserError


def reduction_ratio(before: float, after: float, predicted: float) -> float:
    """rho = (f(theta + delta) - f(theta)) / q(delta): what a step gained, in units of what was promised.

    q is the UNDAMPED quadratic g^T delta + delta^T G delta / 2. Where it promises nothing (q >= 0), or the
    loss after the step is not a number, rho is -infinity: the step is not to be trusted.

    Example:
        >>> reduction_ratio(3.0, 2.0, -2.0), reduction_ratio(3.0, float("nan"), -2.0)
        (0.5, -inf)
    """
    if not predicted < 0 or not math.isfinite(after):
        return -math.inf
    return (after - before) / predicted


@dataclass(frozen=True)
class LevenbergMarquardt:
    """The next lambda: lambda * factor where rho < low, lambda / factor where rho > high, else lambda.

    Args:
        factor: how much lambda changes, above 1.
        low: below this rho the model promised too much.
        high: above this rho it can be trusted further.
        smallest, largest: lambda stays between them.

    Raises:
        UserError: the factor is not above 1, or the bounds are not in order.

    Example:
        >>> rule = LevenbergMarquardt()
        >>> rule(0.3, rho=0.1), rule(0.3, rho=0.5), rule(0.3, rho=0.9)
        (0.44999999999999996, 0.3, 0.19999999999999998)
    """

    factor: float = 1.5
    low: float = 0.25
    high: float = 0.75
    smallest: float = 1e-10
    largest: float = 1e10

    def __post_init__(self) -> None:
        if not self.factor > 1:
            raise UserError(f"expected a damping factor above 1, found {self.factor}; 1.5 is usual")
        if not (self.low < self.high and 0 < self.smallest <= self.largest):
            raise UserError(
                f"expected low < high and 0 < smallest <= largest for the damping rule, found {self}"
            )

    def __call__(self, damping: float, rho: float) -> float:
        """The lambda after a step with this reduction ratio; 0 stays 0 while the steps are good."""
        if rho < self.low:
            return min(max(damping * self.factor, self.smallest), self.largest)
        if rho > self.high and damping > 0:
            return max(damping / self.factor, self.smallest)
        return damping


def diagonal_preconditioner(squared_gradient: Tensor, damping: float, exponent: float = 0.75) -> Tensor:
    """The diagonal (lambda + sum_b g_b^2)^(-exponent): an inverse of a rough curvature, softened.

    Source: Martens 2010, section 4.7. The sum of squared gradients over parts of the minibatch is the
    diagonal of the empirical Fisher matrix, up to the parts' size.

    Example:
        >>> import torch
        >>> diagonal_preconditioner(torch.tensor([0.0, 15.0]), 1.0)
        tensor([1.0000, 0.1250])
    """
    # an element without damping or gradient is left as it is
    base = (squared_gradient + damping).clamp_min(1e-30)
    return base.pow(-exponent)
