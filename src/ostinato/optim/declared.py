"""The optimizers by name, with the settings of each; nothing here imports PyTorch.

To add one: an entry here, or a call of `OPTIMIZERS.register` from elsewhere.
"""

from typing import Any, Literal

from ostinato.errors import UserError, argument
from ostinato.recipe.declared import Declared, Registry
from ostinato.recipe.setting import Setting


def _of_torch(name: str) -> Declared | None:
    """Any other optimizer of PyTorch's, which is only imported to look for one."""
    from ostinato.optim import registry

    return registry.declared(name)


OPTIMIZERS: Registry[Declared] = Registry("optimizer", further=_of_torch)

# What every optimizer has that follows one gradient after the other.
DESCENT: tuple[Setting, ...] = (
    Setting("learning_rate", float, 0.05, "Optimization", "step size", low=0),
    Setting(
        "learning_rate_rule",
        Literal["constant", "halving", "cosine", "one-cycle"],
        "constant",
        "Optimization",
        "halving: halve the rate once validation improves by less than a factor 1.003; cosine and one-cycle "
        "end with the last epoch",
    ),
    Setting(
        "weight_decay",
        float | None,
        None,
        "Optimization",
        "weights shrink by this share of the step size at every step",
        low=0,
        unset="the optimizer's own: 0 for most, 0.01 for adamw",
    ),
    Setting(
        "clip",
        float | Literal["auto", "none"],
        "none",
        "Optimization",
        "gradient norm threshold; auto: the average norm over one pass",
        low=0,
    ),
)
MOMENTUM = Setting(
    "momentum",
    float,
    0.0,
    "Optimization",
    "momentum, or its maximum under a schedule",
    low=0,
    high=1,
    below=True,
)
_MOMENTUM: tuple[Setting, ...] = (
    MOMENTUM,
    Setting(
        "momentum_schedule",
        Literal["constant", "sutskever"],
        "constant",
        "Optimization",
        "of the momentum",
        needs={"momentum": ()},
    ),
)


def _check_hessian_free(recipe: Any) -> None:
    """What Hessian-free optimisation cannot do is refused."""
    if recipe.dropout > 0:
        raise UserError(f"{argument('dropout')} {recipe.dropout} does not go with HF; leave it out")


OPTIMIZERS.register(
    Declared(
        name="sgd",
        place="ostinato.optim.nesterov:SimplifiedNesterov",
        summary="plain gradient descent",
        settings=DESCENT,
    )
)
OPTIMIZERS.register(
    Declared(
        name="nesterov",
        place="ostinato.optim.nesterov:SimplifiedNesterov",
        summary="simplified Nesterov momentum (eq. 6, 7 of the paper)",
        settings=(*DESCENT, *_MOMENTUM),
    )
)
OPTIMIZERS.register(
    Declared(
        name="classical",
        place="ostinato.optim.nesterov:ClassicalMomentum",
        summary="classical momentum (eq. 3 to 5 of the paper)",
        settings=(*DESCENT, *_MOMENTUM),
    )
)
# What further arguments a class of PyTorch's takes.
FURTHER = Setting(
    "optimizer_settings",
    str | None,
    None,
    "Optimization",
    "further arguments of the optimizer's class, such as 'betas = [0.9, 0.95]'",
    unset="those of torch.optim",
)
# Steps of these do not grow with the gradient: a rate of its own for rare parameters is not needed.
ADAPTIVE: dict[str, Any] = {"learning_rate": 0.003, "embedding_rate": 1.0, "within_class_rate": 1.0}

OPTIMIZERS.register(
    Declared(
        name="adam",
        place="torch.optim:Adam",
        summary="steps scaled by running moments of the gradient",
        settings=(*DESCENT, FURTHER),
        defaults=ADAPTIVE,
    )
)
OPTIMIZERS.register(
    Declared(
        name="adamw",
        place="torch.optim:AdamW",
        summary="adam whose weight decay stands apart from the gradient",
        settings=(*DESCENT, FURTHER),
        defaults=ADAPTIVE,
    )
)
OPTIMIZERS.register(
    Declared(
        name="hessian-free",
        place="ostinato.optim.hessian_free.optimizer:HessianFree",
        summary="truncated Newton steps",
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
