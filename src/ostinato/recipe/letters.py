"""The settings that recipes, outputs and tasks stand for, as tables; `Recipe.parse` puts them together."""

from typing import Any

# What each letter stands for (docs/experiments.md tells how the values were chosen).
LETTERS: dict[str, dict[str, Any]] = {
    "C": {"clip": "auto"},
    "L": {"leak_fraction": 0.5, "leak_low": 0.8, "leak_high": 0.98},
    "R": {"nonlinearity": "relu", "l1": 1e-4},
    "M": {"momentum": 0.9, "learning_rate": 0.01},
}

# What a letter's first setting is nothing without: given without the letter, it takes these from the letter.
MEANT_TOGETHER: dict[str, tuple[str, tuple[str, ...]]] = {
    "L": ("leak_fraction", ("leak_low", "leak_high")),
    "M": ("momentum", ("momentum_schedule",)),
}

# What suits an output better than the general defaults, chosen by validation on JSB chorales. NADE learns at
# a rate at which the paper's rule for the threshold meets gradients that have already exploded.
OUTPUT_DEFAULTS: dict[str, dict[str, Any]] = {
    "nade": {"learning_rate": 0.3, "streams": 4},
    "rbm": {"learning_rate": 0.1, "streams": 4},
}
OUTPUT_LETTERS: dict[str, dict[str, dict[str, Any]]] = {
    "nade": {
        "C": {"clip": 1.0},
        "R": {"initialization": "identity", "l1": 1e-5},
        "M": {"learning_rate": 0.3, "momentum_schedule": "sutskever"},
    },
    "rbm": {
        "C": {"clip": 1.0},
        "R": {"initialization": "identity", "l1": 1e-5},
        "M": {"learning_rate": 0.1, "momentum_schedule": "sutskever"},
    },
}

# Where a letter means something else for a task (docs/text.md tells how the values were chosen, by validation
# on the Penn Treebank). The average norm over a pass is one of the few bursts that rectifiers have; these
# thresholds lie above most norms. Leaky text models take the paper's printed range, a quarter of the units.
_TEXT_LEAK = {"leak_fraction": 0.25, "leak_low": 0.02, "leak_high": 0.2}
TASK_LETTERS: dict[str, dict[str, dict[str, Any]]] = {
    "words": {
        "C": {"clip": 1.0},
        "L": _TEXT_LEAK,
        "R": {"l1": 1e-5},
        "M": {"learning_rate": 0.07},
    },
    "chars": {
        "C": {"clip": 0.5},
        "L": _TEXT_LEAK,
        "R": {"l1": 1e-5},
        "M": {"learning_rate": 0.5},
    },
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
        "embedding_scale": 0.1,
        "learning_rate": 0.7,
        "embedding_rate": 80.0,
        "within_class_rate": 10.0,
        "learning_rate_rule": "halving",
        "epochs": 100,
    },
    "chars": {
        "data": "pydoc",
        "output": "softmax",
        "hidden_size": 500,
        "segment_length": 150,
        "streams": 10,
        "initialization": "orthogonal",
        "embedding_scale": 0.2,
        "learning_rate": 4.0,
        "embedding_rate": 10.0,
        "averaging": 0.999,
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

# Only 32 sequences differ in the memorisation of five bits: a minibatch holds each once.
HF_DATA: dict[str, dict[str, Any]] = {
    "memorization": {"streams": 32, "curvature_share": 1.0, "epoch_sequences": 320},
}

# What suits an output better under HF, chosen by validation on JSB chorales (docs/hessian_free.md): small
# minibatches, and the average over updates that each fit one of them.
_HF_MINIBATCHES: dict[str, Any] = {
    "hidden_size": 100,
    "segment_length": 100,
    "curvature_share": 0.5,
    "damping": 0.3,
    "damping_floor": 0.03,
    "cg_iterations": 40,
    "averaging": 0.98,
}
HF_OUTPUTS: dict[str, dict[str, Any]] = {
    "bernoulli": _HF_MINIBATCHES | {"streams": 8, "l2": 1e-3},
    "nade": _HF_MINIBATCHES | {"streams": 4, "l2": 1e-4, "state_scale": 0.3},
}
