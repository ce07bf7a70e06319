"""The whole contract of an output layer, and how one is made from a recipe's settings.

An output maps a hidden state to a distribution over the next observation. To add one: a module with a class
that does what `OutputLayer` says, and an entry in `registry`. What else it has decides what it is good for:

    nll              training on -log p
    objectives       training on something else, for some epochs or to the end: see `Objective`
    initialize_bias_ training starts from what the data alone say
    linearize        Hessian-free optimisation: the curvature, at one point, of what it is trained on
    from_settings    made from settings in a way of its own: see `OutputSpec`
    tie_             its weights can be an embedding of tokens: see `Tieable`
    initialize_offsets_  its notes can be given offsets, the last values of the hidden state: see `copy_gates`
    told             it reads, behind the hidden state, a part of the model's input: see `Told`
    the distribution it returns: log_prob to score, sample(generator=...) to draw; where `exact` is False,
                     the methods of `EstimatedFrames`
    sampling         a record of the chains that draw: see `ChainSampled`

Shapes: N frames (any leading shape), H hidden.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ostinato.nn.outputs.registry import OUTPUTS, Output
from ostinato.recipe.declared import loaded

if TYPE_CHECKING:
    from ostinato.nn.outputs.agreement import Estimate, Estimator
    from ostinato.nn.outputs.mixing import Bracket, ChainRecord

# The objective that lasts until training ends.
JOINT = "joint"


class OutputLayer(Protocol):
    """What a model asks of its output layer; any `nn.Module` with these two methods will do.

    One that is not, or not always, trained on -log p is a `HasObjectives` too.
    """

    def __call__(self, hidden: Tensor) -> Distribution:
        """The distribution of the next observation for every state (..., H)."""

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Sum over N frames of -log p in nats; hidden (N, H), targets (N, ...)."""


@dataclass(frozen=True)
class Cost:
    """What an objective makes of some frames, each summed over them.

    Arguments:
        loss: what to minimise, differentiable.
        nll: minus the score to watch: -log p, or what stands in for it.
    """

    loss: Tensor
    nll: Tensor


@dataclass(frozen=True)
class Objective:
    """What a model is trained on.

    Args:
        name: "joint" for what training ends with; for a stage of pre-training what the output's declaration
            (`registry.Stage`) and the records of its epochs call it.
        cost: of states (N, H), targets (N, ...) and a source of randomness. A model penalises weights and
            units besides.
        score_name: what the scores are that `Cost.nll` is minus the sum of.
    """

    name: str
    cost: Callable[[Tensor, Tensor, torch.Generator | None], Cost]
    score_name: str = "log_likelihood"

    @property
    def joint(self) -> bool:
        """Whether it is what training ends with, rather than a stage of pre-training."""
        return self.name == JOINT


@runtime_checkable
class HasObjectives(Protocol):
    """An output layer with objectives of its own, such as the RBM."""

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """Those of its stages of pre-training, and "joint" where that is not -log p."""


@dataclass(frozen=True)
class NegativeLogLikelihood:
    """The cost of every output that says of nothing else what it is trained on: -log p, summed."""

    output: OutputLayer

    def __call__(self, hidden: Tensor, values: Tensor, generator: torch.Generator | None = None) -> Cost:
        """Of states (N, H) and targets (N, ...)."""
        if watched(self.output):
            # slower than `nll`, and through a call, as those who watch or change a module's calls expect
            nll = -self.output(hidden).log_prob(values).sum()
        else:
            nll = self.output.nll(hidden, values)
        return Cost(nll, nll)


def watched(output: OutputLayer) -> bool:
    """Whether somebody has hooks on a layer's calls: pruning, or a program that looks.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> _ = layer.register_forward_hook(lambda *_: None)
        >>> watched(layer), watched(nn.Linear(2, 1))
        (True, False)
    """
    kinds = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
    return any(getattr(output, kind, None) for kind in kinds)


def likelihood(output: OutputLayer) -> Objective:
    """To maximise the likelihood."""
    return Objective(JOINT, NegativeLogLikelihood(output))


