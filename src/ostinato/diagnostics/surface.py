"""Cliffs: the loss in a plane through a model's parameters, and its derivatives on the way across.

    L(theta + x u + y v)     u along the gradient, v along the largest curvature that is left beside it
    L'(x) = u . g(theta + x u),     L''(x) = (L'(x + h) - L'(x - h)) / 2 h

The paper's section 2: where the first derivative explodes, so does the second, and the loss has a wall. A
step along the gradient there goes far away from it; the same step clipped stays. All is computed in float64.

Shapes: P, all parameters that are trained, in one vector; K points along an axis.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ostinato.errors import UserError, argument
from ostinato.nn.cells.state import State, map_state
from ostinato.nn.curvature.gauss_newton import GaussNewton
from ostinato.nn.model import SequenceModel

#: Loss and gradient (P,) at parameters (P,).
Derivative = Callable[[Tensor], tuple[float, Tensor]]

# Of the reach, how far to both sides the second derivative looks.
_NEAR = 1e-5
_ITERATIONS = 30


@dataclass(frozen=True)
class Line:
    """Along a direction.

    Attributes:
        at: x of each point, (K,).
        loss: L, (K,).
        first: L', (K,).
        second: L'', (K,).
    """

    at: list[float]
    loss: list[float]
    first: list[float]
    second: list[float]

    @property
    def together(self) -> float:
        """The correlation of log |L'| and log |L''| over the points: near 1 where they grow together."""
        pair = torch.tensor([self.first, self.second], dtype=torch.float64).abs()
        pair = pair[:, ((pair > 0) & pair.isfinite()).all(0)].log()
        return float(torch.corrcoef(pair)[0, 1]) if pair.shape[1] > 2 else float("nan")


@dataclass(frozen=True)
class Surface:
    """A plane.

    Attributes:
        along: x of each column, (K,).
        across: y of each row, (K,).
        loss: (K, K).
        line: on y = 0.
        step: (x, y) of a step down the gradient; None without a learning rate.
        clipped: the same, clipped; None without a threshold.
        norm: of the gradient.
        curvature: the largest of the Gauss-Newton matrix, by power iteration.
    """

    along: list[float]
    across: list[float]
    loss: list[list[float]]
    line: Line
    step: tuple[float, float] | None
    clipped: tuple[float, float] | None
    norm: float
    curvature: float

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self) | {"together": self.line.together}


def derivatives(loss: Derivative, origin: Tensor, direction: Tensor, at: Tensor) -> Line:
    """The loss and its first two derivatives on a line.

    Args:
        loss: of parameters (P,), with its gradient.
        origin: theta, (P,), of float64.
        direction: u, (P,), of length 1.
        at: x of each point, (K,).

    Example:
        >>> def cubic(theta):
        ...     return float((theta**3).sum()), 3 * theta**2
        >>> origin, direction = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
        >>> found = derivatives(cubic, origin, direction, torch.tensor([1.0, 2.0], dtype=torch.float64))
        >>> found.first, [round(x, 6) for x in found.second]
        ([3.0, 12.0], [6.0, 12.0])
    """
    width = _NEAR * max(float(at.abs().max()), 1e-3)

    def slope(x: float) -> tuple[float, float]:
        value, gradient = loss(origin + x * direction)
        return value, float(gradient @ direction)

    values, first, second = [], [], []
    for x in at.tolist():
        value, own = slope(x)
        values.append(value)
        first.append(own)
        second.append((slope(x + width)[1] - slope(x - width)[1]) / (2 * width))
    return Line(at.tolist(), values, first, second)


