"""The operator of any `nn.Module` whose outputs feed a convex loss.

Shapes: P parameters.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ostinato.errors import UserError
from ostinato.optim.hessian_free.linearization import Leaves, Linearized, Named, Way
from ostinato.optim.hessian_free.losses import any_curvature, known_curvature
from ostinato.optim.hessian_free.operator import dense, flatten, unflatten
from ostinato.optim.hessian_free.passes import Passes


class ModuleOperator:
    """Loss, gradient and Gauss-Newton products of `loss(module(*inputs), targets)`, for one update.

        G v = J^T H J v,   J the Jacobian of the outputs, H the Hessian of the loss at the outputs

    H is positive semi-definite, and so is G, where the loss is convex in the outputs, which is taken for
    granted: put the last nonlinearity into the loss (logits, not probabilities).

    *J* goes by forward mode (`torch.func.jvp`). Where some operation of the module has none, as `nn.LSTM`, or
    where what it gives does not pass a test against the derivative backward, J v is the derivative of J^T u
    by u instead ("double backward", Pearlmutter 1994 for J^T): any operation that can be differentiated twice
    will do. That is said once for a module, by a warning. Attention goes by its formula in both.

    *H* is known in closed form for squared error, Huber, smooth L1, binary cross-entropy with logits,
    cross-entropy and NLL of `torch.nn`, where they are given with their targets
    (`losses.known_curvature`); it is found by automatic differentiation for any other loss.

    All passes of an update, those of line searches and products too, are of one function: they use the same
    random numbers of PyTorch's generators (dropout masks), and begin with the same buffers. Only the pass of
    `gradient` changes buffers, such as the running statistics of a batch normalisation, and moves the
    generators on. A loss that is another one when it is taken again, by noise from elsewhere, is an error.

    Args:
        module: any module; its parameters that are trained, each once, are the vectors' elements.
        inputs: what to call the module with, for loss and gradient.
        loss: a twice differentiable, convex function of the module's output, and of the targets if there are
            any, with a scalar value.
        targets: what `loss` takes besides the output; None if it takes the output alone.
        curvature_inputs: a smaller minibatch for the curvature; the same by default.
        curvature_loss: the loss on it; the same by default.
        curvature_targets: the targets on it; None if `curvature_loss` takes the output alone.
        products: "forward" or "backward" for one way and no other; "auto" chooses.

    Raises:
        UserError: `inputs` is no tuple, or curvature has inputs of its own but no targets of its own where
            the loss has some; from the methods, what is said above.

    Example:
        >>> module = nn.Linear(2, 1, bias=False)
        >>> x, y = torch.eye(2), torch.tensor([[1.0], [2.0]])
        >>> operator = ModuleOperator(module, (x,), nn.MSELoss(reduction="sum"), y)
        >>> _ = operator.gradient()
        >>> operator.curvature(torch.tensor([1.0, 0.0]))
        tensor([2., 0.])
    """

    def __init__(
        self,
        module: nn.Module,
        inputs: tuple[Any, ...],
        loss: Callable[..., Tensor],
        targets: Any = None,
        *,
        curvature_inputs: tuple[Any, ...] | None = None,
        curvature_loss: Callable[..., Tensor] | None = None,
        curvature_targets: Any = None,
        products: Way = "auto",
    ) -> None:
        for name, given in (("inputs", inputs), ("curvature_inputs", curvature_inputs)):
            if not isinstance(given, tuple | list | None):
                raise UserError(
                    f"expected {name} as a tuple, found {type(given).__name__}; write (x,) for one"
                )
        own = curvature_inputs is not None
        if own and targets is not None and curvature_targets is None and curvature_loss is None:
            raise UserError("expected curvature_targets with curvature_inputs, since the loss takes targets")
        if not own and curvature_targets is not None:
            raise UserError("expected curvature_inputs with curvature_targets, found none")
        if products not in ("auto", "forward", "backward"):
            raise UserError(f"expected products auto, forward or backward, found {products!r}")
        self.module, self.inputs, self.targets, self.products = module, tuple(inputs), targets, products
        self._criterion = loss
        self._curvature_inputs = self.inputs if curvature_inputs is None else tuple(curvature_inputs)
        self._curvature_criterion = loss if curvature_loss is None else curvature_loss
        self._curvature_targets = curvature_targets if own else targets
        self._passes = Passes(module)
        self._point: _Point | None = None
        self._first: tuple[list[int], float] | None = None

    def parameters(self) -> list[Tensor]:
        """The parameters that are trained, in the order of the vectors."""
        return list(self._trained().values())

    def loss(self) -> float:
        """The loss at the parameters as they are now."""
        with torch.no_grad():
            value = self._passes.again(self.inputs, self._value)
        found = float(value)
        self._check_repeated(found, value.dtype)
        return found

    def gradient(self) -> Tensor:
        """The gradient, shape (P,); curvature products belong to these parameters from now on."""
        self._point = None
        parameters = self.parameters()
        with torch.enable_grad():
            value = self._passes.first(self.inputs, self._value)
            if not value.requires_grad:
                raise UserError("expected a loss that depends on trained parameters, found one that does not")
            gradients = torch.autograd.grad(value, parameters, materialize_grads=True)
        self._first = [p._version for p in parameters], float(value.detach())
        return flatten(gradients)

    def curvature(self, vector: Tensor, structural: float = 0.0) -> Tensor:
        """G v, shape (P,); there is no structural term for an unknown module."""
        if structural:
            raise ValueError("structural damping needs an operator that knows the hidden units")
        trained = self._trained()
        change = dict(zip(trained, unflatten(vector, trained.values()), strict=True))
        back = self._linearized().product(change)
        return flatten(back[name] for name in trained)

    def squared_gradient(self) -> Tensor:
        """An estimate of the diagonal of G, for preconditioning, shape (P,): the squares of J^T u.

        u is drawn so that E[u u^T] = H where H is known in closed form (Chapelle & Erhan 2011, "Improved
        preconditioner for Hessian free optimization"); otherwise u is the loss's gradient by the outputs with
        random signs, and the squares are those of the parts of the gradient that pass through each element of
        the outputs. It costs one pass back, needs to know of no batch, and has signs of its own generator.
        """
        back = self._linearized().drawn(torch.Generator().manual_seed(0))
        return flatten(back[name] for name in self._trained()).square()

    def _trained(self) -> Named:
        return {name: p for name, p in self.module.named_parameters() if p.requires_grad}

    def _value(self, outputs: Any) -> Tensor:
        return _scalar(self._criterion, outputs, self.targets)

    def _linearized(self) -> "_Point":
        if self._point is None:
            self._point = _Point(
                self._passes,
                self._curvature_inputs,
                self._curvature_criterion,
                self._curvature_targets,
                {name: p.detach().clone() for name, p in self._trained().items()},
                self.products,
            )
        return self._point

    def _check_repeated(self, value: float, dtype: torch.dtype) -> None:
        """A UserError where the loss is not that of `gradient`, though the parameters are."""
        if self._first is None or [p._version for p in self.parameters()] != self._first[0]:
            return
        before = self._first[1]
        allowed = math.sqrt(torch.finfo(dtype).eps) * abs(before)
        if math.isfinite(before) and math.isfinite(value) and abs(value - before) > allowed:
            raise UserError(
                f"expected the same loss at the same parameters, found {before:.6g} and then {value:.6g}: "
                f"{type(self.module).__name__} or its loss draws noise that PyTorch's generators do not "
                "govern, or remembers its last call; hold it fixed within an update"
            )


# Modules for which products see all that the gradient sees.
_REACHED: "WeakSet[nn.Module]" = WeakSet()


class _Point:
    """A module at one point of its parameters, and the curvature of the loss at its outputs.

    It holds no circle of references: the graphs go with the last operator that needs them.
    """

    def __init__(
        self,
        passes: Passes,
        inputs: tuple[Any, ...],
        criterion: Callable[..., Tensor],
        targets: Any,
        point: Named,
        products: Way,
    ) -> None:
        self._function = function = _Outputs(passes, inputs)
        with torch.no_grad():
            outputs = function(point)
        self._linear = Linearized(passes.module, function, point, outputs, products, _warn)
        self._curvature = known_curvature(criterion, function.whole(outputs), targets) or any_curvature(
            lambda leaves: _scalar(criterion, function.whole(leaves), targets), outputs, _warn
        )
        if passes.module not in _REACHED:
            self._check_reach(passes, inputs, lambda z: _scalar(criterion, z, targets), outputs)
            _REACHED.add(passes.module)

    def _check_reach(
        self, passes: Passes, inputs: tuple[Any, ...], loss: Callable[[Any], Tensor], outputs: Leaves
    ) -> None:
        """A UserError where the loss depends on parameters in a way that products do not see.

        So it is where the loss itself takes them, or the module has them from elsewhere than its attributes.
        They are found by the gradient, once for a module: by its own parameters, and as J^T of the loss's
        gradient by the outputs.
        """
        own = {name: p for name, p in passes.module.named_parameters() if p.requires_grad}
        leaves = tuple(z.detach().clone().requires_grad_() for z in outputs)
        with torch.enable_grad():
            value = passes.again(inputs, loss)
            plain = torch.autograd.grad(value, list(own.values()), materialize_grads=True)
            with self._function.after():
                value = loss(self._function.whole(leaves))
            slopes = torch.autograd.grad(value, leaves, materialize_grads=True)
        back = self._linear.adjoint(slopes)
        largest = max((float(g.abs().max()) for g in map(dense, plain) if g.numel()), default=0.0)
        for name, g in zip(own, map(dense, plain), strict=True):
            off = (g - dense(back[name])).abs()
            if g.numel() and float(off.max()) > 0.01 * float(g.abs().max()) + 1e-4 * largest:
                raise UserError(
                    f"expected the loss to depend on {name} through the outputs of "
                    f"{type(passes.module).__name__} alone, as products do, found another gradient: does the "
                    "loss take it, or the module from a list that keeps it? (A penalty on weights can be had "
                    "by returning them beside the outputs.)"
                )

    def product(self, change: Named) -> Named:
        """G v."""
        changes = self._linear.tangent(change)
        with self._function.after():
            curved = self._curvature.product(changes)
        return self._linear.adjoint(curved)

    def drawn(self, generator: torch.Generator) -> Named:
        """J^T u for the u that the loss's curvature makes of random signs."""
        signs = tuple(
            torch.randint(2, z.shape, generator=generator).mul_(2).sub_(1).to(z) for z in self._linear.outputs
        )
        with self._function.after():
            spread = self._curvature.spread(signs)
        return self._linear.adjoint(spread)


class _Outputs:
    """A module's outputs as a function of its parameters: the leaves, real numbers all of them.

    Attributes:
        after: Where random numbers stand behind the last pass, as a context.
    """

    def __init__(self, passes: Passes, inputs: tuple[Any, ...]) -> None:
        self._passes, self._inputs = passes, inputs
        self._structure: pytree.TreeSpec | None = None
        self._filled: list[bool] = []
        self.after = passes.moment()

    def __call__(self, parameters: Named) -> Leaves:
        """One pass."""
        leaves: Leaves = self._passes.again(self._inputs, self._leaves_of, parameters)
        return leaves

    def whole(self, leaves: Leaves) -> Any:
        """The module's output with these leaves; those that are None stay so."""
        assert self._structure is not None
        rest = iter(leaves)
        return pytree.tree_unflatten([next(rest) if x else None for x in self._filled], self._structure)

    def _leaves_of(self, outputs: Any) -> Leaves:
        leaves, self._structure = pytree.tree_flatten(outputs)
        self._filled = [leaf is not None for leaf in leaves]
        self.after = self._passes.moment()
        return _real([leaf for leaf in leaves if leaf is not None])


def _scalar(criterion: Callable[..., Tensor], outputs: Any, targets: Any) -> Tensor:
    value = criterion(outputs) if targets is None else criterion(outputs, targets)
    if not isinstance(value, Tensor) or value.numel() != 1:
        found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise UserError(f"expected a loss of one number, found {found}; take its mean or sum")
    return value.reshape(())


def _real(leaves: list[Any]) -> Leaves:
    for leaf in leaves:
        if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
            found = leaf.dtype if isinstance(leaf, Tensor) else type(leaf).__name__
            raise UserError(
                f"expected a module whose outputs are tensors of real numbers, found {found} among them; "
                "give the operator a module that returns what the loss needs"
            )
    return tuple(leaves)


def _warn(line: str) -> None:
    warnings.warn(line, stacklevel=2)
