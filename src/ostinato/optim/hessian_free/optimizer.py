"""Hessian-free optimisation: truncated Newton steps from products with the Gauss-Newton matrix.

Sources: Martens 2010, "Deep learning via Hessian-free optimization"; Martens & Sutskever 2011, "Learning
recurrent neural networks with Hessian-free optimization" (structural damping). Shapes: P parameters.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ostinato.errors import UserError
from ostinato.optim.hessian_free.conjugate_gradient import RelativeProgress, Solution, conjugate_gradient
from ostinato.optim.hessian_free.damping import (
    LevenbergMarquardt,
    diagonal_preconditioner,
    reduction_ratio,
)
from ostinato.optim.hessian_free.line_search import Choice, LineSearch, backtrack, best_candidate
from ostinato.optim.hessian_free.operator import CurvatureOperator, flatten, unflatten
from ostinato.optim.state import flat_state, load_flat_state


@dataclass(frozen=True)
class StepReport:
    """What one update did.

    Arguments:
        accepted: whether the parameters moved.
        loss_before, loss: the minibatch's loss before and after.
        gradient_norm: |g|.
        damping: lambda of this update; the next one has its own.
        rho: reduction ratio of the chosen candidate, at step size 1.
        step_size: what the candidate was multiplied by; 0 where it was rejected.
        status: why conjugate gradients stopped.
        iterations: of conjugate gradients.
        chosen: the iteration of the candidate that was taken.
        products: curvature evaluations.
        losses: loss evaluations.
    """

    accepted: bool
    loss_before: float
    loss: float
    gradient_norm: float
    damping: float
    rho: float
    step_size: float
    status: str
    iterations: int
    chosen: int
    products: int
    losses: int


class HessianFree(torch.optim.Optimizer):
    """Minimise a loss by approximate Newton steps; `step` takes an operator in the place of a closure.

        solve  (G + lambda mu S + lambda I) delta = -g   by conjugate gradients, from decay * (the last x)
        theta += s * delta,   s in {1, shrink, shrink^2, ...} where the loss has fallen, else 0
        lambda *= 3/2 where rho < 1/4,   lambda /= 3/2 where rho > 3/4

    with g the gradient, G the Gauss-Newton matrix, S the operator's structural term and rho the reduction
    ratio. The step is the best iterate on the way of conjugate gradients, and one that raises the loss is
    never taken. A start that is worse than zero, because the minibatch changed much, is left for zero.

    Args:
        params: the parameters, one group: those of the operator, in any order, or in the order of its vectors
            where it does not say what its parameters are. Those that need no gradient stay as they are.
        damping: the first lambda, at least 0.
        structural_damping: mu, the structural term's weight relative to lambda; 0 asks for none.
        decay: what the last solution is multiplied by to start the next from, in [0, 1]; 0 starts at zero.
        max_iterations: conjugate-gradient iterations at most.
        tolerance: conjugate gradients have converged where the residual is this share of |g|.
        progress: when conjugate gradients make too little progress, or None: never.
        preconditioner: use a diagonal of squared gradients; asks the operator for `squared_gradient`.
        rule: moves lambda.

    The state of a parameter is "direction", its share of the last x; `param_groups[0]` holds "damping" and
    "steps". With both restored, the optimizer goes on bit for bit. `report` says what the last step did.

    There is no learning rate for a scheduler to set, and no weight decay.

    Raises:
        UserError: a setting is out of range, there is more than one group, or a group has a setting that is
            not here; from `step`, the parameters are not the operator's.

    Example:
        >>> from ostinato.optim.hessian_free.functional import ModuleOperator
        >>> line = torch.nn.Linear(1, 1)
        >>> x = torch.linspace(-1, 1, 9).unsqueeze(1)
        >>> operator = ModuleOperator(line, (x,), lambda y: (y - 3 * x - 2).square().mean())
        >>> optimizer = HessianFree(line.parameters(), damping=0.0, tolerance=1e-6)
        >>> report = optimizer.step(operator)
        >>> round(line.weight.item(), 3), round(line.bias.item(), 3), report.status
        (3.0, 2.0, 'converged')
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        damping: float = 0.1,
        *,
        structural_damping: float = 0.0,
        decay: float = 0.95,
        max_iterations: int = 250,
        tolerance: float = 0.0,
        progress: RelativeProgress | None = RelativeProgress(),  # noqa: B008 (frozen)
        preconditioner: bool = False,
        rule: LevenbergMarquardt = LevenbergMarquardt(),  # noqa: B008 (frozen)
    ) -> None:
        _check("damping", damping)
        _check("structural damping", structural_damping)
        _check("decay", decay, 1.0)
        _check("tolerance", tolerance, 1.0)
        if max_iterations < 1:
            raise UserError(f"expected at least 1 conjugate-gradient iteration, found {max_iterations}")
        super().__init__(params, {"damping": float(damping), "steps": 0})
        self.structural_damping, self.decay, self.max_iterations = structural_damping, decay, max_iterations
        self.tolerance, self.progress, self.preconditioner = tolerance, progress, preconditioner
        self.rule = rule
        self.report: StepReport | None = None

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """The one group, from the constructor; a `UserError` for another, or for settings it cannot have."""
        if self.param_groups:
            raise UserError("Hessian-free takes one group of parameters, found another; give all in one")
        other = param_group.keys() - {"params", "param_names", "damping", "steps"}
        if other:
            raise UserError(f"Hessian-free has no {min(other)} for a group of parameters; leave it out")
        _check("damping", param_group.get("damping", 0.0))
        super().add_param_group(param_group)

    @classmethod
    def from_settings(cls, params: Iterable[Tensor], settings: Mapping[str, Any]) -> "HessianFree":
        """The optimizer of a recipe, whose settings `optim.declared` names."""
        return cls(
            params,
            settings["damping"],
            structural_damping=settings["structural_damping"],
            decay=settings["cg_decay"],
            max_iterations=settings["cg_iterations"],
            preconditioner=settings["preconditioner"],
            rule=LevenbergMarquardt(smallest=max(settings["damping_floor"], 1e-10)),
        )

    @property
    def steps(self) -> int:
        """Updates so far, the rejected ones among them."""
        steps: int = self.param_groups[0]["steps"]
        return steps

    @property
    def damping(self) -> float:
        """The lambda of the next update."""
        damping: float = self.param_groups[0]["damping"]
        return damping

    def pace(self) -> dict[str, float]:
        """The damping."""
        return {"damping": self.damping}

    def scale_learning_rate(self, factor: float) -> None:
        """There is none: a `UserError`, unless the factor is 1."""
        if factor != 1:
            raise UserError(
                f"Hessian-free has no learning rate to multiply by {factor}; use the constant rule"
            )

    def flat_state(self, parameters: Sequence[Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See `ostinato.optim.protocol.TrainingOptimizer`."""
        return flat_state(self, parameters)

    def load_flat_state(
        self, parameters: Sequence[Tensor], tensors: Mapping[str, Tensor], state: Mapping[str, Any]
    ) -> None:
        """See `ostinato.optim.protocol.TrainingOptimizer`."""
        load_flat_state(self, parameters, tensors, state)

    def step(  # type: ignore[override]
        self, operator: CurvatureOperator, callback: Callable[[int, float], None] | None = None
    ) -> StepReport:
        """One update; parameters and optimizer are as before if it raises, also from the callback.

        Args:
            operator: loss, gradient and curvature of a minibatch at these parameters.
            callback: called with the iteration and the quadratic after every conjugate-gradient iteration.

        Returns:
            What was done; a loss or gradient that is not finite, or a gradient of zero, changes nothing.

        Raises:
            UserError: it is no operator, its parameters are not those of the optimizer, or it lacks what a
                setting asks for.
        """
        if not hasattr(operator, "gradient"):
            raise UserError(
                "expected an operator with loss(), gradient() and curvature(v) for a step of Hessian-free, "
                f"such as ModuleOperator(module, inputs, loss), found {type(operator).__name__}"
            )
        group = self.param_groups[0]
        parameters = _ordered(group["params"], operator)
        theta = flatten(parameters)
        with torch.enable_grad():
            gradient = operator.gradient()
        if gradient.shape != theta.shape:
            raise UserError(
                f"expected a gradient of {len(theta)} elements, as the optimizer's parameters have, found "
                f"shape {tuple(gradient.shape)}"
            )
        with torch.no_grad():
            before, norm = operator.loss(), float(gradient.norm())
            if not math.isfinite(before) or not math.isfinite(norm) or norm == 0:
                group["steps"] += 1
                status = "no gradient" if norm == 0 else "not finite"
                self.report = StepReport(
                    False, before, before, norm, self.damping, math.nan, 0.0, status, 0, 0, 0, 1
                )
                return self.report
            solution = self._solve(operator, parameters, gradient, callback)
            try:
                choice, search, predicted = self._search(
                    operator, parameters, theta, before, gradient, solution
                )
            except BaseException:
                self._move(parameters, theta)
                raise
            delta = choice.candidate.value
            self._move(parameters, theta if search.step_size == 0 else theta + search.step_size * delta)
            self._remember(parameters, solution.value)
            group["steps"] += 1
            rho = reduction_ratio(before, choice.loss, predicted)
            self.report = StepReport(
                search.step_size > 0,
                before,
                search.loss,
                norm,
                group["damping"],
                rho,
                search.step_size,
                solution.status,
                solution.iterations,
                choice.candidate.iteration,
                solution.products + 1,
                1 + choice.evaluations + search.evaluations,
            )
            group["damping"] = self.rule(group["damping"], rho)
        return self.report

    def _solve(
        self,
        operator: CurvatureOperator,
        parameters: list[Tensor],
        gradient: Tensor,
        callback: Callable[[int, float], None] | None,
    ) -> Solution:
        damping = self.damping
        structural = damping * self.structural_damping

        def damped(vector: Tensor) -> Tensor:
            product = operator.curvature(vector, structural) if structural else operator.curvature(vector)
            return product.add(vector, alpha=damping)

        diagonal = None
        if self.preconditioner:
            squared = getattr(operator, "squared_gradient", None)
            if squared is None:
                raise UserError(
                    f"{type(operator).__name__} has no squared_gradient(), which preconditioner=True asks for"
                )
            diagonal = diagonal_preconditioner(squared(), damping)
        return conjugate_gradient(
            damped,
            -gradient,
            self._start(parameters),
            preconditioner=diagonal,
            max_iterations=self.max_iterations,
            tolerance=self.tolerance,
            stop=self.progress,
            leave_bad_start=True,
            callback=callback,
        )

    def _search(
        self,
        operator: CurvatureOperator,
        parameters: list[Tensor],
        theta: Tensor,
        before: float,
        gradient: Tensor,
        solution: Solution,
    ) -> tuple[Choice, LineSearch, float]:
        """The candidate, the step size along it, and what the undamped quadratic promised."""

        def loss_at(delta: Tensor) -> float:
            self._move(parameters, theta + delta)
            return operator.loss()

        choice = best_candidate(solution.candidates, loss_at)
        delta = choice.candidate.value
        slope = float(torch.dot(gradient, delta))
        # the curvature belongs to the parameters the gradient was taken at
        self._move(parameters, theta)
        predicted = slope + 0.5 * float(torch.dot(delta, operator.curvature(delta)))
        search = backtrack(lambda size: loss_at(size * delta), before, slope, at_one=choice.loss)
        return choice, search, predicted

    def _start(self, parameters: list[Tensor]) -> Tensor | None:
        """The last solution, decayed; None where there is none."""
        directions = [self.state[p].get("direction") for p in parameters]
        if self.decay == 0 or any(direction is None for direction in directions):
            return None
        return flatten(directions).mul_(self.decay)

    def _remember(self, parameters: list[Tensor], solution: Tensor) -> None:
        finite = bool(solution.isfinite().all())
        for parameter, part in zip(parameters, unflatten(solution, parameters), strict=True):
            self.state[parameter]["direction"] = part.clone() if finite else torch.zeros_like(part)

    @staticmethod
    def _move(parameters: list[Tensor], theta: Tensor) -> None:
        torch._foreach_copy_(parameters, unflatten(theta, parameters))

    def __getstate__(self) -> dict[str, Any]:
        # for copy.deepcopy: the base class would leave the settings behind
        names = (
            "structural_damping",
            "decay",
            "max_iterations",
            "tolerance",
            "progress",
            "preconditioner",
            "rule",
            "report",
        )
        return super().__getstate__() | {name: getattr(self, name) for name in names}


def _check(name: str, value: float, high: float = math.inf) -> None:
    if not 0 <= value <= high or not math.isfinite(value):
        span = "of at least 0" if high == math.inf else "in [0, 1]"
        raise UserError(f"expected a {name} {span}, found {value}")


def _ordered(own: list[Tensor], operator: CurvatureOperator) -> list[Tensor]:
    """The optimizer's trained parameters as the operator has them in its vectors.

    Raises:
        UserError: it has others.
    """
    trained = [p for p in own if p.requires_grad]
    if not trained:
        raise UserError("expected parameters that require a gradient, found none: there is nothing to train")
    asked = getattr(operator, "parameters", None)
    if asked is None:
        return trained
    theirs: list[Tensor] = list(asked())
    missing = {id(p) for p in theirs} - {id(p) for p in trained}
    further = {id(p) for p in trained} - {id(p) for p in theirs}
    if missing or further:
        raise UserError(
            f"expected the optimizer to hold the {len(theirs)} trained parameters of its operator, found "
            f"{len(trained)}: {len(missing)} of them are missing, and {len(further)} are not the operator's; "
            "set requires_grad to False for what is not to be trained"
        )
    return theirs
