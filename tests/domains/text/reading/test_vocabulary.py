"""Which tokens a vocabulary takes, what its unknown token stands for, and units that spell everything."""

import json
from collections import Counter
from pathlib import Path

import pytest

from ostinato.domains.text.reading.extents import extents
from ostinato.domains.text.reading.vocabulary import FILE, Vocabulary, Wanted, read_word_list
from ostinato.domains.text.reading.words import split_words
from ostinato.errors import UserError

TEXT = "the cat saw the dog\nthe bird saw a cat\na cat ate\n"
STRANGE = "Ünter den Línden \u4e2d\u6587 \U0001f600 x\u0301\n"


def made(**wanted: object) -> Vocabulary:
    return Vocabulary.count("words", [TEXT], wanted=Wanted(**wanted))  # type: ignore[arg-type]


def test_singletons_are_unknown_unless_they_are_kept() -> None:
    usual, kept = made(), made(keep_singletons=True)
    once = {word for word, n in Counter(TEXT.split()).items() if n == 1}
    assert set(kept.tokens) - set(usual.tokens) == once
    assert kept.counts[kept.unknown_id] == 0
    # each stands for a type of its own
    assert usual.unknown_types == len(once)
    assert kept.unknown_types == 1


def test_rare_words_are_unknown() -> None:
    found, counts = made(minimum_count=3), Counter(split_words(TEXT))
    assert set(found.tokens) == {w for w, n in counts.items() if n >= 3} | {"</s>", "<unk>"}
    rare = [n for w, n in counts.items() if n < 3]
    assert found.counts[found.unknown_id] == sum(rare)
    assert found.unknown_types == len(rare)
    assert sum(found.counts) == sum(counts.values())


def test_listed_words_are_known_whether_the_text_has_them_or_not() -> None:
    listed = read_word_list("# no comment\nzebra 7\ncat\t9\n<s>\n</s>\n<unk>\n", "list")
    assert listed == {"#", "zebra", "cat"}
    found = made(words=frozenset({"zebra", "cat", "ate"}))
    assert set(found.tokens) == {"zebra", "cat", "ate", "</s>", "<unk>"}  # also what occurs once
    counts = dict(zip(found.tokens, found.counts, strict=True))
    assert (counts["zebra"], counts["cat"]) == (0, 3)
    with pytest.raises(UserError, match=r"expected at most 1 words in vocabulary"):
        made(words=frozenset({"zebra", "cat"}), size=3)
    with pytest.raises(UserError, match="expected words, one a line"):
        read_word_list("<s>\n\n", "list")


def test_an_unknown_token_stands_for_as_many_types_as_are_seen_or_as_occurrences_ask_for() -> None:
    # 9 occurrences of the text's own unknown token, and no known word is seen more rarely than twice
    text = "a a b b b <unk> <unk> <unk>\n" * 3
    assert Vocabulary.count("words", [text]).unknown_types == 2  # 9 / 6
    assert Vocabulary.count("words", [text], wanted=Wanted(unknown_types=77)).unknown_types == 77
    cut = Vocabulary.count("words", [TEXT], wanted=Wanted(size=4))
    assert cut.unknown_types == len(set(TEXT.split())) - 2
    # a run of before says nothing of it
    old = Vocabulary(cut.unit, cut.tokens, cut.counts)
    assert old.unknown_types == -(
        -cut.counts[cut.unknown_id] // min(cut.counts[cut.ids[w]] for w in ("the", "cat"))
    )


def test_what_a_run_keeps_is_read_again(tmp_path: Path) -> None:
    for place, vocabulary in enumerate(
        [
            made(),
            made(white_space="ascii", unknown_types=9),
            Vocabulary.count("bytes", [STRANGE]),
            Vocabulary.count("subwords", [TEXT] * 9, wanted=Wanted(size=300)),
        ]
    ):
        folder = tmp_path / str(place)
        folder.mkdir()
        (folder / FILE).write_text(vocabulary.to_text())
        assert Vocabulary.read(folder) == vocabulary
    content = json.loads((tmp_path / "3" / FILE).read_text())
    for damaged in ("bm8gbW9kZWw=", "§", 7):
        (tmp_path / "3" / FILE).write_text(json.dumps(content | {"subwords": damaged}))
        with pytest.raises(UserError, match="damaged"):
            Vocabulary.read(tmp_path / "3").split("the cat\n")
    # a vocabulary of before has none of the newer fields
    old = {"unit": "words", "tokens": ["</s>", "a", "<unk>"], "counts": [9, 3, 7]}
    (tmp_path / "0" / "vocabulary.json").write_text(json.dumps(old))
    found = Vocabulary.read(tmp_path / "0")
    assert (found.stated_types, found.white_space, found.unknown_types) == (None, "unicode", 3)


