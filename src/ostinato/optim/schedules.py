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

from ostinato.errors import UserError, near_names

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


@dataclass(frozen=True)
class Cosine:
    """A factor of the learning rate that falls along half a cosine, after a linear rise in a warm-up.

        (k + 1) / (w + 1)                                              k < w = warmup
        final + (1 - final) (1 + cos(pi (k - w) / (total - w))) / 2    w <= k < total
        final                                                          from then on

    Source: Loshchilov & Hutter 2017 (arXiv 1608.03983), one period, without restarts.

    Args:
        total: Steps of the whole training.
        warmup: Steps until the full rate is reached, fewer than the total.
        final: The factor at the end, in [0, 1].

    Raises:
        UserError: One of them is out of range.

    Example:
        >>> [round(Cosine(total=4)(k), 3) for k in range(6)]
        [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """

    total: int
    warmup: int = 0
    final: float = 0.0

    def __post_init__(self) -> None:
        _check_total(self.total, self.warmup)
        if not 0 <= self.final <= 1:
            raise UserError(f"expected a final factor of the learning rate in [0, 1], found {self.final}")

    def __call__(self, step: int) -> float:
        """The factor after `step` steps."""
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        return _along_cosine(1.0, self.final, (step - self.warmup) / (self.total - self.warmup))


@dataclass(frozen=True)
class OneCycle:
    """A factor of the learning rate that rises along half a cosine, and falls along another to near zero.

        first -> 1         over the first `rise` of the steps
        1     -> last      over the others

    It is the rate of `torch.optim.lr_scheduler.OneCycleLR` with the same shares, for a rate that is the
    largest; the momentum stays.

    Source: Smith & Topin 2018 (arXiv 1708.07120).

    Args:
        total: Steps of the whole training.
        rise: Share of the steps until the full rate is reached, in (0, 1).
        first: The factor of the first step.
        last: The factor of the last step.

    Raises:
        UserError: One of them is out of range.

    Example:
        >>> [round(OneCycle(total=10)(k), 3) for k in (0, 1, 2, 5, 9)]
        [0.04, 0.52, 1.0, 0.611, 0.0]
    """

    total: int
    rise: float = 0.3
    first: float = 1 / 25
    last: float = 1 / 25e4

    def __post_init__(self) -> None:
        _check_total(self.total, 0)
        if not 0 < self.rise < 1:
            raise UserError(f"expected a share of rising steps in (0, 1), found {self.rise}; 0.3 is usual")
        for factor in (self.first, self.last):
            if not 0 <= factor <= 1:
                raise UserError(f"expected factors of the learning rate in [0, 1], found {factor}")

    def __call__(self, step: int) -> float:
        """The factor after `step` steps."""
        top = max(self.rise * self.total - 1, 0.0)
        if step < top:
            return _along_cosine(self.first, 1.0, step / top)
        return _along_cosine(1.0, self.last, (step - top) / max(self.total - 1 - top, 1.0))


class Within:
    """A schedule of steps that time may bring to its end sooner.

    The share of training that is done is step / total, or the share of the time that is used, whichever is
    larger; the shape's value there is the schedule's.

    Args:
        shape: A schedule of `Within.PARTS` steps.
        total: Steps of the whole training, if time does not end it.
        used: The share of the time that is used, in [0, 1].

    Example:
        >>> schedule = Within(Cosine(Within.PARTS), total=10, used=lambda: 0.5)
        >>> [round(schedule(k), 3) for k in (0, 5, 9)]
        [0.5, 0.5, 0.024]
    """

    PARTS = 1_000_000

    def __init__(self, shape: Schedule, total: int, used: Callable[[], float]) -> None:
        self.shape, self.total, self.used = shape, total, used

    def __call__(self, step: int) -> float:
        """The factor after `step` steps, at this time."""
        share = min(max(step / self.total, self.used()), 1.0)
        return self.shape(int(share * self.PARTS))


