"""N-best lists: read in all formats, ranked, within conversations, with models that learn."""

import gzip
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ostinato import train
from ostinato.domains.text.evaluation.dynamic import score_dynamically
from ostinato.domains.text.evaluation.scores import score_tokens
from ostinato.domains.text.mixture import MixtureScorer, Together
from ostinato.domains.text.nbest import Hypothesis, load_nbest, read_by_utterance, read_nbest
from ostinato.domains.text.rescore import Weights, rescore
from ostinato.domains.text.score import RunScorer, load_scorer
from ostinato.domains.text.unknown import SHARED, WHOLE, UnknownWords
from ostinato.errors import UserError
from text_models import language_model, saved_run

Command = Callable[..., tuple[int, str, str]]
MODEL, VOCABULARY = language_model()
NBEST = "u1\t-10\tthe cat saw\nu1\t-12\ta dog\nu2\t-1\tbird\nu2\t-1\t\n"


def alone(words: str) -> float:
    text = VOCABULARY.encode(words + "\n") if words else np.array([0])
    return float(score_tokens(MODEL, text).sum())


def test_hypotheses_are_ranked_by_all_their_scores() -> None:
    scorer, hypotheses = RunScorer(MODEL, VOCABULARY), read_nbest(NBEST, "list")
    weights = Weights((0.5,), lm_weight=2.0, word_bonus=0.3)
    ranked = rescore(scorer, hypotheses, weights=weights).utterances
    assert [each[0].hypothesis.utterance for each in ranked] == ["u1", "u2"]
    for each in ranked:
        assert [r.total for r in each] == sorted((r.total for r in each), reverse=True)
        for r in each:
            words = r.hypothesis.words
            assert r.log_prob == pytest.approx(alone(words), abs=1e-4)
            expected = 0.5 * r.hypothesis.scores[0] + 2 * alone(words) + 0.3 * len(words.split())
            assert r.total == pytest.approx(expected, abs=1e-3)
    acoustic = rescore(scorer, hypotheses, weights=Weights(lm_weight=0.0)).utterances
    assert acoustic[0][0].hypothesis.words == "the cat saw"
    with pytest.raises(UserError, match="expected 1 weights of scores, one score_weights for each, found 2"):
        rescore(scorer, hypotheses, weights=Weights((1, 2)))
    with pytest.raises(UserError, match="expected a finite lm_weight"):
        Weights(lm_weight=math.inf)
    for wrong in ({"word_bonus": 1e308}, {"scores": (-1e10,)}):
        with pytest.raises(UserError, match=r"of at most 1e\+09 in size"):
            Weights(**wrong)


def test_an_unknown_word_has_its_share_alone() -> None:
    types = 40
    scorer = RunScorer(MODEL, replace(VOCABULARY, stated_types=types))
    hypotheses = read_nbest("u1\tthe zebra saw\nu1\tthe cat saw\n", "list")

    def of_zebra(unknown: UnknownWords) -> float:
        (ranked,) = rescore(scorer, hypotheses, unknown=unknown).utterances
        return next(r.log_prob for r in ranked if "zebra" in r.hypothesis.words)

    whole = of_zebra(WHOLE)
    assert of_zebra(SHARED) == pytest.approx(whole - math.log(types))
    assert of_zebra(UnknownWords(shared=True, penalty=3.0)) == pytest.approx(whole - 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("u1\t-1\ta\nu2 a b\n", "in line 2 of list, found 1 field"),
        ("u1\tlow\ta\n", "expected numbers between"),
        ("u1\tinf\ta\n", "expected numbers between"),
        ("u1\t-1\ta\nu1\ta b\n", r"expected 1 score\(s\) in line 2 of list"),
        ("\n", "found none"),
    ],
)
def test_tables_with_missing_fields_are_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_nbest(text, "list")


