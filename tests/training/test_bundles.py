"""Bundles that are no whole ones, and what is said where the data are at fault."""

import json
import math
import shutil

import pytest
from test_recorder import Notices, recipe, trained

from ostinato import UserError
from ostinato.cli.main import run as command
from ostinato.diagnostics.pictures import replayed
from ostinato.training import flight
from ostinato.training.replay import replay


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    heard = Notices()
    trained(folder, recipe(), bad=(3, 6, 1, math.nan), monitor=heard)
    return folder, heard.texts


def copied(run, tmp_path, change):
    """A bundle whose JSON file is changed."""
    (path,) = flight.bundles(run[0])
    for file in (path, path.with_suffix(".safetensors")):
        shutil.copy(file, tmp_path)
    about = json.loads(path.read_text())
    change(about)
    (tmp_path / path.name).write_text(json.dumps(about))
    return tmp_path / path.name


def keys_of(run):
    return json.loads(flight.bundles(run[0])[0].read_text()).keys()


def test_a_bundle_without_a_part_is_refused(run, tmp_path, capsys):
    for name in sorted(keys_of(run)):
        path = copied(run, tmp_path, lambda about, name=name: about.pop(name))
        ended = command(["replay", str(path), "--out", str(tmp_path / "a.svg")])
        told = capsys.readouterr()
        assert ended == 2 or (ended == 0 and "the same to the bit" in " ".join(told.out.split())), name
        assert "ostinato's own" not in told.err


def test_files_of_two_bundles_are_refused(run, tmp_path):
    other = copied(run, tmp_path, lambda about: about["recipe"].update(hidden_size=10))
    with pytest.raises(UserError, match=r"that do not fit the settings in epoch-0-segment-3\.json"):
        replay(other)
    other = copied(run, tmp_path, lambda about: about.update(recipe=5))
    with pytest.raises(UserError, match="found another JSON file"):
        replay(other)


def test_a_run_in_place_of_a_bundle_is_told_its_bundles(run):
    with pytest.raises(UserError, match=r"this run has .*epoch-0-segment-3"):
        replay(run[0])


def test_no_setting_is_advised_where_the_data_are_not_finite(run, capsys, tmp_path):
    (text,) = [text for text in run[1] if "replay" in text]
    assert "mend the data there" in text
    assert "train with" not in text
    (path,) = flight.bundles(run[0])
    assert command(["replay", str(path), "--out", str(tmp_path / "a.png")]) == 0
    out = capsys.readouterr().out
    assert "mend the data there" in out
    assert "train with" not in out


def test_what_is_not_finite_is_in_the_picture():
    found = {
        "blame": {"losses": [1.0, 1e30, math.inf], "back": [], "frame": 1, "sentence": "s"},
        "last": {"losses": [12.4, 1.4e26, "nan"], "norms": [0.99, 1.0, 1.01]},
    }
    text = replayed(found, "svg", "title").decode()
    assert "not finite" in text  # as the comment that matplotlib writes before each text
    assert text.count("<!-- not finite -->") == 2
    assert "none: states or losses are not finite" in text
    # 12.4 is drawn beside 1.4e26, and of values that are nearly equal no two ticks read alike
    assert "10^{0}" in text
    assert "10 \\times" not in text
