"""The optimizers by name, with the settings of each; nothing here imports PyTorch.

To add one: an entry here, or a call of `OPTIMIZERS.register` from elsewhere.
"""

from typing import Any

from ostinato.errors import UserError, argument
from ostinato.optim.settings import (
    ADAPTIVE,
    DESCENT,
    FURTHER,
    MOMENTUM_SETTINGS,
    Optimizer,
)
from ostinato.recipe.core import DROPOUTS
from ostinato.recipe.declared import Registry
from ostinato.recipe.setting import Setting


def _of_torch(name: str) -> Optimizer | None:
    """Any other optimizer of PyTorch's, which is only imported to look for one."""
    from ostinato.optim import of_torch

    return of_torch.declared(name)


OPTIMIZERS: Registry[Optimizer] = Registry(
    "optimizer", further=_of_torch, others="any optimizer of torch.optim will do"
)


def _check_further(recipe: Any) -> None:
    """What the class does not take is refused; PyTorch is imported only if there is something to check."""
    if recipe.optimizer_settings:
        from ostinato.optim import of_torch

        of_torch.Further(recipe.optimizer, OPTIMIZERS[recipe.optimizer].load())(recipe)


def _check_hessian_free(recipe: Any) -> None:
    """What Hessian-free optimisation cannot do is refused."""
    for name in DROPOUTS:
        if recipe.get(name) > 0:
            raise UserError(f"{argument(name)} {recipe.get(name)} does not go with HF; leave it out")


OPTIMIZERS.register(
    Optimizer(
        name="sgd",
        place="ostinato.optim.nesterov:PlainDescent",
        base="SGD",
        summary="plain gradient descent",
        settings=DESCENT,
    )
)
OPTIMIZERS.register(
    Optimizer(
        name="nesterov",
        place="ostinato.optim.nesterov:SimplifiedNesterov",
        base="SGD",
        summary="simplified Nesterov momentum (eq. 6, 7 of the paper)",
        settings=(*DESCENT, *MOMENTUM_SETTINGS),
    )
)
OPTIMIZERS.register(
    Optimizer(
        name="classical",
        place="ostinato.optim.nesterov:ClassicalMomentum",
        base="SGD",
        summary="classical momentum (eq. 3 to 5 of the paper)",
        settings=(*DESCENT, *MOMENTUM_SETTINGS),
    )
)
OPTIMIZERS.register(
    Optimizer(
        name="adam",
        place="torch.optim:Adam",
        summary="steps scaled by running moments of the gradient",
        settings=(*DESCENT, FURTHER),
        check=_check_further,
        defaults=ADAPTIVE,
    )
)
OPTIMIZERS.register(
    Optimizer(
        name="adamw",
        place="torch.optim:AdamW",
        summary="adam whose weight decay stands apart from the gradient",
        settings=(*DESCENT, FURTHER),
        check=_check_further,
        defaults=ADAPTIVE,
    )
)
OPTIMIZERS.register(
    Optimizer(
        name="hessian-free",
        place="ostinato.optim.hessian_free.optimizer:HessianFree",
        base="HF",
        summary="truncated Newton steps",
        curvature=True,
        check=_check_hessian_free,
        # of the authors' program; the paper names no interval
        search={"structural_damping": {"low": 0.03, "high": 1.0, "log": True}},
        settings=(
            Setting("damping", float, 0.1, "Hessian-free", "lambda of the first update", low=0),
            Setting("damping_floor", float, 1e-10, "Hessian-free", "lambda never falls below this", low=0),
            Setting(
                "structural_damping",
                float,
                0.3,
                "Hessian-free",
                "mu: weight, relative to lambda, of damping the change of hidden units",
                low=0,
            ),
            Setting(
                "cg_iterations",
                int,
                250,
                "Hessian-free",
                "conjugate-gradient iterations of an update at most",
                low=1,
                high=100_000,
            ),
            Setting(
                "cg_decay",
                float,
                0.95,
                "Hessian-free",
                "share of the last solution that the next one starts from",
                low=0,
                high=1,
            ),
            Setting(
                "curvature_share",
                float,
                0.3,
                "Hessian-free",
                "share of a minibatch's streams that the curvature is taken on",
                low=0,
                high=1,
            ),
            Setting(
                "preconditioner",
                bool,
                False,
                "Hessian-free",
                "precondition conjugate gradients by squared gradients",
            ),
        ),
    )
)
