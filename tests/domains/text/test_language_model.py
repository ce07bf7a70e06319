"""A decoder's questions: the same answers as scoring whole sentences, in any order and in any batch."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from ostinato import LanguageModel
from ostinato.domains.domain import domain_named
from ostinato.domains.text.evaluation.scores import score_together, score_tokens
from ostinato.domains.text.language_model import States
from ostinato.domains.text.reading.data_sets import TextData
from ostinato.domains.text.reading.vocabulary import Unit, Vocabulary
from ostinato.domains.text.unknown import WHOLE, UnknownWords
from ostinato.errors import UserError
from ostinato.recipe.recipe import Recipe
from text_models import LINES, saved_run

SENTENCES = ("the cat saw", "a bird ate", "the dog saw the cat", "a")
KINDS: dict[str, dict[str, Any]] = {
    "classes": {"domain": "words", "classes": 3},
    "softmax": {"domain": "words", "output": "softmax"},
    "lstm": {"domain": "words", "cell": "lstm", "num_layers": 2, "classes": 2},
    "direct": {"domain": "words", "classes": 3, "direct": 500, "vocabulary_size": 20, "direct_order": 4},
    "direct and gru": {
        "domain": "words",
        "output": "softmax",
        "cell": "gru",
        "direct": 500,
        "vocabulary_size": 20,
    },
    "direct and lstm": {"domain": "words", "cell": "lstm", "direct": 500, "vocabulary_size": 20},
    "chars": {"domain": "chars"},
    "bytes": {"domain": "chars", "unit": "bytes"},
}


def made(name: str, **more: Any) -> LanguageModel:
    recipe = Recipe.parse("SGD", hidden_size=8, seed=1, **KINDS[name])
    unit: Unit = recipe.unit or recipe.domain  # type: ignore[assignment]
    vocabulary = Vocabulary.count(unit, [LINES * 2])
    tokens, domain = vocabulary.encode(LINES), domain_named(recipe.domain)
    data = TextData("lines", vocabulary, tokens, tokens, tokens, version="1")
    model = domain.model(recipe, domain.identity(data), data)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=generator)
    return LanguageModel(model, vocabulary, **more)


def whole(lm: LanguageModel, sentence: str) -> float:
    """A sentence with its end, by the function that everything else scores with."""
    return float(score_tokens(lm.model, lm.vocabulary.encode(sentence + "\n")).sum())


@pytest.mark.parametrize("name", KINDS)
def test_steps_come_to_what_whole_sentences_have(name: str) -> None:
    lm = made(name)
    rows = [lm.vocabulary.encode(sentence + "\n").astype(np.int64) for sentence in SENTENCES]
    states, totals = lm.start(len(rows)), np.zeros(len(rows))
    every = np.arange(len(rows))
    for n in range(max(map(len, rows))):
        # the hypotheses that go on, in another order at each step
        left = [k for k in np.roll(every, n) if n < len(rows[k])]
        places = [list(every).index(k) for k in left]
        states, every = states[places], np.array(left)
        tokens = torch.tensor([int(rows[k][n]) for k in left])
        full = lm.log_probs(states)
        torch.testing.assert_close(full.exp().sum(1), torch.ones(len(left)), atol=1e-5, rtol=0)
        chosen = lm.log_probs(states, tokens.unsqueeze(1))
        torch.testing.assert_close(chosen, full.gather(1, tokens.unsqueeze(1)), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(lm.log_probs(states, tokens), full[:, tokens], atol=1e-5, rtol=1e-5)
        for k, p in zip(left, chosen[:, 0].tolist(), strict=True):
            totals[k] += p
        states = lm.step(states, tokens)
    for total, sentence in zip(totals, SENTENCES, strict=True):
        assert total == pytest.approx(whole(lm, sentence), abs=1e-4)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("cached", [1, 4, 1000])
def test_prefixes_are_scored_whatever_is_kept_of_them(name: str, cached: int) -> None:
    lm = made(name, cached=cached)
    sentences = [lm.vocabulary.split(sentence + "\n") for sentence in SENTENCES]
    expected = [whole(lm, sentence) for sentence in SENTENCES]
    rng = np.random.default_rng(3)
    for _ in range(5):
        order = rng.permutation(len(sentences))
        assert lm.score([sentences[k] for k in order]) == pytest.approx(
            [expected[k] for k in order], abs=1e-4
        )
        assert len(lm._prefixes) <= cached
        half = [own[: len(own) // 2] for own in sentences]
        found = lm.score(half)
        for own, value in zip(half, found, strict=True):
            ids = lm.vocabulary.numbers(own)
            assert value == pytest.approx(float(score_tokens(lm.model, ids).sum()), abs=1e-4)
    assert lm.score([[]]).tolist() == [0.0]


def test_a_longer_prefix_costs_the_steps_that_are_new() -> None:
    lm, steps = made("classes"), 0
    read = lm.model.read

    def counted(inputs: torch.Tensor, *rest: Any) -> Any:
        nonlocal steps
        steps += inputs.shape[1]
        return read(inputs, *rest)

    lm.model.read = counted  # type: ignore[method-assign]
    lm.score([["the", "cat", "saw"]])
    assert steps == 3  # the start, and all but the last
    lm.score([["the", "cat", "saw", "the"], ["the", "cat", "saw", "a"], ["the", "cat", "saw", "</s>"]])
    assert steps == 4


def test_a_text_is_split_as_the_model_reads_it() -> None:
    words, chars = made("classes"), made("chars")
    assert words.score(["the cat\n"]) == words.score([["the", "cat", "</s>"]])
    assert words.score(["the cat"]) == words.score([["the", "cat"]])
    assert chars.score(["the c"]) == chars.score([list("the c")])


def test_a_class_factored_output_costs_its_classes() -> None:
    """The words' own classes alone: those of others may be anything."""
    lm = made("classes")
    states, words = lm.start(2), [[0], [0]]
    before = lm.log_probs(states, words)
    output: Any = lm.model.output
    with torch.no_grad():
        output.weight[output.offsets[1] :] = math.nan
    torch.testing.assert_close(lm.log_probs(states, words), before)
    assert lm.log_probs(states).isnan().any()


