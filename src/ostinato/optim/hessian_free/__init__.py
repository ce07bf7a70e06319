"""Hessian-free optimisation in parts that each work alone: see `HessianFree` for how they go together."""

from ostinato.optim.hessian_free.conjugate_gradient import (
    Candidate,
    RelativeProgress,
    Solution,
    conjugate_gradient,
)
from ostinato.optim.hessian_free.damping import (
    LevenbergMarquardt,
    diagonal_preconditioner,
    reduction_ratio,
)
from ostinato.optim.hessian_free.functional import ModuleOperator
from ostinato.optim.hessian_free.line_search import Choice, LineSearch, backtrack, best_candidate
from ostinato.optim.hessian_free.operator import CurvatureOperator
from ostinato.optim.hessian_free.optimizer import HessianFree, StepReport

__all__ = [
    "Candidate",
    "Choice",
    "CurvatureOperator",
    "HessianFree",
    "LevenbergMarquardt",
    "LineSearch",
    "ModuleOperator",
    "RelativeProgress",
    "Solution",
    "StepReport",
    "backtrack",
    "best_candidate",
    "conjugate_gradient",
    "diagonal_preconditioner",
    "reduction_ratio",
]
