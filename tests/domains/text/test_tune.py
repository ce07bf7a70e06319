"""Weights of rescoring, tuned by word errors on half of the utterances and tried on the other."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nbest_lists import bigrams, grammar, nbest
from ostinato.domains.text.mixture import MixtureScorer, Together
from ostinato.domains.text.nbest import Hypothesis, read_by_utterance, read_nbest
from ostinato.domains.text.rescore import Weights, rescore
from ostinato.domains.text.tune import Tuned, tune
from ostinato.domains.text.unknown import SHARED, UnknownWords
from ostinato.domains.text.word_errors import word_errors
from ostinato.errors import UserError
from text_models import saved_run


def edit_distance(a: list[str], b: list[str]) -> int:
    """By the textbook: a table of prefixes."""
    table = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    table[:, 0], table[0] = range(len(a) + 1), range(len(b) + 1)
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            change = table[i - 1, j - 1] + (a[i - 1] != b[j - 1])
            table[i, j] = min(change, table[i - 1, j] + 1, table[i, j - 1] + 1)
    return int(table[-1, -1])


def test_word_errors_are_the_edit_distance() -> None:
    draw = np.random.default_rng(0)
    for _ in range(200):
        a, b = (list(draw.choice(list("abc"), draw.integers(0, 7))) for _ in range(2))
        assert word_errors(a, b) == edit_distance(a, b)


DRAW = np.random.default_rng(5)
TEXT, SAID = ([grammar(DRAW) for _ in range(count)] for count in (400, 160))
LIST, REFERENCES = nbest(SAID, 20, seed=1)


def tuned(list_: str = LIST, **options: object) -> Tuned:
    hypotheses, references = read_nbest(list_, "list"), read_by_utterance(REFERENCES, "references")
    wanted = {"weights": Weights(lm_weight=0.1), "unknown": SHARED, **options}
    return tune(bigrams(TEXT), hypotheses, references, **wanted)  # type: ignore[arg-type]


def test_tuning_on_one_half_lowers_errors_on_the_other() -> None:
    found = tuned()
    assert (found.tuned_on, found.tried_on) == (80, 80)
    assert found.rate("oracle") < found.rate("after") < found.rate("before") <= found.rate("first")
    assert found.difference.value == pytest.approx(found.rate("after") - found.rate("before"))
    assert found.difference.interval[1] < 0  # sure


def test_what_is_told_is_what_rescoring_with_these_weights_comes_to() -> None:
    """By the other way: each half's best hypotheses by `rescore`, their errors by the textbook."""
    found, references = tuned(), read_by_utterance(REFERENCES, "references")
    weights = Weights(lm_weight=found.after.lm_weight, word_bonus=found.after.word_bonus)
    rescored = rescore(bigrams(TEXT), read_nbest(LIST, "list"), weights=weights).utterances
    order = np.random.default_rng(0).permutation(160)
    tried = np.sort(order[80:])
    best = [rescored[k][0].hypothesis for k in tried]
    errors = [edit_distance(references[h.utterance].split(), h.words.split()) for h in best]
    assert found.errors["after"].tolist() == errors
    words = sum(len(references[h.utterance].split()) for h in best)
    assert found.rate("after") == pytest.approx(100 * sum(errors) / words)


def test_weights_of_a_mixture_and_a_penalty_of_unknown_words_are_tuned_too() -> None:
    poor = bigrams([list(reversed(s)) for s in TEXT])
    scorer = MixtureScorer(Together([poor, bigrams(TEXT)]), np.array([0.95, 0.05]))
    text, references = nbest(SAID, 20, seed=2, words=["okapi", "cat", "the"])
    found = tune(
        scorer,
        read_nbest(text, "list"),
        read_by_utterance(references, "references"),
        weights=Weights(lm_weight=1.0),
        unknown=UnknownWords(shared=True, penalty=0.0),
    )
    assert found.after.mixture[1] > 0.3
    assert sum(found.after.mixture) == pytest.approx(1)
    assert (found.after.unknown_penalty or 0) > 0
    assert found.rate("after") < found.rate("before")


def test_utterances_without_a_reference_are_left_out() -> None:
    hypotheses = read_nbest(LIST, "list")
    found, extra = tuned(), [Hypothesis("nobody", (-3.0,), "the cat")]
    references = read_by_utterance(REFERENCES, "references")
    other = tune(
        bigrams(TEXT), hypotheses + extra, references, weights=Weights(lm_weight=0.1), unknown=SHARED
    )
    assert other.after == found.after
    few = {name: references[name] for name in ("u1", "u2", "u3")}
    with pytest.raises(UserError, match="found those of 3"):
        tune(bigrams(TEXT), hypotheses, few, weights=Weights(), unknown=SHARED)


def test_tuning_from_the_command_line(tmp_path: Path, ostinato: Callable[..., tuple[int, str, str]]) -> None:
    run = saved_run(tmp_path / "run").folder
    (tmp_path / "list").write_text(LIST)
    (tmp_path / "references").write_text(REFERENCES + "other words\n")
    code, out, err = ostinato("rescore", run, tmp_path / "list", "--tune", tmp_path / "references", "--json")
    found = json.loads(out)
    assert code == 0
    assert "1 reference without hypotheses left out" in err
    assert set(found["word_error_rate"]) == {"first", "before", "after", "oracle"}
    assert found["difference"]["interval"][0] <= found["difference"]["value"]
    code, out, _ = ostinato("rescore", run, tmp_path / "list", "--tune", tmp_path / "references")
    assert found["options"] in " ".join(out.split())
    assert "oracle" in out
    code, _, err = ostinato("rescore", run, tmp_path / "list", *found["options"].split())
    assert code == 0


def test_words_of_references_are_those_of_the_model(
    tmp_path: Path, ostinato: Callable[..., tuple[int, str, str]]
) -> None:
    cases = Path(__file__).parent / "cases"
    names = [f"u{k}" for k in range(8)]
    (tmp_path / "list").write_text("".join(f"{u}\t10\u00a0000 b\n{u}\tb\n" for u in names))
    (tmp_path / "said").write_text("".join(f"{u} <s> 10\u00a0000 b </s>\n" for u in names))
    arguments = (cases / "nbsp_in_token.arpa", tmp_path / "list", "--tune", tmp_path / "said", "--json")
    code, out, err = ostinato("rescore", *arguments)
    assert code == 0
    assert "<s> and </s> left out of 8 lines" in err
    found = json.loads(out)
    assert found["reference_words"] == 2 * found["utterances"]["tried_on"]
    assert found["word_error_rate"]["first"] == 0
