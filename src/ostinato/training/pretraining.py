"""What an epoch trains where an output has stages of its own before the joint training."""

from ostinato.nn.outputs.base import Objective, OutputLayer, objective_of
from ostinato.nn.outputs.registry import OUTPUTS
from ostinato.recipe.recipe import Recipe


def objective_at(recipe: Recipe, output: OutputLayer, epoch: int) -> Objective:
    """What an epoch trains an output on: its stages of pre-training come before the joint training.

    Example:
        >>> from ostinato.nn.outputs import RBM
        >>> recipe = Recipe(output="rbm", pretrain_frames=1, pretrain_rnn=2)
        >>> [objective_at(recipe, RBM(4, 9), epoch).name for epoch in range(4)]
        ['frames', 'rnn', 'rnn', 'joint']
    """
    end = 0
    for stage in OUTPUTS[recipe.output].pretraining:
        end += recipe.get(stage.epochs)
        if epoch < end:
            return objective_of(output, stage.objective)
    return objective_of(output)


def pretraining_epochs(recipe: Recipe) -> int:
    """Epochs before the joint training."""
    return sum(recipe.get(stage.epochs) for stage in OUTPUTS[recipe.output].pretraining)