def test_an_unknown_word_has_its_share() -> None:
    lm = made("classes")
    stated = replace(lm.vocabulary, stated_types=10)
    shared = LanguageModel(lm.model, stated)
    all_of_it = LanguageModel(lm.model, stated, unknown=WHOLE)
    penalised = LanguageModel(lm.model, stated, unknown=UnknownWords(penalty=5.0))
    prefix = [["the", "zebra", "saw", "zoe"]]
    base = float(score_tokens(lm.model, stated.numbers(prefix[0])).sum())
    assert all_of_it.score(prefix) == pytest.approx(base, abs=1e-4)
    assert shared.score(prefix) == pytest.approx(base - 2 * math.log(10), abs=1e-4)
    assert penalised.score(prefix) == pytest.approx(base - 10.0, abs=1e-4)


def test_it_is_opened_from_a_run(tmp_path: Any) -> None:
    saved_run(tmp_path / "run")
    lm = LanguageModel.open(tmp_path / "run", cached=7)
    assert (lm.cached, lm.end) == (7, 0)
    for one, other in itertools.pairwise(lm.score([["the"], ["the", "cat"]])):
        assert other < one < 0
    with pytest.raises(UserError, match="expected a run"):
        LanguageModel.open(tmp_path)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (lambda lm: lm.start(0), "expected batch of at least 1, found 0"),
        (lambda lm: lm.step(lm.start(2), [1]), r"ids of shape \(2,\), found torch.int64 of shape \(1,\)"),
        (lambda lm: lm.step(lm.start(1), [1.0]), "expected token ids of shape"),
        (lambda lm: lm.step(lm.start(1), [99]), r"expected token ids in \[0, 9\), found 99 to 99"),
        (lambda lm: lm.log_probs(lm.start(1), [-1]), r"expected token ids in \[0, 9\), found -1 to -1"),
        (lambda lm: lm.log_probs(lm.start(3), [[1], [2]]), r"of shape \(3, 1\), found"),
        (lambda lm: LanguageModel(lm.model, lm.vocabulary, cached=0), "expected cached of at least 1"),
    ],
)
def test_what_cannot_be_asked_is_refused(asked: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        asked(made("classes"))


def sessions(lm: LanguageModel, path: Path) -> Any:
    """The file in onnxruntime, as `step(tokens, state) -> (log p, state)`, and a state of zeros for B."""
    session = onnxruntime.InferenceSession(str(path))
    names = [own.name for own in session.get_inputs()][1:]
    outputs = ["log_probs", *(f"next_{name}" for name in names)]

    def step(tokens: Any, state: Any) -> tuple[np.ndarray, list[np.ndarray]]:
        log_p, *after = session.run(
            outputs, {"tokens": np.asarray(tokens, np.int64), **dict(zip(names, state, strict=True))}
        )
        return log_p, after

    def zeros(batch: int) -> list[np.ndarray]:
        shapes = [own.shape for own in session.get_inputs()[1:]]
        return [np.zeros((shape[0], batch, shape[2]), np.float32) for shape in shapes]

    return session, step, zeros


@pytest.mark.parametrize("name", ["classes", "lstm", "chars"])
def test_a_step_runs_elsewhere(name: str, tmp_path: Path) -> None:
    lm = made(name)
    lm.export_onnx(tmp_path / "step.onnx")
    session, step, zeros = sessions(lm, tmp_path / "step.onnx")
    rng = np.random.default_rng(4)
    tokens = rng.integers(len(lm.vocabulary), size=(6, 5))
    states, (log_p, state) = lm.start(5), step([lm.end] * 5, zeros(5))
    for row in tokens:
        np.testing.assert_allclose(log_p, lm.log_probs(states).numpy(), atol=1e-5)
        order = rng.permutation(5)
        states, state = states[order], [x[:, order] for x in state]
        states, (log_p, state) = lm.step(states, row), step(row, state)
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["tokens"]) == list(lm.vocabulary.tokens)
    assert (told["end"], told["unknown"]) == ("0", str(lm.vocabulary.unknown_id))
    assert told["unit"] == lm.vocabulary.unit


