"""The whole contract of an output layer, and how one is made from a recipe's settings.

An output maps a hidden state to a distribution over the next observation. To add one: a module with a class
that does what `OutputLayer` says, and an entry in `registry`. What else it has decides what it is good for:

    nll              training on -log p; without it, the methods of `SurrogateLayer`
    initialize_bias_ training starts from what the data alone say
    linearize        Hessian-free optimisation: the curvature of `nll` at one point
    the distribution it returns: log_prob to score, sample(generator=...) to draw; where `exact` is False,
                     the methods of `EstimatedFrames`
    sampling         a record of the chains that draw, `ChainSampled`

Shapes: N frames (any leading shape), H hidden.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ostinato.nn.outputs.registry import Output

if TYPE_CHECKING:
    from ostinato.nn.outputs.agreement import Estimator
    from ostinato.nn.outputs.mixing import Bracket, ChainRecord


class OutputLayer(Protocol):
    """What a model asks of its output layer; any `nn.Module` with these two methods will do.

    One that cannot be trained on -log p also has the methods of `SurrogateLayer`.
    """

    def __call__(self, hidden: Tensor) -> Distribution:
        """The distribution of the next observation for every state (..., H)."""

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Sum over N frames of -log p in nats; hidden (N, H), targets (N, ...)."""


@runtime_checkable
class SurrogateLayer(Protocol):
    """An output layer that is trained on something else than -log p, such as the RBM."""

    score_name: str

    def training_loss(self, hidden: Tensor, targets: Tensor, generator: torch.Generator | None) -> Tensor:
        """What to minimise, summed over frames."""

    def mean_field_loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """What pre-trains the RNN, summed over frames."""

    def training_score(self, hidden: Tensor, targets: Tensor, generator: torch.Generator | None) -> Tensor:
        """A cheap score to watch, called `score_name`, summed over frames."""


@runtime_checkable
class Startable(Protocol):
    """An output layer whose biases can start from what the data alone say."""

    def initialize_bias_(self, **start: Tensor) -> None:
        """Set the biases: from `frequencies` of notes or tokens, or from `means` and `deviations`."""


@runtime_checkable
class ChainSampled(Protocol):
    """An output layer whose distributions are drawn from by Markov chains that may not have mixed."""

    sampling: "ChainRecord"


@runtime_checkable
class EstimatedFrames(Protocol):
    """A distribution of frames whose likelihood can only be estimated, of many frames together.

    An estimator takes in the frames of a data set, part by part, and then says how likely they are.
    """

    @property
    def exact(self) -> bool:
        """Whether `log_prob` is exact all the same, so that only draws need chains."""

    def estimator(self, total: int, generator: torch.Generator | None) -> "Estimator":
        """An estimator of so many frames."""

    def gathered(
        self, estimator: "Estimator", value: Tensor, rows: Tensor | None = None, *, rough: bool = True
    ) -> None:
        """Give frames, or some rows of them, to an estimator, with a rough log-probability or without."""

    def bracketed(
        self,
        gathered: "Estimator",
        statistic: Callable[[Tensor, Tensor], Tensor],
        draws: int,
        tolerance: float,
        generator: torch.Generator | None,
    ) -> "Bracket":
        """Frames drawn by chains that start at the observed ones and by others, until both agree."""


@runtime_checkable
class FromSettings(Protocol):
    """An output class that is made from settings in a way of its own.

    Any other is called with H, the size of a target, its settings by name, `generator` and `dtype`.
    """

    def from_settings(
        self,
        hidden_size: int,
        size: int,
        settings: Mapping[str, Any],
        *,
        start: Mapping[str, Tensor],
        stored: Mapping[str, Tensor],
        generator: torch.Generator,
        dtype: torch.dtype,
    ) -> nn.Module:
        """The layer; `stored` are the weights that it will be given, if it was trained before."""


def make_output(
    declared: Output,
    hidden_size: int,
    size: int,
    settings: Mapping[str, Any],
    *,
    start: Mapping[str, Tensor] | None = None,
    stored: Mapping[str, Tensor] | None = None,
    generator: torch.Generator,
    dtype: torch.dtype,
) -> Any:
    """An output layer from the settings that its declaration names.

    Args:
        declared: which.
        hidden_size: H.
        size: of a target: notes, tokens, classes or values.
        settings: the values of `declared.settings`, by name.
        start: what the data alone say, for the biases to start from.
        stored: the layer's weights, where it was trained before.
        generator: source of randomness for the weights.
        dtype: of the weights.

    Example:
        >>> from ostinato.nn.outputs.registry import OUTPUTS
        >>> make_output(
        ...     OUTPUTS["softmax"], 4, 9, {}, generator=torch.Generator(), dtype=torch.float32
        ... )
        Softmax(4, 9)
    """
    kind, start = declared.load(), dict(start or {})
    if isinstance(kind, FromSettings):
        output: Any = kind.from_settings(
            hidden_size,
            size,
            settings,
            start=start,
            stored=stored or {},
            generator=generator,
            dtype=dtype,
        )
    else:
        output = kind(hidden_size, size, **settings, generator=generator, dtype=dtype)
    if start and isinstance(output, Startable):
        output.initialize_bias_(**start)
    return output
