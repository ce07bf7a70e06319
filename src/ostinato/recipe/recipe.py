"""Recipe: every setting of a run in one frozen, validated dataclass, and the paper's letters for it.

Letters, after Bengio, Boulanger-Lewandowski & Pascanu 2012, table 1: C gradient clipping, L leaky units,
R rectifier units with an L1 penalty on hidden outputs, M simplified Nesterov momentum; HF in the place of
SGD: Hessian-free optimisation, which can have L and R.
"""

import dataclasses
import math
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ostinato.errors import UserError, argument, near_names
from ostinato.recipe.letters import (
    HF,
    HF_DATA,
    HF_OUTPUTS,
    LETTERS,
    MEANT_TOGETHER,
    OUTPUT_DEFAULTS,
    OUTPUT_LETTERS,
    TASK_DEFAULTS,
    TASK_LETTERS,
)


def _setting(
    default: Any,
    group: str,
    help: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    below: bool = False,
) -> Any:
    """A field with its group and help text, and its range [low, high], or [low, high) where `below`."""
    metadata = {"group": group, "help": help, "low": low, "high": high, "below": below}
    return dataclasses.field(default=default, metadata=metadata)


Output = Literal["bernoulli", "nade", "rbm", "softmax", "class-softmax"]
Task = Literal["music", "words", "chars", "task"]
Nonlinearity = Literal["tanh", "relu", "sigmoid", "identity"]
Initialization = Literal["uniform", "echo-state", "identity", "orthogonal"]

