"""What an epoch trains where an output has stages of its own before the joint training."""

from ostinato.recipe.recipe import Recipe


def stage(recipe: Recipe, epoch: int) -> str:
    """What an epoch trains: pre-training of the RBM, then of the RNN, comes before the joint training.

    Example:
        >>> recipe = Recipe(output="rbm", pretrain_frames=1, pretrain_rnn=2)
        >>> [stage(recipe, epoch) for epoch in range(4)]
        ['frames', 'rnn', 'rnn', 'joint']
    """
    first = recipe.get("pretrain_frames", 0)
    if epoch < first:
        return "frames"
    return "rnn" if epoch < pretraining_epochs(recipe) else "joint"


def pretraining_epochs(recipe: Recipe) -> int:
    """Epochs before the joint training."""
    return int(recipe.get("pretrain_frames", 0) + recipe.get("pretrain_rnn", 0))