@pytest.mark.parametrize(
    ("settings", "found"),
    [({"cell": "ctrnn"}, "CTRNN"), ({"nonlinearity": "softplus"}, "RNN with nonlinearity softplus")],
)
def test_cells_that_do_not_run_elsewhere(
    settings: dict[str, Any], found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "own", {"domain": "words", "classes": 3} | settings)
    with pytest.raises(UserError, match=f"operations that ONNX has: cell rnn .* gru or lstm; found {found}$"):
        made("own").export_onnx(tmp_path / "step.onnx")
    assert not list(tmp_path.iterdir())


def test_hashes_do_not_run_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a model without direct n-grams"):
        made("direct").export_onnx(tmp_path / "step.onnx")
    assert not list(tmp_path.iterdir())


def test_a_run_is_exported(ostinato: Any, tmp_path: Path) -> None:
    saved_run(tmp_path / "run")
    code, out, _ = ostinato("export", str(tmp_path / "run"), str(tmp_path / "step.onnx"))
    assert (code, out) == (0, f"wrote {tmp_path / 'step.onnx'}\n")
    _, step, zeros = sessions(LanguageModel.open(tmp_path / "run"), tmp_path / "step.onnx")
    lm = LanguageModel.open(tmp_path / "run")
    np.testing.assert_allclose(step([lm.end], zeros(1))[0], lm.log_probs(lm.start()).numpy(), atol=1e-5)
    code, _, err = ostinato("export", str(tmp_path / "run"), str(tmp_path / "step.bin"))
    assert (code, err) == (
        2,
        f"ostinato: expected a name that ends in .onnx, found {tmp_path / 'step.bin'}\n",
    )