def test_kaldis_archives_are_read(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("utt-1-1 the cat\nutt-1-2\nutt-2-1 a  dog\n")
    (tmp_path / "ac_cost").write_text("utt-2-1 7.5\nutt-1-1 10\nutt-1-2 12.25\n")
    (tmp_path / "lm_cost").write_bytes(gzip.compress(b"utt-1-1 1\nutt-1-2 2\nutt-2-1 3\n"))
    costs = [tmp_path / "ac_cost", tmp_path / "lm_cost"]
    found, _ = load_nbest([tmp_path / "text"], "kaldi", costs)
    assert found == [
        Hypothesis("utt-1", (-10.0, -1.0), "the cat"),
        Hypothesis("utt-1", (-12.25, -2.0), ""),
        Hypothesis("utt-2", (-7.5, -3.0), "a dog"),
    ]
    (tmp_path / "ac_cost").write_text("utt-1-1 10\n")
    with pytest.raises(UserError, match="expected a cost of utt-1-2 in"):
        load_nbest([tmp_path / "text"], "kaldi", costs)
    (tmp_path / "ac_cost").write_text("utt-1-1 nan\n")
    with pytest.raises(UserError, match="expected a cost in line 1"):
        load_nbest([tmp_path / "text"], "kaldi", costs)
    (tmp_path / "text").write_text("utt the cat\n")
    with pytest.raises(UserError, match="expected UTTERANCE-NUMBER WORDS in line 1"):
        load_nbest([tmp_path / "text"], "kaldi")
    with pytest.raises(UserError, match="costs is for format kaldi, found table"):
        load_nbest([tmp_path / "text"], "table", costs)


def test_srilms_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "u1.score").write_text("-100.5 -4.25 2 <s> the cat </s>\n-101 -3 1 dog\n")
    (tmp_path / "u2.gz").write_bytes(gzip.compress(b"NBestList1.0\n(-2000) a dog\n"))
    found, notices = load_nbest([tmp_path / "u1.score"], "srilm")
    assert [(one.utterance, one.words) for one in found] == [("u1", "the cat"), ("u1", "dog")]
    np.testing.assert_allclose(found[0].scores, np.array([-100.5, -4.25]) * math.log(10))
    assert "left out of 1 line" in notices[0]
    (second,), _ = load_nbest([tmp_path / "u2.gz"], "srilm")
    assert (second.utterance, second.words) == ("u2", "a dog")
    assert second.scores[0] == pytest.approx(-2000 * 1024 / 10000.5)
    (tmp_path / "u3").write_text("NBestList2.0\n(-1) a ( st: 0 )\n")
    with pytest.raises(UserError, match=r"found NBestList2\.0"):
        load_nbest([tmp_path / "u3"], "srilm")
    (tmp_path / "u3").write_text("-1 -2\n")
    with pytest.raises(UserError, match="expected ACOUSTIC LM NUMBER-OF-WORDS WORDS in line 1"):
        load_nbest([tmp_path / "u3"], "srilm")


def test_references_name_an_utterance_once() -> None:
    with pytest.raises(UserError, match="found u1 again in line 2"):
        read_by_utterance("u1 a\nu1 b\n", "text")


SAID = ["the cat saw", "a dog ate", "the bird saw a dog"]
ROUNDS = "".join(f"u{k}\t-1\t{words}\nu{k}\t-50\tbird bird\n" for k, words in enumerate(SAID))


def test_a_conversation_carries_its_state() -> None:
    """Utterance after utterance is one text: its sentences under the state that the text has come to."""
    scorer = RunScorer(MODEL, VOCABULARY, carry=True)
    weights = Weights(lm_weight=0.01)
    ranked = rescore(scorer, read_nbest(ROUNDS, "list"), weights=weights).utterances
    assert [each[0].hypothesis.words for each in ranked] == SAID
    text = VOCABULARY.encode("".join(f"{words}\n" for words in SAID))
    log_probs = score_tokens(MODEL, text)
    sums = [part.sum() for part in np.split(log_probs, np.flatnonzero(text == 0)[:-1] + 1)]
    np.testing.assert_allclose([each[0].log_prob for each in ranked], sums, atol=1e-4)
    assert abs(ranked[1][0].log_prob - alone(SAID[1])) > 1e-3
    # the loser is scored as what would have followed
    after = VOCABULARY.encode(f"{SAID[0]}\nbird bird\n")
    expected = score_tokens(MODEL, after)[len(SAID[0].split()) + 1 :].sum()
    assert ranked[1][1].log_prob == pytest.approx(expected, abs=1e-4)


def test_another_conversation_begins_anew() -> None:
    scorer = RunScorer(MODEL, VOCABULARY, carry=True)
    of = {"u0": "first", "u1": "second", "u2": "second"}
    weights = Weights(lm_weight=0.01)
    ranked = rescore(scorer, read_nbest(ROUNDS, "list"), weights=weights, conversations=of).utterances
    assert ranked[1][0].log_prob == pytest.approx(alone(SAID[1]), abs=1e-4)
    assert abs(ranked[2][0].log_prob - alone(SAID[2])) > 1e-3
    del of["u2"]
    with pytest.raises(UserError, match="expected a conversation of u2"):
        rescore(scorer, read_nbest(ROUNDS, "list"), conversations=of)


