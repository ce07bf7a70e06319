"""Pairs of inputs and targets, with ostinato's networks and with a program's own."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Distribution, Independent, Normal
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import ostinato
from ostinato.domains.pairs.domain import Average, scored, start_of
from ostinato.domains.pairs.reading import pair_of
from ostinato.errors import UserError

SMALL = {"hidden_size": 6, "epochs": 2}


def weights(run) -> dict[str, torch.Tensor]:
    return {name: x.clone() for name, x in run.model.state_dict().items()}


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def finite(run) -> bool:
    scores = run.evaluate().scores
    return all(
        math.isfinite(score.value) for s in scores.values() for t in s.values() for score in t.values()
    )


# ostinato's networks


@pytest.mark.parametrize(
    ("kind", "pair", "output"),
    [
        ("category", lambda x, k: (x, (x[:, 0] > 0).astype(np.int64)), "softmax"),
        (
            "category",
            lambda x, k: ((x[:, 0] > 0).astype(np.int64), (x[:, 1] > 0).astype(int)),
            "class-softmax",
        ),
        ("category", lambda x, k: (x, k % 3), "softmax"),
        ("binary", lambda x, k: (x > 0, (x[:, :2] > 0).astype(np.uint8)), "nade"),
        ("real", lambda x, k: (x.astype(np.float32), x.sum(1)), "gaussian"),
        ("real", lambda x, k: (x, x[:, :2]), "gaussian-mixture"),
    ],
)
@pytest.mark.parametrize("letters", ["SGD+CLM", "HF"])
def test_inputs_and_targets_of_every_kind_train_and_are_scored(kind, pair, output, letters, tmp_path) -> None:
    drawn = [np.random.default_rng(k).standard_normal((9 + k, 3)) for k in range(10)]
    pairs = [pair(x, k) for k, x in enumerate(drawn)]
    run = ostinato.train(letters, pairs, output=output, **SMALL)
    assert run.recipe.domain == f"pairs-{kind}"
    assert finite(run)
    assert run.evaluate().scores.keys() == {"model", "iid"}
    together = run.score(pairs)
    for given, found in zip(pairs, together, strict=True):
        np.testing.assert_allclose(found.log_probs, run.score(given)[0].log_probs, atol=1e-5)
    path = run.save(tmp_path / "run")
    assert ostinato.open_run(path).score(pairs).log_probs.tolist() == together.log_probs.tolist()
    assert ostinato.compare([run, path], "train").differences[0].value == 0


def test_a_network_learns_what_the_inputs_tell(pairs) -> None:
    """The class is the sign of what was read a step before: no average knows it."""
    run = ostinato.train("SGD+C", pairs * 6, epochs=30, hidden_size=16, seed=1)
    scores = run.evaluate().scores
    assert scores["iid"]["test"]["log_likelihood"].value == pytest.approx(-math.log(2), abs=0.05)
    assert scores["model"]["test"]["log_likelihood"].value > -0.3


def test_a_class_for_the_whole_sequence_counts_at_its_last_step() -> None:
    pairs = [(np.random.default_rng(k).standard_normal((5 + k, 2)), k % 2) for k in range(10)]
    run = ostinato.train("SGD", pairs, **SMALL)
    found = run.score(pairs)
    assert found.steps.tolist() == [1] * 10
    assert [int((~np.isnan(one.log_probs)).argmax()) for one in found] == [4 + k for k in range(10)]
    summed = run.model(torch.tensor(pairs[3][0], dtype=torch.float32).unsqueeze(1))[0]
    wanted = float(summed.log_prob(torch.ones(8, 1, dtype=torch.int64))[-1].detach())
    assert found[3].log_prob == pytest.approx(wanted, abs=1e-5)


def test_steps_that_do_not_count_change_nothing() -> None:
    """Their classes are nobody's: -1 is as good as any other number would be, were it left out."""
    inputs = np.random.default_rng(0).standard_normal((10, 8, 2))
    classes = np.random.default_rng(1).integers(0, 3, (10, 8))
    masked = np.where(np.arange(8) % 2 == 0, classes, -1)
    run = ostinato.train("SGD", list(zip(inputs, masked, strict=True)), **SMALL)
    every = run.score(list(zip(inputs, classes, strict=True)))
    some = run.score(list(zip(inputs, masked, strict=True)))
    for whole, part in zip(every, some, strict=True):
        np.testing.assert_allclose(part.log_probs[::2], whole.log_probs[::2], atol=1e-6)
        assert np.isnan(part.log_probs[1::2]).all()


