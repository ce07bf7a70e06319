"""The output distributions by name, with the settings of each; nothing here imports PyTorch.

To add one: a module with its class, and an entry here, or a call of `OUTPUTS.register` from elsewhere.
"""

from dataclasses import dataclass
from typing import Any, Literal

from ostinato.recipe.declared import Declared, Registry, Settings
from ostinato.recipe.setting import Setting

Targets = Literal["binary", "category", "real", "any"]


@dataclass(frozen=True)
class Stage:
    """Some epochs of pre-training.

    Args:
        objective: what they are trained on: the name of one of the output's (`nn.outputs.base.Objective`).
        epochs: the setting that says how many they are.
    """

    objective: str
    epochs: str


@dataclass(frozen=True, kw_only=True)
class Output(Declared):
    """What a recipe knows of an output distribution.

    Args:
        targets: what it predicts: "binary" frames of notes, a "category" (token or class), "real" values;
            "any" where a network of a program's own says that.
        curvature: whether it can be trained by Hessian-free optimisation.
        exact: whether its likelihood is exact.
        evaluated_by: of its settings, those that decide how its scores are estimated, not what is learned:
            `ostinato evaluate` takes other values for them.
        pretraining: stages that come before the joint training, in their order.
        onsets: where the layer is that lets its frames say where notes begin, and has its rows as its one
            argument; None where they cannot: see `nn.outputs.onsets`.
        offsets: whether what was seen before can be copied into its notes: see `nn.outputs.copy_gates`.
    """

    targets: Targets
    curvature: bool = True
    exact: bool = True
    evaluated_by: tuple[str, ...] = ()
    pretraining: tuple[Stage, ...] = ()
    onsets: str | type[Any] | None = None
    offsets: bool = False

    def arguments(self, settings: Settings) -> dict[str, Any]:
        """Those of a `Declared`, without the epochs of pre-training."""
        apart = {stage.epochs for stage in self.pretraining}
        return {name: value for name, value in super().arguments(settings).items() if name not in apart}


OUTPUTS: Registry[Output] = Registry("output")

_STATE_SCALE = Setting(
    "state_scale",
    float,
    0.1,
    "Output",
    "what NADE and RBM multiply the hidden state by; see nn.outputs.NADE",
    low=0,
    high=100,
)
_SAMPLES = Setting(
    "accuracy_samples",
    int,
    20,
    "Output",
    "frames drawn for the expected accuracy of NADE and RBM",
    low=2,
    high=100_000,
)
# How much work the RBM's likelihood and its samples may take: `ostinato evaluate` has these as options.
_RBM_SAMPLING = (
    Setting(
        "ais_steps",
        int,
        10_000,
        "Output",
        "steps of annealed importance sampling at most: fewer where both directions agree before",
        low=1,
        high=1_000_000,
    ),
    Setting("ais_chains", int, 4, "Output", "annealed chains a frame, in each direction", low=2, high=10_000),
    Setting(
        "ais_frames",
        int,
        4096,
        "Output",
        "frames of a split that are annealed at length at most; of more, a random sample is",
        low=1,
        high=10_000_000,
    ),
    Setting(
        "gibbs_steps",
        int,
        4096,
        "Output",
        "Gibbs steps to a sample of the RBM at most: fewer where chains mix before",
        low=1,
        high=1_000_000,
    ),
)

# Under HF: small minibatches, and the average over updates that each fit one of them, chosen by validation
# on JSB chorales (docs/hessian_free.md).
_HF_MINIBATCHES = {
    "hidden_size": 100,
    "segment_length": 100,
    "curvature_share": 0.5,
    "damping": 0.3,
    "damping_floor": 0.03,
    "cg_iterations": 40,
    "averaging": 0.98,
}

# Of outputs that have what follows from other rows as certain.
_ONSETS = "ostinato.nn.outputs.onsets:Onsets"

