"""Text from a language model, token by token.

Shapes: V vocabulary.
"""

import codecs
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ostinato.domains.text.reading.extents import OF_WORDS
from ostinato.domains.text.reading.subwords import SPACE
from ostinato.domains.text.reading.vocabulary import END, END_ID, NO_ID, Vocabulary
from ostinato.domains.text.reading.words import without_marks
from ostinato.errors import UserError, argument, check_not_negative
from ostinato.nn import SequenceModel
from ostinato.nn.devices import device_of

# Below it log-probabilities may become infinite, all of them.
_COLD = 0.001


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen from the model's probabilities.

    Arguments:
        temperature: probabilities are raised to 1 / temperature; 0 takes the most probable token.
        top_k: of the k most probable tokens only.
        top_p: of the most probable tokens that together have this probability only.
        unknown: whether the unknown token may be chosen.

    Raises:
        UserError: a setting is out of its range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    unknown: bool = False

    def __post_init__(self) -> None:
        check_not_negative("temperature", self.temperature)
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"expected {argument('top_k')} of at least 1, found {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UserError(f"expected {argument('top_p')} in (0, 1], found {self.top_p}")

    def choose(self, log_probs: Tensor, generator: torch.Generator | None = None) -> int:
        """One token id from log-probabilities (V,).

        Example:
            >>> Sampling(temperature=0).choose(torch.tensor([0.2, 0.5, 0.3]).log())
            1
        """
        if self.temperature == 0:
            return int(log_probs.argmax())
        scaled = log_probs.double()
        if self.temperature < _COLD:
            scaled = scaled - scaled.max()
        probs = torch.softmax(scaled / self.temperature, 0)
        return int(torch.multinomial(self.kept(probs), 1, generator=generator))

    def kept(self, probs: Tensor) -> Tensor:
        """The probabilities (V,) that top-k and top-p leave, the others 0.

        A token stays under top-p if those before it have less than p together: at least one does.

        Example:
            >>> Sampling(top_p=0.6).kept(torch.tensor([0.2, 0.5, 0.3]))
            tensor([0.0000, 0.5000, 0.3000])
        """
        ordered, order = probs.sort(descending=True, stable=True)
        stays = torch.ones_like(ordered, dtype=torch.bool)
        if self.top_k is not None:
            stays[self.top_k :] = False
        if self.top_p is not None:
            stays &= ordered.cumsum(0) - ordered < self.top_p
        return torch.zeros_like(probs).scatter(0, order[stays], ordered[stays])


def generate_tokens(
    model: SequenceModel,
    vocabulary: Vocabulary,
    sampling: Sampling,
    *,
    prime: str = "",
    generator: torch.Generator | None = None,
) -> Iterator[str]:
    """Tokens without end, after the priming text; the same generator state, the same tokens.

    Args:
        model: a language model.
        vocabulary: its tokens.
        sampling: how to choose.
        prime: text that is read first, its line ends as ends of sentences; words that the model does not know
            are read as the unknown word.
        generator: source of randomness.

    Raises:
        UserError: at once, before any token is asked for: marks of sentences stand within the priming text.
    """
    return _drawn(model, vocabulary, sampling, prime_ids(vocabulary, prime).tolist(), generator)


@torch.no_grad()  # around each step: a caller that stops between two has gradients
def _drawn(
    model: SequenceModel,
    vocabulary: Vocabulary,
    sampling: Sampling,
    prime: list[int],
    generator: torch.Generator | None,
) -> Iterator[str]:
    states, token, device = None, END_ID, device_of(model)
    for following in (*prime, None):
        distribution, states = model(torch.tensor([[token]], device=device), states)
        if following is not None:
            token = following
    while True:
        log_p = distribution.log_probs[0, 0].cpu().clone()  # chosen where the generator is
        if not sampling.unknown and vocabulary.unknown_id != NO_ID:
            log_p[vocabulary.unknown_id] = -math.inf
        token = sampling.choose(log_p, generator)
        yield vocabulary.tokens[token]
        distribution, states = model(torch.tensor([[token]], device=device), states)


def prime_tokens(vocabulary: Vocabulary, prime: str) -> list[str]:
    r"""The tokens of a text that is to be continued; a last line without an end goes on.

    Example:
        >>> prime_tokens(Vocabulary.count("words", ["a b\n"]), "a b\na")
        ['a', 'b', '</s>', 'a']
    """
    if vocabulary.unit in OF_WORDS:
        prime, _ = without_marks(prime)
    return vocabulary.split(prime)


def prime_ids(vocabulary: Vocabulary, prime: str) -> np.ndarray:
    """The ids of a text that is to be continued, (N,), unknown words as the unknown word's."""
    return vocabulary.numbers(prime_tokens(vocabulary, prime))


def pieces(tokens: Iterator[str], vocabulary: Vocabulary, *, new_line: bool = True) -> Iterator[str]:
    r"""Tokens as pieces of text to print as they come: words with spaces between, sentences on lines.

    Args:
        tokens: of the vocabulary.
        vocabulary: whose they are.
        new_line: whether the first word stands at the start of a line.

    Example:
        >>> words = Vocabulary.count("words", ["a b c\n"] * 2)
        >>> "".join(pieces(iter(["a", "b", "</s>", "c"]), words))
        'a b\nc'
    """
    if vocabulary.unit == "words":
        return _of_words(tokens, new_line=new_line)
    if vocabulary.unit == "subwords":
        return _of_subwords(tokens, vocabulary, new_line=new_line)
    return _of_bytes(tokens) if vocabulary.unit == "bytes" else tokens


def _of_words(tokens: Iterator[str], *, new_line: bool) -> Iterator[str]:
    for token in tokens:
        if token == END["words"]:
            yield "\n"
        else:
            yield token if new_line else f" {token}"
        new_line = token == END["words"]


def _of_subwords(tokens: Iterator[str], vocabulary: Vocabulary, *, new_line: bool) -> Iterator[str]:
    """What each sub-word adds to its line; bytes when the character that they spell is whole."""
    line = [] if new_line else [f"{SPACE}x"]
    shown = vocabulary.joined(line)
    for token in tokens:
        ends = token == END["subwords"]
        if not ends:
            line.append(token)
        if ends or not token.startswith("<0x"):
            text = vocabulary.joined(line)
            yield text[len(shown) :] + ("\n" if ends else "")
            line, shown = ([], "") if ends else (line, text)
    yield vocabulary.joined(line)[len(shown) :]


def _of_bytes(tokens: Iterator[str]) -> Iterator[str]:
    """Characters as soon as their bytes are there; what is no UTF-8 as replacement characters."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for token in tokens:
        yield decoder.decode(token.encode("latin-1"))
    yield decoder.decode(b"", final=True)