def test_the_average_of_the_targets_is_a_density() -> None:
    pairs = [pair_of((np.zeros((50, 1)), np.arange(50) % 4 // 3), "a", "category")]
    average = Average("category", start_of(pairs, "category", 2))
    assert scored(average, pairs).score.value == pytest.approx(
        np.mean([math.log(12.5 / 51) if k % 4 == 3 else math.log(38.5 / 51) for k in range(50)])
    )
    values = np.random.default_rng(0).standard_normal((4000, 1)) * 3 + 1
    pairs = [pair_of((np.zeros((4000, 1)), values), "a", "real")]
    entropy = 0.5 * math.log(2 * math.pi * math.e * 9)
    average = Average("real", start_of(pairs, "real", 1))
    assert scored(average, pairs).score.value == pytest.approx(-entropy, abs=0.05)


@pytest.mark.parametrize(
    ("pair", "line"),
    [
        ((np.zeros((4, 3)), np.array([0, 1, 0, -2])), "expected classes of at least 0 for pair 10, or -1"),
        ((np.zeros((4, 2)), np.array([0, 1, 0, 1])), "of the same sizes in all pairs"),
        ((np.full((4, 3), np.nan), np.array([0, 1, 0, 1])), "expected finite inputs for pair 10"),
        ((np.zeros((4, 3)), np.zeros(4)), "with classes .T,., or one for the whole sequence"),
        ((np.array([0, -1, 2, 1]), np.array([0, 1, 0, 1])), "expected token ids of at least 0 as inputs"),
        (np.zeros((4, 3)), "expected a pair .inputs, targets. for pair 10"),
    ],
)
def test_pairs_that_do_not_go_together_are_refused(pair, line) -> None:
    good = [(np.zeros((4, 3)), np.array([0, 1, 0, 1])) for _ in range(9)]
    with pytest.raises(UserError, match=line):
        ostinato.train("SGD", [*good, pair], **SMALL)


def test_pairs_of_other_sizes_are_not_scored(pairs) -> None:
    run = ostinato.train("SGD", pairs, **SMALL)
    with pytest.raises(UserError, match="that the model knows, 3 and 2, found others in pair 2"):
        run.score([pairs[0], (np.zeros((4, 2)), np.zeros(4, int))])
    with pytest.raises(UserError, match="that the model knows, 3 and 2, found others in pair 1"):
        run.score((np.zeros((4, 3)), np.full(4, 2)))
    with pytest.raises(UserError, match="expected a run whose model generates, found one on pairs-category"):
        run.generate()


def test_pairs_come_in_any_form(pairs) -> None:
    stacked = torch.randn(10, 8, 3), torch.randint(0, 2, (10, 8))
    listed = ostinato.train("SGD", [(x.numpy(), y.numpy()) for x, y in zip(*stacked, strict=True)], **SMALL)
    dataset = TensorDataset(*stacked)
    for form in (dataset, DataLoader(dataset, batch_size=4), iter(dataset), list(dataset)):
        assert same(weights(ostinato.train("SGD", form, **SMALL)), weights(listed))
    ragged = DataLoader(pairs, batch_size=4, collate_fn=list)
    assert same(
        weights(ostinato.train("SGD", ragged, **SMALL)), weights(ostinato.train("SGD", pairs, **SMALL))
    )


# A program's own network


class Tagger(nn.Module):
    """Two classes at every step, after what was read."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.rnn, self.drop, self.out = nn.GRU(3, 8, batch_first=True), nn.Dropout(dropout), nn.Linear(8, 2)

    def forward(self, inputs: torch.Tensor) -> Distribution:
        return Categorical(logits=self.out(self.drop(self.rnn(inputs)[0])))


class Logits(Tagger):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs).logits


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


@pytest.fixture
def dataset() -> TensorDataset:
    inputs = torch.randn(40, 7, 3, generator=torch.Generator().manual_seed(0))
    return TensorDataset(inputs, (inputs.cumsum(1)[..., 0] > 0).long())


@pytest.fixture
def loaders(dataset) -> dict[str, DataLoader]:
    parts = torch.utils.data.random_split(dataset, [24, 8, 8], torch.Generator().manual_seed(0))
    return {
        name: DataLoader(part, batch_size=6, shuffle=True)
        for name, part in zip(("train", "valid", "test"), parts, strict=True)
    }


def tagger(kind: type[Tagger] = Tagger, **options) -> Tagger:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return kind(**options)


def test_a_network_of_ones_own_learns_from_its_own_loaders(loaders, tmp_path) -> None:
    network = tagger()
    run = ostinato.train("SGD+CM", loaders, model=network, epochs=25, learning_rate=0.3)
    assert run.model is network
    scores = run.evaluate().scores["model"]
    assert scores.keys() == {"train", "valid", "test"}
    assert scores["train"]["log_likelihood"].value > -0.35
    assert scores["test"]["log_likelihood"].count == 8 * 7
    batch = list(loaders["test"].dataset)
    wanted = [network(x.unsqueeze(0)).log_prob(y).sum().item() for x, y in batch]
    np.testing.assert_allclose(run.score(batch).log_probs, wanted, rtol=1e-5)
    assert run.score(batch).score.value == pytest.approx(scores["test"]["log_likelihood"].value, rel=1e-5)
    path = run.save(tmp_path / "run")
    other = tagger()
    again = ostinato.open_run(path, model=other)
    assert again.score(batch).log_probs.tolist() == run.score(batch).log_probs.tolist()
    assert same(dict(other.state_dict()), dict(network.state_dict()))
    assert again.evaluate(loaders).to_dict() == run.evaluate().to_dict()
    with pytest.raises(UserError, match="expected the network that was trained, Tagger of a program's own"):
        ostinato.score(path, batch)


def test_training_is_that_of_a_plain_loop(dataset) -> None:
    """The same batches, losses and steps, written out."""
    network, plain = tagger(), tagger()
    loader = DataLoader(dataset, batch_size=10)
    run = ostinato.train(
        "SGD", {"train": loader, "valid": loader}, model=network, epochs=2, learning_rate=0.1, optimizer="sgd"
    )
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    for _ in range(2):
        for inputs, targets in loader:
            optimizer.zero_grad()
            (-plain(inputs).log_prob(targets).mean()).backward()
            optimizer.step()
    assert run.history[-1]["best"]
    for name, x in plain.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], x)


def test_a_loss_of_ones_own_is_what_is_trained_and_reported(dataset) -> None:
    one, other = tagger(), tagger(Logits)
    settings = {"epochs": 3, "learning_rate": 0.1, "optimizer": "sgd", "seed": 4}
    run = ostinato.train("SGD+C", dataset, model=one, **settings)
    own = ostinato.train("SGD+C", dataset, model=other, loss=cross_entropy, **settings)
    for name, x in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], x)
    found = own.evaluate().scores["model"]["test"]["loss"]
    wanted = run.evaluate().scores["model"]["test"]["log_likelihood"]
    assert found.value == pytest.approx(-wanted.value, rel=1e-5)
    assert (found.unit, found.count) == ("loss", wanted.count)
    assert own.history[0]["valid_negative_loss"] == pytest.approx(run.history[0]["valid_log_likelihood"])
    with pytest.raises(UserError, match="found one with a loss of its own"):
        own.score(list(dataset)[:2])


def test_values_of_several_dimensions_count_as_one_step(dataset) -> None:
    class Regressor(Tagger):
        def forward(self, inputs):
            mean = self.out(self.rnn(inputs)[0])
            return Independent(Normal(mean, torch.ones_like(mean)), 1), None

    pairs = [(x, x[:, :2]) for x, _ in dataset]
    run = ostinato.train("SGD", pairs, model=tagger(Regressor), epochs=1)
    assert run.evaluate().scores["model"]["test"]["log_likelihood"].count == 8 * 7
    assert run.score(pairs[:1])[0].log_probs.shape == (7,)


class Stop:
    """Asks to stop after so many updates, as Ctrl-C does."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __getattr__(self, name):
        return lambda *_: None

    def segment(self, *_):
        self.after -= 1
        if self.after == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("kept", [False, True])
def test_a_stopped_network_of_ones_own_goes_on_bit_for_bit(loaders, tmp_path, kept) -> None:
    """With dropout and shuffled batches."""
    settings = {"epochs": 3, "checkpoint_seconds": 0.0}
    torch.manual_seed(5)
    whole = ostinato.train("SGD+CM", loaders, model=tagger(dropout=0.3), **settings)
    torch.manual_seed(5)
    out = tmp_path / "run" if kept else None
    with pytest.raises(ostinato.TrainingStopped) as stopped:
        ostinato.train("SGD+CM", loaders, model=tagger(dropout=0.3), out=out, monitor=Stop(6), **settings)
    torch.manual_seed(99)
    if kept:
        run = ostinato.train(resume=out, data=loaders, model=tagger(dropout=0.3))
    else:
        run = stopped.value.run.resume()
    assert same(weights(run), weights(whole))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            {"recipe": "SGD+L"},
            "L sets leak_fraction, which is for cell rnn or gru or lstm, found",
        ),
        ({"recipe": "HF"}, "output module does not go with HF"),
        ({"hidden_size": 9}, "hidden_size is for ostinato's networks, found model; leave it out"),
        ({"output": "softmax"}, "output softmax does not fit module"),
    ],
)
def test_settings_of_ostinatos_networks_are_refused(loaders, arguments, line) -> None:
    with pytest.raises(UserError, match=line):
        ostinato.train(**({"recipe": "SGD", "data": loaders, "model": tagger()} | arguments))