def objective_of(output: OutputLayer, name: str = JOINT) -> Objective:
    """An output's objective of a name; "joint" is to maximise the likelihood, unless it has another one.

    Raises:
        ValueError: it has none of this name.

    Example:
        >>> from ostinato.nn.outputs import RBM, Softmax
        >>> objective_of(RBM(4, 9)).score_name, objective_of(Softmax(4, 9)).score_name
        ('pseudo_log_likelihood', 'log_likelihood')
        >>> objective_of(RBM(4, 9), "rnn").joint
        False
    """
    own = output.objectives if isinstance(output, HasObjectives) else ()
    named = {objective.name: objective for objective in (likelihood(output), *own)}
    if name not in named:
        raise ValueError(
            f"expected an objective {name!r} of {type(output).__name__}, found {', '.join(named)}; "
            "its `objectives` have to name all that its declaration does"
        )
    return named[name]


@runtime_checkable
class Startable(Protocol):
    """An output layer whose biases can start from what the data alone say."""

    def initialize_bias_(self, **start: Tensor) -> None:
        """Set the biases: from `frequencies` of notes or tokens, or from `means` and `deviations`."""


@dataclass(frozen=True, kw_only=True)
class OutputSpec:
    """What an output layer is made from.

    Args:
        hidden_size: H.
        size: of a target: notes, tokens, classes or values.
        settings: the values of the settings that its declaration names.
        start: what the data alone say, for the biases to start from.
        stored: the weights that it will be given, if it was trained before.
        generator: source of randomness for the weights.
        dtype: of the weights.
    """

    hidden_size: int
    size: int
    generator: torch.Generator
    dtype: torch.dtype
    settings: Mapping[str, Any] = field(default_factory=dict)
    start: Mapping[str, Tensor] = field(default_factory=dict)
    stored: Mapping[str, Tensor] = field(default_factory=dict)


class Told(Protocol):
    """An output layer that has to know the observation before: which notes sounded, say.

    Its hidden states are (..., H + told): behind each stand the first `told` values of the model's input.
    """

    told: int


@runtime_checkable
class Tieable(Protocol):
    """An output layer over tokens whose weights (V, H) can be those of an embedding."""

    def tie_(self, embedding: nn.Parameter) -> None:
        """Share them."""


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

    def likelihood(self, value: Tensor, *, generator: torch.Generator | None = None) -> "Estimate":
        """What is known of the log-probability of these frames alone."""

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

    def from_settings(self, spec: OutputSpec) -> nn.Module:
        """The layer."""


def make_output(declared: Output, spec: OutputSpec) -> Any:
    """An output layer as it is declared.

    Raises:
        ValueError: the declaration names a stage of pre-training that the layer has no objective for.

    Example:
        >>> from ostinato.nn.outputs.registry import OUTPUTS
        >>> generator = torch.Generator().manual_seed(0)
        >>> make_output(
        ...     OUTPUTS["softmax"],
        ...     OutputSpec(hidden_size=4, size=9, generator=generator, dtype=torch.float32),
        ... )
        Softmax(4, 9)
    """
    kind = declared.load()
    if isinstance(kind, FromSettings):
        output: Any = kind.from_settings(spec)
    else:
        output = kind(
            spec.hidden_size, spec.size, **spec.settings, generator=spec.generator, dtype=spec.dtype
        )
    for stage in declared.pretraining:
        objective_of(output, stage.objective)
    if spec.start and isinstance(output, Startable):
        output.initialize_bias_(**spec.start)
    return output


def with_onsets(name: str, layer: Any) -> Any:
    """A layer of 2 P rows, of the output of this name, as one of frames with onsets: see `outputs.onsets`.

    Raises:
        ValueError: its frames cannot have them.

    Example:
        >>> from ostinato.nn.outputs import RBM, Bernoulli
        >>> [
        ...     type(with_onsets(name, layer)).__name__
        ...     for name, layer in (("bernoulli", Bernoulli(4, 6)), ("rbm", RBM(4, 6)))
        ... ]
        ['Onsets', 'OnsetRBM']
        >>> with_onsets("gaussian", None)
        Traceback (most recent call last):
        ...
        ValueError: expected an output whose frames can have onsets, found gaussian
    """
    declared = OUTPUTS[name]
    if declared.onsets is None:
        raise ValueError(f"expected an output whose frames can have onsets, found {name}")
    return loaded(declared.onsets)(layer)
