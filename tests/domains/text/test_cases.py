"""Small texts, n-best lists and ARPA models that others write, and what is right of each."""

import io
import json
import math
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ostinato.domains.text.mixture import MixtureScorer, Together
from ostinato.domains.text.reading import data_sets
from ostinato.domains.text.reading.source import whole_file
from ostinato.domains.text.score import RunScorer, load_scorer, read_sentences, read_text
from ostinato.errors import UserError
from text_models import language_model, saved_run

CASES = Path(__file__).parent / "cases"
PLAIN = CASES / "plain_sentences.txt"
Command = Callable[..., tuple[int, str, str]]


def test_a_model_without_unk_gives_an_unknown_word_no_chance(ostinato: Command) -> None:
    code, out, _ = ostinato("score", CASES / "no_unk.arpa", PLAIN)
    assert code == 0
    assert "infinite: 6 unknown words" in " ".join(out.split())
    assert "e+" not in out
    assert len(max(out.split(), key=len)) < 200  # no number of hundreds of digits
    code, out, _ = ostinato("score", CASES / "no_unk.arpa", PLAIN, "--json")
    found = json.loads(out)
    assert found["perplexity"] == found["bits_per_token"] == "infinite: 6 unknown words"
    assert found["perplexity_known"] == pytest.approx(10)
    code, out, _ = ostinato("score", CASES / "no_unk.arpa", PLAIN, "--json", "--unknown-penalty", "7")
    assert json.loads(out)["log_prob"] == pytest.approx(-6 * 7 - 2 * math.log(10))


def test_in_a_mixture_with_it_only_the_other_model_counts() -> None:
    model, vocabulary = language_model()
    run, arpa = RunScorer(model, vocabulary), load_scorer(CASES / "no_unk.arpa")
    mixture = MixtureScorer(Together([run, arpa]), np.array([0.25, 0.75]))
    tokens = ["the", "zebra", "</s>"]
    mixed = mixture.score(tokens)
    np.testing.assert_allclose(mixed[0], run.score(tokens)[0] + math.log(0.25))
    assert np.isfinite(mixed[1])  # what neither knows has the run's chance
    expected = 0.25 * np.exp(run.score(tokens)[2]) + 0.75 * np.exp(arpa.score(tokens)[2])
    assert np.exp(mixed[2]) == pytest.approx(expected)


def test_where_every_hypothesis_is_impossible_the_other_scores_decide(ostinato: Command) -> None:
    code, out, err = ostinato("rescore", CASES / "no_unk.arpa", CASES / "infinite.nbest")
    assert (code, out) == (0, "u1\tlooking on zzz a\n")
    assert "u1: their other scores alone decide" in err
    code, out, err = ostinato(
        "rescore", CASES / "no_unk.arpa", CASES / "infinite.nbest", "--unknown-penalty", "200"
    )
    assert (code, out, err) == (0, "u1\tzzz\n", "")


@pytest.mark.parametrize(
    ("name", "word"), [("nbsp_in_token", "10\u00a0000"), ("ideographic_space_token", "\u3000")]
)
def test_other_white_space_is_part_of_a_word_of_an_arpa_model(name: str, word: str, tmp_path: Path) -> None:
    scorer = load_scorer(CASES / f"{name}.arpa")
    assert scorer.known(word)
    tokens = scorer.split(f"{word} b\n")
    assert tokens == [word, "b", "</s>"]
    np.testing.assert_allclose(scorer.score(tokens) / math.log(10), [-0.5, -0.5, -1.3])


def test_a_score_that_is_no_number_is_refused_with_its_line(ostinato: Command) -> None:
    code, _, err = ostinato("rescore", CASES / "no_unk.arpa", CASES / "nan.nbest")
    assert code == 2
    assert "in line 1 of" in err
    assert "found 'nan'" in err


def test_marks_of_sentences_are_left_out_with_a_notice(ostinato: Command, tmp_path: Path) -> None:
    run = saved_run(tmp_path / "run").folder
    _, plain, _ = ostinato("score", run, PLAIN, "--json")
    code, marked, err = ostinato("score", run, CASES / "marked_sentences.txt", "--json")
    assert code == 0
    assert json.loads(marked) == json.loads(plain)
    assert "<s> and </s> left out of 2 lines" in err
    inside = tmp_path / "inside.txt"
    inside.write_text("the cat </s> sat\n")
    code, _, err = ostinato("score", run, inside)
    assert code == 2
    assert "within line 1" in err


