import json

import pytest

from ostinato.cli import main
from ostinato.cli.data import app
from ostinato.data.listing import DOWNLOAD
from ostinato.domains import catalogue
from ostinato.domains.delays import problems as tasks
from ostinato.domains.music.reading import data_sets as music
from ostinato.domains.series import data_sets as series
from ostinato.domains.text.reading import data_sets as text
from ostinato.errors import UserError
from published_stand_ins import stand_in

SENTENCES = ["the cat sat on the mat", "a dog saw the cat", "the dog sat"]


def run(capsys, *arguments):
    app([*map(str, arguments)], result_action="return_value")
    return capsys.readouterr()


@pytest.fixture
def news(tmp_path):
    path = tmp_path / "news.txt"
    path.write_text("".join(f"{line}\n" for line in SENTENCES * 40))
    return path


def test_list_has_every_kind(capsys):
    out = run(capsys, "list").out
    table, sources = out.split("\n\n")
    expected = [*music.names(), *text.names(), *tasks.names(), *series.names()]
    assert [line.split()[0] for line in table.splitlines() if line[0] not in " ─"] == ["name", *expected]
    assert all(any(name in line for line in sources.splitlines()) for name in expected)
    entries = json.loads(run(capsys, "list", "--json").out)["data_sets"]
    ready = {entry["name"] for entry in entries if entry["ready"]}
    assert ready == {"bach", "pydoc", *tasks.names(), *series.names()}
    assert all(entry["licence"] and entry["source"] and entry["place"] for entry in entries)


def test_list_says_where_each_would_be_taken_from(capsys, monkeypatch, tmp_path):
    stand_in(monkeypatch, tmp_path / "published")
    entries = {entry.name: entry for entry in catalogue.listing()}
    assert {entries[name].origin for name in ("jsb", "ptb")} == {"folder in OSTINATO_DATA"}
    assert entries["jsb"].place == str(tmp_path / "published" / "JSB_Chorales.mat")
    assert entries["ptb"].place == str(tmp_path / "published")
    (tmp_path / "published" / "ptb.test.txt").unlink()
    assert catalogue.listed("ptb").origin == DOWNLOAD
    assert catalogue.listed("ptb").place.endswith("/ptb.test.txt")


def test_a_cached_download_is_in_the_cache(monkeypatch, tmp_path):
    stand_in(monkeypatch, tmp_path / "published")
    (tmp_path / "cache").mkdir()
    (tmp_path / "published").rename(tmp_path / "cache" / "downloads")
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OSTINATO_DATA")
    assert {catalogue.listed(name).origin for name in ("musedata", "ptb")} == {"cache"}


def test_show(capsys, tmp_path, write_song):
    for k in range(5):
        write_song(tmp_path / "songs" / f"[{k}].mid", k)
    (tmp_path / "songs" / "[bold]bad.mid").write_text("hello")
    (tmp_path / "songs" / "about.txt").write_text("songs\n")
    out = run(capsys, "show", tmp_path / "songs", "--out", tmp_path / "a.png").out
    assert "train      3     180" in out
    assert "[bold]bad.mid: not a MIDI file" in out
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_show_json_is_one_object_on_standard_output(capsys, tmp_path, write_song):
    song = write_song(tmp_path / "a.mid", 1, frames=100)
    captured = run(capsys, "show", song, "--json", "--frames-per-beat", 4, "--no-transpose")
    found = json.loads(captured.out)
    assert found["splits"]["train"]["frames"] == 120
    assert found["all"]["polyphony_mean"] == 1.0
    assert found["details"]["transposed"] is False
    assert found["skipped"] == []