Stage = Literal["frames", "rnn", "joint"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings of a run. Immutable; checked when made; `dataclasses.replace` makes a changed copy.

    Raises:
        UserError: a setting is out of its range, or two do not go together.

    Example:
        >>> recipe = Recipe.parse("SGD+CL", learning_rate=0.05)
        >>> recipe.clip, recipe.leak_fraction, recipe.learning_rate
        ('auto', 0.5, 0.05)
    """

    task: Task = _setting(
        "music", "Recipe", "what to model: music, words or characters, or a task with long delays"
    )
    recipe: str = _setting(
        "SGD", "Recipe", "the paper's letters: SGD, or SGD+ any of C, L, R, M; HF, or HF+ any of L, R"
    )
    data: str = _setting("bach", "Data", "data set name, or a file or folder of MIDI, MusicXML, ABC or kern")
    frames_per_beat: int | None = _setting(None, "Data", "frames a quarter note", low=1, high=96)
    transpose: bool = _setting(True, "Data", "transpose files to C major or C minor")
    length: int = _setting(50, "Data", "steps of a task's sequences, or of its delay", low=10, high=100_000)
    epoch_sequences: int = _setting(
        10_000, "Data", "fresh sequences between two validations of a task", low=1, high=100_000_000
    )
    valid_data: str | None = _setting(None, "Text", "validation text; with --test-data")
    test_data: str | None = _setting(None, "Text", "test text; with --valid-data")
    vocabulary_size: int = _setting(
        10_000, "Text", "most distinct words or characters; the rest are unknown", low=3, high=10_000_000
    )
    classes: int = _setting(30, "Text", "classes of a class-softmax", low=1, high=100_000)
    direct: int = _setting(
        0, "Text", "weights for direct n-gram (maximum-entropy) connections; 0 for none", low=0, high=1 << 32
    )
    direct_order: int = _setting(3, "Text", "longest n-gram of direct connections", low=2, high=20)
    output: Output = _setting("bernoulli", "Model", "distribution over the next frame or token")
    nade_size: int = _setting(150, "Output", "hidden units of NADE", low=1, high=100_000)
    nade_order: Literal["low-to-high", "high-to-low"] = _setting(
        "low-to-high", "Output", "in which NADE predicts the notes of a frame"
    )
    state_scale: float = _setting(
        0.1, "Output", "what NADE and RBM multiply the hidden state by; see nn.outputs.NADE", low=0, high=100
    )
    rbm_size: int = _setting(150, "Output", "hidden units of the RBM", low=1, high=100_000)
    cd_steps: int = _setting(15, "Output", "Gibbs steps of contrastive divergence", low=1, high=10_000)
    persistent_chains: int = _setting(
        0,
        "Output",
        "chains of persistent contrastive divergence; 0: start from the data",
        low=0,
        high=1_000_000,
    )
    pretrain_frames: int = _setting(
        0, "Output", "first epochs, in which the RBM alone learns single frames", low=0, high=1_000_000
    )
    pretrain_rnn: int = _setting(
        0,
        "Output",
        "epochs after these, in which the RNN learns the RBM's visible biases",
        low=0,
        high=1_000_000,
    )
    ais_steps: int = _setting(
        200,
        "Output",
        "steps of annealed importance sampling, for the RBM's likelihood",
        low=1,
        high=1_000_000,
    )
    ais_chains: int = _setting(4, "Output", "annealed chains a frame, in each direction", low=2, high=10_000)
    accuracy_samples: int = _setting(
        20, "Output", "frames drawn for the expected accuracy of NADE and RBM", low=2, high=100_000
    )
    hidden_size: int = _setting(200, "Model", "recurrent units in a layer", low=1, high=100_000)
    num_layers: int = _setting(1, "Model", "recurrent layers", low=1, high=100)
    nonlinearity: Nonlinearity = _setting("tanh", "Model", "of the recurrent units")
    initialization: Initialization = _setting("uniform", "Model", "of the recurrent weights")
    spectral_radius: float = _setting(
        1.1, "Model", "largest eigenvalue of echo-state weights", low=0, high=10
    )
    embedding_scale: float = _setting(
        1.0, "Model", "token embeddings start uniform in [-scale, scale]", low=0, high=100
    )
    leak_fraction: float = _setting(0.0, "Model", "share of the units that leak", low=0, high=1)
    leak_low: float = _setting(
        0.02, "Model", "smallest leak: share of the old state a leaky unit keeps", low=0, high=1, below=True
    )
    leak_high: float = _setting(0.2, "Model", "largest leak", low=0, high=1, below=True)
    l1: float = _setting(0.0, "Model", "weight of the L1 penalty on hidden outputs", low=0)
    l2: float = _setting(0.0, "Model", "weight of the L2 penalty, l2 / 2 times the squared weights", low=0)
    dropout: float = _setting(0.0, "Model", "dropout between layers", low=0, high=1)
    learning_rate: float = _setting(0.05, "Optimization", "step size", low=0)
    embedding_rate: float = _setting(
        1.0, "Optimization", "learning rate of the token embedding, relative to learning_rate", low=0
    )
    within_class_rate: float = _setting(
        1.0,
        "Optimization",
        "learning rate of a class-softmax's weights within classes, relative to learning_rate",
        low=0,
    )
    learning_rate_rule: Literal["constant", "halving"] = _setting(
        "constant",
        "Optimization",
        "halving: halve the rate once validation improves by less than a factor 1.003",
    )
    momentum: float = _setting(
        0.0, "Optimization", "momentum, or its maximum under a schedule", low=0, high=1, below=True
    )
    momentum_schedule: Literal["constant", "sutskever"] = _setting(
        "constant", "Optimization", "of the momentum"
    )
    momentum_kind: Literal["nesterov", "classical"] = _setting(
        "nesterov", "Optimization", "simplified Nesterov (eq. 6, 7) or classical momentum (eq. 3 to 5)"
    )
    clip: float | Literal["auto", "none"] = _setting(
        "none", "Optimization", "gradient norm threshold; auto: the average norm over one pass", low=0
    )
    damping: float = _setting(0.1, "Hessian-free", "lambda of the first update", low=0)
    damping_floor: float = _setting(1e-10, "Hessian-free", "lambda never falls below this", low=0)
    structural_damping: float = _setting(
        0.3, "Hessian-free", "mu: weight, relative to lambda, of damping the change of hidden units", low=0
    )
    cg_iterations: int = _setting(
        250, "Hessian-free", "conjugate-gradient iterations of an update at most", low=1, high=100_000
    )
    cg_decay: float = _setting(
        0.95, "Hessian-free", "share of the last solution that the next one starts from", low=0, high=1
    )
    curvature_share: float = _setting(
        0.3, "Hessian-free", "share of a minibatch's streams that the curvature is taken on", low=0, high=1
    )
    preconditioner: bool = _setting(
        False, "Hessian-free", "precondition conjugate gradients by squared gradients"
    )
    averaging: float = _setting(
        0.0,
        "Optimization",
        "decay of an average of the weights over updates, which is validated and kept; 0 for none",
        low=0,
        high=1,
        below=True,
    )
    streams: int = _setting(1, "Training", "parallel streams, the minibatch size", low=1, high=100_000)
    segment_length: int = _setting(100, "Training", "steps between parameter updates", low=1, high=1_000_000)
    epochs: int = _setting(200, "Training", "passes through the data at most", low=0, high=1_000_000)
    patience: int = _setting(
        20, "Training", "epochs without a better validation score before stopping", low=1
    )
    dtype: Literal["float32", "float64"] = _setting("float32", "Model", "floating-point type of the model")
    seed: int = _setting(0, "Training", "of everything random", low=0, high=2**32 - 1)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _checked(field, getattr(self, field.name)))
        object.__setattr__(self, "recipe", _canonical(self.recipe))
        if self.leak_low > self.leak_high:
            raise UserError(
                f"expected {argument('leak_low')} <= {argument('leak_high')}, found {self.leak_low} > "
                f"{self.leak_high}; swap them"
            )
        if (self.task == "music") == self.output.endswith("softmax"):
            raise UserError(
                f"{argument('output')} {self.output} does not fit {self.task}; use softmax or "
                "class-softmax for words and chars, and another one for music"
            )
        if self.task == "task" and self.output != "softmax":
            raise UserError(f"{argument('output')} {self.output} does not fit a task; use softmax")
        if self.hessian_free:
            self._check_hessian_free()
        if 0 < self.direct < 2 * self.vocabulary_size and self.task == "words":
            raise UserError(
                f"expected {argument('direct')} of at least {2 * self.vocabulary_size} weights, twice "
                f"{argument('vocabulary_size')}, found {self.direct}; a million is usual"
            )
        if self.dropout and self.num_layers == 1:
            raise UserError(
                f"{argument('dropout')} acts between layers, found one layer; set "
                f"{argument('num_layers')} to 2 or more"
            )

        if self.output != "rbm" and (self.pretrain_frames or self.pretrain_rnn):
            given = "pretrain_frames" if self.pretrain_frames else "pretrain_rnn"
            raise UserError(
                f"{argument(given)} is for {argument('output')} rbm, found {self.output}; leave it out"
            )

    def stage(self, epoch: int) -> Stage:
        """What an epoch trains: pre-training of the RBM, then of the RNN, comes before the joint training.

        Example:
            >>> recipe = Recipe(output="rbm", pretrain_frames=1, pretrain_rnn=2)
            >>> [recipe.stage(epoch) for epoch in range(4)]
            ['frames', 'rnn', 'rnn', 'joint']
        """
        if epoch < self.pretrain_frames:
            return "frames"
        return "rnn" if epoch < self.pretrain_frames + self.pretrain_rnn else "joint"

    @property
    def hessian_free(self) -> bool:
        """Whether this recipe trains by Hessian-free optimisation."""
        return self.recipe.startswith("HF")

    def _check_hessian_free(self) -> None:
        unfit = {
            "dropout": self.dropout > 0,
            "clip": self.clip != "none",
            "momentum": self.momentum > 0,
            "learning_rate_rule": self.learning_rate_rule != "constant",
            "direct": self.direct > 0,
            "output": self.output == "rbm",  # its likelihood is not known exactly
        }
        for name in (name for name, wrong in unfit.items() if wrong):
            raise UserError(f"{argument(name)} {getattr(self, name)} does not go with HF; leave it out")

    @classmethod
    def parse(cls, letters: str, **settings: Any) -> "Recipe":
        """The recipe that the paper's letters name for a task, with any setting overridden.

        Some defaults depend on the output: NADE and RBM have their own learning rate, streams and threshold,
        and letters mean for them what suits them. Leaky units or momentum without their letters take the
        leaks or the schedule that L or M would mean, unless these are given too.

        Example:
            >>> Recipe.parse("SGD+RC").recipe
            'SGD+CR'
            >>> Recipe.parse("SGD+CM", output="nade").learning_rate
            0.3
            >>> recipe = Recipe.parse("SGD+C", leak_fraction=0.25)
            >>> recipe.leak_low, recipe.leak_high
            (0.8, 0.98)
        """
        task, output = settings.get("task", "music"), settings.get("output", "")
        chosen: dict[str, Any] = TASK_DEFAULTS.get(task, {}) | OUTPUT_DEFAULTS.get(output, {})
        base, _, rest = _canonical(letters).partition("+")
        if base == "HF":
            chosen |= HF.get(task, {})
            if task == "music":
                chosen |= HF_OUTPUTS.get(output or "bernoulli", {})
            elif task == "task":
                chosen |= HF_DATA.get(settings.get("data", ""), {})
        for letter in rest:
            chosen |= cls.meaning(letter, task, output)
        for letter, (switch, companions) in MEANT_TOGETHER.items():
            if letter not in rest and settings.get(switch):
                meant = cls.meaning(letter, task, output)
                chosen |= {name: meant[name] for name in companions if name in meant}
        return cls.from_dict(chosen | settings | {"recipe": letters})

    @staticmethod
    def meaning(letter: str, task: str = "music", output: str = "") -> dict[str, Any]:
        """The settings that one letter stands for, for a task and an output.

        Example:
            >>> Recipe.meaning("C"), Recipe.meaning("C", output="nade"), Recipe.meaning("C", "chars")
            ({'clip': 'auto'}, {'clip': 1.0}, {'clip': 0.5})
        """
        meant = LETTERS[letter] | OUTPUT_LETTERS.get(output, {}).get(letter, {})
        return meant | TASK_LETTERS.get(task, {}).get(letter, {})

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "Recipe":
        """The recipe with these settings; an unknown name is an error that names the near ones."""
        known = {field.name for field in dataclasses.fields(cls)}
        for name in settings:
            if name not in known:
                raise UserError(f"unknown setting {name!r}: {near_names(name, known)}")
        return cls(**settings)

    @classmethod
    def read_settings(cls, path: str | Path) -> dict[str, Any]:
        """The settings of a TOML file, as `to_dict` writes them; a UserError where it cannot be read."""
        import tomllib

        try:
            settings = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(
                f"expected a TOML file of settings, cannot read {path}: {error.strerror}"
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"expected a TOML file of settings, found none in {path}: {error}") from None
        known = {field.name for field in dataclasses.fields(cls)}
        for name in settings:
            if name not in known:
                raise UserError(f"unknown setting {name!r} in {path}: {near_names(name, known)}")
        return settings

    @staticmethod
    def letter_settings(*recipes: str) -> set[str]:
        """The names of the settings that the letters stand for; with HF's, if one of the recipes has it."""
        tables = (LETTERS, *TASK_LETTERS.values(), *OUTPUT_LETTERS.values())
        names = {name for table in tables for settings in table.values() for name in settings}
        if any(r.upper().startswith("HF") for r in recipes):
            names |= {name for settings in (HF["music"], *HF_OUTPUTS.values()) for name in settings}
        return names

    def to_dict(self) -> dict[str, Any]:
        """The settings by name, without those that are None: what a run's config.toml holds."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


def _canonical(letters: str) -> str:
    """'sgd+rc' -> 'SGD+CR'."""
    base, plus, rest = letters.strip().upper().partition("+")
    unknown = [letter for letter in rest if letter not in LETTERS]
    if base == "HF":
        unknown += [letter for letter in rest if letter in "CM"]
    if base not in ("SGD", "HF") or unknown or (plus and not rest) or len(set(rest)) != len(rest):
        raise UserError(
            f"expected a recipe like SGD, SGD+C, SGD+CLR, SGD+CRM (C clipping, L leaky units, R rectifiers "
            f"with L1, M Nesterov momentum) or HF, HF+LR (Hessian-free), found {letters!r}"
        )
    return base + plus + "".join(letter for letter in LETTERS if letter in rest)


def check_setting(name: str, value: Any) -> Any:
    """The value in its setting's type, as a Recipe would hold it; a UserError where a Recipe would refuse it.

    Example:
        >>> check_setting("learning_rate", 1)
        1.0
    """
    fields = {field.name: field for field in dataclasses.fields(Recipe)}
    if name not in fields:
        raise UserError(f"unknown setting {name!r}: {near_names(name, fields)}")
    return _checked(fields[name], value)


def number_kind(name: str) -> type[int] | type[float] | None:
    """int or float for a setting that is a number, None for another one.

    Example:
        >>> number_kind("hidden_size"), number_kind("clip"), number_kind("transpose")
        (<class 'int'>, <class 'float'>, None)
    """
    (kind,) = (field.type for field in dataclasses.fields(Recipe) if field.name == name)
    kinds = _alternatives(kind)
    return int if int in kinds else float if float in kinds else None


def _checked(field: dataclasses.Field[Any], value: Any) -> Any:
    """The value in its field's type, or a UserError that says what was expected."""
    kinds = _alternatives(field.type)
    choices = [choice for kind in kinds for choice in typing.get_args(kind)]
    if value in choices or (value is None and type(None) in kinds):
        return value
    if float in kinds and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    plain = tuple(kind for kind in kinds if isinstance(kind, type) and kind is not type(None))
    if not isinstance(value, plain) or (isinstance(value, bool) and bool not in plain):
        wanted = [kind.__name__ for kind in plain] + [repr(choice) for choice in choices]
        raise UserError(f"expected {argument(field.name)} to be {' or '.join(wanted)}, found {value!r}")
    low, high, below = (field.metadata[key] for key in ("low", "high", "below"))
    if isinstance(value, int | float) and not isinstance(value, bool):
        inside = low <= value < high if below else low <= value <= high
        if not inside or not math.isfinite(value):
            span = f"in [{low}, {high}{')' if below else ']'}" if high < math.inf else f"at least {low}"
            raise UserError(f"expected {argument(field.name)} {span}, found {value}")
    return value


def _alternatives(kind: Any) -> tuple[Any, ...]:
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return typing.get_args(kind)
    return (kind,)
