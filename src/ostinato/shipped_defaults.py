"""The settings that recipes, outputs and tasks stand for, as tables; `Recipe.parse` puts them together."""

from typing import Any

# What each letter stands for (docs/experiments.md tells how the values were chosen).
LETTERS: dict[str, dict[str, Any]] = {
    "C": {"clip": "auto"},
    "L": {"leak_fraction": 0.5, "leak_low": 0.8, "leak_high": 0.98},
    "R": {"nonlinearity": "relu", "l1": 1e-4},
    "M": {"momentum": 0.9, "learning_rate": 0.01},
}

# What suits an output better than the general defaults, chosen by validation on JSB chorales. NADE learns at
# a rate at which the paper's rule for the threshold meets gradients that have already exploded.
OUTPUT_DEFAULTS: dict[str, dict[str, Any]] = {
    "nade": {"learning_rate": 0.3, "streams": 4},
    "rbm": {"learning_rate": 0.1, "streams": 4},
}
OUTPUT_LETTERS: dict[str, dict[str, dict[str, Any]]] = {
    "nade": {"C": {"clip": 1.0}, "M": {"learning_rate": 0.3}},
    "rbm": {"C": {"clip": 1.0}, "M": {"learning_rate": 0.1}},
}

# Where a letter means something else for text. A state that is carried over a million words grows without
# bounds through identity weights; and the average norm over a pass is one of the few bursts that rectifiers
# have, while this threshold is about the median norm (both measured on the Penn Treebank).
TEXT_LETTERS: dict[str, dict[str, Any]] = {
    "C": {"clip": 0.2},
    "M": {"learning_rate": 0.8},
}

# What is other than the fields' defaults for a task; the letters' settings come over it.
TASK_DEFAULTS: dict[str, dict[str, Any]] = {
    "music": {},
    "words": {
        "data": "pydoc",
        "output": "class-softmax",
        "hidden_size": 200,
        "segment_length": 40,
        "streams": 20,
        "learning_rate": 8.0,
        "learning_rate_rule": "halving",
        "epochs": 100,
    },
    "chars": {
        "data": "pydoc",
        "output": "softmax",
        "hidden_size": 500,
        "segment_length": 150,
        "streams": 20,
        "learning_rate": 8.0,
        "learning_rate_rule": "halving",
        "epochs": 100,
    },
    "task": {
        "data": "temporal-order",
        "output": "softmax",
        "hidden_size": 100,
        "initialization": "echo-state",
        "streams": 20,
        "learning_rate": 0.01,
        "epochs": 100,
    },
}

# What HF in the place of SGD stands for: no rule of learning rates, and one large minibatch an update.
HF: dict[str, dict[str, Any]] = {
    task: {"streams": streams, "segment_length": 250, "learning_rate_rule": "constant"}
    for task, streams in (("music", 64), ("words", 64), ("chars", 64), ("task", 1000))
}