def test_show_as_the_command_line_has_it(tmp_path, write_song, capsys):
    song = write_song(tmp_path / "a.mid", 1)
    for option, kept in (("--no-transpose", True), ("--transpose", False)):
        assert main.run(["data", "show", str(song), option, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["details"]["transposed"] is not kept
    assert main.run(["data", "show", "pydok"]) == 2
    assert "did you mean pydoc" in capsys.readouterr().err


def test_show_words(capsys, news):
    found = json.loads(run(capsys, "show", news, "--vocabulary-size", 6, "--json").out)
    assert found["vocabulary"]["size"] == 6
    train = found["splits"]["train"]
    shown = [line.split() for line in news.read_text().splitlines()[: train["sentences"]]]
    assert train["tokens"] == sum(len(words) + 1 for words in shown)
    assert ["the", sum(words.count("the") for words in shown)] in found["vocabulary"]["frequent"]
    unknown = [w for words in shown for w in words if w not in ("the", "cat", "dog", "sat")]
    assert train["unknown"] == pytest.approx(len(unknown) / train["tokens"])
    out = run(capsys, "show", news).out
    assert "train begins:\n  the cat sat on the mat\n  a dog saw the cat\n" in out
    assert "most frequent in train: the " in out


def test_show_characters(capsys, news):
    found = json.loads(run(capsys, "show", news, "--unit", "chars", "--json").out)
    train = found["splits"]["train"]
    lines = news.read_text().splitlines()[: train["sentences"]]
    assert train["tokens"] == sum(len(line) + 1 for line in lines)
    out = run(capsys, "show", news, "--unit", "chars").out
    assert "' ' " in out
    assert "  the cat sat on the mat\n" in out


def test_text_is_shown_not_obeyed(capsys, tmp_path):
    (tmp_path / "a.txt").write_text("a \x1b[31m [red]b\n" * 50)
    out = run(capsys, "show", tmp_path / "a.txt").out
    assert "\x1b" not in out
    assert r"a \x1b[31m [red]b" in out


def test_text_of_another_name_needs_a_unit(capsys, news):
    other = news.rename(news.with_suffix(".md"))
    with pytest.raises(UserError, match="--unit words or --unit chars"):
        run(capsys, "show", other)
    assert "train begins" in run(capsys, "show", other, "--unit", "words").out


def test_show_a_task(capsys):
    found = json.loads(run(capsys, "show", "memorization", "--length", 20, "--json").out)
    assert found["steps"] == 30
    assert found["sample"]["inputs"][:5] == found["sample"]["targets"]
    out = run(capsys, "show", "temporal-order").out
    assert "50 steps of 6 symbols; 4 classes" in out
    assert "its answer, at step 50: " in out
    assert "... (40 more)" in run(capsys, "show", "temporal-order", "--length", 100).out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pydoc", "--length", 20), "--length is for a problem with long delays, found pydoc, which is text"),
        (("pydoc", "--no-transpose"), "--transpose is for music, found pydoc, which is text"),
        (("pydoc", "--out", "a.png"), "--out is for music or series, found pydoc, which is text"),
        (("memorization", "--unit", "words"), "--unit is for text, found memorization"),
        (("temporal-order", "--length", 9), "expected a length of at least 10, found 9"),
        (("temporal",), "did you mean temporal-order"),
        (("Pydocs",), "did you mean pydoc"),
        (("a\0b",), "expected a data set or a path"),
    ],
)
def test_show_says_what_is_wrong(arguments, message, capsys):
    with pytest.raises(UserError, match=message):
        run(capsys, "show", *arguments)


def test_fetch(capsys, monkeypatch, tmp_path):
    stand_in(monkeypatch, tmp_path / "published")
    assert "12 songs, in the folder of OSTINATO_DATA" in run(capsys, "fetch", "jsb").out
    assert "words, in the folder of OSTINATO_DATA" in run(capsys, "fetch", "ptb").out
    assert "drawn anew for each epoch, generated" in run(capsys, "fetch", "temporal-order").out
    found = json.loads(run(capsys, "fetch", "ptb", "--json").out)
    assert (found["origin"], found["ready"]) == ("folder in OSTINATO_DATA", True)


def test_fetch_knows_names_only(tmp_path):
    for name in ("jsbb", "pydog"):
        with pytest.raises(UserError, match=f"did you mean {name[:3]}"):
            app(["fetch", name], result_action="return_value")


def test_what_training_has_of_a_data_set_is_said(ostinato, tmp_path) -> None:
    text = tmp_path / "text.txt"
    again = "one two three four five six seven eight nine ten\n"
    text.write_text("".join(f"w{n} x{n % 7} y{n % 5}\n" for n in range(200)) + again * 60)
    code, out, err = ostinato("data", "show", text, "--overlap", "--json")
    assert code == 0, err
    found = json.loads(out)["overlap"]["test"]
    assert 0 < found["seen"] <= found["of"]
    code, out, _ = ostinato("data", "show", text, "--overlap")
    assert f"test: training has seen {found['seen']} of {found['of']} sentences" in out
    code, out, err = ostinato("data", "show", "memorization", "--overlap")
    assert (code, "expected data that can stand in each other with --overlap" in err) == (2, True), err
