"""Problems with long delays."""

from ostinato.domains.declared import Command, DomainDeclared, columns_of
from ostinato.domains.delays.options import ShowOptions
from ostinato.evaluation.measure import Measure
from ostinato.recipe.setting import Setting

# The share of sequences that may go wrong where a problem is solved: Pascanu, Mikolov & Bengio 2013.
MOST_ERRORS = 0.01

# Problems whose answers are numbers.
_NUMBERS = ("addition", "multiplication", "addition-distractors")

DELAYS = DomainDeclared(
    name="delays",
    place="ostinato.domains.delays.domain:Delays",
    summary="problems with long delays",
    targets="category",
    recipe="HF",
    measure=Measure("error", "wrong sequences", "%", "%", None, lower_is_better=True),
    columns=columns_of("error", "wrong sequences, %", ("valid", "test")),
    names=(
        "temporal-order",
        "temporal-order-3",
        "permutation",
        "memorization",
        "memorization-20",
        "copy",
        *_NUMBERS,
    ),
    data_targets=dict.fromkeys(_NUMBERS, "real"),
    data_defaults={name: {"output": "gaussian", "covariance": "unit"} for name in _NUMBERS},
    data_sets="ostinato.domains.delays.problems",
    called="a problem with long delays",
    commands={"show": Command(options=ShowOptions)},
    unused=("segment_length",),
    settings=(
        Setting("length", int, 50, "Data", "steps of the sequences, or of their delay", low=10, high=100_000),
        Setting(
            "epoch_sequences",
            int,
            10_000,
            "Data",
            "fresh sequences between two validations",
            low=1,
            high=100_000_000,
        ),
    ),
    defaults={
        "data": "temporal-order",
        "output": "softmax",
        "hidden_size": 100,
        "initialization": "echo-state",
        "streams": 20,
        "learning_rate": 0.01,
        "epochs": 100,
    },
    hessian_free={"streams": 1000},
    fixed=("length",),
    # only 32 sequences differ in the memorisation of five bits: a minibatch holds each once
    by_data={"memorization": {"streams": 32, "curvature_share": 1.0, "epoch_sequences": 320}},
)
