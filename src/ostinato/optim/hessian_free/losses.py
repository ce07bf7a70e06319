"""The curvature of losses at a module's outputs: their Hessian H times a change of the outputs.

PyTorch's own losses have products in closed form here, any other twice differentiable loss by automatic
differentiation. Shapes: N examples, C classes, D further dimensions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad, jvp
from torch.nn import functional as F

from ostinato.errors import UserError
from ostinato.optim.hessian_free.linearization import Leaves


@dataclass(frozen=True)
class LossCurvature:
    """The curvature of a loss at outputs.

    Arguments:
        product: dz -> H dz.
        spread: independent random signs e, in the shape of the outputs -> u, with E[u u^T] = H for the
            losses that are known here, so that E[(J^T u)^2] is the diagonal of J^T H J (Chapelle & Erhan
            2011); for others u = e dL/dz, whose squares are those of the gradient, element by element of z.
    """

    product: Callable[[Leaves], Leaves]
    spread: Callable[[Leaves], Leaves]


def known_curvature(criterion: Callable[..., Tensor], outputs: Tensor, targets: Any) -> LossCurvature | None:
    """The curvature of `criterion(outputs, targets)` in closed form; None where it is not known here.

    With r = z - y, s = sigmoid(z), p = softmax(z), w weights and c = 1 or, for a mean, 1 / (number of terms):

        mse_loss                           H = 2 c
        huber_loss                         H = c       where |r| < delta, else 0
        smooth_l1_loss                     H = c / beta  where |r| < beta, else 0
        binary_cross_entropy_with_logits   H = c w (1 + (pos_weight - 1) y) s (1 - s)
        cross_entropy                      H = c a (diag(p) - p p^T),   a = sum_k w_k q_k

    q is the target distribution after label smoothing, and a = 0 where the class is `ignore_index`.
    `nll_loss` is linear in log-probabilities, but as these are normalised it is the cross-entropy of
    themselves, which gives the Gauss-Newton matrix of the same network with logits.

    Args:
        criterion: a loss of `torch.nn` or `torch.nn.functional`, or a `functools.partial` of the latter with
            keywords.
        outputs: z.
        targets: y.

    Raises:
        UserError: the outputs are no log-probabilities and the loss is `nll_loss`.

    Example:
        >>> curvature = known_curvature(nn.MSELoss(), torch.zeros(4), torch.ones(4))
        >>> curvature.product((torch.ones(4),))
        (tensor([0.5000, 0.5000, 0.5000, 0.5000]),)
    """
    function, options = _described(criterion)
    if function not in _KNOWN or not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
        return None
    if options.get("reduction", "mean") not in ("mean", "sum"):
        return None
    with torch.no_grad():
        return _KNOWN[function](outputs.detach(), targets.detach(), **options)


# The settings of the losses' modules that are arguments of their functions.
_SETTINGS: dict[type[nn.Module], tuple[Callable[..., Tensor], tuple[str, ...]]] = {
    nn.MSELoss: (F.mse_loss, ("reduction",)),
    nn.HuberLoss: (F.huber_loss, ("reduction", "delta")),
    nn.SmoothL1Loss: (F.smooth_l1_loss, ("reduction", "beta")),
    nn.BCEWithLogitsLoss: (F.binary_cross_entropy_with_logits, ("weight", "reduction", "pos_weight")),
    nn.CrossEntropyLoss: (F.cross_entropy, ("weight", "ignore_index", "reduction", "label_smoothing")),
    nn.NLLLoss: (F.nll_loss, ("weight", "ignore_index", "reduction")),
}


def _described(criterion: Callable[..., Tensor]) -> tuple[Any, dict[str, Any]]:
    """The function that a criterion is, and its settings; None for one that may do more than that."""
    if isinstance(criterion, nn.Module):
        hooked = criterion._forward_hooks or criterion._forward_pre_hooks
        function, names = _SETTINGS.get(type(criterion), (None, ()))
        return (None if hooked else function), {name: getattr(criterion, name) for name in names}
    if isinstance(criterion, partial):
        names = next((names for function, names in _SETTINGS.values() if function is criterion.func), ())
        plain = not criterion.args and criterion.keywords.keys() <= set(names)
        return (criterion.func if plain else None), criterion.keywords
    return criterion, {}


def _diagonal(h: Tensor) -> LossCurvature:
    root = h.sqrt()
    return LossCurvature(lambda dz: (h * dz[0],), lambda signs: (root * signs[0],))


def _squared(z: Tensor, y: Tensor, reduction: str = "mean") -> LossCurvature | None:
    return _elementwise(z, y, reduction, torch.full_like(z, 2.0))


def _huber(z: Tensor, y: Tensor, reduction: str = "mean", delta: float = 1.0) -> LossCurvature | None:
    return _elementwise(z, y, reduction, ((z - y).abs() < delta).to(z)) if z.shape == y.shape else None


def _smooth_l1(z: Tensor, y: Tensor, reduction: str = "mean", beta: float = 1.0) -> LossCurvature | None:
    if z.shape != y.shape:
        return None
    inside = ((z - y).abs() < beta).to(z)
    return _elementwise(z, y, reduction, inside / beta if beta > 0 else inside)


def _logistic(
    z: Tensor,
    y: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> LossCurvature | None:
    if z.shape != y.shape:
        return None
    h = torch.sigmoid(z) * torch.sigmoid(-z)
    if pos_weight is not None:
        h = h * (1 + (pos_weight - 1) * y)
    return _elementwise(z, y, reduction, h if weight is None else h * weight)


def _elementwise(z: Tensor, y: Tensor, reduction: str, h: Tensor) -> LossCurvature | None:
    """Of a loss that is a sum over elements; None where the two would be broadcast."""
    if z.shape != y.shape or bool((h < 0).any()):
        return None
    return _diagonal(h / max(z.numel(), 1) if reduction == "mean" else h)


def _cross_entropy(
    z: Tensor,
    y: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> LossCurvature | None:
    """z of shape (C), (N, C) or (N, C, D ...); y are classes (N, D ...), or probabilities, as many as z."""
    dim = 1 if z.dim() > 1 else 0
    classes = z.shape[dim]
    w = z.new_ones(classes) if weight is None else weight.to(z)
    across = w.view([classes if d == dim else 1 for d in range(z.dim())])
    smoothed = label_smoothing / classes * float(w.sum())
    if y.shape == z.shape:
        a = (1 - label_smoothing) * (across * y).sum(dim, keepdim=True) + smoothed
        terms = z.numel() / classes
    else:
        valid = y != ignore_index
        own = torch.where(valid, w[torch.where(valid, y, 0)], 0.0)
        a = torch.where(valid, (1 - label_smoothing) * own + smoothed, 0.0).unsqueeze(dim)
        terms = float(own.sum())
    a = a / terms if reduction == "mean" else a
    if bool((a < 0).any()):
        return None
    return _softmax(z.softmax(dim), a, dim)


def _softmax(p: Tensor, a: Tensor, dim: int) -> LossCurvature:
    """H = a (diag(p) - p p^T) = a (R - p r^T) (R - p r^T)^T, with r = sqrt(p) and R = diag(r)."""
    root, r = a.sqrt(), p.sqrt()

    def product(change: Leaves) -> Leaves:
        weighed = p * change[0]
        return (a * (weighed - p * weighed.sum(dim, keepdim=True)),)

    def spread(signs: Leaves) -> Leaves:
        weighed = r * signs[0]
        return (root * (weighed - p * weighed.sum(dim, keepdim=True)),)

    return LossCurvature(product, spread)


def _log_likelihood(
    z: Tensor,
    y: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> LossCurvature | None:
    totals = z.logsumexp(1 if z.dim() > 1 else 0).abs()
    if totals.numel() and float(totals.max()) > 0.01:
        raise UserError(
            "expected log-probabilities for nll_loss, which sum to 1 over the classes, found a sum whose "
            f"logarithm is off by {float(totals.max()):.3g}; give logits to cross_entropy instead"
        )
    return _cross_entropy(z, y, weight, ignore_index, reduction)


_KNOWN: dict[Any, Callable[..., LossCurvature | None]] = {
    F.mse_loss: _squared,
    F.huber_loss: _huber,
    F.smooth_l1_loss: _smooth_l1,
    F.binary_cross_entropy_with_logits: _logistic,
    F.cross_entropy: _cross_entropy,
    F.nll_loss: _log_likelihood,
}


def any_curvature(
    loss: Callable[[Leaves], Tensor], outputs: Leaves, notice: Callable[[str], None]
) -> LossCurvature:
    """The curvature of any twice differentiable loss: forward mode over its gradient, else double backward.

    Args:
        loss: of the leaves of the outputs.
        outputs: where.
        notice: what says that the loss has no curvature there.

    Raises:
        UserError: the loss has no second derivative in PyTorch.

    Example:
        >>> curvature = any_curvature(lambda z: z[0].pow(4).sum(), (torch.ones(2),), print)
        >>> curvature.product((torch.tensor([1.0, 2.0]),))
        (tensor([12., 24.]),)
    """
    found = _Differentiated(loss, outputs, notice)
    return LossCurvature(found.product, found.spread)


class _Differentiated:
    def __init__(
        self, loss: Callable[[Leaves], Tensor], outputs: Leaves, notice: Callable[[str], None]
    ) -> None:
        self._loss, self._outputs, self._notice = loss, outputs, notice
        self._forward, self._said = True, False
        self._kept: tuple[Leaves, Leaves] | None = None

    def product(self, change: Leaves) -> Leaves:
        found = self._by_forward(change) if self._forward else None
        if found is None:
            self._forward = False
            found = self._by_backward(change)
        if not self._said and _any(change) and not _any(found):
            self._said = True
            self._notice(
                "the loss has no curvature by the module's outputs, so that nothing but damping is left of "
                "the quadratic model; take a smooth loss, and logits rather than probabilities"
            )
        return found

    def spread(self, signs: Leaves) -> Leaves:
        _, slopes = self._graph()
        return tuple(e * g.detach() for e, g in zip(signs, slopes, strict=True))

    def _by_forward(self, change: Leaves) -> Leaves | None:
        try:
            found: Leaves = jvp(grad(self._loss), (self._outputs,), (change,))[1]
        except (torch.OutOfMemoryError, UserError, Warning):
            raise
        except Exception:  # double backward says what is wrong, if it is the loss itself
            return None
        return found

    def _graph(self) -> tuple[Leaves, Leaves]:
        """Leaves at the outputs, and the loss's gradient by them with its graph."""
        if self._kept is None:
            with torch.enable_grad():
                point = tuple(z.detach().requires_grad_() for z in self._outputs)
                value = self._loss(point)
                slopes = torch.autograd.grad(value, point, create_graph=True, materialize_grads=True)
            self._kept = point, slopes
        return self._kept

    def _by_backward(self, change: Leaves) -> Leaves:
        point, slopes = self._graph()
        pairs = [(g, dz) for g, dz in zip(slopes, change, strict=True) if g.requires_grad]
        if not pairs:
            return tuple(torch.zeros_like(z) for z in point)
        try:
            return torch.autograd.grad(
                [g for g, _ in pairs],
                point,
                [dz for _, dz in pairs],
                retain_graph=True,
                materialize_grads=True,
            )
        except RuntimeError as error:
            if "not implemented" not in str(error):
                raise
            raise UserError(
                f"expected a loss with second derivatives, found one without: {str(error).splitlines()[0]}"
            ) from error


def _any(leaves: Leaves) -> bool:
    return any(bool(x.any()) for x in leaves)
