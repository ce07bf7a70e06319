"""Scores of a task have standard errors over sequences."""

import numpy as np
import pytest
import torch

from ostinato.domains.delays.evaluation import score_task
from ostinato.domains.delays.problems import TaskData, find_task
from ostinato.domains.domain import domain_named
from ostinato.recipe.recipe import Recipe


@pytest.mark.parametrize("data", ["memorization", "temporal-order"])
def test_the_error_of_the_log_likelihood_is_that_of_resampled_sequences(data):
    recipe = Recipe(domain="delays", output="softmax", data=data, length=12, hidden_size=6)
    domain = domain_named("delays")
    model = domain.model(recipe, domain.identity(TaskData(find_task(data, 12))))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    batch = find_task(data, 12).generate(1500, np.random.default_rng(0))
    scores = score_task(model, batch, find_task(data, 12))
    with torch.no_grad():
        distribution, _ = model(batch.inputs, None, batch.starts)
        log_p = distribution.log_prob(batch.targets).double() * batch.mask
    sums, counts = log_p.sum(0).numpy(), batch.mask.sum(0).numpy()
    draw = np.random.default_rng(1).integers(0, len(sums), (2000, len(sums)))
    resampled = sums[draw].sum(1) / counts[draw].sum(1)
    found = scores["log_likelihood"]
    assert found.value == pytest.approx(sums.sum() / counts.sum())
    assert found.standard_error == pytest.approx(resampled.std(), rel=0.08)
    share = scores["error"].value / 100
    assert scores["error"].standard_error == pytest.approx(100 * (share * (1 - share) / 1500) ** 0.5)
