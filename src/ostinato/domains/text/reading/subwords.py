"""Sub-words: pieces of words that are learned from a training text, by SentencePiece's unigram model.

Every text has exactly one reading in pieces: what no piece covers is spelled in bytes, so no word is unknown.
Source: Kudo 2018, "Subword regularization"; Kudo & Richardson 2018, "SentencePiece".

The probability of a text is that of this one reading, a lower bound of the sum over all of them.
"""

import functools
import io
from collections.abc import Iterable, Iterator, Sequence

from ostinato.errors import UserError, argument, needs

# 256 bytes, the end of a sentence, the unknown piece (which spelling in bytes never leaves), and one letter.
SMALLEST = 260

# Pieces are learned from the first part of a longer text.
MOST_CHARACTERS = 64 << 20
SPACE = "\u2581"
_END, _UNKNOWN = 0, 1


def learned(lines: Iterable[str], size: int) -> bytes:
    """A model of pieces, as SentencePiece stores it.

    It is a function of the lines: the same ones, the same bytes.

    Args:
        lines: words separated by single spaces; no more are read than `MOST_CHARACTERS` has room for.
        size: most pieces; a small text has fewer.

    Raises:
        UserError: too few pieces are asked for.
        MissingExtra: SentencePiece is not installed.

    Example:
        >>> Subwords(learned(["the cat saw the cat"] * 9, 300)).pieces("cat cat ä")
        ['▁cat', '▁cat', '▁', '<0xC3>', '<0xA4>']
    """
    with needs("text"):
        import sentencepiece

    if size < SMALLEST:
        raise UserError(
            f"expected {argument('vocabulary_size')} of at least {SMALLEST} for subwords, which can spell "
            f"any text, found {size}"
        )
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_beginning(lines),
            model_writer=model,
            model_type="unigram",
            vocab_size=size,
            hard_vocab_limit=False,
            byte_fallback=True,
            normalization_rule_name="identity",
            eos_id=_END,
            unk_id=_UNKNOWN,
            bos_id=-1,
            pad_id=-1,
            num_threads=1,
            shuffle_input_sentence=False,
            max_sentence_length=1 << 30,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise UserError(f"expected a text to learn subwords from, found one too small: {error}") from error
    return model.getvalue()


def _beginning(lines: Iterable[str]) -> Iterator[str]:
    length = 0
    for line in lines:
        length += len(line)
        if length > MOST_CHARACTERS:
            return
        yield line


class Subwords:
    """A model of pieces at work.

    Args:
        model: what `learned` gave.
    """

    def __init__(self, model: bytes) -> None:
        with needs("text"):
            import sentencepiece

        try:
            self._model = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise UserError(f"expected a model of subwords, found a damaged one: {error}") from error

    @functools.cached_property
    def tokens(self) -> list[str]:
        """Every piece, without that for what is unknown."""
        count = self._model.get_piece_size()
        return [self._model.id_to_piece(k) for k in range(count) if k != _UNKNOWN]

    def pieces(self, line: str) -> list[str]:
        """The pieces of words that are separated by single spaces."""
        found: list[str] = self._model.encode(line, out_type=str)
        return found

    def text(self, pieces: Sequence[str]) -> str:
        """The words of pieces; bytes that are no UTF-8 are replacement characters.

        Example:
            >>> subwords = Subwords(learned(["the cat saw the cat"] * 9, 300))
            >>> subwords.text(subwords.pieces("the äcat"))
            'the äcat'
        """
        return str(self._model.decode_pieces(list(pieces)))
