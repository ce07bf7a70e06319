"""From a recipe to its language model: token inputs, a recurrent network, a softmax over the vocabulary."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from ostinato.domains.text.direct_model import DirectModel
from ostinato.nn import RNN, SequenceModel, sample_leak
from ostinato.nn.outputs import ClassSoftmax, DirectNgrams, Softmax, balanced_classes
from ostinato.recipe.recipe import Recipe


def build_language_model(
    recipe: Recipe,
    vocabulary_size: int,
    frequencies: np.ndarray | None = None,
    class_sizes: Sequence[int] | None = None,
) -> SequenceModel:
    """The recipe's model of words or characters, drawn from its seed.

    Args:
        recipe: the settings.
        vocabulary_size: V.
        frequencies: of each token (V,); classes and output biases follow them if given.
        class_sizes: of a class-factored softmax, instead of what the frequencies say.

    Example:
        >>> recipe = Recipe(task="words", output="class-softmax", classes=2, hidden_size=8)
        >>> build_language_model(recipe, 5, np.array([0.4, 0.3, 0.1, 0.1, 0.1])).output
        ClassSoftmax(8, vocabulary_size=5, classes=2)
    """
    dtype: torch.dtype = getattr(torch, recipe.dtype)
    generator = torch.Generator().manual_seed(recipe.seed)
    leak = None
    if recipe.leak_fraction > 0:
        leak = sample_leak(
            recipe.hidden_size, recipe.leak_fraction, recipe.leak_low, recipe.leak_high, generator=generator
        )
    rnn = RNN(
        vocabulary_size,
        recipe.hidden_size,
        recipe.num_layers,
        recipe.nonlinearity,
        dropout=recipe.dropout,
        leak=leak,
        initialization=recipe.initialization,
        spectral_radius=recipe.spectral_radius,
        token_inputs=True,
        generator=generator,
        dtype=dtype,
    )
    # One token is on at a time: a fan-in of 1, not of V.
    with torch.no_grad():
        rnn.embedding.mul_(math.sqrt(recipe.hidden_size) * recipe.embedding_scale)
    output: Softmax | ClassSoftmax
    if recipe.output == "softmax":
        output = Softmax(recipe.hidden_size, vocabulary_size, generator=generator, dtype=dtype)
    else:
        if class_sizes is None:
            counts = np.ones(vocabulary_size) if frequencies is None else frequencies
            class_sizes = balanced_classes(counts, recipe.classes)
        output = ClassSoftmax(recipe.hidden_size, class_sizes, generator=generator, dtype=dtype)
    if frequencies is not None:
        output.initialize_bias_(torch.from_numpy(frequencies))
    if recipe.direct > 0:
        direct = DirectNgrams(recipe.direct, recipe.direct_order, output.widest, dtype=dtype)
        return DirectModel(rnn, output, direct, recipe.l1, recipe.l2)
    return SequenceModel(rnn, output, recipe.l1, recipe.l2)