@pytest.mark.long
@pytest.mark.parametrize("name", ["classes", "chars"])
def test_ten_thousand_sentences_score_alike_elsewhere(name: str, tmp_path: Path) -> None:
    """Step by step in onnxruntime, a thousand hypotheses at a time, and whole by the model."""
    lm = made(name)
    with torch.no_grad():  # as large as trained ones: states that grow from step to step lose digits
        for parameter in lm.model.parameters():
            parameter.mul_(0.3)
    lm.export_onnx(tmp_path / "step.onnx")
    _, step, zeros = sessions(lm, tmp_path / "step.onnx")
    rng, worst = np.random.default_rng(5), 0.0
    for _ in range(10):
        lengths = rng.integers(1, 30, size=1000)
        sentences = [np.append(rng.integers(1, len(lm.vocabulary), size=n), 0) for n in lengths]
        wanted = score_together(lm.model, sentences)
        found: list[list[float]] = [[] for _ in sentences]
        log_p, state = step([lm.end] * 1000, zeros(1000))
        for t in range(int(lengths.max()) + 1):
            tokens = np.array([own[t] if t < len(own) else 0 for own in sentences])
            for k, own in enumerate(sentences):
                if t < len(own):
                    found[k].append(log_p[k, tokens[k]])
            log_p, state = step(tokens, state)
        worst = max(worst, *(np.abs(a - np.array(b)).max() for a, b in zip(wanted, found, strict=True)))
    assert worst <= 1e-5, worst


def test_hypotheses_are_named_by_their_place_or_by_a_mask() -> None:
    lm = made("classes")
    states = lm.step(lm.start(3), lm.ids(["the", "cat", "a"]))
    expected = lm.log_probs(states)
    for mask in ([True, False, True], np.array([True, False, True]), torch.tensor([True, False, True])):
        assert torch.equal(lm.log_probs(states[mask]), expected[[0, 2]])
    for none in ([], [False] * 3, np.array([], dtype=int)):
        kept = states[none]
        assert len(lm.step(kept, [])) == len(kept) == 0
        assert lm.log_probs(kept).shape == (0, len(lm.vocabulary))
    assert lm.log_probs(states, []).shape == (3, 0)
    for wrong in ([3], [-1], [0.5], [True], "a"):
        with pytest.raises(UserError, match=r"expected (hypotheses in|whole numbers)"):
            states[wrong]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (lambda lm: lm.start(2.5), "expected batch of at least 1, found 2.5"),
        (lambda lm: lm.step(lm.start(1), ["the"]), "expected whole numbers"),
        (lambda lm: lm.step(lm.start(1), [True]), "expected token ids of shape"),
        (lambda lm: lm.log_probs(lm.start(1), ["the"]), r"expected whole numbers.*ids\(\) gives those"),
        (lambda lm: lm.score("the cat"), "expected a list of prefixes, found one text"),
        (lambda lm: lm.ids("the"), "expected a list of words, found a text"),
    ],
)
def test_what_is_no_list_of_ids_is_one_line(asked: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        asked(made("classes"))


def test_characters_of_a_text_are_tokens() -> None:
    lm = made("chars")
    assert lm.ids("the").tolist() == lm.ids(list("the")).tolist()


@pytest.mark.parametrize("name", ["classes", "direct and lstm", "chars"])
def test_states_are_put_together_where_they_are_of_one_model(name: str) -> None:
    lm = made(name)
    one, two = lm.step(lm.start(1), [1]), lm.step(lm.start(2), [2, 3])
    both = States.of([one, two])
    torch.testing.assert_close(lm.log_probs(both), torch.cat([lm.log_probs(one), lm.log_probs(two)]))
    with pytest.raises(UserError, match="expected states of one model, found none"):
        States.of([])
    with pytest.raises(UserError, match="found some of models of other sizes"):
        States.of([one, made("lstm").start(1)])
