"""`ostinato evaluate --baselines` of every domain: by what the data look like, or by --domain."""

import json

import pytest


@pytest.fixture(autouse=True)
def _place(own_place, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text.txt").write_text("the cat sat on the mat\na dog saw the cat\n" * 60)
    return "text.txt"


def systems(ostinato, *arguments):
    code, out, err = ostinato("evaluate", "--baselines", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)["results"]


def test_each_domain_has_its_own(ostinato, songs, text):
    assert set(systems(ostinato, "--data", songs)) == {"iid", "1-gram", "note-bigram"}
    words = systems(ostinato, "--data", text)
    assert set(words) == {"1-gram"}
    assert "perplexity" in words["1-gram"]["test"]
    assert "bits_per_character" in systems(ostinato, "--data", text, "--domain", "chars")["1-gram"]["test"]
    assert systems(ostinato, "--data", "temporal-order")["guessing"]["test"]["error"]["value"] == 75
    assert systems(ostinato, "--domain", "task").keys() == {"guessing"}  # the default problem
    assert set(systems(ostinato, "--data", "lorenz")) == {"persistence", "var"}


def test_its_table_has_no_model(ostinato):
    code, out, _ = ostinato("evaluate", "--baselines", "--data", "temporal-order")
    assert code == 0
    assert "baselines on temporal-order-50" in out
    assert "solved" not in out
    assert "persistence" in ostinato("evaluate", "--baselines", "--data", "mackey-glass")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--baselines", "--data", "nothing"), "expected a data set or a path, found 'nothing'"),
        (
            ("--baselines", "--data", "pydoc", "--frames-per-beat", 2),
            "--frames-per-beat is for runs on music",
        ),
        (("run", "--domain", "words"), "expected --domain with --baselines, found a run too"),
    ],
)
def test_mistakes_are_one_line(ostinato, arguments, message):
    code, out, err = ostinato("evaluate", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_settings_of_data_are_for_other_data(ostinato, songs, tmp_path):
    quick = ("--hidden-size", 4, "--epochs", 1, "--threads", 1, "--quiet")
    assert ostinato("train", "--data", songs, "--run", "run", *quick)[0] == 0
    code, out, err = ostinato("evaluate", "run", "--frames-per-beat", 2)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "expected --frames-per-beat with --data, found it alone" in err
    code, out, err = ostinato("evaluate", "run", "--data", songs, "--frames-per-beat", 3, "--json")
    assert code == 0, err
    assert json.loads(out)["data"]["details"]["frames_per_beat"] == 3
