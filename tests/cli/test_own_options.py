import dataclasses
from pathlib import Path

import pytest

from ostinato.cli import own_options
from ostinato.cli.own_options import asked, domain_of, options_for
from ostinato.domains.declared import Command, DomainDeclared
from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError


@pytest.mark.parametrize("domain", ["music", "words", "chars", "delays", "series"])
def test_the_run_says_what_it_is(tmp_path, domain) -> None:
    (tmp_path / "config.toml").write_text(f'domain = "{domain}"\n')
    assert domain_of(tmp_path).name == domain
    # as older versions called it
    (tmp_path / "config.toml").write_text(f'task = "{ {"delays": "task"}.get(domain, domain) }"\n')
    assert domain_of(tmp_path).name == domain


def test_an_old_run_without_the_setting_is_on_music_and_arpa_is_words(tmp_path) -> None:
    (tmp_path / "config.toml").write_text('data = "jsb"\n')
    assert domain_of(tmp_path).name == "music"
    assert domain_of(tmp_path / "trigrams.arpa.gz").name == "words"


@pytest.mark.parametrize("command", ["generate", "score"])
def test_a_domain_that_a_command_is_not_for_is_refused(tmp_path, command) -> None:
    (tmp_path / "config.toml").write_text('task = "task"\n')
    with pytest.raises(
        UserError, match=r"expected a run on music, words, chars or series, found one on delays"
    ):
        asked(tmp_path, command, None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sing:
    """Of a test.

    Parameters
    ----------
    verses
        How many verses to sing.
    tempo
        Beats a minute.
    """

    verses: int = 3
    tempo: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clash:
    """Of a test."""

    tempo: str = "allegro"


@pytest.fixture
def singing():
    """A domain that is not of this package; taken back at the end."""

    def make(options):
        commands = {"generate": Command(options=options)}
        song = DomainDeclared(name="song", place="", targets="binary", recipe="SGD", commands=commands)
        DOMAINS.register(song)
        return song

    yield make
    DOMAINS.forget("song")


def test_a_domain_from_outside_brings_its_options(singing) -> None:
    song = singing(Sing)
    merged = own_options._merged("generate")
    fields = {field.name: field.type.__metadata__[0] for field in dataclasses.fields(merged)}
    verses, tempo = fields["verses"], fields["tempo"]  # music has the second too
    assert (verses.help, verses.show_default) == ("How many verses to sing.", "3")
    assert (
        tempo.help
        == "Music: Quarter notes a minute; by default those of --prime, or 100. Song: Beats a minute."
    )
    assert [group._name for group in (*verses.group, *tempo.group)] == ["Song", "Music and song"]
    assert options_for(song, "generate", merged(verses=2), "") == Sing(verses=2)
    with pytest.raises(UserError, match="--verses is for runs on song, found one on music"):
        options_for(DOMAINS["music"], "generate", merged(verses=3), "one on music: runs/a")


def test_an_option_of_two_domains_has_one_type(singing) -> None:
    singing(Clash)
    with pytest.raises(ValueError, match="expected one type of --tempo, found two in generate"):
        own_options._merged("generate")


@pytest.mark.parametrize("damage", [None, "= damaged"])
@pytest.mark.parametrize("command", [("generate",), ("score", "a.mid")])
def test_what_is_no_run_is_one_line(tmp_path, ostinato, command, damage) -> None:
    folder = tmp_path / "run"
    if damage:
        folder.mkdir()
        (folder / "config.toml").write_text(damage)
    code, out, err = ostinato(command[0], folder, *command[1:])
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert ("expected TOML" if damage else "expected a run folder") in err


@pytest.fixture
def text_run(tmp_path, ostinato) -> Path:
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat\nthe dog sat on the log\n" * 60)
    quick = ("--hidden-size", 8, "--epochs", 1, "--threads", 1, "--classes", 3)
    code, _, err = ostinato("train", "words", "--data", text, "--run", tmp_path / "run", *quick)
    assert code == 0, err
    return tmp_path / "run"


def test_one_generate_and_one_score_for_all_kinds(text_run, tmp_path, ostinato) -> None:
    code, out, _ = ostinato("generate", text_run, "--tokens", 12, "--json")
    assert code == 0
    assert '"tokens": 12' in out
    # options may come before the run, and the run by name
    assert ostinato("generate", "--tokens", 3, text_run)[0] == 0
    assert ostinato("generate", "--run", text_run, "--tokens", 3)[0] == 0
    code, out, _ = ostinato("score", text_run, tmp_path / "text.txt")
    assert code == 0
    assert "perplexity" in out


def test_options_of_another_kind_are_refused_as_typed(tmp_path, ostinato) -> None:
    for kind in ("words", "music"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "config.toml").write_text(f'task = "{kind}"\n')
    music_run = tmp_path / "music"
    for arguments, message in (
        (("generate", tmp_path / "words", "--steps", 9), "--steps is for runs on music, found one on words"),
        (("generate", tmp_path / "words", "--prime-steps", 9), "--prime-steps is for runs on music"),
        (("score", tmp_path / "words", "a.txt", "--wrong-notes"), "--wrong-notes is for runs on music"),
        # also with the value that it has by default
        (("generate", tmp_path / "words", "--steps", 64), "--steps is for runs on music, found one on words"),
        (("evaluate", tmp_path / "words", "--per-song", "test"), "--per-song is for runs on music"),
        (("score", tmp_path / "words", "a.txt", "b.txt"), "expected one text to score, found 2 files"),
        (("generate", music_run, "--top-k", 9), "--top-k is for runs on words or chars, found one on music"),
        (("score", music_run, "a.mid", "--mix-weight", 0.5), "--mix-weight is for runs on words or chars"),
    ):
        code, out, err = ostinato(*arguments)
        assert (code, out) == (2, "")
        assert message in err
