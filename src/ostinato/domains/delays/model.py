"""From a recipe to the model of a task: symbols in, one of a few classes out at every step."""

import torch

from ostinato.domains.delays.problems import find_task
from ostinato.nn import RNN, SequenceModel, sample_leak
from ostinato.nn.outputs import Softmax
from ostinato.recipe.recipe import Recipe


def build_task_model(recipe: Recipe) -> SequenceModel:
    """The recipe's model of a task, drawn from its seed.

    Example:
        >>> recipe = Recipe.parse("HF", task="task", data="temporal-order", hidden_size=8)
        >>> build_task_model(recipe).rnn, build_task_model(recipe).output
        (RNN(6, 8), Softmax(8, 4))
    """
    task = find_task(recipe.data, recipe.length)
    dtype: torch.dtype = getattr(torch, recipe.dtype)
    generator = torch.Generator().manual_seed(recipe.seed)
    leak = None
    if recipe.leak_fraction > 0:
        leak = sample_leak(
            recipe.hidden_size, recipe.leak_fraction, recipe.leak_low, recipe.leak_high, generator=generator
        )
    rnn = RNN(
        task.symbols,
        recipe.hidden_size,
        recipe.num_layers,
        recipe.nonlinearity,
        dropout=recipe.dropout,
        leak=leak,
        initialization=recipe.initialization,
        spectral_radius=recipe.spectral_radius,
        generator=generator,
        dtype=dtype,
    )
    output = Softmax(recipe.hidden_size, task.classes, generator=generator, dtype=dtype)
    return SequenceModel(rnn, output, recipe.l1, recipe.l2)
