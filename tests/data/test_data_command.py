import json

import pytest

from ostinato.cli.data import app
from ostinato.data import music
from ostinato.errors import UserError


def run(capsys, *arguments):
    app([*map(str, arguments)], result_action="return_value")
    return capsys.readouterr()


def test_list(capsys):
    out = run(capsys, "list").out
    assert [line.split()[0] for line in out.splitlines()] == ["name", out.splitlines()[1], *music.names()]
    entries = json.loads(run(capsys, "list", "--json").out)["data_sets"]
    assert [entry["ready"] for entry in entries] == [True, False, False, False, False]


def test_show(capsys, tmp_path, write_song):
    for k in range(5):
        write_song(tmp_path / "songs" / f"[{k}].mid", k)
    (tmp_path / "songs" / "[bold]bad.mid").write_text("hello")
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


def test_fetch_knows_names_only(tmp_path):
    with pytest.raises(UserError, match="did you mean jsb"):
        app(["fetch", "jsbb"], result_action="return_value")
