"""What changes while training goes on: rates and momenta by the step, learning-rate rules by the epoch.

A *schedule* is a number, or a function of k, the number of steps taken so far: k = 0 before the first step.
It gives the equations' mu_k and eps_k: step t = 1, 2, ... uses eps_{t-1} = eps(t - 1), mu_{t-1} = mu(t - 1)
and mu_t = mu(t).

A *rule* looks at the validation score after each epoch and says what to do with the learning rate.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ostinato.errors import UserError

#: Something by update: a function of the number of updates made so far.
Schedule = Callable[[int], float]


@dataclass(frozen=True)
class Constant:
    """The same value at every step.

    Example:
        >>> Constant(0.9)(0), Constant(0.9)(1000)
        (0.9, 0.9)
    """

    value: float

    def __call__(self, step: int) -> float:
        """The value after `step` steps."""
        return self.value


@dataclass(frozen=True)
class SutskeverMomentum:
    """Momentum that grows in stages of 250 steps: mu_k = min(1 - 2^(-1 - log2(floor(k / 250) + 1)), maximum).

    That is 1/2, 3/4, 5/6, 7/8, ...: 1 - 1 / (2 n) in the n-th stage, until the maximum is reached.

    Source: Sutskever, Martens, Dahl, Hinton 2013, "On the importance of initialization and momentum in deep
    learning".

    Args:
        maximum: The largest momentum, in [0, 1).
        stage: Steps in a stage; 250 in the source.

    Raises:
        UserError: The maximum or the stage is out of range.

    Example:
        >>> momentum = SutskeverMomentum(maximum=0.8)
        >>> [momentum(k) for k in (0, 249, 250, 500)]
        [0.5, 0.5, 0.75, 0.8]
    """

    maximum: float
    stage: int = 250

    def __post_init__(self) -> None:
        if not 0 <= self.maximum < 1:
            raise UserError(f"expected a largest momentum in [0, 1), found {self.maximum}; 0.95 is usual")
        if self.stage < 1:
            raise UserError(f"expected at least 1 step in a stage of momentum, found {self.stage}")

    def __call__(self, step: int) -> float:
        """The momentum mu_k after k = `step` steps."""
        # 2^(-1 - log2(n)) = 1 / (2 n), without the rounding of the logarithm.
        return min(1 - 1 / (2 * (step // self.stage + 1)), self.maximum)


def as_schedule(value: float | Schedule) -> Schedule:
    """A number as the schedule that is always that number; a function as it is.

    Example:
        >>> as_schedule(0.5)(7)
        0.5
    """
    return value if callable(value) else Constant(float(value))


@dataclass(frozen=True)
class Decision:
    """What a learning-rate rule says after an epoch.

    Attributes:
        learning_rate_factor: What to multiply the learning rate by before the next epoch.
        stop: Whether training is over. A `restore` said with it is still to be done.
        restore: Whether to go back to the weights before this epoch, because it made them worse.
    """

    learning_rate_factor: float = 1.0
    stop: bool = False
    restore: bool = False


class Rule(Protocol):
    """A learning-rate rule: `update` after each epoch; the state is JSON values, for the checkpoint."""

    def update(self, validation_log_likelihood: float) -> Decision:
        """What to do after an epoch that ended with this score."""

    def state_dict(self) -> dict[str, Any]:
        """Everything the rule remembers, as JSON values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""


class ConstantRule:
    """The learning rate stays; when to stop is somebody else's decision.

    Example:
        >>> ConstantRule().update(-5.0)
        Decision(learning_rate_factor=1.0, stop=False, restore=False)
    """

    def update(self, validation_log_likelihood: float) -> Decision:
        """Change nothing."""
        return Decision()

    def state_dict(self) -> dict[str, Any]:
        """Nothing to remember."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to take up."""


class HalvingRule:
    """The rule of the word language models: halve the rate from the first slow epoch on, stop at the second.

    With L the validation log-likelihood of this epoch and L' that of the epoch before (both at most 0; a
    sum or a mean, in any base: only their ratio counts):

    - *worse*, L < L': the weights before this epoch come back (`restore`).
    - *slow*, L * improvement < L': the first time, the rate is halved after this epoch and every later one;
      the second time, training stops. As L is negative, slow means |L| > |L'| / improvement: the negative
      log-likelihood did not fall to 1 / 1.003 of what it was. An epoch that is worse is always slow.

    The next epoch is compared with this one even if its weights were taken back, as in the source; so an
    epoch may count as progress against a bad one before it. Before the first epoch L' is -infinity: the
    first is progress. A score that is not a number counts as -infinity, and an epoch that ends there as
    worse.

    Source: the training loop of rnnlm (T. Mikolov), `logp < llogp` and `logp * min_improvement < llogp`.

    Args:
        improvement: The factor that counts as progress, at least 1.

    Raises:
        UserError: The factor is below 1; or, from `update`, a log-likelihood is positive (one of densities
            can be; a factor says nothing about it).

    Example:
        >>> rule = HalvingRule()
        >>> for score in (-200.0, -150.0, -149.9, -140.0, -141.0):
        ...     print(rule.update(score))
        Decision(learning_rate_factor=1.0, stop=False, restore=False)
        Decision(learning_rate_factor=1.0, stop=False, restore=False)
        Decision(learning_rate_factor=0.5, stop=False, restore=False)
        Decision(learning_rate_factor=0.5, stop=False, restore=False)
        Decision(learning_rate_factor=1.0, stop=True, restore=True)
    """

    def __init__(self, improvement: float = 1.003) -> None:
        if not improvement >= 1:
            raise UserError(
                f"expected an improvement factor of at least 1, found {improvement}; 1.003 is usual"
            )
        self.improvement = improvement
        self._previous: float | None = None  # None is -infinity, which JSON cannot say
        self._halving = False

    def update(self, validation_log_likelihood: float) -> Decision:
        """What to do after an epoch that ended with this validation log-likelihood."""
        if validation_log_likelihood > 0:
            raise UserError(
                "expected a log-likelihood of at most 0 for the halving rule, "
                f"found {validation_log_likelihood}; use the constant rule"
            )
        score = -math.inf if math.isnan(validation_log_likelihood) else validation_log_likelihood
        previous = -math.inf if self._previous is None else self._previous
        # -infinity has no "worse", but an epoch that ends there is not one to keep.
        worse = score < previous or score == -math.inf
        slow = worse or score * self.improvement < previous
        stop = slow and self._halving
        self._halving = self._halving or slow
        self._previous = None if score == -math.inf else score
        return Decision(0.5 if self._halving and not stop else 1.0, stop, worse)

    def state_dict(self) -> dict[str, Any]:
        """The last score and whether the rate is being halved."""
        return {"previous": self._previous, "halving": self._halving}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._previous, self._halving = state["previous"], state["halving"]