LEARNING_RATE_SCHEDULES = ("constant", "cosine", "one-cycle")
# Those that know when training ends.
END_WITH_TRAINING = ("cosine", "one-cycle")


def learning_rate_schedule(name: str, total: int, warmup: float = 0.0) -> Schedule:
    """The schedule of a name, "constant", "cosine" or "one-cycle": a factor of the learning rate by the step.

    Args:
        name: Of the schedule.
        total: Steps of the whole training.
        warmup: The share of them in which the rate rises, of a cosine.

    Raises:
        UserError: There is no such schedule, or not a single step.

    Example:
        >>> learning_rate_schedule("cosine", 100)
        Cosine(total=100, warmup=0, final=0.0)
    """
    match name:
        case "constant":
            return Constant(1.0)
        case "cosine":
            return Cosine(total, min(int(warmup * total), total - 1))
        case "one-cycle":
            return OneCycle(total)
    names = near_names(name, LEARNING_RATE_SCHEDULES)
    raise UserError(f"unknown schedule of the learning rate {name!r}: {names}")


def _along_cosine(begin: float, end: float, share: float) -> float:
    """From one value to the other along half a cosine; at its end from share 1 on."""
    return end if share >= 1 else end + (begin - end) * (1 + math.cos(math.pi * share)) / 2


def _check_total(total: int, warmup: int) -> None:
    if total < 1:
        raise UserError(f"expected at least 1 step for a schedule of the learning rate, found {total}")
    if not 0 <= warmup < total:
        raise UserError(f"expected a warm-up of fewer than the {total} steps of training, found {warmup}")


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


class PlateauRule:
    """Halve the rate after every epoch that is not the best so far; stop when that is of no use.

    With L the validation log-likelihood of this epoch and L* the best before it:

    - L > L*: the rate stays.
    - otherwise: the weights before this epoch come back (`restore`), which are the best there are, and the
      rate is halved; after `attempts` such epochs in a row training stops.

    Any improvement counts, however small: `HalvingRule` halves for good once an epoch gains less than a share
    of 0.003, which of characters, whose nats are few, comes while training has far to go. The first epoch is
    the best. A score that is not a number counts as -infinity.

    Args:
        attempts: Epochs in a row without a new best that end training, at least 1.

    Raises:
        UserError: There is no attempt.

    Example:
        >>> rule = PlateauRule(attempts=2)
        >>> for score in (-2.0, -1.9, -1.95, -1.89, -1.89, -1.9):
        ...     print(rule.update(score))
        Decision(learning_rate_factor=1.0, stop=False, restore=False)
        Decision(learning_rate_factor=1.0, stop=False, restore=False)
        Decision(learning_rate_factor=0.5, stop=False, restore=True)
        Decision(learning_rate_factor=1.0, stop=False, restore=False)
        Decision(learning_rate_factor=0.5, stop=False, restore=True)
        Decision(learning_rate_factor=1.0, stop=True, restore=True)
    """

    def __init__(self, attempts: int = 4) -> None:
        if attempts < 1:
            raise UserError(f"expected at least 1 attempt for the plateau rule, found {attempts}")
        self.attempts = attempts
        self._best: float | None = None  # None is -infinity, which JSON cannot say
        self._failed = 0

    def update(self, validation_log_likelihood: float) -> Decision:
        """What to do after an epoch that ended with this validation log-likelihood."""
        score = validation_log_likelihood
        best = -math.inf if self._best is None else self._best
        if not math.isnan(score) and score > best:
            self._best, self._failed = score, 0
            return Decision()
        self._failed += 1
        stop = self._failed >= self.attempts
        return Decision(1.0 if stop else 0.5, stop, restore=True)

    def state_dict(self) -> dict[str, Any]:
        """The best score, and the epochs since."""
        return {"best": self._best, "failed": self._failed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._best, self._failed = state["best"], state["failed"]


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
