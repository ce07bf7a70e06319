import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato import seal
from ostinato.domains.text.reading import data_sets as text
from ostinato.domains.text.reading import source as text_source
from ostinato.domains.text.reading import streams as token_streams
from ostinato.domains.text.reading.source import FileSource, MemorySource, split_by_lines, whole_file
from ostinato.domains.text.reading.streams import TokenStreams
from ostinato.domains.text.reading.vocabulary import Vocabulary, split_words
from ostinato.errors import UserError

FOLDER = Path(os.environ.get("OSTINATO_DATA", "."))
needs_ptb = pytest.mark.skipif(
    not (FOLDER / "ptb.train.txt").is_file(),
    reason="OSTINATO_DATA names no folder with the Penn Treebank",
)


@needs_ptb
@pytest.mark.parametrize(
    ("unit", "counts"), [("words", (929_589, 73_760, 82_430)), ("chars", (5_017_482, 393_042, 442_423))]
)
def test_the_counts_of_the_penn_treebank(
    unit: str, counts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSTINATO_DATA", str(FOLDER))
    data = text.load("ptb", unit)
    assert tuple(data.frames(split) for split in ("train", "valid", "test")) == counts
    if unit == "words":
        assert len(data.vocabulary) == 10_000
        assert data.vocabulary.tokens[:3] == ("</s>", "the", "<unk>")
        assert data.train.dtype == np.uint16


@pytest.mark.parametrize("unit", ["words", "chars"])
def test_pydoc_is_always_there(unit: str) -> None:
    data = text.load(text.DEFAULT, unit)
    assert all(data.frames(split) > 1000 for split in ("train", "valid", "test"))
    assert data.version == text.load(text.DEFAULT, unit).version
    line = data.vocabulary.decode(data.valid[:300].tolist())
    assert " the " in line


def some_file(folder: Path, lines: int = 200, name: str = "some.txt") -> Path:
    path = folder / name
    draw = np.random.default_rng(0)
    words = ["the", "a", "cat", "dog", "saw", "säh", "日本"]
    rows = (" ".join(draw.choice(words, draw.integers(1, 9))) for _ in range(lines))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("unit", ["words", "chars"])
def test_a_file_is_cut_by_lines_and_nothing_is_lost(tmp_path: Path, unit: str) -> None:
    path = some_file(tmp_path)
    data = text.load(str(path), unit)
    parts = [data.vocabulary.decode(data[split].tolist()) for split in ("train", "valid", "test")]
    assert "".join(parts) == path.read_text(encoding="utf-8")
    assert parts[1]
    assert parts[2]


@pytest.mark.parametrize("unit", ["words", "chars", "subwords", "bytes"])
def test_large_texts_are_mapped_and_are_the_same(
    tmp_path: Path, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    path = some_file(tmp_path)
    held = text.load(str(path), unit)
    monkeypatch.setattr(text, "_LARGE", 0)
    monkeypatch.setattr(text_source, "BLOCK", 37)
    for _ in range(2):
        mapped = text.load(str(path), unit)
        assert isinstance(mapped.train, np.memmap)
        monkeypatch.setattr(token_streams, "_RELEASE", 3)
        met = np.concatenate([s.targets.numpy().ravel() for s in TokenStreams(mapped.train, 1, 7)])
        np.testing.assert_array_equal(met, held.train)
        assert mapped.vocabulary == held.vocabulary
        for split in ("train", "valid", "test"):
            np.testing.assert_array_equal(mapped[split], held[split])
            np.testing.assert_array_equal(mapped.extents[split], held.extents[split])
    with path.open("a", encoding="utf-8") as file:
        file.write("a new line\n")
    assert text.load(str(path), unit).version != mapped.version


@pytest.mark.parametrize(
    "name", ["train.tokens", "valid.tokens", "vocabulary.json", "meta.json", "seal.json"]
)
@pytest.mark.parametrize("damage", ["cut", "changed", "removed"])
def test_a_damaged_token_cache_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, damage: str
) -> None:
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(text, "_LARGE", 0)
    path = some_file(tmp_path)
    whole = text.load(str(path), "words")
    before = {split: np.array(whole[split]) for split in ("train", "valid", "test")}
    del whole
    (file,) = (tmp_path / "cache" / "tokens").glob(f"*/{name}")
    data = file.read_bytes()
    file.unlink()
    if damage != "removed":
        file.write_bytes(data[:-4] if damage == "cut" else bytes([data[0] ^ 1]) + data[1:])
    told: list[str] = []
    with seal.telling(told.append):
        again = text.load(str(path), "words")
    for split, tokens in before.items():
        np.testing.assert_array_equal(again[split], tokens)
    assert len(told) == ((name, damage) != ("seal.json", "removed"))
    assert file.read_bytes() == data


def test_tokens_are_on_the_disk_before_anybody_uses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(text, "_LARGE", 0)
    synced: list[str] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    text.load(str(some_file(tmp_path)), "words")
    names = [Path(path).name.split(".")[1] for path in synced if Path(path).name.startswith(".")]
    assert list(dict.fromkeys(names)) == ["train", "valid", "test", "vocabulary", "meta", "seal"]


def test_given_splits_and_folders(tmp_path: Path) -> None:
    for name in ("train", "valid", "test"):
        (tmp_path / f"my.{name}.txt").write_text("a a b b\n" * 3 + f"{name} {name}\n", encoding="utf-8")
    by_name = text.load(str(tmp_path))
    given = text.load(
        str(tmp_path / "my.train.txt"),
        valid=str(tmp_path / "my.valid.txt"),
        test=str(tmp_path / "my.test.txt"),
    )
    assert by_name.version == given.version
    # the vocabulary knows the training text only
    assert "train" in by_name.vocabulary.tokens
    assert "valid" not in by_name.vocabulary.tokens
    assert by_name.vocabulary.decode(by_name.valid[-3:].tolist()) == "<unk> <unk>\n"
    with pytest.raises(UserError, match="found the latter alone"):
        text.load(str(tmp_path / "my.train.txt"), test=str(tmp_path / "my.test.txt"))
    alone = text.load(str(tmp_path / "my.train.txt"), valid=str(tmp_path / "my.valid.txt"))
    assert (alone.frames("test"), alone.frames("valid")) == (0, given.frames("valid"))
    (tmp_path / "my.test.txt").unlink()
    assert text.load(str(tmp_path)).version == alone.version


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found an empty file"),
        (b"good line\n" * 20 + b"caf\xe9 au lait\n" * 20, r"byte 0xe9 at byte 203"),
        (b"\x7fELF\0\0\0" * 50, "zero byte at byte 4"),
        (b" \n \n" * 50, "none but white space"),
        (b"one line only", "too few"),
    ],
    ids=["empty", "latin1", "binary", "blank", "short"],
)
def test_what_is_no_text_is_one_clear_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        text.load(str(path))