def test_a_model_learns_from_the_best_hypotheses_alone() -> None:
    """As dynamic evaluation of the text of the best hypotheses; a sentence is a segment here."""
    scorer = RunScorer(MODEL, VOCABULARY, dynamic=0.5)
    before = [p.clone() for p in MODEL.parameters()]
    text = "the cat saw the dog"
    many = "".join(f"u{k}\t-1\t{text}\nu{k}\t-900\tbird\n" for k in range(6))
    ranked = rescore(scorer, read_nbest(many, "list")).utterances
    log_probs = score_dynamically(
        MODEL, np.tile(VOCABULARY.encode(text + "\n"), 6), learning_rate=0.5, segment_length=6
    )
    np.testing.assert_allclose(
        [each[0].log_prob for each in ranked], log_probs.reshape(6, 6).sum(1), atol=1e-4
    )
    assert ranked[-1][0].log_prob > ranked[0][0].log_prob + 1
    assert all((a == b).all() for a, b in zip(before, MODEL.parameters(), strict=True))


def test_each_model_of_a_mixture_carries_its_own_state() -> None:
    models = [RunScorer(MODEL, VOCABULARY, carry=True), RunScorer(*language_model(seed=4), carry=True)]
    weights = np.array([0.4, 0.6])
    scorer = MixtureScorer(Together(models), weights)
    ranked = rescore(scorer, read_nbest(ROUNDS, "list"), weights=Weights(lm_weight=0.01)).utterances
    text = [token for words in SAID for token in [*words.split(), "</s>"]]
    mixed = sum(w * np.exp(m.score(text)) for w, m in zip(weights, models, strict=True))
    ends = np.cumsum([len(words.split()) + 1 for words in SAID])
    expected = [part.sum() for part in np.split(np.log(mixed), ends[:-1])]
    np.testing.assert_allclose([each[0].log_prob for each in ranked], expected, atol=1e-4)


def test_lists_from_the_command_line(tmp_path: Path, ostinato: Command) -> None:
    run, nbest = saved_run(tmp_path / "run").folder, tmp_path / "nbest"
    nbest.write_text(NBEST)
    code, out, _ = ostinato("rescore", run, nbest, "--lines")
    values = list(map(float, out.split()))
    assert code == 0
    np.testing.assert_allclose(values, [alone(w) for w in ("the cat saw", "a dog", "bird", "")], atol=1e-4)
    _, out, _ = ostinato("rescore", run, nbest, "--lines", "--base", "10")
    np.testing.assert_allclose(np.array(out.split(), float) * math.log(10), values)
    _, out, _ = ostinato("rescore", run, nbest, "--all", "--json")
    found = json.loads(out)
    assert [len(each) for each in found["utterances"]] == [2, 2]
    (tmp_path / "spoken").write_text("u1 one\nu2 two\n")
    code, carried, _ = ostinato("rescore", run, nbest, "--lines", "--conversations", tmp_path / "spoken")
    np.testing.assert_allclose(list(map(float, carried.split())), values, atol=1e-4)
    code, carried, _ = ostinato("rescore", run, nbest, "--lines", "--carry")
    assert np.abs(np.array(carried.split(), float) - values).max() > 1e-3
    for wrong in ("nan", "1e308", "-1"):
        code, _, err = ostinato("rescore", run, nbest, "--dynamic", "--dynamic-rate", wrong)
        assert (code, err.count("\n")) == (2, 1)
        assert "expected --dynamic-rate of 0 to 1000, found" in err
    code, learned, _ = ostinato("rescore", run, nbest, "--lines", "--dynamic", "--dynamic-rate", "0.5")
    assert np.abs(np.array(learned.split(), float) - np.array(carried.split(), float)).max() > 1e-3
    code, _, err = ostinato("rescore", run, nbest, "--mix-with", run)
    assert code == 2
    assert "either --mix-weight or --fit-on" in err
    code, out, _ = ostinato("rescore", run, nbest, nbest, "--unknown-types", "0")
    assert code == 2


def test_the_types_of_an_unknown_word_can_be_said(tmp_path: Path) -> None:
    run = saved_run(tmp_path / "run").folder
    assert load_scorer(run, unknown_types=50).unknown_types == 50
    assert load_scorer(run).unknown_types == VOCABULARY.unknown_types