def test_training_text_with_marks_is_the_text_without(tmp_path: Path) -> None:
    lines = [f"the cat saw {k % 3} dogs" for k in range(60)]
    plain, marked = tmp_path / "text.txt", tmp_path / "marked.txt"
    plain.write_text("".join(f"{line}\n" for line in lines))
    marked.write_text("".join(f"<s> {line} </s>\n" for line in lines))
    first, second = (data_sets.load(str(path)) for path in (plain, marked))
    assert first.vocabulary.tokens == second.vocabulary.tokens
    assert "<s> and </s> left out of 60 lines" in second.details["notices"][0]
    assert "notices" not in first.details


def test_every_line_has_its_place_in_what_is_printed(ostinato: Command, tmp_path: Path) -> None:
    run, empty = saved_run(tmp_path / "run").folder, CASES / "with_empty_lines.txt"
    _, out, _ = ostinato("score", run, empty, "--json", "--independent")
    found, lines = json.loads(out), read_text(empty).splitlines()
    assert [row["sentence"] for row in found["sentences"]] == lines
    assert [row["tokens"] == 0 for row in found["sentences"]] == [not line for line in lines]
    for base in ("e", "10"):
        code, out, _ = ostinato("score", run, empty, "--lines", "--independent", "--base", base)
        values = np.array(out.split(), dtype=float) * (math.log(10) if base == "10" else 1)
        assert (code, len(values)) == (0, len(lines))
        for value, line, row in zip(values, lines, found["sentences"], strict=True):
            assert value == pytest.approx(row["log_prob"], abs=1e-5) if line else value < 0


def test_line_ends_of_old_end_sentences(tmp_path: Path) -> None:
    assert read_text(CASES / "cr_only.txt") == "the cat sat\nthe dog ran\n"
    text = "".join(f"{'the cat saw the dog'} {k}\r" for k in range(200))
    (tmp_path / "old.txt").write_bytes(text.encode())
    (tmp_path / "new.txt").write_bytes(text.replace("\r", "\n").encode())
    old, new = (data_sets.load(str(tmp_path / name)) for name in ("old.txt", "new.txt"))
    assert old.version == new.version


def test_packed_text_is_read_like_its_plain_twin(tmp_path: Path) -> None:
    assert read_text(CASES / "plain_sentences.txt.gz") == read_text(PLAIN)
    import gzip

    text = "".join(f"the cat saw {k % 7}\n" for k in range(300)).encode()
    (tmp_path / "a.txt").write_bytes(text)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(text))
    plain, packed = (data_sets.load(str(tmp_path / name)) for name in ("a.txt", "a.txt.gz"))
    assert (plain.version, plain.name) == (packed.version, packed.name)
    assert data_sets.owns(tmp_path / "a.txt.gz")
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(text)[:-9])
    with pytest.raises(UserError, match="found a damaged one"):
        whole_file(tmp_path / "cut.txt.gz")


def test_pipes_and_standard_input_are_read_to_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ostinato: Command
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(PLAIN.read_bytes()))
    writer.start()
    assert read_text(pipe) == read_text(PLAIN)
    writer.join()
    run = saved_run(tmp_path / "run").folder
    _, expected, _ = ostinato("score", run, PLAIN, "--json")
    for given in ("-", "/dev/stdin"):
        stream = io.BytesIO(PLAIN.read_bytes())
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
        code, out, _ = ostinato("score", run, given, "--json")
        assert (code, out) == (0, expected)
    empty = tmp_path / "empty"
    os.mkfifo(empty)
    writer = threading.Thread(target=lambda: empty.write_bytes(b""))
    writer.start()
    with pytest.raises(UserError, match="found nothing in it"):
        read_sentences(empty, "words")
    writer.join()


def test_standard_input_in_two_places_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ostinato: Command
) -> None:
    run = saved_run(tmp_path / "run").folder
    for arguments in (("rescore", run, "-", "--tune", "-"), ("rescore", run, "-", "-")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"u1\tthe cat\n")))
        code, _, err = ostinato(*arguments)
        assert code == 2
        assert "found nothing in it; it can be read once: give - in one place" in err
