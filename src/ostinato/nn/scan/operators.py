"""The recurrence as PyTorch's operators: what compilers, transforms and tracers see.

    ostinato::leaky_scan(drive, weight, leak?, h0, starts?) -> (states, slopes)
    ostinato::leaky_adjoint(G, slopes, weight, leak?, starts?) -> (delta, dL/dh0, g)
    ostinato::leaky_tangent(force, slopes, weight, leak?, h0', starts?) -> s

Each has its kernel, and rules for shapes without numbers (here), for differentiation in both modes, batching
and autocast (`ostinato.nn.scan.rules`), so that whatever PyTorch does with an operation it can do with these.
`ostinato.nn.scan.functions` says when the kernels are called without them.

Equations and shapes are in `ostinato.nn.scan.recurrence`; T time, B streams, H hidden.
"""

from types import ModuleType

import torch
from torch import Tensor

from ostinato.nn.kernels import arguments, select, unrolled
from ostinato.nn.kernels.plain import check_memory, dense

LIBRARY = torch.library.Library("ostinato", "FRAGMENT")

for _schema in (
    "leaky_scan(Tensor drive, Tensor weight, Tensor? leak, Tensor h0, Tensor? starts, str nonlinearity, "
    "str kernel) -> (Tensor, Tensor)",
    "leaky_adjoint(Tensor grad_states, Tensor slopes, Tensor weight, Tensor? leak, Tensor? starts, "
    "str kernel) -> (Tensor, Tensor, Tensor)",
    "leaky_tangent(Tensor force, Tensor slopes, Tensor weight, Tensor? leak, Tensor h0_tangent, "
    "Tensor? starts, str kernel) -> Tensor",
):
    LIBRARY.define(_schema, tags=(torch.Tag.pt2_compliant_tag,))

SCAN = torch.ops.ostinato.leaky_scan.default
ADJOINT = torch.ops.ostinato.leaky_adjoint.default
TANGENT = torch.ops.ostinato.leaky_tangent.default


def _kernel_for(like: Tensor, name: str, *others: Tensor | None) -> ModuleType:
    """The kernel of this name; by default the fastest that applies to what all these tensors are."""
    if not dense(like, *others):
        check_memory(like, *others)
        return unrolled
    return select.kernel_for(like, name or None)


def _scan(
    drive: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    h0: Tensor,
    starts: Tensor | None,
    nonlinearity: str,
    kernel: str,
) -> tuple[Tensor, Tensor]:
    chosen = _kernel_for(drive, kernel, weight, leak, h0, starts)
    return chosen.forward(drive, weight, leak, h0, starts, nonlinearity)


def _adjoint(
    grad_states: Tensor,
    slopes: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    starts: Tensor | None,
    kernel: str,
) -> tuple[Tensor, Tensor, Tensor]:
    chosen = _kernel_for(slopes, kernel, weight, leak, starts, grad_states)
    return chosen.adjoint(grad_states, slopes, weight, leak, starts, want_adjoint_states=True)


def _tangent(
    force: Tensor,
    slopes: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    h0_tangent: Tensor,
    starts: Tensor | None,
    kernel: str,
) -> Tensor:
    chosen = _kernel_for(slopes, kernel, weight, leak, starts, force, h0_tangent)
    return chosen.tangent(force, slopes, weight, leak, h0_tangent, starts)


def _scan_shapes(
    drive: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    h0: Tensor,
    starts: Tensor | None,
    nonlinearity: str,
    kernel: str,
) -> tuple[Tensor, Tensor]:
    arguments.of_scan(drive, weight, leak, h0, starts, nonlinearity)
    return drive.new_empty(drive.shape), drive.new_empty(drive.shape)


def _adjoint_shapes(
    grad_states: Tensor,
    slopes: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    starts: Tensor | None,
    kernel: str,
) -> tuple[Tensor, Tensor, Tensor]:
    arguments.of_adjoint(grad_states, slopes, weight, leak, starts)
    new, shape = slopes.new_empty, slopes.shape
    return new(shape), new(shape[1:]), new(shape)


def _tangent_shapes(
    force: Tensor,
    slopes: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    h0_tangent: Tensor,
    starts: Tensor | None,
    kernel: str,
) -> Tensor:
    arguments.of_tangent(force, slopes, weight, leak, h0_tangent, starts)
    return slopes.new_empty(slopes.shape)


for _operator, _kernel, _shapes in (
    (SCAN, _scan, _scan_shapes),
    (ADJOINT, _adjoint, _adjoint_shapes),
    (TANGENT, _tangent, _tangent_shapes),
):
    LIBRARY.impl(_operator, _kernel, "CompositeExplicitAutograd")
    torch.library.register_fake(_operator, _shapes, lib=LIBRARY)
