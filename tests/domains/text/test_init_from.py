"""Training that starts from another run's weights, and sentences that are sequences of their own."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import ostinato
from ostinato.cli.main import run as command
from ostinato.domains.domain import domain_named, load_data
from ostinato.domains.text.evaluation.scores import score_tokens
from ostinato.domains.text.reading.streams import SentenceStreams
from ostinato.domains.text.reading.vocabulary import Vocabulary
from ostinato.errors import UserError
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model

OLD = ["the", "cat", "dog", "sat", "ran", "on", "a", "mat", "big", "red"]
NEW = ["the", "cat", "sat", "quietly", "on", "zebra", "mat"]


def text(path: Path, words: list[str], lines: int) -> Path:
    chance = random.Random(len(words))
    made = (" ".join(chance.choices(words, k=chance.randint(1, 9))) for _ in range(lines))
    path.write_text("\n".join(made) + "\n")
    return path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    old = text(tmp_path / "old.txt", OLD, 300)
    text(tmp_path / "new.txt", NEW, 200)
    settings = ["--hidden-size", "8", "--epochs", "1", "--classes", "3", "--quiet"]
    assert command(["train", "words", "--data", str(old), "--run", str(tmp_path / "a"), *settings]) == 0
    return tmp_path


def scores_of(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> dict:
    import json

    capsys.readouterr()
    assert command([*arguments, "--json"]) == 0
    found: dict = json.loads(capsys.readouterr().out)
    return found


def test_the_first_validation_is_that_of_the_run_on_the_new_data(runs, capsys) -> None:
    new, folder = str(runs / "new.txt"), runs / "b"
    asked = ["train", "--init-from", str(runs / "a"), "--data", new, "--run", str(folder), "--epochs", "1"]
    assert command([*asked, "--learning-rate", "0.05"]) == 0
    told = capsys.readouterr().err
    assert "decide domain words" in told
    assert "--hidden-size 8" in told
    scores = scores_of(capsys, ["evaluate", str(runs / "a"), "--data", new])
    wanted = scores["results"]["model"]["valid"]
    first = Run.open(folder).metrics()[0]
    assert first["event"] == "initial weights"
    assert first["scores"]["valid_perplexity"] == pytest.approx(wanted["perplexity"]["value"], rel=1e-6)
    assert Vocabulary.read(folder) == Vocabulary.read(runs / "a")
    trained, before = (load_model(Run.open(runs / name)).model.state_dict() for name in ("b", "a"))
    assert any(not torch.equal(trained[name], before[name]) for name in before)
    # it goes on, and is scored, as any run
    assert command(["train", "--resume", str(folder), "--epochs", "2", "--quiet"]) == 0
    assert command(["evaluate", str(folder)]) == 0


def test_weights_that_nothing_improves_are_kept(runs) -> None:
    new, folder = str(runs / "new.txt"), runs / "b"
    asked = ["train", "--init-from", str(runs / "a"), "--data", new, "--run", str(folder), "--quiet"]
    # so large a rate destroys what was learned
    assert command([*asked, "--epochs", "1", "--learning-rate", "3000", "--clip", "none"]) == 0
    records = Run.open(folder).metrics()
    assert not any(record.get("best") for record in records)
    kept, before = (load_model(Run.open(runs / name)).model.state_dict() for name in ("b", "a"))
    assert all(torch.equal(kept[name], before[name]) for name in before)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--hidden-size", "9"], "expected --hidden-size 8, as the weights of"),
        (["--cell", "gru"], "--cell rnn"),
        (["--unit", "subwords"], "--unit"),
        (["--recipe", "SGD+C"], "--leak-fraction 0.25"),
        (["--vocabulary", "words.txt"], "leave it out"),
        (["--config", "a/config.toml"], "found both"),
    ],
)
def test_what_the_weights_decide_is_refused_in_one_line(runs, capsys, monkeypatch, more, says) -> None:
    monkeypatch.chdir(runs)
    (runs / "words.txt").write_text("cat\n")
    capsys.readouterr()
    assert command(["train", "--init-from", "a", "--data", "new.txt", "--run", "c", *more]) == 2
    told = capsys.readouterr().err.strip().split("\n")
    assert len(told) == 1
    assert says in told[0]
    assert not (runs / "c").exists()


def test_other_starts_are_refused(runs, capsys, monkeypatch) -> None:
    monkeypatch.chdir(runs)
    for arguments, says in (
        (["--init-from", "a"], "expected --data with --init-from"),
        (["chars", "--init-from", "a", "--data", "new.txt"], "found one on words"),
        (["--init-from", "nothing", "--data", "new.txt"], "nothing"),
    ):
        capsys.readouterr()
        assert command(["train", *arguments]) == 2
        assert says in capsys.readouterr().err


def test_a_program_starts_from_a_run(runs) -> None:
    lines = (runs / "new.txt").read_text().split("\n")[:-1]
    run = ostinato.train(None, lines, init_from=runs / "a", epochs=1, out=runs / "p")
    assert run.recipe.hidden_size == 8
    assert "zebra" not in Vocabulary.read(runs / "p").ids
    with pytest.raises(UserError, match="expected hidden_size 8"):
        ostinato.train(None, lines, init_from=runs / "a", hidden_size=9)
    with pytest.raises(UserError, match="a vocabulary of its own"):
        ostinato.train(None, ostinato.load_data(lines), init_from=runs / "a")


def test_independent_sentences_score_as_score_has_them(runs, capsys) -> None:
    folder, old = runs / "d", runs / "old.txt"
    settings = ["--hidden-size", "8", "--epochs", "1", "--classes", "3", "--quiet", "--independent"]
    assert command(["train", "words", "--data", str(old), "--run", str(folder), *settings]) == 0
    recipe = Recipe.from_dict(Run.open(folder).config())
    data = load_data(recipe)
    assert data.independent
    lines = Vocabulary.read(folder).decode(data.test)
    (runs / "test.txt").write_text(lines)
    scores = scores_of(capsys, ["evaluate", str(folder)])["results"]["model"]["test"]
    assert scores["log_likelihood"]["convention"].startswith("each sentence from the start state")
    asked = ["score", str(folder), str(runs / "test.txt"), "--lines"]
    each = scores_of(capsys, asked)["log_probs"]
    assert sum(each) / len(data.test) == pytest.approx(scores["log_likelihood"]["value"], abs=1e-6)
    assert scores_of(capsys, [*asked, "--independent"])["log_probs"] == each
    capsys.readouterr()
    assert command([*asked, "--dynamic"]) == 2
    assert "leave it out" in capsys.readouterr().err


@pytest.mark.parametrize("streams", [1, 3, 7])
@pytest.mark.parametrize("segment_length", [2, 5, 100])
def test_batches_of_unlike_sentences_are_exact(streams: int, segment_length: int) -> None:
    """The sum over all segments is that of every sentence alone, whatever the batching."""
    chance = np.random.default_rng(0)
    lengths = chance.integers(1, 12, size=20)
    tokens = np.concatenate([[*chance.integers(1, 9, size=n), 0] for n in lengths]).astype(np.int32)
    recipe = Recipe.parse("SGD", domain="words", hidden_size=6, classes=2, dtype="float64", direct=200,
                          vocabulary_size=9)  # fmt: skip
    vocabulary = Vocabulary.count("words", ["a b c d e f g h\n"] * 3)
    identity = {"visible_size": len(vocabulary)}
    model = domain_named("words").model(recipe, identity)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=torch.Generator().manual_seed(1))
    ends = np.flatnonzero(tokens == 0) + 1
    alone = sum(score_tokens(model, part).sum() for part in np.split(tokens, ends)[:-1])
    whole = SentenceStreams(tokens, streams, segment_length, np.random.default_rng(3))
    states, nll, frames = None, 0.0, 0
    for segment in whole:
        loss = model.loss(segment.inputs, segment.targets, states, segment.starts, segment.mask)
        states, nll, frames = loss.states, nll + float(loss.nll), frames + loss.frames
    assert frames == len(tokens) == whole.frames
    assert -nll == pytest.approx(float(alone), abs=1e-9)
    assert float(alone) == pytest.approx(float(score_tokens(model, tokens, independent=True).sum()), abs=1e-9)


def test_every_epoch_deals_all_sentences_in_another_order() -> None:
    tokens = np.array([1, 2, 0, 3, 0, 4, 5, 6, 0, 7])  # the last one has no end
    found = []
    for seed in range(2):
        streams = SentenceStreams(tokens, 2, 4, np.random.default_rng(seed))
        parts = (s.targets if s.mask is None else s.targets[s.mask] for s in streams)
        targets = torch.cat([part.flatten() for part in parts])
        assert sorted(targets.tolist()) == sorted(tokens.tolist())
        found.append(streams.describe(0))
    assert found[0] != found[1]


def test_a_pipe_is_trained_on_where_the_kind_of_data_is_named(tmp_path, capsys) -> None:
    lines = text(tmp_path / "old.txt", OLD, 100).read_bytes()
    assert command(["train", "-"]) == 2
    told = capsys.readouterr().err
    assert "found standard input; name both: ostinato train words --data -" in told
    small = ["--hidden-size", "4", "--epochs", "1", "--classes", "3", "--quiet"]
    asked = ["train", "words", "--data", "-", "--run", str(tmp_path / "piped"), *small]
    subprocess.run([sys.executable, "-m", "ostinato", *asked], input=lines, check=True)
    asked = ["train", "words", "--data", str(tmp_path / "old.txt"), "--run", str(tmp_path / "file"), *small]
    assert command(asked) == 0
    one, other = (load_model(Run.open(tmp_path / name)).model.state_dict() for name in ("piped", "file"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_penalty_of_n_grams_may_begin_or_end_with_the_new_training(runs) -> None:
    """How many tokens n-grams were learned of is of the training, and no weight."""
    new = str(runs / "new.txt")
    settings = ["--hidden-size", "8", "--epochs", "1", "--classes", "3", "--quiet", "--direct", "500"]
    settings += ["--vocabulary-size", "20", "--learning-rate-rule", "constant"]
    old = ["train", "words", "--data", str(runs / "old.txt"), *settings]
    assert command([*old, "--run", str(runs / "without")]) == 0
    assert command([*old, "--run", str(runs / "with"), "--direct-l2", "0.001"]) == 0
    for begun, l2 in (("without", "0.001"), ("with", "0"), ("with", "0.001")):
        folder = runs / f"{begun}-{l2}"
        asked = ["train", "--init-from", str(runs / begun), "--data", new, "--run", str(folder)]
        assert command([*asked, "--direct-l2", l2, "--quiet"]) == 0
        tensors, state = Run.open(folder).load_checkpoint("last")
        counted = {name: int(x.max()) for name, x in tensors.items() if name == "model.direct.tokens"}
        tokens = load_data(Recipe.from_dict(state["recipe"])).frames("train")
        assert counted == ({} if l2 == "0" else {"model.direct.tokens": tokens})
