"""Evaluating, generating, scoring and comparing from Python, for each kind of data."""

import json
import math

import numpy as np
import pytest
import torch

import ostinato
from ostinato.domains.music.compose import generate as compose
from ostinato.domains.music.surprise import score_piece
from ostinato.domains.text.evaluation.scores import score_tokens
from ostinato.domains.text.reading.vocabulary import Vocabulary
from ostinato.errors import UserError
from ostinato.evaluation.sequences import SequenceScores

SMALL = {"hidden_size": 6, "epochs": 1}


@pytest.fixture
def music(songs):
    return ostinato.train("SGD+C", songs, **SMALL)


@pytest.fixture
def words(texts):
    return ostinato.train("SGD", texts, classes=3, **SMALL)


@pytest.fixture
def series(walks):
    return ostinato.train("SGD", walks, **SMALL)


def one_by_one(run, sequences) -> None:
    """Many at once are each as by itself."""
    together = run.score(sequences)
    assert isinstance(together, SequenceScores)
    for given, found in zip(sequences, together, strict=True):
        alone = run.score([given])[0]
        np.testing.assert_allclose(found.log_probs, alone.log_probs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(together.log_probs.sum(), together.score.value * together.steps.sum())
    assert together.score.count == together.steps.sum()


# Music


@pytest.mark.parametrize("output", ["bernoulli", "nade"])
def test_pieces_are_scored_as_the_command_line_scores_them(songs, output) -> None:
    run = ostinato.train("SGD", songs, output=output, **SMALL)
    found = run.score(songs)
    for song, one in zip(songs, found, strict=True):
        piece = one.detail.piece
        by_itself = score_piece(run.model, piece)
        assert (piece.frames == song).all()
        np.testing.assert_allclose(one.log_probs, by_itself.log_probs, atol=1e-4)
        np.testing.assert_allclose(one.detail.note_log_probs, by_itself.note_log_probs, atol=1e-4)
        np.testing.assert_allclose(one.detail.pitch_log_probs, by_itself.pitch_log_probs, atol=1e-4)
    # the mean over the songs of a split is the split's score
    test = run.data["test"]
    score = run.evaluate(baselines=False).scores["model"]["test"]["log_likelihood"]
    again = run.score([song.values for song in test]).score
    assert again.value == pytest.approx(score.value, abs=1e-5)
    assert (again.unit, again.convention) == (score.unit, score.convention)


def test_a_stand_in_for_a_likelihood_is_marked_as_an_estimate(songs) -> None:
    wide = [np.concatenate([song, song], 1) for song in songs]  # too wide to be enumerated
    run = ostinato.train("SGD", wide, output="rbm", rbm_size=21, ais_steps=20, **SMALL)
    assert run.score(wide[:2]).score.estimate
    assert not ostinato.train("SGD", songs, **SMALL).score(songs[:2]).score.estimate


def test_pieces_are_composed(music, songs, tmp_path) -> None:
    drawn = compose(music.model, 5, visible_size=12, count=2, generator=torch.Generator().manual_seed(3))
    assert (music.generate(steps=5, count=2, seed=3) == drawn).all()
    assert (ostinato.generate(music, steps=5, count=2, seed=4) != drawn).any()
    begun = music.generate(songs[0][:3], steps=5)
    assert (begun[0, :3] == songs[0][:3]).all()
    assert begun.shape == (1, 8, 12)
    with pytest.raises(UserError, match=r"expected frames \(T, 12\) for prime, found shape \(2, 5\)"):
        music.generate(np.zeros((2, 5), int))
    with pytest.raises(UserError, match="found step: did you mean steps"):
        music.generate(step=5)
    with pytest.raises(UserError, match="expected semitones with a file to continue, found frames"):
        music.generate(songs[0], semitones=2)


def test_pieces_on_a_keyboard_are_written_and_read(tmp_path) -> None:
    songs = [np.eye(88, dtype=np.uint8)[30 + np.arange(k, k + 20) % 20] for k in range(10)]
    run = ostinato.train("SGD", songs, frames_per_beat=2, **SMALL)
    piece = run.generate(steps=30, seed=1, out=tmp_path / "a.mid")
    assert (tmp_path / "a.mid").exists()
    assert piece.shape == (1, 30, 88)
    assert len(run.score(tmp_path / "a.mid")) == len(run.score([str(tmp_path / "a.mid")])) == 1
    assert run.generate(tmp_path / "a.mid", steps=3, prime_steps=2).shape == (1, 5, 88)


# Text


def test_texts_are_scored_each_by_itself(words, texts, tmp_path) -> None:
    one_by_one(words, ["the cat sat", "a dog ran on the mat\nthe cat sat", "a bird"])
    vocabulary = Vocabulary.read(words.opened.folder)
    ids = vocabulary.encode("the cat sat\n")
    found = words.score("the cat sat")
    np.testing.assert_allclose(found[0].log_probs, score_tokens(words.model, ids), atol=1e-6)
    assert found[0].detail.tokens == ("the", "cat", "sat", "</s>")
    assert found[0].detail.perplexity == pytest.approx(math.exp(-found.score.value))
    assert not words.score("a bird")[0].detail.known[1]
    (tmp_path / "a.txt").write_text("the cat sat\n")
    assert words.score(tmp_path / "a.txt").log_probs == found.log_probs
    with pytest.raises(UserError, match="expected text, found none but white space in text 2"):
        words.score(["a", " "])
    with pytest.raises(UserError, match="expected text, found an array"):
        words.score([np.zeros(3)])


def test_texts_are_written(words) -> None:
    text = words.generate("the cat", tokens=5, seed=2)
    assert text.startswith("the cat")
    assert words.generate("the cat", tokens=5, seed=2) == text
    assert words.generate("the cat", tokens=5, seed=3) != text
    with pytest.raises(UserError, match="expected tokens of at least 1, found 0"):
        words.generate(tokens=0)
    with pytest.warns(UserWarning, match="1 word of the prime is unknown to the model, which .*'zebra'"):
        assert words.generate("zebra", tokens=5).startswith("zebra")


def test_characters_are_a_domain_that_is_named(texts) -> None:
    run = ostinato.train("SGD", texts, domain="chars", **SMALL)
    assert run.evaluate().scores["1-gram"]["test"].keys() >= {"bits_per_character"}
    assert len(run.score("ab")[0].log_probs) == 3  # with the line's end
    assert len(run.generate("the ", tokens=9)) == 13


def test_token_ids_come_back_as_token_ids() -> None:
    ids = [np.array([5, 1, 2, 5, 1, 2, 9][: 4 + k % 3]) for k in range(30)]
    run = ostinato.train("SGD", ids, classes=2, **SMALL)
    drawn = run.generate(tokens=30)
    assert {int(k) for part in drawn for k in part} <= {5, 1, 2, 9}
    assert run.generate(np.array([5, 1]), tokens=3)[0][:2].tolist() == [5, 1]
    assert run.score(ids).steps.tolist() == [len(one) + 1 for one in ids]
    with pytest.raises(UserError, match="expected token ids: whole numbers of at least 0"):
        run.score(["text"])
    with pytest.raises(UserError, match="expected text for domain chars, found token ids"):
        ostinato.load_data(ids, domain="chars")


def test_one_long_sequence_of_token_ids_is_cut_in_time() -> None:
    data = ostinato.load_data(np.arange(200) % 7)
    assert [data.frames(split) for split in ("train", "valid", "test")] == [181, 11, 11]


# Series


def test_series_are_scored_in_their_own_units(series, walks) -> None:
    one_by_one(series, [*walks, walks[0][:5]])
    gaps = walks[0].copy()
    gaps[3] = np.nan
    assert math.isnan(series.score([gaps])[0].log_probs[3])
    tests = [part.values for part in series.data["test"]]
    score = series.evaluate(baselines=False).scores["model"]["test"]["log_likelihood"].value
    assert series.score(tests).score.value == pytest.approx(score, abs=1e-5)
    with pytest.raises(UserError, match=r"expected real values of shape \(T, 2\) for series 1, found shape"):
        series.score([np.zeros((5, 3))])


def test_series_are_forecast(series, walks, tmp_path) -> None:
    made = series.generate(walks[0], horizon=4, samples=50, seed=1, out=[tmp_path / "a.csv"])
    assert made.paths.shape == (50, 4, 2)
    assert made.begin == len(walks[0])
    assert (tmp_path / "a.csv").read_text().count("\n") == 5
    again = series.generate(walks[0], horizon=4, samples=50, seed=1)
    assert (again.paths == made.paths).all()
    with pytest.raises(UserError, match="expected horizon of at least 1, found 0"):
        series.generate(horizon=0)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("output", ["gaussian", "gaussian-mixture"])
def test_a_forecast_goes_on_from_what_every_cell_has_read(walks, cell, output) -> None:
    """The first step is drawn from what scoring says of it, for one path as for many."""
    run = ostinato.train("SGD", walks, cell=cell, output=output, **SMALL)
    many = run.generate(walks[0], horizon=1, samples=4000, seed=3).mean[0]
    with torch.no_grad():
        scaled = run.data.details["scaling"]
        inputs = torch.tensor((walks[0] - scaled["mean"]) / scaled["scale"], dtype=torch.float32)
        inputs = torch.cat([torch.zeros(1, 2), inputs]).unsqueeze(1)
        last = run.model(inputs)[0].mean[-1, 0].double().numpy()
    wanted = last * np.array(scaled["scale"]) + np.array(scaled["mean"])
    np.testing.assert_allclose(many, wanted, atol=0.12 * max(scaled["scale"]))


# Delays


def test_problems_with_long_delays_are_asked_for_by_name() -> None:
    run = ostinato.train("SGD", "memorization", length=10, hidden_size=6, epochs=1, epoch_sequences=64)
    assert run.evaluate().scores["guessing"]["test"]["error"].value == pytest.approx(100 * (1 - 1 / 32))
    inputs = run.data.task.generate(3, np.random.default_rng(0))
    pairs = [(inputs.inputs[:, k].numpy(), inputs.targets[:, k].numpy()) for k in range(3)]
    one_by_one(run, pairs)
    masked = [(x, np.where(np.arange(len(y)) < 15, -1, y)) for x, y in pairs]
    assert run.score(masked).steps.tolist() == [5, 5, 5]
    with pytest.raises(UserError, match="expected a run whose model generates"):
        run.generate()
    with pytest.raises(UserError, match=r"expected inputs \(T,\) of 0 to 3, found others"):
        run.score([(np.array([9, 9]), np.array([0, 0]))])


# Any run, or its folder


def test_a_folder_will_do_in_the_place_of_a_run(music, songs, tmp_path) -> None:
    path = music.save(tmp_path / "run")
    assert (ostinato.generate(path, steps=3, seed=1) == music.generate(steps=3, seed=1)).all()
    assert ostinato.score(str(path), songs).log_probs.tolist() == music.score(songs).log_probs.tolist()
    assert ostinato.evaluate(path, songs).to_dict() == music.evaluate().to_dict()


def test_splits_and_baselines_are_left_out_where_that_is_asked(music) -> None:
    found = music.evaluate(splits=("test",), baselines=False).scores
    assert {system: list(splits) for system, splits in found.items()} == {"model": ["test"]}
    with pytest.raises(UserError, match="expected splits of train, valid, test, found 'tests'"):
        music.evaluate(splits=["tests"])


def test_other_data_are_named(series, tmp_path, walks) -> None:
    np.savez(tmp_path / "others.npz", **{f"w{k}": walk + 1 for k, walk in enumerate(walks)})
    found = series.evaluate(tmp_path / "others.npz", splits=("test",))
    assert found.scores["model"]["test"]["log_likelihood"].count > 0


def test_runs_are_compared(songs, tmp_path) -> None:
    runs = [ostinato.train("SGD", songs, seed=seed, hidden_size=6, epochs=2) for seed in (0, 1)]
    found = ostinato.compare(runs, "train")
    first, other = (run.evaluate(splits=["train"]).scores["model"]["train"]["log_likelihood"] for run in runs)
    assert found.differences[0].value == pytest.approx(other.value - first.value, abs=1e-6)
    assert json.dumps(found.to_dict())
    with pytest.raises(UserError, match="expected runs on the same data"):
        ostinato.compare([runs[0], ostinato.train("SGD", songs[1:], **SMALL)])


@pytest.mark.parametrize("of", ["rnn", "output"])
def test_hooks_fire_in_training_and_in_evaluation(songs, of, monkeypatch) -> None:
    """A program that watches a part of the network sees every call of it."""
    from ostinato.training import loop

    calls: list[bool] = []
    make = loop.Trainer._fresh_model

    def watched(self):
        model = make(self)
        getattr(model, of).register_forward_hook(lambda module, *_: calls.append(module.training))
        return model

    monkeypatch.setattr(loop.Trainer, "_fresh_model", watched)
    run = ostinato.train("SGD", songs, streams=2, segment_length=10, **SMALL)
    assert {True, False} == set(calls)
    calls.clear()
    getattr(run.model, of).register_forward_hook(lambda module, *_: calls.append(module.training))
    run.score(songs[:2])
    assert calls == [False]
    run.generate(steps=3)
    assert calls == [False] * 4
