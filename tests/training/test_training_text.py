"""Training on text: it learns, it resumes bit for bit, its sparse steps are the dense ones."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ostinato.domains.domain import domain_named
from ostinato.domains.text.evaluation.scores import score_tokens
from ostinato.domains.text.reading.data_sets import TextData
from ostinato.domains.text.reading.vocabulary import Vocabulary
from ostinato.nn import RNN
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model
from ostinato.training.build import build_gradient_descent
from ostinato.training.loop import Interrupted, Trainer


def small_text(unit: str = "words", seed: int = 0, train: int = 120) -> TextData:
    """Sentences of a tiny grammar: something to learn in a few epochs."""
    draw = np.random.default_rng(seed)
    subjects, verbs = ["the cat", "a dog", "the red bird"], ["saw", "ate", "liked"]

    def sentences(count: int) -> str:
        return "".join(
            f"{draw.choice(subjects)} {draw.choice(verbs)} {draw.choice(subjects)}\n" for _ in range(count)
        )

    texts = {"train": sentences(train), "valid": sentences(30), "test": sentences(30)}
    vocabulary = Vocabulary.count(unit, [texts["train"]])
    return TextData("small", vocabulary, *(vocabulary.encode(t) for t in texts.values()), version=unit)


def small_recipe(letters: str = "SGD+CLR", task: str = "words", **settings: Any) -> Recipe:
    chosen = {"hidden_size": 12, "streams": 4, "segment_length": 8, "epochs": 4}
    chosen |= {"classes": 3} if task == "words" else {}
    return Recipe.parse(letters, domain=task, **(chosen | {"learning_rate": 0.5} | settings))


def trained(folder: Path, recipe: Recipe, data: TextData | None = None, **options: Any) -> Run:
    run = Run.create(folder, recipe.to_dict())
    Trainer(recipe, data or small_text(recipe.domain), run, **options).fit()
    run.close()
    return run


def weights(run: Run, checkpoint: str = "last") -> dict[str, bytes]:
    tensors, _ = run.load_checkpoint(checkpoint)
    return {name: x.reshape(-1).view(torch.uint8).numpy().tobytes() for name, x in tensors.items()}


@pytest.mark.parametrize("task", ["words", "chars"])
@pytest.mark.parametrize("letters", ["SGD", "SGD+CL", "SGD+CLR", "SGD+CRM"])
def test_every_recipe_learns(tmp_path: Path, letters: str, task: str) -> None:
    rate = 0.1 if "M" in letters else 0.5
    run = trained(tmp_path / "run", small_recipe(letters, task, epochs=8, learning_rate=rate))
    records = [r for r in run.metrics() if "valid_log_likelihood" in r]
    best = max(r["valid_log_likelihood"] for r in records)
    data = small_text(task)
    unigram = np.log(data.vocabulary.frequencies())[data.valid].mean()
    assert best > unigram + 0.3
    loaded = load_model(run)
    assert score_tokens(loaded.model, data.valid).mean() == pytest.approx(best)
    assert Vocabulary.read(run.folder) == data.vocabulary
    if task == "words":
        assert records[-1]["valid_perplexity"] == pytest.approx(
            math.exp(-records[-1]["valid_log_likelihood"])
        )


@pytest.mark.parametrize(
    "recipe",
    [
        small_recipe(),
        small_recipe("SGD+CRM", task="chars", learning_rate=0.1, segment_length=40),
        small_recipe("SGD+C", learning_rate=4.0, epochs=8, num_layers=2, dropout=0.2),
        small_recipe("SGD+CL", direct=3000, vocabulary_size=1000, direct_order=4),
    ],
    ids=["words", "chars", "dropout", "direct"],
)
def test_interrupted_anywhere_it_ends_bit_for_bit_the_same(tmp_path: Path, recipe: Recipe) -> None:
    data = small_text(recipe.domain, train=60)
    unbroken = trained(tmp_path / "unbroken", recipe, data)
    run = Run.create(tmp_path / "broken", recipe.to_dict())
    stops = 0
    for attempt in range(1, 400):
        calls = itertools.count()
        budget = 3 + attempt % 8
        trainer = Trainer(
            recipe,
            data,
            run,
            stop_requested=lambda calls=calls, n=budget: 15 * (next(calls) >= n),
        )
        try:
            trainer.fit()
            break
        except Interrupted:
            stops += 1
    assert stops > 3
    assert weights(run) == weights(unbroken)
    assert weights(run, "best") == weights(unbroken, "best")


def test_sparse_steps_are_the_dense_ones() -> None:
    recipe, domain, data = small_recipe(dtype="float64"), domain_named("words"), small_text()
    sparse, dense = (domain.model(recipe, domain.identity(data), data) for _ in range(2))
    own_rates = {"rnn.embedding": 80.0, "output.weight": 10.0, "output.bias": 10.0}
    groups = [
        {"params": [parameter], "lr": recipe.learning_rate * own_rates.get(name, 1.0)}
        for name, parameter in dense.named_parameters()
    ]
    one, other = build_gradient_descent(recipe, sparse, 1), torch.optim.SGD(groups)
    segment = domain.streams(recipe, data, 0)[0]
    for _ in range(3):
        sparse.zero_grad()
        sparse.loss(segment.inputs, segment.targets).objective.backward()
        assert sparse.rnn.embedding.grad.is_sparse
        one.step()
        other.zero_grad()
        dense.loss(segment.inputs, segment.targets).objective.backward()
        dense.rnn.embedding.grad = dense.rnn.embedding.grad.to_dense()
        other.step()
    for a, b in zip(sparse.parameters(), dense.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_token_inputs_are_the_dense_network() -> None:
    tokens = RNN(5, 3, token_inputs=True, generator=torch.Generator().manual_seed(0))
    plain = torch.nn.RNN(5, 3)
    tokens.load_state_dict(plain.state_dict())
    ids = torch.randint(5, (7, 2), generator=torch.Generator().manual_seed(0))
    one_hot = torch.nn.functional.one_hot(ids, 5).float()
    torch.testing.assert_close(tokens(ids)[0], plain(one_hot)[0])
    with pytest.raises(ValueError, match="token ids"):
        tokens(one_hot)