class Unending(IterableDataset):
    def __iter__(self):
        return iter([])


class Three(Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return torch.zeros(4), torch.zeros(4), torch.zeros(4)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (DataLoader(TensorDataset(torch.zeros(4, 2, 3))), "found one loader: give"),
        ({"train": DataLoader(Unending()), "valid": []}, "found one of a data set without a length"),
        ({"train": DataLoader(Three()), "valid": DataLoader(Three())}, "expected batches .inputs, targets."),
        ([torch.zeros(4, 3)] * 5, "expected pairs .inputs, targets., found"),
        ([(torch.zeros(4, 3), torch.zeros(4))] * 2, "expected at least 3 pairs to deal"),
    ],
)
def test_batches_that_cannot_be_used_are_refused(data, line) -> None:
    with pytest.raises(UserError, match=line):
        ostinato.train("SGD", data, model=tagger(), epochs=1)


def test_a_network_has_to_return_a_distribution_or_come_with_a_loss(loaders) -> None:
    line = "returns a torch.distributions.Distribution, or loss, found one that returns Tensor"
    with pytest.raises(UserError, match=line):
        ostinato.train("SGD", loaders, model=tagger(Logits), epochs=1)


def test_nobody_elses_draws_change_where_a_loader_shuffles(loaders) -> None:
    network = tagger()
    before = torch.get_rng_state()
    ostinato.train("SGD", loaders, model=network, epochs=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_with_a_network_of_ostinatos_takes_no_model(pairs, tmp_path) -> None:
    path = ostinato.train("SGD", pairs, **SMALL).save(tmp_path / "run")
    with pytest.raises(UserError, match="expected no model for a run whose network is ostinato's"):
        ostinato.open_run(path, model=tagger())
