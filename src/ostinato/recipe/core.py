"""The settings that every run has, whatever it models and however it learns."""

from typing import Literal

from ostinato.recipe.setting import Setting

CORE: tuple[Setting, ...] = (
    Setting(
        "recipe",
        str,
        "SGD",
        "Recipe",
        "the paper's letters: SGD, or SGD+ any of C, L, R, M; HF, or HF+ any of L, R; with another optimizer "
        "its name and any of C, L, R, such as adam+C",
    ),
    Setting("domain", str, "music", "Recipe", "the kind of data"),
    Setting("data", str, "bach", "Data", "data set name, or a file or folder", files=True),
    Setting("output", str, "bernoulli", "Model", "distribution over the next frame, token or value"),
    Setting("cell", str, "rnn", "Model", "recurrent cell"),
    Setting(
        "optimizer",
        str,
        "sgd",
        "Optimization",
        "rule of the updates: one of these, or any other of torch.optim",
    ),
    Setting("hidden_size", int, 200, "Model", "recurrent units in a layer", low=1, high=100_000),
    Setting("num_layers", int, 1, "Model", "recurrent layers", low=1, high=100),
    Setting("l1", float, 0.0, "Model", "weight of the L1 penalty on hidden outputs", low=0, free=True),
    Setting(
        "l2",
        float,
        0.0,
        "Model",
        "weight of the L2 penalty, l2 / 2 times the squared weights",
        low=0,
        free=True,
    ),
    Setting("dropout", float, 0.0, "Model", "dropout between layers", low=0, high=1, free=True),
    Setting(
        "input_dropout",
        float,
        0.0,
        "Model",
        "dropout of what the first layer reads, of tokens of their embedding",
        low=0,
        high=1,
        free=True,
    ),
    Setting(
        "output_dropout", float, 0.0, "Model", "dropout of the last layer's outputs", low=0, high=1, free=True
    ),
    Setting(
        "recurrent_dropout",
        float,
        0.0,
        "Model",
        "dropout of states as recurrent weights read them, of the same units in all steps of a segment",
        low=0,
        high=1,
        free=True,
    ),
    Setting(
        "averaging",
        float,
        0.0,
        "Optimization",
        "decay of an average of the weights over updates, which is validated and kept; 0 for none",
        low=0,
        high=1,
        below=True,
    ),
    Setting("streams", int, 1, "Training", "parallel streams, the minibatch size", low=1, high=100_000),
    Setting("segment_length", int, 100, "Training", "steps between parameter updates", low=1, high=1_000_000),
    Setting("epochs", int, 200, "Training", "passes through the data at most", low=1, high=1_000_000),
    Setting(
        "patience", int, 20, "Training", "epochs without a better validation score before stopping", low=1
    ),
    Setting(
        "minutes",
        float | None,
        None,
        "Training",
        "minutes of training at most, validation included; cosine and one-cycle end with them",
        low=0,
        above=True,
        high=1_000_000,
        unset="no limit but the epochs",
    ),
    Setting(
        "minutes_of",
        Literal["wall", "cpu"],
        "wall",
        "Training",
        "the clock of the minutes: wall, or processor time of all threads",
        needs={"minutes": ()},
    ),
    Setting("dtype", Literal["float32", "float64"], "float32", "Model", "floating-point type of the model"),
    Setting("seed", int, 0, "Training", "of everything random", low=0, high=2**32 - 1),
)

# Probabilities of dropping something while training; the first acts between layers.
DROPOUTS = ("dropout", "input_dropout", "output_dropout", "recurrent_dropout")

# Those that choose whose own settings a recipe has besides.
CHOOSERS = ("domain", "output", "cell", "optimizer")
