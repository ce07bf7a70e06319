"""What optimizers say of themselves, and settings that many have; nothing here imports PyTorch."""

from dataclasses import dataclass
from typing import Any, Literal

from ostinato import foreign
from ostinato.errors import UserError, argument
from ostinato.recipe.declared import Declared
from ostinato.recipe.setting import Setting, Unless


@dataclass(frozen=True, kw_only=True)
class Optimizer(Declared):
    """What a recipe knows of an optimizer.

    Its class is a `torch.optim.Optimizer`, made from parameters and `lr`, which steps along the gradients
    that are there; or, with `curvature`, one that is made by `from_settings(parameters, settings)`, and whose
    `step` takes an operator with Gauss-Newton products, as `HessianFree` does.

    Args:
        curvature: whether it asks for the curvature of the loss, which the output must have.
        base: what stands before a recipe's letters with it, such as "SGD"; by default its name.
    """

    curvature: bool = False
    base: str = ""

    def __post_init__(self) -> None:
        if not self.base:
            object.__setattr__(self, "base", self.name)


# What every optimizer has that follows one gradient after the other.
DESCENT: tuple[Setting, ...] = (
    Setting("learning_rate", float, 0.05, "Optimization", "step size", low=0, above=True),
    Setting(
        "learning_rate_rule",
        Literal["constant", "halving", "plateau", "cosine", "one-cycle"],
        "constant",
        "Optimization",
        "halving: halve the rate once validation improves by less than a factor 1.003, until it does so "
        "again; plateau: after every epoch that is not the best, until four in a row are not; cosine and "
        "one-cycle end with the last epoch, or the minutes",
    ),
    Setting(
        "warmup",
        float,
        0.0,
        "Optimization",
        "share of training in which the learning rate rises to its full size",
        low=0,
        high=1,
        below=True,
        needs={"learning_rate_rule": ("cosine",)},
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
        float | Literal["auto", "average", "quantile", "none"],
        "none",
        "Optimization",
        "largest gradient norm; quantile: of the last norms; average: over the pass before; auto: over a "
        "first pass, and kept",
        low=0,
    ),
    Setting(
        "clip_by",
        Literal["minibatch", "sequence"],
        "minibatch",
        "Optimization",
        "what is clipped: the gradient of all streams, or each stream's own before they are averaged",
        needs={"clip": Unless(("none",)), "streams": Unless((1,))},
    ),
    Setting(
        "clip_quantile",
        float,
        0.9,
        "Optimization",
        "share of the last gradients that are shorter than the threshold",
        low=0,
        high=1,
        needs={"clip": ("quantile",)},
    ),
    Setting(
        "clip_window",
        int,
        1000,
        "Optimization",
        "gradients that the quantile is of, the last ones",
        low=1,
        high=1_000_000,
        needs={"clip": ("quantile",)},
    ),
    Setting(
        "clip_factor",
        float,
        1.0,
        "Optimization",
        "what an average or a quantile is multiplied by to be the threshold",
        low=0,
        needs={"clip": ("quantile", "average", "auto")},
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
MOMENTUM_SETTINGS: tuple[Setting, ...] = (
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


def further(text: str | None) -> dict[str, Any]:
    """Arguments of an optimizer's class, from TOML in a line.

    Example:
        >>> further("betas = [0.9, 0.95], eps = 1e-6")
        {'betas': (0.9, 0.95), 'eps': 1e-06}
    """
    if not text:
        return {}
    try:
        found = foreign.parsed(f"settings = {{{text}}}".encode(errors="replace"))["settings"]
    except UserError as error:
        raise UserError(
            f"expected {argument('optimizer_settings')} like 'betas = [0.9, 0.95]', found {text!r}: {error}"
        ) from None
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
