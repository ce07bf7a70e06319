"""Small language models for tests: untrained, with output weights that make them prefer something."""

from pathlib import Path

import torch

from ostinato.domains.domain import domain_named
from ostinato.domains.text.reading.data_sets import TextData
from ostinato.domains.text.reading.vocabulary import Vocabulary
from ostinato.nn import SequenceModel
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run

LINES = "the cat saw the dog\nthe dog saw a bird\na bird ate\n"


def language_model(task: str = "words", seed: int = 0) -> tuple[SequenceModel, Vocabulary]:
    vocabulary = Vocabulary.count(task, [LINES * 2])
    classes = {"classes": 3} if task == "words" else {}
    recipe = Recipe.parse("SGD+L", domain=task, hidden_size=8, seed=seed, **classes)
    tokens, domain = vocabulary.encode(LINES), domain_named(task)
    data = TextData("lines", vocabulary, tokens, tokens, tokens, version=task)
    model = domain.model(recipe, domain.identity(data), data)
    with torch.no_grad():
        for parameter in model.output.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(seed))
    return model.eval(), vocabulary


def saved_run(folder: Path, seed: int = 0) -> Run:
    recipe = Recipe.parse("SGD+L", domain="words", hidden_size=8, classes=3)
    model, vocabulary = language_model(seed=seed)
    run = Run.create(folder, recipe.to_dict())
    run.write_text("vocabulary.json", vocabulary.to_text())
    state = {
        "recipe": recipe.to_dict(),
        "data": {"name": "x", "version": "x", "visible_size": len(vocabulary), "details": {}},
    }
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    run.save_checkpoint("best", tensors, state)
    run.close()
    return run
