"""Optimizers, schedules and clipping for any `torch.nn.Module`: they see parameters and gradients only."""

from ostinato.optim.clipping import AverageNorm, ClipResult, clip_grad_norm, grad_norm
from ostinato.optim.hessian_free import HessianFree
from ostinato.optim.nesterov import ClassicalMomentum, SimplifiedNesterov
from ostinato.optim.schedules import (
    Constant,
    ConstantRule,
    Decision,
    HalvingRule,
    Rule,
    Schedule,
    SutskeverMomentum,
    as_schedule,
)

__all__ = [
    "AverageNorm",
    "ClassicalMomentum",
    "ClipResult",
    "Constant",
    "ConstantRule",
    "Decision",
    "HalvingRule",
    "HessianFree",
    "Rule",
    "Schedule",
    "SimplifiedNesterov",
    "SutskeverMomentum",
    "as_schedule",
    "clip_grad_norm",
    "grad_norm",
]
