import math

import pytest
import torch

from ostinato.diagnostics.blame import blame
from ostinato.diagnostics.diagnosis import diagnose_model
from ostinato.domains.text.direct_model import DirectModel
from ostinato.domains.text.reading.streams import TokenSegment
from ostinato.errors import UserError
from ostinato.nn import RNN, SequenceModel
from ostinato.nn.outputs import ClassSoftmax, DirectNgrams, Softmax
from ostinato.nn.outputs.base import Cost, Objective, objective_of
from ostinato.nn.vanishing import vanishing_penalty


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(classes: bool, order: int = 4) -> DirectModel:
    double = torch.float64
    output = (
        ClassSoftmax(5, [1, 3, 5], generator=seeded(), dtype=double)
        if classes
        else Softmax(5, 9, generator=seeded(), dtype=double)
    )
    direct = DirectNgrams(500, order, output.widest, dtype=double)
    with torch.no_grad():
        direct.table.normal_(generator=seeded())
    rnn = RNN(9, 5, token_inputs=True, generator=seeded(), dtype=double)
    return DirectModel(rnn, output, direct, l1=0.01)


def text(steps: int = 20, streams: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(9, (steps + 1, streams), generator=seeded())
    return tokens[:-1], tokens[1:]


@pytest.mark.parametrize("classes", [False, True])
def test_probabilities_sum_to_one_and_log_prob_agrees(classes: bool) -> None:
    inputs, targets = text()
    distribution, _ = model(classes)(inputs)
    torch.testing.assert_close(distribution.probs.sum(-1), torch.ones(20, 2, dtype=torch.float64))
    chosen = distribution.log_probs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(distribution.log_prob(targets), chosen)


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("with_starts", [False, True])
def test_the_cut_in_segments_changes_nothing(classes: bool, order: int, with_starts: bool) -> None:
    inputs, targets = text()
    starts = torch.rand(20, 2, generator=seeded()) < 0.25 if with_starts else None
    whole, _ = model(classes, order)(inputs, None, starts)
    states, parts = None, []
    for begin in (0, 1, 2, 9, 15):
        end = {0: 1, 1: 2, 2: 9, 9: 15, 15: 20}[begin]
        marks = None if starts is None else starts[begin:end]
        distribution, states = model(classes, order)(inputs[begin:end], states, marks)
        parts.append(distribution.log_prob(targets[begin:end]))
    torch.testing.assert_close(torch.cat(parts), whole.log_prob(targets))


def test_a_start_forgets_what_was_before() -> None:
    inputs, targets = text()
    starts = torch.zeros(20, 2, dtype=torch.bool)
    starts[7] = True
    whole, _ = model(True)(inputs, None, starts)
    alone, _ = model(True)(inputs[7:])
    torch.testing.assert_close(whole.log_prob(targets)[7:], alone.log_prob(targets[7:]))


def test_loss_is_the_mean_under_the_mask_and_the_table_learns() -> None:
    inputs, targets = text()
    mask = torch.ones(20, 2, dtype=torch.bool)
    mask[15:, 1] = False
    one = model(True)
    loss = one.loss(inputs, targets, mask=mask)
    expected = -one(inputs)[0].log_prob(targets)[mask].sum()
    torch.testing.assert_close(loss.nll, expected.detach())
    assert loss.frames == 35
    loss.objective.backward()
    table = one.direct.table.grad
    step = 1e-6
    place = int(table.abs().argmax())
    with torch.no_grad():
        one.direct.table[place] += step
        moved = one.loss(inputs, targets, mask=mask).objective - loss.objective.detach()
    assert float(moved) / step == pytest.approx(float(table[place]), rel=1e-3)


def test_other_contexts_have_other_features() -> None:
    direct = DirectNgrams(1 << 20, 3, 10)
    tokens = torch.arange(1000).reshape(-1, 1)
    contexts = direct.contexts(tokens, torch.zeros(1, 1, dtype=torch.int64)).flatten(0, 1)
    assert len(direct.places(contexts, 0).unique()) > 1950
    assert not torch.equal(direct.places(contexts, 0), direct.places(contexts, 1))
    with pytest.raises(ValueError, match="at least 2"):
        DirectNgrams(100, 1, 10)


def test_objectives_that_it_does_not_have_are_refused() -> None:
    one, (inputs, targets) = model(False), text()
    default, given = one.loss(inputs, targets), one.loss(inputs, targets, objective=objective_of(one.output))
    assert torch.equal(default.objective, given.objective)
    other = Objective("other", lambda hidden, values, generator: Cost(hidden.sum(), hidden.sum()))
    with pytest.raises(ValueError, match="no objective but the likelihood, got 'other'"):
        one.loss(inputs, targets, objective=other)

    class Staged(Softmax):
        objectives = (other,)

    with pytest.raises(UserError, match="trained on their likelihood alone, found Staged; leave it out"):
        DirectModel(RNN(9, 5, token_inputs=True), Staged(5, 9), DirectNgrams(100, 2, 9))


def apart(classes: bool, rate: float = 0.25) -> DirectModel:
    """`model`, whose n-grams learn by themselves."""
    made = model(classes)
    made.direct.learns_apart, made.direct.rate = True, rate
    return made


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_n_grams_that_learn_apart_step_along_their_gradient(classes: bool, masked: bool) -> None:
    """The weights' step is that of the sum over tokens; everything else has the gradient it had."""
    inputs, targets = text()
    mask = torch.rand(20, 2, generator=seeded(1)) < 0.7 if masked else None
    starts = torch.rand(20, 2, generator=seeded(2)) < 0.2
    whole, parts = model(classes), apart(classes)
    before = parts.direct.table.detach().clone()
    losses = [m.loss(inputs, targets, None, starts, mask) for m in (whole, parts)]
    for loss in losses:
        loss.objective.backward()
    torch.testing.assert_close(losses[0].objective, losses[1].objective)
    torch.testing.assert_close(losses[0].nll, losses[1].nll)
    assert losses[0].frames == losses[1].frames
    for (name, one), (_, other) in zip(whole.named_parameters(), parts.named_parameters(), strict=True):
        if name != "direct.table":
            torch.testing.assert_close(one.grad.to_dense(), other.grad.to_dense())
    assert parts.direct.table.grad is None
    assert torch.equal(parts.direct.table, before)
    (own,) = parts.apart
    own.learn(0.5)
    gradient = whole.direct.table.grad.to_dense() * losses[0].frames
    torch.testing.assert_close(parts.direct.table.detach(), before - 0.25 * 0.5 * gradient)
    learned = parts.direct.table.detach().clone()
    own.learn(1.0)  # there is nothing more to learn
    assert torch.equal(parts.direct.table, learned)


@pytest.mark.parametrize("classes", [False, True])
def test_what_is_forgotten_or_only_scored_is_not_learned(classes: bool) -> None:
    inputs, targets = text()
    parts = apart(classes)
    before = parts.direct.table.detach().clone()
    parts.loss(inputs, targets)
    parts.direct.forget()
    parts.direct.learn()
    with torch.no_grad():
        scored = parts.loss(inputs, targets)
    parts.direct.learn()
    assert torch.equal(parts.direct.table, before)
    torch.testing.assert_close(scored.nll, model(classes).loss(inputs, targets).nll)
    assert model(classes).apart == ()
    grad = torch.autograd.grad(parts.loss(inputs, targets).objective, parts.output.bias, create_graph=False)
    assert grad[0].shape == parts.output.bias.shape
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(parts.loss(inputs, targets).objective, parts.output.bias, create_graph=True)


def test_the_penalty_of_n_grams_is_that_of_a_step_for_every_update() -> None:
    """Lazily: a weight that is not used for some updates decays for all of them when it is used next."""
    rate, l2, scale, width = 0.3, 1e-3, 0.5, 9
    direct = DirectNgrams(500, 2, width, learns_apart=True, rate=rate, l2=l2, dtype=torch.float64)
    with torch.no_grad():
        direct.table.normal_(generator=seeded())
    dense, last = direct.table.detach().clone(), {}
    draws = seeded(3)
    for update in range(20):
        tokens = torch.randint(3, (7, 1), generator=draws)
        contexts = direct.contexts(tokens, torch.zeros(0, 1, dtype=torch.int64))
        places = direct.places(contexts.flatten(0, 1), 0)
        residual = torch.randn(7, width, generator=draws, dtype=torch.float64)
        direct.remember(places, residual)
        direct.count(7)
        direct.learn(scale)
        for place in set(places.flatten().tolist()):
            updates = update + 1 - last.get(place, 0)
            dense[place : place + width] *= math.exp(-rate * scale * l2 * 7) ** updates
            last[place] = update + 1
        for place, step in zip(places.flatten().tolist(), residual, strict=True):
            dense[place : place + width] -= rate * scale * step
    assert len({place // 16 for place in last}) == len(last) > 1
    torch.testing.assert_close(direct.table.detach(), dense)
    assert int(direct.tokens) == 140


@pytest.mark.parametrize("classes", [False, True])
def test_a_loss_counts_its_tokens(classes: bool) -> None:
    inputs, targets = text()
    mask = torch.rand(20, 2, generator=seeded(1)) < 0.7
    parts = apart(classes)
    direct = DirectNgrams(500, 4, 9, learns_apart=True, rate=0.1, l2=0.1, dtype=torch.float64)
    parts.direct = direct
    parts.loss(inputs, targets, mask=mask)
    direct.forget()  # as after a gradient that was not finite
    for _ in range(2):
        direct.forget()
        parts.loss(inputs, targets, mask=mask)
        direct.learn()
    assert int(direct.tokens) == 2 * int(mask.sum())


def test_a_penalty_without_a_rate_of_its_own_is_refused() -> None:
    with pytest.raises(ValueError, match=r"l2 is at least 0, and for a table that learns_apart, got 0\.1"):
        DirectNgrams(500, 2, 9, l2=0.1)
    with pytest.raises(ValueError, match="got -1"):
        DirectNgrams(500, 2, 9, learns_apart=True, rate=0.1, l2=-1)


@pytest.mark.parametrize("l2", [0.0, 1e-3])
def test_runs_resume_and_the_rate_follows_the_schedule(tmp_path, l2) -> None:
    """Bit for bit; runs of before, without a rate of these, go on as they were."""
    from ostinato.domains.domain import load_data
    from ostinato.recipe.recipe import Recipe
    from ostinato.runs.finish import train_in
    from ostinato.runs.folder import Run
    from ostinato.training.loop import Trainer

    (tmp_path / "text.txt").write_text("the cat saw a dog\na dog saw the bird\n" * 40)
    settings = {"hidden_size": 6, "streams": 4, "segment_length": 5, "classes": 3, "direct": 500}
    settings |= {"vocabulary_size": 50, "data": str(tmp_path / "text.txt"), "optimizer": "adam"}
    settings |= {"learning_rate_rule": "cosine", "warmup": 0.2, "direct_l2": l2}
    recipe = Recipe.parse(None, domain="words", epochs=4, **settings)
    assert recipe.direct_rate == 0.03
    assert (
        Recipe.from_dict({k: v for k, v in recipe.to_dict().items() if k != "direct_rate"}).direct_rate
        is None
    )
    data = load_data(recipe)
    with Run.create(tmp_path / "a", recipe.to_dict()) as run:
        trainer = Trainer(recipe, data, run)
        scales: list[float] = []
        trainer.model.direct.learn = scales.append
        trainer.fit()
    assert max(scales) == pytest.approx(1.0, rel=0.1)
    assert scales[0] < 0.5
    assert scales[-1] < 0.1
    from ostinato.training.monitor import Interrupted

    asked = iter(range(10**6))
    with pytest.raises(Interrupted):
        train_in(tmp_path / "b", recipe, data, stop_requested=lambda: 15 if next(asked) >= 17 else 0)
    for name in ("b", "c"):
        train_in(tmp_path / name, recipe, data)
    one, other = (Run.open(tmp_path / name).load_checkpoint("last")[0] for name in ("b", "c"))
    assert all(torch.equal(one[name], other[name]) for name in other)
    assert float(other["model.direct.table"].abs().max()) > 0.01
    # a model without a penalty has, and keeps, what it had
    assert ("model.direct.tokens" in other) == ("model.direct.used" in other) == (l2 > 0)
    if l2 > 0:
        assert int(other["model.direct.tokens"]) == 4 * data.frames("train")
    with pytest.raises(UserError, match="clip_by sequence does not go with direct"):
        recipe.replace(clip=1.0, clip_by="sequence")


@pytest.mark.parametrize("classes", [False, True])
def test_blame_has_the_losses_of_network_and_ngrams_together(classes: bool) -> None:
    inputs, targets = text(12)
    own = model(classes)
    states = own.loss(inputs[:5], targets[:5]).states
    starts = torch.zeros(7, 2, dtype=torch.bool)
    starts[3, 1] = True
    found = blame(own, inputs[5:], targets[5:], states, starts)
    distribution, _ = own(inputs[5:], states, starts)
    expected = -distribution.log_prob(targets[5:]).sum(1)
    assert found.losses == pytest.approx(expected.tolist(), rel=1e-10)


@pytest.mark.parametrize("classes", [False, True])
def test_the_penalty_on_vanishing_gradients_is_of_the_whole_loss(classes: bool) -> None:
    inputs, targets = text(12)
    own = model(classes)
    states = own.loss(inputs[:5], targets[:5]).states
    told = vanishing_penalty(own, inputs[5:], targets[5:], states)
    plain = SequenceModel(own.rnn, own.output)
    without = vanishing_penalty(plain, inputs[5:], targets[5:], own.recurrent(states))
    assert told.omega != pytest.approx(without.omega, rel=1e-6)
    with torch.no_grad():
        own.direct.table.zero_()
    told = vanishing_penalty(own, inputs[5:], targets[5:], states)
    assert told.omega == pytest.approx(without.omega, rel=1e-12)
    torch.testing.assert_close(told.gradients, without.gradients)


def test_a_diagnosis_is_of_the_whole_loss_and_the_network_s_states() -> None:
    inputs, targets = text(24)
    segments = [TokenSegment(inputs[k : k + 8], targets[k : k + 8], None) for k in (0, 8, 16)]
    own = model(classes=False)
    record = diagnose_model(own, segments, carries_state=True).record
    # the ids of tokens, up to 8, are no part of its state, whose units are within 1
    assert max(record["states"]["carried"]) < 1
    norms = []
    states = None
    for segment in segments:
        own.zero_grad()
        loss = own.loss(segment.inputs, segment.targets, states)
        loss.objective.backward()
        norms.append(float(sum(p.grad.square().sum() for p in own.parameters() if p.grad is not None) ** 0.5))
        states = loss.states
    assert record["gradient_norms"]["norms"] == pytest.approx(norms)
