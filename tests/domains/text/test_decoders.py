"""Decoders of speech with a run's model: what they choose is what scoring whole sentences would choose."""

import json
import subprocess
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import ostinato
from decoder_programs import PYCTCDECODE, TORCHAUDIO, environment, output_of
from ostinato import LanguageModel, UserError
from text_models import LINES, saved_run

WORDS = ("the", "cat", "saw", "dog", "a", "bird", "ate")
SENTENCES = ("the cat saw", "a bird ate", "dog saw the cat")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of words, and of characters."""
    folder = tmp_path_factory.mktemp("runs")
    saved_run(folder / "words")
    settings = {"domain": "chars", "epochs": 1, "hidden_size": 8, "learning_rate": 0.5}
    ostinato.train("SGD+C", [LINES] * 9, out=folder / "chars", **settings)
    return folder / "words", folder / "chars"


def test_pyctcdecode_asks_word_by_word(runs: tuple[Path, Path]) -> None:
    for run, end in zip(runs, ("</s>", "\n"), strict=True):
        lm = LanguageModel.open(run)
        scorer = lm.for_pyctcdecode(alpha=2.0, beta=0.5)
        state, total = scorer.get_start_state(), 0.0
        for word, last in (("the", False), ("cat", False), ("saw", True)):
            score, state = scorer.score(state, word, is_last_word=last)
            total += score
        whole = ["the", "cat", "saw"] if end == "</s>" else list("the cat saw")
        assert total == pytest.approx(2 * lm.score([[*whole, end]])[0] + 3 * 0.5, abs=1e-4)
        # the end alone, of a sentence without words
        assert scorer.score((), "", is_last_word=True)[0] == pytest.approx(2 * lm.score([[end]])[0], abs=1e-4)
        assert scorer.score_partial_token("th") == 0.0


def test_pyctcdecode_may_change_the_weights(runs: tuple[Path, Path]) -> None:
    scorer = LanguageModel.open(runs[0]).for_pyctcdecode()
    before, _ = scorer.score((), "the")
    scorer.reset_params(alpha=1.0, beta=None, unk_score_offset=None)
    after, _ = scorer.score((), "the")
    assert after - 1.5 == pytest.approx(2 * (before - 1.5))
    with pytest.raises(UserError, match="expected alpha or beta, found score_boundary"):
        scorer.reset_params(score_boundary=True)
    with pytest.raises(UserError, match="expected a finite beta, found inf"):
        scorer.reset_params(beta=float("inf"))


class State:
    """As torchaudio's: the child of an index is always the same object."""

    def __init__(self) -> None:
        self.children: dict[int, State] = {}

    def child(self, index: int) -> "State":
        return self.children.setdefault(index, State())


def test_torchaudio_asks_by_the_numbers_of_its_own(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in: Any = types.ModuleType("torchaudio.models.decoder")
    stand_in.CTCDecoderLM, stand_in.CTCDecoderLMState = object, State
    monkeypatch.setitem(sys.modules, "torchaudio.models.decoder", stand_in)
    lm = LanguageModel.open(runs[0])
    scorer = lm.for_torchaudio(WORDS)
    state, total = scorer.start(False), 0.0
    for word in ("a", "bird"):
        state, score = scorer.score(state, WORDS.index(word))
        total += score
    _, score = scorer.finish(state)
    assert total + score == pytest.approx(lm.score([["a", "bird", "</s>"]])[0], abs=1e-4)
    scorer.start(False)
    assert len(scorer.prefixes) == 1
    chars = LanguageModel.open(runs[1])
    by_token = chars.for_torchaudio(["-", " ", "c", "a"], as_tokens=True)
    state, first = by_token.score(by_token.start(), 2)
    _, second = by_token.score(state, 1)
    assert first + second == pytest.approx(chars.score(["c "])[0], abs=1e-4)


def test_without_torchaudio_there_is_a_line(runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(UserError, match="expected torchaudio with its CTC decoder, found none"):
        LanguageModel.open(runs[0]).for_torchaudio(WORDS)


@pytest.mark.long
def test_pyctcdecode_chooses_as_whole_sentences_do(runs: tuple[Path, Path], tmp_path: Path) -> None:
    python, _ = environment(tmp_path / "python", "pyctcdecode")
    for run, end in zip(runs, ("</s>", "\n"), strict=True):
        found = output_of(python, PYCTCDECODE, str(run), json.dumps(WORDS), json.dumps(SENTENCES))
        lm = LanguageModel.open(run)
        alpha, beta = found["alpha"], found["beta"]

        def worth(text: str, lm: LanguageModel = lm, end: str = end) -> float:
            whole = f"{text}\n" if end == "\n" else [*text.split(), end]
            return float(alpha * lm.score([whole])[0] + beta * len(text.split()))  # noqa: B023

        for beams, alone in zip(found["beams"], found["without"], strict=True):
            assert len(beams) > 50
            for text, acoustic, total in beams:
                assert total - acoustic == pytest.approx(worth(text), abs=1e-4)
            acoustics = dict(alone)
            best = max(acoustics, key=lambda text: acoustics[text] + worth(text))
            assert beams[0][0] == best


@pytest.mark.long
def test_torchaudio_chooses_as_whole_sentences_do(runs: tuple[Path, Path], tmp_path: Path) -> None:
    python, site = environment(tmp_path / "python", "--no-deps", "torchaudio", "flashlight-text")
    imports = [python, "-c", "import torchaudio.models.decoder"]
    if subprocess.run(imports, capture_output=True, check=False).returncode != 0:
        # its own extension is of another PyTorch than this one; the decoder needs none of it
        for extension in (site / "torchaudio" / "lib").glob("*.so"):
            extension.unlink()
    arguments = [json.dumps(WORDS), json.dumps(SENTENCES), str(tmp_path / "words.txt"), str(runs[1])]
    found = output_of(python, TORCHAUDIO, str(runs[0]), *arguments)
    words, chars = map(LanguageModel.open, runs)
    check(found["with"], found["without"], lambda x: words.score([[*x.split(), "</s>"]])[0], found["weight"])
    check(
        found["spelled"],
        found["spelled_without"],
        # flashlight puts a silence of its own before and behind what it spells
        lambda x: chars.score([x[1:-1].replace("|", " ") + "\n"])[0],
        found["weight"],
    )


def check(
    with_model: Sequence[Any], without: Sequence[Any], score: Callable[[str], float], weight: float
) -> None:
    """Totals of the hypotheses that are listed without a model too, and the choice among these."""
    for chosen, alone in zip(with_model, without, strict=True):
        acoustic = dict(alone)
        both = [(text, total) for text, total in chosen if text in acoustic]
        assert len(both) >= 2
        for text, total in both:
            assert total == pytest.approx(acoustic[text] + weight * score(text), abs=1e-3)
        best = max(acoustic, key=lambda text: acoustic[text] + weight * score(text))
        assert chosen[0][0] == best