def test_unknown_names_and_files() -> None:
    with pytest.raises(UserError, match="did you mean ptb"):
        text.load("pbt")
    with pytest.raises(UserError, match="cannot read no-such"):
        text.load("no-such-a.txt,no-such-b.txt")


def test_marks_and_line_ends_of_other_systems(tmp_path: Path) -> None:
    path = tmp_path / "windows.txt"
    path.write_bytes("\ufeffa b\r\nc".encode())
    assert "".join(whole_file(path).blocks()) == "a b\nc\n"


@given(st.text("ab \n", min_size=1, max_size=200), st.integers(1, 50))
def test_blocks_change_nothing(content: str, block: int) -> None:
    import tempfile

    whole = split_words(content if content.endswith("\n") else content + "\n")
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "a.txt"
        path.write_text(content)
        patch.setattr(text_source, "BLOCK", block)
        blocks = list(FileSource(path, 0, len(content)).blocks())
    assert [word for piece in blocks for word in split_words(piece)] == whole


def test_long_lines_are_cut_at_spaces(tmp_path: Path) -> None:
    path = tmp_path / "one-line.txt"
    path.write_text("word " * 1000)
    parts = split_by_lines(whole_file(path))
    assert sum(part.size for part in parts) == 5000
    assert all(part.begin % 5 == 0 for part in parts)


