"""A language model as a decoder asks it: what comes next after each of many hypotheses, step by step.

Shapes: B hypotheses, K words asked for, V vocabulary, N tokens.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ostinato.domains.text.decoders import PyctcdecodeScorer, torchaudio_scorer
from ostinato.domains.text.onnx_step import export_step
from ostinato.domains.text.reading.extents import OF_WORDS
from ostinato.domains.text.reading.vocabulary import END_ID, NO_ID, Vocabulary
from ostinato.domains.text.unknown import SHARED, UnknownWords
from ostinato.errors import UserError, argument
from ostinato.nn import SequenceModel
from ostinato.nn.cells.state import State, concatenate, map_state, select
from ostinato.nn.devices import device_of
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model


@dataclass(frozen=True)
class States:
    """What a language model remembers of B hypotheses: all that its predictions depend on.

    Arguments:
        read: what the output layer reads, each (B, ...).
        carried: the recurrent network's own state, B streams.
    """

    read: tuple[Tensor, ...]
    carried: State

    def __len__(self) -> int:
        return len(self.read[0])

    def __getitem__(self, rows: int | Sequence[int] | Tensor | np.ndarray) -> States:
        """The states of some hypotheses, in the order in which they are named, each as often as it is.

        Args:
            rows: in [0, B); or which are kept, (B,) bool. None of them is no state.

        Raises:
            UserError: there is no such hypothesis.
        """
        places = _rows(rows, len(self)).to(self.read[0].device)
        return States(tuple(x.index_select(0, places) for x in self.read), select(self.carried, places))

    @staticmethod
    def of(parts: Sequence[States]) -> States:
        """Several states of one model as one.

        Raises:
            UserError: there are none, or their sizes are not those of one model.
        """
        kinds = {part._kind() for part in parts}
        if len(kinds) != 1:
            found = "none" if not kinds else "some of models of other sizes"
            raise UserError(f"expected states of one model, found {found}")
        read = tuple(torch.cat(same) for same in zip(*(part.read for part in parts), strict=True))
        return States(read, concatenate([part.carried for part in parts]))

    def _kind(self) -> tuple[Any, ...]:
        """What is the same of all states of a model."""
        return tuple((x.shape[1:], x.dtype) for x in self.read), _sizes_of(self.carried)


def _sizes_of(state: State) -> tuple[Any, ...]:
    if isinstance(state, tuple):
        return tuple(_sizes_of(part) for part in state)
    return len(state), state.shape[2:], state.dtype


class LanguageModel:
    """A trained model of text whose predictions a decoder asks for, many hypotheses at a time.

        states = language_model.start(1)
        states = language_model.step(states, tokens)     # after one more token each
        log_p = language_model.log_probs(states)         # of whatever may come next

    Tokens are ids of `vocabulary`, log-probabilities natural. An unknown word has its share of what the model
    keeps for all of them, as in rescoring (see `UnknownWords`).

    Args:
        model: of a run on text.
        vocabulary: its tokens.
        unknown: what an unknown word is worth where it is given as a string.
        cached: prefixes whose states `score` keeps; those used longest ago are forgotten.

    Example:
        >>> import ostinato, tempfile
        >>> texts, folder = ["the cat sat", "the dog sat", "a cat ran", "a dog ran"] * 5, tempfile.mkdtemp()
        >>> run = ostinato.train("SGD+C", texts, out=f"{folder}/run", hidden_size=4, epochs=1)
        >>> lm = ostinato.LanguageModel.open(f"{folder}/run")
        >>> states = lm.start(2)
        >>> states = lm.step(states, lm.ids(["the", "a"]))
        >>> lm.log_probs(states).shape, lm.log_probs(states[[1, 1, 0]], lm.ids(["cat", "dog"])).shape
        (torch.Size([2, 8]), torch.Size([3, 2]))
        >>> lm.score([["the", "cat"], ["the", "cat", "sat", "</s>"]]).shape
        (2,)
    """

    def __init__(
        self,
        model: SequenceModel,
        vocabulary: Vocabulary,
        *,
        unknown: UnknownWords = SHARED,
        cached: int = 20_000,
    ) -> None:
        if cached < 1:
            raise UserError(f"expected {argument('cached')} of at least 1, found {cached}")
        self.model, self.vocabulary = model.eval(), vocabulary
        self.unknown, self.cached = unknown, cached
        self._device = device_of(model)
        self._prefixes: OrderedDict[tuple[int, ...], _Prefix] = OrderedDict()

    @classmethod
    def open(
        cls,
        run: str | Path,
        *,
        device: torch.device | str = "cpu",
        unknown: UnknownWords = SHARED,
        cached: int = 20_000,
    ) -> LanguageModel:
        """The model of a run on text.

        Args:
            run: its folder.
            device: where the model computes.
            unknown, cached: see the class.

        Raises:
            UserError: there is no run, or it is not on text.
        """
        opened = Run.open(run)
        vocabulary = Vocabulary.read(opened.folder)
        return cls(load_model(opened, device=device).model, vocabulary, unknown=unknown, cached=cached)

    @property
    def end(self) -> int:
        """The id of the token that ends a sentence, or a line."""
        return END_ID

    def ids(self, tokens: Sequence[str]) -> Tensor:
        """The ids of tokens, (N,) int64; of those that the model does not know the unknown token's.

        Raises:
            UserError: the model has no unknown token, and does not know one of them; or a text is given where
                tokens are no characters.
        """
        if isinstance(tokens, str) and self.vocabulary.unit in OF_WORDS:
            raise UserError(f"expected a list of {self.vocabulary.unit}, found a text: {tokens[:60]!r}")
        return torch.from_numpy(self.vocabulary.numbers(tokens))

    @torch.no_grad()
    def start(self, batch: int = 1) -> States:
        """The states of B hypotheses that have no token yet.

        Args:
            batch: B, at least 1.
        """
        if not isinstance(batch, int | np.integer) or batch < 1:
            raise UserError(f"expected {argument('batch')} of at least 1, found {batch!r}")
        return self._read(torch.full((int(batch),), END_ID), None)

    @torch.no_grad()
    def step(self, states: States, tokens: Tensor | Sequence[int] | np.ndarray) -> States:
        """The states after one more token each.

        Args:
            states: of B hypotheses.
            tokens: ids (B,), in [0, V).

        Raises:
            UserError: there are more or fewer tokens than hypotheses, or one is out of the vocabulary.
        """
        return self._read(self._checked(tokens, (len(states),)), states.carried)

    @torch.no_grad()
    def log_probs(self, states: States, words: Tensor | Sequence[Any] | np.ndarray | None = None) -> Tensor:
        """log p of what comes next, in nats.

        A class-factored output costs the classes and the words of their classes where `words` are given,
        else the whole vocabulary; a full softmax costs that always.

        Args:
            states: of B hypotheses.
            words: ids in [0, V): (K,), the same for all hypotheses, or (B, K); None for all.

        Returns:
            (B, V), or (B, K).
        """
        distribution: Any = self.model.distribution(*states.read)
        if words is None:
            found: Tensor = distribution.log_probs
            return found
        places = _as_ids(words)
        if places.dim() < 2:
            places = places.reshape(1, -1).expand(len(states), -1)
        asked = self._checked(places, (len(states), places.shape[-1]))
        chosen: Tensor = distribution.log_prob(asked.T)
        return chosen.T

    def score(self, prefixes: Sequence[Sequence[str] | str]) -> np.ndarray:
        """log p of sentences' beginnings, (B,) float64, nats; of whole ones where they end with `</s>`.

        The states of prefixes are kept: one that is another's with a token more costs a single step.

        Args:
            prefixes: tokens as strings; a text is split into its tokens, and does not end its last line.

        Raises:
            UserError: it is one text, and no list.
        """
        if isinstance(prefixes, str):
            raise UserError(f"expected a list of prefixes, found one text: {prefixes[:60]!r}; write [text]")
        split = [self.vocabulary.split(x) if isinstance(x, str) else list(x) for x in prefixes]
        return self.score_ids([tuple(self.vocabulary.numbers(tokens).tolist()) for tokens in split])

    def for_pyctcdecode(self, *, alpha: float = 0.5, beta: float = 1.5) -> PyctcdecodeScorer:
        """What `pyctcdecode.BeamSearchDecoderCTC(alphabet, language_model=...)` takes; see the class.

        Args:
            alpha: weight of the natural log-probability.
            beta: bonus for each word.
        """
        return PyctcdecodeScorer(self, alpha=alpha, beta=beta)

    def for_torchaudio(self, words: Sequence[str], *, as_tokens: bool = False) -> Any:
        """What `torchaudio.models.decoder.ctc_decoder(lm=...)` takes; see `decoders.torchaudio_scorer`.

        Args:
            words: by the decoder's numbers: the lines of its `lm_dict`, or without a lexicon its `tokens`.
            as_tokens: whether they are tokens of the model, and not words.
        """
        return torchaudio_scorer(self, words, as_tokens=as_tokens)

    def export_onnx(self, path: str | Path) -> None:
        """Write one step as an ONNX file: a decoder in C++ runs it by onnxruntime.

        Inputs are `tokens` (B,) int64 and the state, `state` (L, B, H) of an RNN or GRU, `state.0` and
        `state.1` of an LSTM; outputs `log_probs` (B, V), in nats, of what comes next, and the state after the
        tokens, `next_state` and so on. A sentence begins with a state of zeros and the token `end`. The
        file's properties have `tokens` as JSON, by id, `end`, `unknown` (-1 for none), `unknown_types` and
        `unit`.

        Args:
            path: of the file; one that is there is replaced.

        Raises:
            UserError: the model has direct n-grams.
            MissingExtra: the extra [onnx] is not installed.
        """
        model = copy.deepcopy(self.model).cpu()
        export_step(model, self.vocabulary, map_state(Tensor.cpu, self.start(2).carried), Path(path))

    def word_ids(self, word: str, *, first: bool) -> tuple[int, ...]:
        """The ids that add a word to a sentence: its own, those of its sub-words, or of its characters.

        Args:
            word: without spaces.
            first: whether the sentence begins with it; else characters and bytes begin with a space.
        """
        if self.vocabulary.unit in ("chars", "bytes") and not first:
            word = f" {word}"
        return tuple(self.vocabulary.numbers(self.vocabulary.split(word)).tolist())

    def score_ids(self, prefixes: Sequence[tuple[int, ...]]) -> np.ndarray:
        """As `score`, of ids."""
        self._know(prefixes)
        totals = np.array([self._prefixes[key].log_prob for key in prefixes])
        self._forget()
        unknown = self.vocabulary.unknown_id
        counts = np.array([key.count(unknown) if unknown != NO_ID else 0 for key in prefixes])
        return totals + counts * self._of_unknown

    @property
    def _of_unknown(self) -> float:
        """What is added to the log-probability of the unknown token for one of its words."""
        types = self.vocabulary.unknown_types
        return float(self.unknown.applied(np.zeros(1), np.ones(1, dtype=bool), types)[0])

    def _know(self, prefixes: Sequence[tuple[int, ...]]) -> None:
        """Have every prefix in the cache: the shorter ones first, all of a length at once."""
        if () not in self._prefixes:
            self._prefixes[()] = _Prefix(0.0, self.start())
        every = set()
        for prefix in prefixes:
            key = prefix
            while key not in every and not self._goes_on(key, prefix):
                if key not in self._prefixes:
                    every.add(key)
                key = key[:-1]
            for used in {key, prefix} & self._prefixes.keys():
                self._prefixes.move_to_end(used)
        for length in sorted(set(map(len, every))):
            group = [own for own in every if len(own) == length]
            before = sorted({own[:-1] for own in group})
            self._step_into(before)
            place = {prefix: k for k, prefix in enumerate(before)}
            states = States.of([self._prefixes[prefix].known_states for prefix in before])
            rows = [place[prefix[:-1]] for prefix in group]
            log_p = self.log_probs(states[rows], [[prefix[-1]] for prefix in group])[:, 0].double().tolist()
            for longer, own in zip(group, log_p, strict=True):
                self._prefixes[longer] = _Prefix(self._prefixes[longer[:-1]].log_prob + own)

    def _goes_on(self, key: tuple[int, ...], prefix: tuple[int, ...]) -> bool:
        """Whether all is kept that a prefix needs of this beginning of it."""
        found = self._prefixes.get(key)
        return found is not None and (found.states is not None or key == prefix)

    def _step_into(self, prefixes: Sequence[tuple[int, ...]]) -> None:
        """Give prefixes their states, and first those before them that were kept without, or come again."""
        missing = set()
        for prefix in prefixes:
            key = prefix
            while self._prefixes[key].states is None and key not in missing:
                missing.add(key)
                key = key[:-1]
        for length in sorted(set(map(len, missing))):
            group = [own for own in missing if len(own) == length]
            before = States.of([self._prefixes[own[:-1]].known_states for own in group])
            states = self.step(before, [own[-1] for own in group])
            for k, own in enumerate(group):
                self._prefixes[own].states = states[k]

    def _forget(self) -> None:
        self._prefixes.move_to_end(())
        while len(self._prefixes) > self.cached:
            self._prefixes.popitem(last=False)

    def _read(self, tokens: Tensor, carried: State | None) -> States:
        read, last = self.model.read(tokens.to(self._device).unsqueeze(0), carried)
        return States(tuple(x[0] for x in read), last)

    def _checked(self, tokens: Tensor | Sequence[Any] | np.ndarray, shape: tuple[int, ...]) -> Tensor:
        """Ids as the model takes them; those out of its vocabulary would be read from elsewhere."""
        ids = _as_ids(tokens).to(self._device)
        if (
            tuple(ids.shape) != shape
            or ids.dtype == torch.bool
            or ids.is_floating_point()
            or ids.is_complex()
        ):
            raise UserError(
                f"expected token ids of shape {shape}, found {ids.dtype} of shape {tuple(ids.shape)}"
            )
        size = len(self.vocabulary)
        if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= size):
            raise UserError(f"expected token ids in [0, {size}), found {int(ids.min())} to {int(ids.max())}")
        return ids.long()


def _as_ids(given: int | Tensor | Sequence[Any] | np.ndarray) -> Tensor:
    """Whole numbers as a tensor; a list of none is of none of these."""
    try:
        found = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        raise UserError(
            f"expected whole numbers, found {str(given)[:60]}; ids() gives those of tokens"
        ) from None
    return found.long() if not found.numel() else found


def _rows(rows: int | Sequence[int] | Tensor | np.ndarray, count: int) -> Tensor:
    """Which of some hypotheses, (K,) int64."""
    places = _as_ids(rows).reshape(-1)
    if places.dtype == torch.bool and len(places) == count:
        return places.nonzero()[:, 0]
    whole = not (places.dtype == torch.bool or places.is_floating_point() or places.is_complex())
    if not whole or (len(places) and (int(places.min()) < 0 or int(places.max()) >= count)):
        raise UserError(f"expected hypotheses in [0, {count}), found {str(places.tolist())[:60]}")
    return places.long()


@dataclass
class _Prefix:
    """The beginning of a sentence: its log-probability in nats and, once they are asked for, its states."""

    log_prob: float
    states: States | None = None

    @property
    def known_states(self) -> States:
        if self.states is None:
            raise AssertionError("a prefix is extended before it was read")
        return self.states