@pytest.mark.parametrize("unit", ["subwords", "bytes"])
def test_parts_of_words_spell_every_text(unit: str) -> None:
    vocabulary = Vocabulary.count(unit, [TEXT] * 9, wanted=Wanted(size=300))  # type: ignore[arg-type]
    for text in (TEXT, STRANGE, "qqq\n", "the\u00a0cat\n"):
        ids = vocabulary.encode(text)
        assert (vocabulary.numbers(vocabulary.split(text)) == ids).all()
        # what unicode takes for white space ends words, as it does of words
        expected = text if unit == "bytes" else text.replace("\u00a0", " ")
        assert vocabulary.decode(ids.tolist()) == expected
    assert vocabulary.unknown_types == 0
    with pytest.raises(UserError, match=f"expected {unit} of the vocabulary"):
        vocabulary.numbers(["no piece of any"])


def test_subwords_are_a_function_of_the_text() -> None:
    blocks = [TEXT * 5, "other words of another text\n" * 3]
    first, second = (Vocabulary.count("subwords", iter(blocks), wanted=Wanted(size=290)) for _ in range(2))
    assert first == second
    assert first.subwords == second.subwords
    assert first != Vocabulary.count("subwords", blocks[:1], wanted=Wanted(size=290))
    tokens = [token for block in blocks for token in first.split(block)]
    assert first.counts == tuple(Counter(tokens)[token] for token in first.tokens)
    assert list(first.counts[1:]) == sorted(first.counts[1:], reverse=True)
    with pytest.raises(UserError, match="expected vocabulary_size of at least 260"):
        Vocabulary.count("subwords", blocks, wanted=Wanted(size=100))


def test_no_break_spaces_belong_to_words_of_ascii() -> None:
    text = "10\u00a0000 \u3000 b\n\u3000\n\x85\n"
    assert split_words(text, "ascii") == [
        "10\u00a0000",
        "\u3000",
        "b",
        "</s>",
        "\u3000",
        "</s>",
        "\x85",
        "</s>",
    ]
    assert split_words(text) == ["10", "000", "b", "</s>"]
    ascii_ = Vocabulary.count("words", [text * 2], wanted=Wanted(white_space="ascii"))
    assert "10\u00a0000" in ascii_.tokens


@pytest.mark.parametrize("unit", ["words", "subwords", "chars", "bytes"])
def test_words_and_characters_are_counted_alike_whatever_the_unit(unit: str) -> None:
    found = extents([TEXT, "the  end\n"], unit)
    assert found.words.tolist() == [len(line.split()) + 1 for line in [*TEXT.splitlines(), "the end"]]
    spaces = 1 if unit in ("chars", "bytes") else 0  # a doubled space is a character of its own
    characters = [len(line) + 1 for line in [*TEXT.splitlines(), "the end"]]
    assert found.characters.tolist() == [*characters[:-1], characters[-1] + spaces]
    # a line cut at a space between two blocks is one sentence
    cut = extents(["the cat ", "saw the dog\n"], unit)
    assert (cut.words.tolist(), cut.characters.tolist()) == ([6], [20])


@pytest.mark.parametrize("unit", ["words", "chars"])
def test_a_vocabulary_without_any_token_of_the_text_is_refused(unit: str) -> None:
    text = ["the cat saw the dog\n"] * 3
    most = max(Counter(text[0].split() if unit == "words" else text[0].strip()).values()) * len(text)
    kept = Vocabulary.count(unit, text, wanted=Wanted(minimum_count=most))
    assert most in kept.counts
    with pytest.raises(UserError, match=f"expected minimum_count of at most {most}, .*found {most + 1}"):
        Vocabulary.count(unit, text, wanted=Wanted(minimum_count=most + 1))
    with pytest.raises(UserError, match=f"expected {unit} of the training text in vocabulary, found none"):
        Vocabulary.count(unit, text, wanted=Wanted(words=frozenset({"THE", "DOG"})))
    # nothing of it is a word: nothing to say
    assert Vocabulary.count("words", ["<unk>\n"], wanted=Wanted(minimum_count=9)).tokens == ("</s>", "<unk>")
