"""Writing text with a model."""

import io
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ostinato.cli.main import run as command
from ostinato.domains.text.generate import Sampling, generate_tokens, pieces, prime_ids
from ostinato.domains.text.reading.vocabulary import Vocabulary, Wanted
from ostinato.errors import UserError
from text_models import language_model, saved_run


def test_sampling_keeps_what_top_k_and_top_p_say() -> None:
    probs = torch.tensor([0.1, 0.4, 0.3, 0.2])
    assert Sampling(top_k=2).kept(probs).tolist() == pytest.approx([0, 0.4, 0.3, 0])
    assert Sampling(top_p=0.71).kept(probs).tolist() == pytest.approx([0, 0.4, 0.3, 0.2])
    assert Sampling(top_p=0.01).kept(probs).tolist() == pytest.approx([0, 0.4, 0, 0])
    for wrong in ({"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}):
        with pytest.raises(UserError):
            Sampling(**wrong)
    for wrong in (float("inf"), float("nan")):
        with pytest.raises(UserError, match="expected temperature as a finite number of at least 0"):
            Sampling(temperature=wrong)


@pytest.mark.parametrize("temperature", [1e-4, 1e-300, 5e-324])
def test_the_coldest_sampling_is_the_most_probable_token(temperature: float) -> None:
    log_p = torch.tensor([0.2, 0.499, 0.301]).log()
    assert Sampling(temperature=temperature).choose(log_p, torch.Generator().manual_seed(0)) == 1


def test_generated_frequencies_are_the_models() -> None:
    log_p = torch.tensor([0.1, 0.6, 0.3]).log()
    generator = torch.Generator().manual_seed(0)
    drawn = [Sampling(temperature=0.5).choose(log_p, generator) for _ in range(4000)]
    expected = np.array([0.1, 0.6, 0.3]) ** 2
    np.testing.assert_allclose(np.bincount(drawn) / 4000, expected / expected.sum(), atol=0.03)


@pytest.mark.parametrize("task", ["words", "chars"])
def test_generation_is_a_function_of_the_seed_and_the_prime(task: str) -> None:
    model, vocabulary = language_model(task)

    def drawn(prime: str = "", seed: int = 0, **options: float) -> list[str]:
        generator = torch.Generator().manual_seed(seed)
        # the random model is sure of itself: a high temperature lets it differ
        sampling = Sampling(**({"temperature": 3.0} | options))
        tokens = generate_tokens(model, vocabulary, sampling, prime=prime, generator=generator)
        return list(itertools.islice(tokens, 40))

    assert drawn() == drawn()
    assert any(drawn() != drawn(seed=seed) for seed in range(1, 5))
    assert drawn(temperature=0) == drawn(temperature=0, seed=3)
    assert any(drawn("the", seed=seed) != drawn(seed=seed) for seed in range(10))
    assert vocabulary.tokens[vocabulary.unknown_id] not in drawn()
    assert isinstance("".join(pieces(iter(drawn()), vocabulary)), str)


def test_a_prime_is_read_as_a_text_is_scored() -> None:
    model, vocabulary = language_model()
    unknown = vocabulary.unknown_id
    assert prime_ids(vocabulary, "the zebra\na").tolist() == [
        vocabulary.ids["the"],
        unknown,
        0,
        vocabulary.ids["a"],
    ]
    assert prime_ids(vocabulary, "<s> the cat </s>\n").tolist() == vocabulary.encode("the cat\n").tolist()
    sampling = Sampling(temperature=0.0)

    def first(prime: str) -> list[str]:
        return list(itertools.islice(generate_tokens(model, vocabulary, sampling, prime=prime), 5))

    # an end of a line is read: what follows is as after the end of that sentence
    inputs = torch.from_numpy(np.concatenate([[0], prime_ids(vocabulary, "the cat\na")])).unsqueeze(1)
    with torch.no_grad():
        distribution, _ = model(inputs)
    log_p = distribution.log_probs[-1, 0].clone()
    log_p[unknown] = -torch.inf
    assert first("the cat\na")[0] == vocabulary.tokens[int(log_p.argmax())]
    assert first("the cat\nzebra") == first("the cat\nokapi")


def test_generate_says_what_is_unknown_and_reads_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = str(saved_run(tmp_path / "run").folder)
    assert command(["generate", run, "--prime", "the zebra", "--tokens", "3"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("the zebra")
    assert "1 word of the prime is unknown to the model, which reads them so: 'zebra'" in err
    (tmp_path / "prime.txt").write_text("the cat\na bird\n")
    assert command(["generate", run, "--prime-file", str(tmp_path / "prime.txt"), "--tokens", "3"]) == 0
    from_file = capsys.readouterr().out
    assert from_file.startswith("the cat\na bird")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the cat\na bird\n")))
    assert command(["generate", run, "--prime-file", "-", "--tokens", "3"]) == 0
    assert capsys.readouterr().out == from_file
    assert command(["generate", run, "--prime", "a", "--prime-file", "x"]) == 2
    assert "expected --prime or --prime-file, found both" in capsys.readouterr().err
    for seed in ("-1", "99999999999999999999999999", "1.5", "zero"):
        assert command(["generate", run, "--seed", seed]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_pieces_of_words_and_of_characters_come_when_they_are_whole() -> None:
    data = Vocabulary.count("bytes", ["ä\n"])
    assert [p for p in pieces(iter(data.split("aäb\n")), data) if p] == ["a", "ä", "b", "\n"]
    assert "".join(pieces(iter("\xc3"), data)) == "\ufffd"
    text = "the cat saw the dog\nthe cat ran away\n"
    subwords = Vocabulary.count("subwords", [text] * 20, wanted=Wanted(size=300))
    told = "the cat saw ü\nthe zebra\n"
    assert "".join(pieces(iter(subwords.split(told)), subwords)) == told
    assert "".join(pieces(iter(subwords.split("cat")), subwords, new_line=False)) == " cat"
