"""From a recipe to its data: music, text or a task."""

from ostinato.data.sequences import Splits
from ostinato.domains.delays.problems import TaskData, find_task
from ostinato.domains.music.reading import data_sets as music
from ostinato.domains.text.reading import data_sets as text
from ostinato.domains.text.reading.data_sets import TextData
from ostinato.errors import UserError
from ostinato.recipe.recipe import Recipe


def load_data(recipe: Recipe, *, progress: bool = True) -> Splits | TextData | TaskData:
    """The data that the recipe names.

    Raises:
        UserError: there are none, or they do not fit the task.

    Example:
        >>> load_data(Recipe.parse("SGD", task="words", data="bach"))
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: bach is music, found task words; use: ostinato train --data bach
    """
    if recipe.task == "task":
        return TaskData(find_task(recipe.data, recipe.length), epoch_sequences=recipe.epoch_sequences)
    if recipe.task == "music":
        if recipe.data in text.names():
            raise UserError(
                f"{recipe.data} is text, found task music; use: ostinato train words --data {recipe.data}"
            )
        return music.load(
            recipe.data, frames_per_beat=recipe.frames_per_beat, transpose=recipe.transpose, progress=progress
        )
    if recipe.data in music.names():
        raise UserError(
            f"{recipe.data} is music, found task {recipe.task}; use: ostinato train --data {recipe.data}"
        )
    return text.load(
        recipe.data,
        recipe.task,
        vocabulary_size=recipe.vocabulary_size,
        valid=recipe.valid_data,
        test=recipe.test_data,
    )
