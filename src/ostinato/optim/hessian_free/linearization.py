"""Products with a module's Jacobian, by forward mode or by differentiating backward twice.

Letters: J the derivative of the outputs z by the parameters theta, v a change of theta, u one of z. Outputs
are leaves of a structure, a tuple of tensors; parameters and their changes go by name.
"""

import math
from collections.abc import Callable, Iterable
from typing import Literal, Protocol
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn
from torch.func import jvp, vjp

from ostinato.errors import UserError
from ostinato.optim.hessian_free.operator import dense

Leaves = tuple[Tensor, ...]
Named = dict[str, Tensor]
Function = Callable[[Named], Leaves]
Way = Literal["auto", "forward", "backward"]


class Linearization(Protocol):
    """A function at one point."""

    outputs: Leaves

    def tangent(self, change: Named) -> Leaves:
        """J v."""

    def adjoint(self, cotangents: Leaves) -> Named:
        """J^T u."""


class ForwardMode:
    """J v by forward mode, in one pass beside the function's own, and J^T u by one pass back.

    Raises:
        NotImplementedError, RuntimeError: some operation has no forward mode.
        WrongProduct: from `tangent`, where the function is another one than at first.
    """

    def __init__(self, function: Function, point: Named) -> None:
        self._function, self._point = function, point
        self.outputs, self._back = vjp(function, point)[:2]

    def tangent(self, change: Named) -> Leaves:
        """J v."""
        found: tuple[Leaves, Leaves] = jvp(self._function, (self._point,), (change,))  # type: ignore[assignment]
        outputs, changes = found
        _check_outputs(outputs, self.outputs)
        return changes

    def adjoint(self, cotangents: Leaves) -> Named:
        """J^T u."""
        (back,) = self._back(cotangents)
        return back


class DoubleBackward:
    """J v as the derivative of J^T u by u in the direction v: any operation with two derivatives will do.

    J^T u is linear in u, so it does not matter where u is. The graphs of z and J^T u are made once, and kept
    for all products.

    Raises:
        NotImplementedError, RuntimeError: some operation has no second derivative.
    """

    def __init__(self, function: Function, point: Named) -> None:
        with torch.enable_grad():
            self._point = {name: p.detach().clone().requires_grad_() for name, p in point.items()}
            outputs = function(self._point)
            self._moving = [z for z in outputs if z.requires_grad]
            self._places = [i for i, z in enumerate(outputs) if z.requires_grad]
            self._u = [torch.zeros_like(z, requires_grad=True) for z in self._moving]
            back: tuple[Tensor | None, ...] = ()
            if self._moving:
                back = torch.autograd.grad(
                    self._moving, list(self._point.values()), self._u, create_graph=True, allow_unused=True
                )
        self.outputs = tuple(z.detach() for z in outputs)
        self._back = {
            name: x
            for name, x in zip(self._point, back, strict=bool(back))
            if x is not None and x.requires_grad
        }

    def tangent(self, change: Named) -> Leaves:
        """J v."""
        found = [torch.zeros_like(z) for z in self.outputs]
        if self._back:
            changes = torch.autograd.grad(
                list(self._back.values()),
                self._u,
                [change[name] for name in self._back],
                retain_graph=True,
                materialize_grads=True,
            )
            for place, x in zip(self._places, changes, strict=True):
                found[place] = x
        return tuple(found)

    def adjoint(self, cotangents: Leaves) -> Named:
        """J^T u."""
        if not self._moving:
            return {name: torch.zeros_like(p) for name, p in self._point.items()}
        back = torch.autograd.grad(
            self._moving,
            list(self._point.values()),
            [cotangents[place] for place in self._places],
            retain_graph=True,
            materialize_grads=True,
        )
        return dict(zip(self._point, back, strict=True))


class WrongProduct(Exception):
    """What a way of differentiating gave is not the module's derivative."""


# What is nothing that forward mode could be blamed for.
_PASSED_ON = (torch.OutOfMemoryError, UserError, Warning)
# Modules that forward mode did not work for, which it is not tried on again.
_LEFT: "WeakSet[nn.Module]" = WeakSet()
# The ways whose products passed the test.
_TESTED: "WeakKeyDictionary[nn.Module, set[type]]" = WeakKeyDictionary()