def test_a_hypothesis_of_kaldi_has_one_cost(tmp_path: Path, ostinato: Command) -> None:
    text, costs = tmp_path / "text", tmp_path / "costs"
    text.write_text("u1-1 the cat\nu1-2 a dog\n")
    costs.write_text("u1-1 1\nu1-2 2\nu9-1 3\n")
    _, notices = load_nbest([text], "kaldi", [costs])
    assert notices == [f"1 cost without a hypothesis left out of {costs}"]
    costs.write_text("u1-1 1\nu1-2 2\nu1-1 100\n")
    with pytest.raises(UserError, match="found u1-1 again in line 3"):
        load_nbest([text], "kaldi", [costs])
    text.write_text("u1-1 the cat\nu1-1 a dog\n")
    with pytest.raises(UserError, match="found u1-1 again; number the hypotheses"):
        load_nbest([text], "kaldi")


def test_lists_with_other_scores_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "u1").write_text("-100 -4 2 the cat\n")
    (tmp_path / "u2").write_text("NBestList1.0\n(-1000) the cat\n")
    with pytest.raises(UserError, match=r"expected 2 scores of each hypothesis of .*u2, as in .*u1, found 1"):
        load_nbest([tmp_path / "u1", tmp_path / "u2"], "srilm")


@pytest.mark.parametrize("score", ["-inf", "1e400", "nan"])
def test_a_score_is_a_finite_number(score: str) -> None:
    with pytest.raises(UserError, match=rf"in line 2 of list, finite and of at most .* found '{score}'"):
        read_nbest(f"u1\t1\tthe cat\nu1\t{score}\ta dog\n", "list")


def test_a_bonus_counts_words_as_the_model_does() -> None:
    scorer = RunScorer(MODEL, replace(VOCABULARY, white_space="ascii"))
    hypotheses = read_nbest("u1\tthe\u00a0cat saw\nu1\tthe saw\n", "list")
    (ranked,) = rescore(scorer, hypotheses, weights=Weights(word_bonus=100.0)).utterances
    for one in ranked:
        assert one.total - one.log_prob == pytest.approx(200)
    (ranked,) = rescore(
        RunScorer(MODEL, VOCABULARY), hypotheses, weights=Weights(word_bonus=100.0)
    ).utterances
    assert sorted(round(one.total - one.log_prob) for one in ranked) == [200, 300]


def test_conversations_may_take_turns_in_a_list() -> None:
    lines = ["a1\tthe cat saw", "b1\ta bird", "a2\tthe dog", "b2\tate a", "a3\tsaw"]
    conversations = {line[:2]: line[0] for line in lines}
    scorer = RunScorer(MODEL, VOCABULARY, carry=True)
    found: list[dict[str, float]] = []
    for order in (lines, sorted(lines)):
        hypotheses = read_nbest("\n".join(order), "list")
        ranked = rescore(scorer, hypotheses, conversations=conversations).utterances
        assert [one[0].hypothesis.utterance for one in ranked] == [line[:2] for line in order]
        found.append({one[0].hypothesis.utterance: one[0].log_prob for one in ranked})
    assert found[0] == found[1]
    # the second of a conversation knows of the first
    assert found[0]["a2"] != pytest.approx(alone("the dog"), abs=1e-3)


def test_what_remembers_nothing_cannot_carry_its_state(tmp_path: Path, ostinato: Command) -> None:
    run, arpa, cases = tmp_path / "run", "no_unk.arpa", Path(__file__).parent / "cases"
    saved_run(run)
    (tmp_path / "list").write_text(NBEST)
    (tmp_path / "of").write_text("u1 a\nu2 a\n")
    for option in ("--carry", "--dynamic"):
        code, _, err = ostinato("rescore", cases / arpa, tmp_path / "list", option)
        assert code == 2
        assert f"{option} carries a state from sentence to sentence, found n-grams" in err
        mixed = ("--mix-with", run, "--mix-weight", "0.5")
        code, _, _ = ostinato("rescore", cases / arpa, tmp_path / "list", option, *mixed)
        assert code == 0
    # conversations are resampled as a whole, too
    told = ("--conversations", tmp_path / "of")
    assert ostinato("rescore", cases / arpa, tmp_path / "list", *told)[0] == 0
    code, _, err = ostinato("score", cases / arpa, cases / "plain_sentences.txt", "--dynamic")
    assert code == 2
    assert "--dynamic carries a state from sentence to sentence, found n-grams" in err
    alone = tmp_path / "alone"
    settings = {"domain": "words", "epochs": 1, "hidden_size": 4, "independent": True}
    train("SGD+C", ["the cat saw", "a dog ate"] * 9, out=alone, **settings)
    for more in (("--carry",), ("--dynamic",), told):
        code, _, err = ostinato("rescore", alone, tmp_path / "list", *more)
        assert code == 2
        assert f"{more[0]} carries its state, found a run on independent sentences" in err