def loss_surface(
    model: SequenceModel,
    inputs: Tensor,
    targets: Tensor,
    states: State | None = None,
    starts: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    learning_rate: float | None = None,
    threshold: float | None = None,
    reach: float | None = None,
    points: int = 21,
) -> Surface:
    """The plane of the gradient and the largest curvature, by Gauss-Newton products.

    Args:
        model: the model; it is not changed.
        inputs, targets, states, starts, mask: a segment, as for `SequenceModel.loss`.
        learning_rate: of the steps drawn in.
        threshold: of the clipped one.
        reach: how far the plane goes to each side; by default as far as the longest step, and at least a
            tenth of the weights' length.
        points: K.

    Raises:
        UserError: the output has no curvature, or the gradient is zero or not finite.

    Example:
        >>> from ostinato.nn import RNN
        >>> from ostinato.nn.outputs import Bernoulli
        >>> model = SequenceModel(RNN(3, 4), Bernoulli(4, 3))
        >>> frames = (torch.rand(6, 2, 3) < 0.5).to(torch.uint8)
        >>> found = loss_surface(model, frames, frames, learning_rate=0.1, threshold=0.01, points=5)
        >>> len(found.loss), len(found.line.second), round(-found.clipped[0], 6)
        (5, 5, 0.001)
    """
    if points < 3:
        raise UserError(f"expected {argument('points')} of at least 3, found {points}")
    twin = copy.deepcopy(model).double().eval()
    wide = (_wide(inputs), _wide(targets), None if states is None else map_state(_wide, states), starts, mask)
    try:
        operator = GaussNewton(twin, *wide)
    except ValueError as error:
        raise UserError(f"expected a model with curvature, found none: {error}") from error
    parameters = operator.parameters()
    origin = torch.cat([p.detach().reshape(-1) for p in parameters])

    def at(theta: Tensor) -> None:
        with torch.no_grad():
            for p, part in zip(parameters, theta.split([p.numel() for p in parameters]), strict=True):
                p.copy_(part.view_as(p))

    def derivative(theta: Tensor) -> tuple[float, Tensor]:
        at(theta)
        gradient = operator.gradient()
        return operator.loss(), gradient

    gradient = operator.gradient()
    norm = float(gradient.norm())
    if not 0 < norm < float("inf"):
        raise UserError(f"expected a finite gradient above 0 to look along, found one of norm {norm}")
    u = gradient / norm
    v, curvature = _curved(operator, u)
    longest = 0.0 if learning_rate is None else learning_rate * norm
    reach = max(longest * 1.2, 0.1 * float(origin.norm())) if reach is None else reach
    axis = torch.linspace(-reach, reach, points, dtype=origin.dtype)
    rows = []
    for y in axis.tolist():
        row = []
        for x in axis.tolist():
            at(origin + x * u + y * v)
            row.append(operator.loss())
        rows.append(row)
    line = derivatives(derivative, origin, u, axis)
    step = clipped = None
    if learning_rate is not None:
        step = (-longest, 0.0)
        if threshold is not None:
            clipped = (-learning_rate * min(norm, threshold), 0.0)
    return Surface(axis.tolist(), axis.tolist(), rows, line, step, clipped, norm, curvature)


def _wide(x: Tensor) -> Tensor:
    return x.double() if x.is_floating_point() else x


def _curved(operator: GaussNewton, u: Tensor) -> tuple[Tensor, float]:
    """The direction of largest curvature beside u, of length 1, and that curvature of all directions."""
    generator = torch.Generator(u.device).manual_seed(0)
    vector = torch.empty_like(u).normal_(generator=generator)
    value = 0.0
    for _ in range(_ITERATIONS):
        vector = operator.curvature(vector / vector.norm())
        value = float(vector.norm())
        if value == 0:
            break
    whole = vector / value if value > 0 else torch.empty_like(u).normal_(generator=generator)
    beside = whole - (whole @ u) * u
    if float(beside.norm()) < 1e-6:  # the gradient is the direction of largest curvature
        beside = torch.empty_like(u).normal_(generator=generator)
        beside = beside - (beside @ u) * u
    return beside / beside.norm(), value


@dataclass(frozen=True)
class OneUnit:
    """One unit, the example of the paper's reference 15 for cliffs, in closed form.

        h_t = sigma(w h_{t-1} + b),   L = (h_T - target)^2

    with derivatives by b, from d_t = dh_t/db and e_t = d^2 h_t/db^2:

        s = h_t (1 - h_t),   c = 1 + w d_{t-1},   d_t = s c,   e_t = s (1 - 2 h_t) c^2 + s w e_{t-1}

    Source: Pascanu, Mikolov & Bengio 2012 (arXiv 1211.5063, figure 6), after Doya 1993.

    Attributes:
        steps: T.
        start: h_0.
        target: of h_T.
    """

    steps: int = 50
    start: float = 0.5
    target: float = 0.7

    def closed_form(self, w: float, b: float) -> tuple[float, float, float]:
        """L, dL/db and d^2L/db^2.

        Example:
            >>> found = OneUnit(steps=1).closed_form(0.0, 0.0)  # h_1 = 1/2, its slope 1/4
            >>> [round(x, 12) for x in found]
            [0.04, -0.1, 0.125]
        """
        h, d, e = self.start, 0.0, 0.0
        for _ in range(self.steps):
            h = 1 / (1 + math.exp(-(w * h + b)))
            s, c = h * (1 - h), 1 + w * d
            d, e = s * c, s * (1 - 2 * h) * c * c + s * w * e
        off = h - self.target
        return off * off, 2 * off * d, 2 * d * d + 2 * off * e
