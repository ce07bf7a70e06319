"""Every output whose frames can have onsets, through every command that music has."""

import json
from pathlib import Path

import numpy as np
import pytest

from ostinato.cli.main import run as command
from ostinato.domains.music.layout import invalid
from ostinato.domains.music.open import MusicModel
from ostinato.domains.music.reading import smf
from ostinato.domains.music.reading.midi import notes_of
from ostinato.nn.outputs.registry import OUTPUTS
from ostinato.runs.folder import Run

ABLE = [entry.name for entry in OUTPUTS.entries() if entry.onsets is not None]
SMALL = {
    "nade": ["--nade-size", "5", "--accuracy-samples", "2"],
    "rbm": [
        *("--rbm-size", "5", "--cd-steps", "2", "--gibbs-steps", "16", "--ais-steps", "8"),
        *("--accuracy-samples", "2"),
    ],
}
# every second note is struck again at once
TUNE = "X:{}\nT:t\nM:4/4\nL:1/4\nK:C\n[CE]C{}{}|{}{}G2|{}{}{}2|C4|]\n"


@pytest.fixture(scope="module", params=ABLE)
def place(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "songs").mkdir()
    draw = np.random.default_rng(0)
    for k in range(8):
        notes = draw.choice(list("CDEFGAB"), 7)
        (folder / "songs" / f"{k}.abc").write_text(TUNE.format(k, *notes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTINATO_CACHE", str(folder / "cache"))
        options = ["--data", str(folder / "songs"), "--output", request.param, "--run", str(folder / "run")]
        options += ["--recipe", "SGD", "--epochs", "1", "--hidden-size", "6", "--quiet", "--json"]
        options += ["--frames-per-beat", "2"]
        assert command(["train", *options, *SMALL.get(request.param, [])]) == 0
    return folder


@pytest.fixture
def ostinato(place, capsys, monkeypatch, tmp_path):
    """A function: run a command on the run; the JSON that it prints."""
    monkeypatch.chdir(tmp_path)

    def call(name, *arguments) -> dict:
        capsys.readouterr()
        assert command([name, *map(str, arguments), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return call


def test_a_run_says_where_notes_begin(place) -> None:
    details = Run.open(place / "run").load_checkpoint("last")[1]["data"]
    assert details["details"]["frames"] == "onsets"
    assert details["visible_size"] == 2 * 88
    # the baselines have onsets too, and a quarter note's likelihood is said of an exact output
    scores = json.loads((place / "run" / "results.json").read_text())["results"]
    assert {"model", "1-gram", "note-bigram"} <= scores.keys()
    for system, by_split in scores.items():
        assert "log_likelihood_per_quarter" in by_split["test"], system


def test_what_is_composed_can_be_and_is_written(place, ostinato) -> None:
    music = MusicModel.open(place / "run")
    made = ostinato("generate", place / "run", "--steps", 24, "--seed", 3, "--out", "a.mid", "--out", "a.png")
    assert made["pieces"][0]["frames"] == 24
    # with many notes, at a temperature at which notes repeat
    from ostinato.domains.music.compose import generate
    from ostinato.domains.seed import seeded

    side = music.piece("", np.zeros((0, 176), np.uint8)).side(40)
    frames = generate(
        music.model, 40, visible_size=176, temperature=2.0, count=2, side=side, generator=seeded(1)
    )
    assert all(invalid(one) == "" for one in frames)
    assert (frames[:, :, 88:] & np.pad(frames, ((0, 0), (1, 0), (0, 0)))[:, :-1, :88]).any(), "none repeated"
    score = music.source_of_frames(frames[0], "own")
    score.with_frames(frames[0], np.ones(len(score.notes), bool)).write("b.mid", title="b")
    begins = (frames[0][:, 88:] != 0).sum()
    assert len(notes_of(Path("b.mid").read_bytes())) == begins


@pytest.mark.parametrize("free", [[], ["--free", "bars", "2-3"], ["--free=bar", "4"]])
def test_given_notes_are_kept(place, ostinato, free) -> None:
    given = place / "songs" / "0.abc"
    found = ostinato(
        "harmonize", place / "run", given, "--out", "h.mid", "--out", "h.musicxml", "--particles", 4, *free
    )
    assert found["given_notes_kept"] == found["given_notes"] > 0
    assert (found["replaced_notes"] > 0) == bool(free)
    assert smf.parse(Path("h.mid").read_bytes()).format == 1


def test_a_piece_is_scored(place, ostinato) -> None:
    given = place / "songs" / "0.abc"
    found = ostinato("score", place / "run", given, "--wrong-notes", "--out", "s.png")
    piece = found["pieces"][0]
    assert len(piece["notes"]) == len(MusicModel.open(place / "run").source(given).notes)
    assert all(note["surprisal"] > 0 for note in piece["notes"])
    assert piece["log_likelihood"]["value"] < 0
    assert piece["corrections"]["notes"]
    assert Path("s.png").stat().st_size > 1000


def test_it_is_evaluated_and_reported(place, ostinato, capsys) -> None:
    ostinato("evaluate", place / "run")
    assert command(["report", str(place / "run"), "--out", "page.html"]) == 0
    assert "<svg" in Path("page.html").read_text()