class Linearized:
    """A module at one point, in the way that works: forward mode, else double backward.

    Forward mode is left where it raises, where its passes have other outputs than the module (masks that they
    draw in another order), or where <u, J v> is not <J^T u, v>, which is tried once for every module with
    one random u. Double backward has to pass the same test. That forward mode was left is said once for every
    module.

    Args:
        module: whose function it is.
        function: parameters -> outputs.
        point: the parameters.
        outputs: of a plain pass there.
        way: "forward" or "backward" for one of the two and no other.
        notice: what says that forward mode was left.

    Raises:
        UserError: neither works; the message has what each said.
    """

    def __init__(
        self,
        module: nn.Module,
        function: Function,
        point: Named,
        outputs: Leaves,
        way: Way,
        notice: Callable[[str], None],
    ) -> None:
        self._module, self._function, self._point = module, function, point
        self.outputs, self._way, self._notice = outputs, way, notice
        # what forward mode ended in, until it is known that double backward works
        self._left = ""
        self._chosen: Linearization
        if way == "backward" or (way == "auto" and module in _LEFT):
            self._chosen = DoubleBackward(function, point)
            return
        try:
            self._chosen = ForwardMode(function, point)
            _check_outputs(self._chosen.outputs, outputs)
        except _PASSED_ON:
            raise
        except Exception as error:
            self._leave(error)

    def tangent(self, change: Named) -> Leaves:
        """J v."""
        if isinstance(self._chosen, ForwardMode):
            try:
                return self._tested(change)
            except _PASSED_ON:
                raise
            except Exception as error:
                self._leave(error)
        try:
            _check_outputs(self._chosen.outputs, self.outputs)
            found = self._tested(change)
        except WrongProduct as error:
            raise UserError(
                f"{self._name()} has no Gauss-Newton products: {error}; is a derivative in it written by "
                "hand, or cut off on its way back?"
            ) from error
        except RuntimeError as error:  # NotImplementedError is one
            if "not implemented" not in str(error) and "once_differentiable" not in str(error):
                raise
            forward = f"by forward mode: {self._left}; " if self._left else ""
            raise UserError(
                f"{self._name()} has no Gauss-Newton products: {forward}by double backward: "
                f"{_in_short(error)}"
            ) from error
        if self._left:
            _LEFT.add(self._module)
            self._notice(
                f"Gauss-Newton products of {self._name()} are made by double backward, which is slower: "
                f"forward mode does not work ({self._left})"
            )
            self._left = ""
        return found

    def adjoint(self, cotangents: Leaves) -> Named:
        """J^T u."""
        if isinstance(self._chosen, ForwardMode):
            try:
                return self._chosen.adjoint(cotangents)
            except _PASSED_ON:
                raise
            except Exception as error:
                self._leave(error)
        return self._chosen.adjoint(cotangents)

    def _tested(self, change: Named) -> Leaves:
        """J v, by a way that passes the test if it has not yet for this module."""
        changes = self._chosen.tangent(change)
        passed = _TESTED.setdefault(self._module, set())
        if type(self._chosen) not in passed and _passes_test(self._chosen, change, changes):
            passed.add(type(self._chosen))
        return changes

    def _leave(self, error: Exception) -> None:
        """Double backward from now on, since forward mode ended in this; a UserError if it is not to be."""
        if self._way == "forward":
            raise UserError(
                f"{self._name()} has no products by forward mode ({_in_short(error)}); leave `products` out, "
                "and they are made by double backward"
            ) from error
        self._left = _in_short(error)
        self._chosen = DoubleBackward(self._function, self._point)

    def _name(self) -> str:
        return type(self._module).__name__


def _in_short(error: Exception) -> str:
    """The first line of an error."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _check_outputs(found: Leaves, expected: Leaves) -> None:
    """A WrongProduct unless two passes have the same outputs, but for the order of rounding."""
    for z, y in zip(found, expected, strict=True):
        rounding = math.sqrt(torch.finfo(y.dtype).eps)
        if not z.equal(y) and bool((z - y).abs().max() > rounding * y.abs().max()):
            raise WrongProduct("passes that are differentiated have other outputs than the module")


def _passes_test(linear: Linearization, change: Named, changes: Leaves) -> bool:
    """Whether <u, J v> is <J^T u, v> for a random u; False too where v says nothing, being zero.

    Raises:
        WrongProduct: it is not, by more than rounding.
    """
    if not any(bool(v.any()) for v in change.values()):
        return False
    generator = torch.Generator().manual_seed(0)
    u = tuple(torch.randn(z.shape, generator=generator).to(z) for z in changes)
    back = linear.adjoint(u)
    forth, and_back = _dot(u, changes), _dot([dense(back[name]) for name in change], change.values())
    wide = math.sqrt(_dot(back.values(), back.values()) * _dot(change.values(), change.values()))
    rounding = max(torch.finfo(z.dtype).eps for z in changes)
    allowed = 0.01 * math.sqrt(_dot(changes, changes)) + min(1000 * rounding, 0.05) * wide
    if abs(forth - and_back) > allowed:
        raise WrongProduct(f"<u, J v> is {forth:.6g}, and <J^T u, v> {and_back:.6g}")
    return True


def _dot(a: Iterable[Tensor], b: Iterable[Tensor]) -> float:
    return sum(float((_wide(x) * _wide(y)).sum()) for x, y in zip(a, b, strict=True))


def _wide(x: Tensor) -> Tensor:
    return dense(x).detach().to(torch.promote_types(x.dtype, torch.float32))
