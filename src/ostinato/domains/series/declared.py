"""Series: real-valued measurements at the steps of time, one column or many."""

from ostinato.domains.declared import Command, DomainDeclared, columns_of
from ostinato.domains.series import options
from ostinato.recipe.setting import Setting

SERIES = DomainDeclared(
    name="series",
    place="ostinato.domains.series.domain:Series",
    summary="real-valued series",
    targets="real",
    recipe="adam+C",
    names=("lorenz", "mackey-glass"),
    data_sets="ostinato.domains.series.data_sets",
    reads="a .csv, .tsv, .npy or .npz file",
    sequences="series",
    generate="--horizon 100",
    columns=(
        *columns_of("log_likelihood", "nats/step"),
        *columns_of("rmse", "RMSE, training sd", ("test",)),
        *columns_of("crps", "CRPS, training sd", ("test",)),
        *columns_of("coverage_90", "in the 90% interval, %", ("test",)),
    ),
    commands={
        "generate": Command(
            options=options.GenerateOptions, place="ostinato.domains.series.commands:forecast_file"
        ),
        "score": Command(options=options.ScoreOptions, place="ostinato.domains.series.commands:score_files"),
        "evaluate": Command(options=options.EvaluateOptions),
        "show": Command(options=options.ShowOptions),
    },
    settings=(
        Setting(
            "split_seed",
            int,
            0,
            "Data",
            "deals whole series to train, valid and test",
            low=0,
            high=2**32 - 1,
        ),
    ),
    defaults={
        "data": "mackey-glass",
        "output": "gaussian",
        "hidden_size": 100,
        "streams": 16,
        "epochs": 1000,
        "patience": 200,
        "learning_rate_rule": "cosine",
    },
    letters={"C": {"clip": 1.0}},
    hessian_free={"streams": 16},
    fixed=("split_seed",),
    search={
        "hidden_size": {"low": 50, "high": 300},
        "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    },
)