@given(st.integers(1, 90), st.integers(1, 9), st.integers(1, 20), st.none() | st.integers(0, 50))
def test_streams_meet_every_token_once_after_the_one_before(
    length: int, streams: int, segment_length: int, seed: int | None
) -> None:
    tokens = np.arange(1, length + 1, dtype=np.uint16)
    generator = None if seed is None else np.random.default_rng(seed)
    layout = TokenStreams(tokens, streams, segment_length, generator)
    met = []
    for segment in layout:
        mask = np.ones(segment.targets.shape, bool) if segment.mask is None else segment.mask.numpy()
        targets, inputs = segment.targets.numpy()[mask], segment.inputs.numpy()[mask]
        np.testing.assert_array_equal(inputs, targets - 1)  # token 1 follows the end, which is 0
        met += targets.tolist()
        assert segment.targets.shape[1] <= streams
    assert sorted(met) == tokens.tolist()
    assert layout.frames == length


def test_streams_carry_on_where_the_segment_before_ended() -> None:
    layout = TokenStreams(np.arange(1, 101), 4, 7, np.random.default_rng(3))
    segments = list(layout)
    for before, after in itertools.pairwise(segments):
        np.testing.assert_array_equal(after.inputs[0], before.targets[-1])


def test_vocabulary_limits_and_unknown_words() -> None:
    blocks = ["a a a b b c\n"]
    assert Vocabulary.count("words", blocks, 4).tokens == ("</s>", "a", "b", "<unk>")
    assert Vocabulary.count("words", blocks, 3).counts == (1, 3, 3)
    own = Vocabulary.count("words", ["a <unk> b\n"])
    assert own.tokens == ("</s>", "<unk>", "a", "b")
    assert Vocabulary.count("chars", ["aab\n"]).tokens == ("\n", "a", "\ufffd")


def test_vocabulary_survives_its_file(tmp_path: Path) -> None:
    vocabulary = Vocabulary.count("chars", ["aä日aä日 \n"])
    (tmp_path / "vocabulary.json").write_text(vocabulary.to_text(), encoding="utf-8")
    assert Vocabulary.read(tmp_path) == vocabulary
    (tmp_path / "vocabulary.json").write_text("{}")
    with pytest.raises(UserError, match="damaged"):
        Vocabulary.read(tmp_path)


def test_rare_tokens_are_forgotten_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ostinato.domains.text.reading.vocabulary.MOST_DISTINCT", 12)
    blocks = [" ".join(["the", "a", *(f"w{i}{j}" for j in range(8))]) + "\n" for i in range(20)]
    vocabulary = Vocabulary.count("words", blocks)
    assert set(vocabulary.tokens[:4]) == {"<unk>", "</s>", "a", "the"}
    assert sum(vocabulary.counts) == 20 * 11


def test_memory_sources_end_their_last_line() -> None:
    assert list(MemorySource("a b").blocks()) == ["a b\n"]


@pytest.mark.parametrize("unit", ["chars", "bytes"])
def test_one_line_without_spaces_is_cut_between_characters(unit: str, tmp_path: Path) -> None:
    line = "語言模型は文字を数える" * 40
    (tmp_path / "one.txt").write_text(line + "\n", encoding="utf-8")
    data = text.load(str(tmp_path / "one.txt"), unit)
    parts = [data.vocabulary.decode(data[split].tolist()) for split in ("train", "valid", "test")]
    assert "".join(part.removesuffix("\n") for part in parts) == line
    assert min(map(len, parts)) > 10
    with pytest.raises(UserError, match="found too few"):
        text.load(str(tmp_path / "one.txt"), "words")


def test_other_vocabularies_of_files_are_told_in_the_details(tmp_path: Path) -> None:
    path, listed = some_file(tmp_path), tmp_path / "words.txt"
    listed.write_text("the 3\ncat 5\n", encoding="utf-8")
    data = text.load(str(path), word_list=str(listed))
    assert set(data.vocabulary.tokens) == {"</s>", "<unk>", "the", "cat"}
    assert data.details["word_list"].startswith("2 words, ")
    assert "word_list" not in text.load(str(path)).details
