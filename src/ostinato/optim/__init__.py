"""Optimizers, schedules and clipping for any `torch.nn.Module`: they see parameters and gradients only."""

from ostinato.optim.clipping import AverageNorm, ClipResult, clip_grad_norm, grad_norm
from ostinato.optim.descent import GradientDescent
from ostinato.optim.hessian_free import HessianFree
from ostinato.optim.nesterov import ClassicalMomentum, SimplifiedNesterov
from ostinato.optim.protocol import TrainingOptimizer
from ostinato.optim.registry import make_optimizer, optimizer_names, register_optimizer
from ostinato.optim.schedules import (
    Constant,
    ConstantRule,
    Cosine,
    Decision,
    HalvingRule,
    OneCycle,
    Rule,
    Schedule,
    SutskeverMomentum,
    learning_rate_schedule,
)

__all__ = [
    "AverageNorm",
    "ClassicalMomentum",
    "ClipResult",
    "Constant",
    "ConstantRule",
    "Cosine",
    "Decision",
    "GradientDescent",
    "HalvingRule",
    "HessianFree",
    "OneCycle",
    "Rule",
    "Schedule",
    "SimplifiedNesterov",
    "SutskeverMomentum",
    "TrainingOptimizer",
    "clip_grad_norm",
    "grad_norm",
    "learning_rate_schedule",
    "make_optimizer",
    "optimizer_names",
    "register_optimizer",
]
