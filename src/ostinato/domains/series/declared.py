"""Series: real-valued measurements at the steps of time, one column or many."""

from ostinato.domains.declared import DomainDeclared
from ostinato.recipe.setting import Setting

SERIES = DomainDeclared(
    name="series",
    place="ostinato.domains.series.domain:Series",
    summary="real-valued series",
    targets="real",
    recipe="SGD+C",
    optimizer="adam",
    names=("lorenz", "mackey-glass"),
    data_sets="ostinato.domains.series.data_sets",
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
)
