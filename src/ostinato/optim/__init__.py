"""Optimizers, schedules and clipping for any `torch.nn.Module`: they see parameters and gradients only."""

from typing import TYPE_CHECKING

from ostinato import lazily

if TYPE_CHECKING:
    from ostinato.optim.clipping import AverageNorm as AverageNorm
    from ostinato.optim.clipping import ClipResult as ClipResult
    from ostinato.optim.clipping import clip_grad_norm as clip_grad_norm
    from ostinato.optim.clipping import grad_norm as grad_norm
    from ostinato.optim.descent import GradientDescent as GradientDescent
    from ostinato.optim.hessian_free import HessianFree as HessianFree
    from ostinato.optim.nesterov import ClassicalMomentum as ClassicalMomentum
    from ostinato.optim.nesterov import SimplifiedNesterov as SimplifiedNesterov
    from ostinato.optim.protocol import TrainingOptimizer as TrainingOptimizer
    from ostinato.optim.registry import make_optimizer as make_optimizer
    from ostinato.optim.registry import optimizer_names as optimizer_names
    from ostinato.optim.registry import register_optimizer as register_optimizer
    from ostinato.optim.schedules import Constant as Constant
    from ostinato.optim.schedules import ConstantRule as ConstantRule
    from ostinato.optim.schedules import Cosine as Cosine
    from ostinato.optim.schedules import Decision as Decision
    from ostinato.optim.schedules import HalvingRule as HalvingRule
    from ostinato.optim.schedules import OneCycle as OneCycle
    from ostinato.optim.schedules import PlateauRule as PlateauRule
    from ostinato.optim.schedules import Rule as Rule
    from ostinato.optim.schedules import Schedule as Schedule
    from ostinato.optim.schedules import SutskeverMomentum as SutskeverMomentum
    from ostinato.optim.schedules import learning_rate_schedule as learning_rate_schedule
    from ostinato.optim.thresholds import FixedThreshold as FixedThreshold
    from ostinato.optim.thresholds import PassAverage as PassAverage
    from ostinato.optim.thresholds import RunningQuantile as RunningQuantile
    from ostinato.optim.thresholds import Threshold as Threshold

_PLACES = {
    "AverageNorm": "clipping",
    "ClassicalMomentum": "nesterov",
    "ClipResult": "clipping",
    "Constant": "schedules",
    "ConstantRule": "schedules",
    "Cosine": "schedules",
    "Decision": "schedules",
    "FixedThreshold": "thresholds",
    "GradientDescent": "descent",
    "HalvingRule": "schedules",
    "HessianFree": "hessian_free",
    "OneCycle": "schedules",
    "PassAverage": "thresholds",
    "PlateauRule": "schedules",
    "Rule": "schedules",
    "RunningQuantile": "thresholds",
    "Schedule": "schedules",
    "SimplifiedNesterov": "nesterov",
    "SutskeverMomentum": "schedules",
    "Threshold": "thresholds",
    "TrainingOptimizer": "protocol",
    "clip_grad_norm": "clipping",
    "grad_norm": "clipping",
    "learning_rate_schedule": "schedules",
    "make_optimizer": "registry",
    "optimizer_names": "registry",
    "register_optimizer": "registry",
}

__all__ = [*_PLACES]

if not TYPE_CHECKING:  # a type checker knows the names above, and no others
    __getattr__, __dir__ = lazily(__name__, _PLACES)
