"""The recurrent cells by name, with the settings of each; nothing here imports PyTorch.

To add one: a module with its class, and an entry here, or a call of `CELLS.register` from elsewhere.
"""

from typing import Any, Literal

from ostinato.errors import UserError, argument
from ostinato.recipe.declared import Declared, Registry
from ostinato.recipe.setting import Setting

CELLS: Registry[Declared] = Registry("cell")


def _check_leaks(recipe: Any) -> None:
    low, high = recipe.leak_low, recipe.leak_high
    if low > high:
        raise UserError(
            f"expected {argument('leak_low')} <= {argument('leak_high')}, found {low} > {high}; swap them"
        )


def _check_rates(recipe: Any) -> None:
    if recipe.tau < recipe.dt:
        raise UserError(
            f"expected {argument('dt')} <= {argument('tau')}, found {recipe.dt} > {recipe.tau}: a step is at "
            "most a time constant long"
        )


# What every cell with leaky units has.
LEAKS: tuple[Setting, ...] = (
    Setting("leak_fraction", float, 0.0, "Model", "share of the units that leak", low=0, high=1),
    Setting(
        "leak_low",
        float,
        0.02,
        "Model",
        "smallest leak: share of the old state a leaky unit keeps",
        low=0,
        high=1,
        below=True,
        needs={"leak_fraction": ()},
    ),
    Setting(
        "leak_high",
        float,
        0.2,
        "Model",
        "largest leak",
        low=0,
        high=1,
        below=True,
        needs={"leak_fraction": ()},
    ),
)

_RECURRENT_WEIGHTS: tuple[Setting, ...] = (
    Setting(
        "initialization",
        Literal["uniform", "echo-state", "identity", "orthogonal"],
        "uniform",
        "Model",
        "of the recurrent weights",
    ),
    Setting(
        "spectral_radius",
        float,
        1.1,
        "Model",
        "largest eigenvalue of echo-state weights",
        low=0,
        high=10,
        needs={"initialization": ("echo-state",)},
    ),
    Setting(
        "recurrent_rate",
        float,
        1.0,
        "Optimization",
        "learning rate of the recurrent weights, relative to learning_rate",
        low=0,
        needs={"learning_rate": ()},
    ),
)
_RATES = {"recurrent_rate": ("weight_hh*",)}
_NONLINEARITY = Setting(
    "nonlinearity",
    Literal["tanh", "relu", "sigmoid", "identity", "softplus", "elu", "leaky_relu", "retanh", "power"],
    "tanh",
    "Model",
    "of the recurrent units",
)
_RECURRENT_NORM = Setting(
    "recurrent_norm",
    float | Literal["none"],
    "none",
    "Optimization",
    "largest singular value that an update may leave the recurrent weights with",
    low=0,
    above=True,
    needs={"learning_rate": ()},
)

_VANISHING_PENALTY = Setting(
    "vanishing_penalty",
    float,
    0.0,
    "Optimization",
    "weight of the regulariser against vanishing gradients, on the recurrent weights",
    low=0,
    needs={"learning_rate": ()},
)


def _check_rnn(recipe: Any) -> None:
    _check_leaks(recipe)
    penalty = recipe.get("vanishing_penalty")
    if penalty and recipe.dropout:
        raise UserError(
            f"{argument('vanishing_penalty')} {penalty} does not go with {argument('dropout')} "
            f"{recipe.dropout}, whose draws it does not know; leave one of them out"
        )
    if penalty and recipe.get("clip", "none") != "none" and recipe.get("clip_by") == "sequence":
        raise UserError(
            f"{argument('vanishing_penalty')} {penalty} is a term of the whole gradient: it does not go with "
            f"{argument('clip_by')} sequence; set {argument('clip_by')} to minibatch"
        )


CELLS.register(
    Declared(
        name="rnn",
        place="ostinato.nn.cells.leaky:RNN",
        summary="one state a unit, and a nonlinearity",
        check=_check_rnn,
        rates=_RATES,
        norms={"recurrent_norm": ("weight_hh*",)},
        terms=("vanishing_penalty",),
        settings=(
            _NONLINEARITY,
            *_RECURRENT_WEIGHTS,
            _RECURRENT_NORM,
            _VANISHING_PENALTY,
            *LEAKS,
        ),
    )
)
CELLS.register(
    Declared(
        name="gru",
        place="ostinato.nn.cells.gru:GRU",
        summary="gated recurrent units, which may leak",
        check=_check_leaks,
        rates=_RATES,
        settings=(*_RECURRENT_WEIGHTS, *LEAKS),
    )
)
CELLS.register(
    Declared(
        name="lstm",
        place="ostinato.nn.cells.lstm:LSTM",
        summary="long short-term memory, whose cells may leak",
        check=_check_leaks,
        rates=_RATES,
        settings=(*_RECURRENT_WEIGHTS, *LEAKS),
    )
)
CELLS.register(
    Declared(
        name="ctrnn",
        place="ostinato.nn.cells.ctrnn:CTRNN",
        summary="a rate network in continuous time, with noise and Dale's law",
        check=_check_rates,
        rates=_RATES,
        settings=(
            _NONLINEARITY,
            Setting(
                "form",
                Literal["outside", "preactivation", "inside"],
                "outside",
                "Model",
                "where the leak is: outside of the nonlinearity, on the pre-activation, or inside",
            ),
            Setting("dt", float, 1.0, "Model", "time step, in the units of tau", low=0, above=True),
            Setting("tau", float, 5.0, "Model", "time constant, at least dt", low=0, above=True),
            Setting("noise", float, 0.0, "Model", "standard deviation of the units' private noise", low=0),
            Setting(
                "dale",
                float | None,
                None,
                "Model",
                "share of excitatory units under Dale's law",
                low=0,
                high=1,
                unset="signs are free",
            ),
            *_RECURRENT_WEIGHTS,
        ),
    )
)
# A network of a program's own has none of these settings.
CELLS.register(Declared(name="module", place="torch.nn:Module", summary="a program's own"), listed=False)