OUTPUTS.register(
    Output(
        name="bernoulli",
        place="ostinato.nn.outputs.bernoulli:Bernoulli",
        summary="independent notes",
        targets="binary",
        onsets=_ONSETS,
        offsets=True,
        hessian_free=_HF_MINIBATCHES | {"streams": 8, "l2": 1e-3},
    )
)
# NADE and RBM learn at rates at which the paper's rule for the threshold meets gradients that have already
# exploded; their values were chosen by validation on JSB chorales.
OUTPUTS.register(
    Output(
        name="nade",
        place="ostinato.nn.outputs.nade:NADE",
        summary="each note given those before it in the frame",
        targets="binary",
        onsets=_ONSETS,
        offsets=True,
        settings=(
            Setting("nade_size", int, 150, "Output", "hidden units of NADE", low=1, high=100_000),
            Setting(
                "nade_order",
                Literal["low-to-high", "high-to-low"],
                "low-to-high",
                "Output",
                "in which NADE predicts the notes of a frame",
            ),
            _STATE_SCALE,
            _SAMPLES,
        ),
        defaults={"learning_rate": 0.3, "streams": 4},
        letters={
            "C": {"clip": 1.0},
            # without the bound the first updates make a state grow by a fifth a step (docs/experiments.md)
            "R": {"initialization": "identity", "l1": 1e-5, "recurrent_norm": 1.0},
            "M": {"learning_rate": 0.3, "momentum_schedule": "sutskever"},
        },
        hessian_free=_HF_MINIBATCHES | {"streams": 4, "l2": 1e-4, "state_scale": 0.3},
    )
)
OUTPUTS.register(
    Output(
        name="rbm",
        place="ostinato.nn.outputs.rbm:RBM",
        summary="notes tied by hidden units",
        targets="binary",
        onsets="ostinato.nn.outputs.rbm_onsets:OnsetRBM",
        curvature=False,
        exact=False,
        evaluated_by=tuple(setting.name for setting in _RBM_SAMPLING),
        pretraining=(Stage("frames", "pretrain_frames"), Stage("rnn", "pretrain_rnn")),
        settings=(
            Setting("rbm_size", int, 150, "Output", "hidden units of the RBM", low=1, high=100_000),
            Setting(
                "cd_steps", int, 15, "Output", "Gibbs steps of contrastive divergence", low=1, high=10_000
            ),
            Setting(
                "persistent_chains",
                int,
                0,
                "Output",
                "chains of persistent contrastive divergence; 0: start from the data",
                low=0,
                high=1_000_000,
            ),
            Setting(
                "pretrain_frames",
                int,
                0,
                "Output",
                "first epochs, in which the RBM alone learns single frames",
                low=0,
                high=1_000_000,
            ),
            Setting(
                "pretrain_rnn",
                int,
                0,
                "Output",
                "epochs after these, in which the RNN learns the RBM's visible biases",
                low=0,
                high=1_000_000,
            ),
            *_RBM_SAMPLING,
            _STATE_SCALE,
            _SAMPLES,
        ),
        defaults={"learning_rate": 0.1, "streams": 4},
        letters={
            "C": {"clip": 1.0},
            "R": {"initialization": "identity", "l1": 1e-5},
            "M": {"learning_rate": 0.1, "momentum_schedule": "sutskever"},
        },
    )
)
OUTPUTS.register(
    Output(
        name="softmax",
        place="ostinato.nn.outputs.softmax:Softmax",
        summary="every token or class at once",
        targets="category",
    )
)
OUTPUTS.register(
    Output(
        name="class-softmax",
        place="ostinato.nn.outputs.class_softmax:ClassSoftmax",
        summary="the class of a token, then the token",
        targets="category",
        settings=(
            Setting("classes", int, 30, "Text", "classes of a class-softmax", low=1, high=100_000),
            Setting(
                "within_class_rate",
                float,
                1.0,
                "Optimization",
                "learning rate of a class-softmax's weights within classes, relative to learning_rate",
                low=0,
                needs={"learning_rate": ()},
            ),
        ),
        # a word's own weights have a part in few of the means over tokens that gradients are
        rates={"within_class_rate": ("weight", "bias")},
    )
)
_COVARIANCE = "how values of a step go together"
OUTPUTS.register(
    Output(
        name="gaussian",
        place="ostinato.nn.outputs.gaussian:Gaussian",
        summary="a normal distribution of the next values",
        targets="real",
        settings=(Setting("covariance", Literal["full", "diagonal", "unit"], "full", "Output", _COVARIANCE),),
    )
)
OUTPUTS.register(
    Output(
        name="gaussian-mixture",
        place="ostinato.nn.outputs.gaussian_mixture:GaussianMixture",
        summary="a mixture of normal distributions",
        targets="real",
        settings=(
            Setting("components", int, 5, "Output", "normal distributions in a mixture", low=1, high=1000),
            Setting("covariance", Literal["full", "diagonal"], "diagonal", "Output", _COVARIANCE),
        ),
    )
)
# What a network of a program's own has in the place of an output: the network itself.
OUTPUTS.register(
    Output(name="module", place="torch.nn:Module", summary="a program's own", targets="any", curvature=False),
    listed=False,
)
