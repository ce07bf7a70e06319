"""Series on the command line: trained, evaluated, forecast, scored, compared and shown."""

import csv
import json

import numpy as np
import pytest

from ostinato.domains import catalogue

QUICK = ("--hidden-size", 6, "--epochs", 2, "--streams", 4, "--threads", 1, "--quiet")


def write(path, values, names="temp,load") -> None:
    rows = [",".join("" if np.isnan(x) else repr(float(x)) for x in row) for row in values]
    path.write_text("\n".join([names, *rows]) + "\n")


def walk(seed: int, steps: int) -> np.ndarray:
    """Two columns of an autoregression, in units of their own."""
    draw, x = np.random.default_rng(seed), np.zeros((steps, 2))
    for t in range(1, steps):
        x[t] = 0.8 * x[t - 1] + draw.standard_normal(2)
    return x * [1, 50] + [3, 1000]


@pytest.fixture(autouse=True)
def _place(own_place):
    pass


@pytest.fixture
def place(tmp_path):
    (tmp_path / "many").mkdir()
    for k in range(8):
        write(tmp_path / "many" / f"s{k}.csv", walk(k, 60 + 7 * k))
    return tmp_path


@pytest.fixture
def trained(place, ostinato):
    """A run on the folder of series, and what training printed of it."""
    code, out, err = ostinato(
        "train", "series", "--data", place / "many", "--run", place / "run", *QUICK, "--json"
    )
    assert code == 0, err
    return place / "run", json.loads(out)


def called(ostinato, *arguments):
    code, out, err = ostinato(*arguments, "--json")
    assert code == 0, err
    return json.loads(out), err


def test_evaluate_gives_what_training_ended_with_and_score_the_same_of_each_series(trained, place, ostinato):
    run, summary = trained
    found, _ = called(ostinato, "evaluate", run, "--per-series", "test")
    assert found["results"] == summary["results"]
    assert set(found["results"]) == {"model", "persistence", "var"}
    assert {"log_likelihood", "rmse", "crps", "coverage_90", "rmse/temp"} <= found["results"]["model"][
        "test"
    ].keys()
    assert len(found["series"]) == 2
    total = sum(one["steps"] * one["log_likelihood"] for one in found["series"])
    mean = total / sum(one["steps"] for one in found["series"])
    assert mean == pytest.approx(found["results"]["model"]["test"]["log_likelihood"]["value"])
    for one in found["series"]:
        # the other way: step by step, along one series
        (scored,) = called(ostinato, "score", run, place / "many" / f"{one['name']}.csv")[0]["series"]
        assert scored["log_likelihood"] == pytest.approx(one["log_likelihood"], abs=1e-5)
        assert -np.mean(scored["surprise"]["steps"]) == pytest.approx(scored["log_likelihood"])


def test_tables_say_what_they_are_of(trained, ostinato):
    run, _ = trained
    code, out, _ = ostinato("evaluate", run, "--per-series", "valid")
    assert code == 0
    assert "RMSE" in out
    assert "error over 20 blocks of consecutive steps" in out  # two series are too few
    assert "the model's RMSE on test in each column's own unit: temp " in out
    assert "log-likelihood of each series (nats/step)" in out
    code, out, _ = ostinato("compare", run, run)
    assert code == 0
    assert "± standard error over blocks of consecutive steps" in out
    assert "perplexity" not in out


def test_other_data_are_read_in_the_run_s_columns_and_scaling(trained, place, ostinato):
    run, summary = trained
    other = place / "other.csv"
    values = walk(20, 90)
    values[11, 1] = np.nan
    write(other, np.column_stack([values[:, 1], values[:, 0], values[:, 0]]), "load,temp,extra")
    found, err = called(ostinato, "evaluate", run, "--data", other)
    assert found["data"]["details"]["columns"] == ["temp", "load"]
    assert found["data"]["details"]["scaling"] == summary["data"]["details"]["scaling"]
    assert "left out, for the model does not know them: 'extra'" in err
    assert "missing values are read as training's mean" in err
    code, out, err = ostinato("evaluate", run, "--data", "lorenz")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "expected the columns temp, load in Lorenz" in err


def test_a_changed_file_is_noticed(trained, place, ostinato):
    run, _ = trained
    write(place / "many" / "s0.csv", walk(99, 60))
    code, out, err = ostinato("evaluate", run)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "its files changed, and held-out series may have been trained on" in err
    assert ostinato("evaluate", run, "--data", place / "many")[0] == 0


def test_a_forecast_goes_on_from_its_history(trained, place, ostinato):
    run, _ = trained
    options = ("--horizon", 5, "--samples", 400, "--seed", 1)
    for prime, name in ((None, "a"), (None, "b"), ("s1", "c"), ("s2", "d")):
        history = () if prime is None else ("--prime", place / "many" / f"{prime}.csv")
        code, out, err = ostinato("generate", run, *options, *history, "--out", f"{name}.csv")
        assert (code, err) == (0, "")
        assert f"{name}.csv: 5 steps, from 400 drawn paths" in out
    a, b, c, d = ((place / f"{name}.csv").read_text() for name in "abcd")
    assert a == b != c != d
    rows = list(csv.DictReader(c.splitlines()))
    assert [row["step"] for row in rows] == ["67", "68", "69", "70", "71"]
    for row in rows:
        assert float(row["load 5%"]) < float(row["load mean"]) < float(row["load 95%"])
        assert 500 < float(row["load 50%"]) < 1500  # the series' own unit
    found, _ = called(
        ostinato, "generate", run, *options, "--prime", place / "many" / "s1.csv", "--out", "e.csv"
    )
    assert found["mean"] == [[float(row[f"{c} mean"]) for c in ("temp", "load")] for row in rows]
    assert found["prime"] == {"steps": 67}


def test_by_default_a_forecast_is_a_table_and_a_picture(trained, place, ostinato):
    run, _ = trained
    code, out, _ = ostinato("generate", run, "--horizon", 12, "--samples", 20)
    assert code == 0
    assert "2 more steps are in the files" in out
    assert (place / "run-0.png").read_bytes().startswith(b"\x89PNG")
    assert (place / "run-0.csv").read_text().count("\n") == 13


def test_what_is_unlike_training_surprises_most(trained, place, ostinato):
    run, _ = trained
    values = walk(5, 80)
    values[40] += [0, 900]
    write(place / "odd.csv", values)
    code, out, err = ostinato("score", run, place / "odd.csv", "--top", 1, "--out", "odd.svg")
    assert (code, err) == (0, "written: odd.svg\n")
    (line,) = (line for line in out.splitlines() if line.split()[:1] == ["40"])
    assert line.split()[2] == "load"
    assert (place / "odd.svg").read_text().startswith("<?xml")
    files = (place / "many" / "s0.csv", place / "many" / "s1.csv")
    found, _ = called(ostinato, "score", run, *files, "--out", "steps.csv")
    assert found["files"] == ["steps-1.csv", "steps-2.csv"]
    assert (place / "steps-2.csv").read_text().count("\n") == 68


def test_missing_cells_constant_columns_and_the_time_are_told(place, ostinato):
    values = np.column_stack([np.arange(200.0), walk(3, 200), np.full(200, 7.0)])
    values[::9, 1] = np.nan
    write(place / "holes.csv", values, "time,temp,load,lamp")
    code, out, err = ostinato("train", "series", "--data", "holes.csv", "--run", "r", *QUICK)
    assert code == 0
    assert [line for line in err.splitlines() if line.startswith("holes: ")] == [
        "holes: column 'time' is the time and left out",
        "holes: constant in training and left out: 'lamp'",
    ]
    assert "temp " in out
    found, _ = called(ostinato, "data", "show", "holes.csv")
    # 60% of the steps are trained on
    assert found["columns"]["temp"]["mean"] == pytest.approx(np.nanmean(values[:120, 1]))
    assert found["splits"]["train"] == {
        "series": 1,
        "steps": 120,
        "missing": pytest.approx(np.isnan(values[:120, 1]).mean() / 2),
    }
    code, out, _ = ostinato("data", "show", "holes.csv", "--out", "holes.png")
    assert code == 0
    assert "constant in training and left out: 'lamp'" in out
    assert (place / "holes.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n" + "1,2\n" * 9 + "1,hello\n", "row 11, column 'b': expected a number, found 'hello'"),
        ("", "found an empty file"),
        ("a\n" + "5\n" * 100, "expected a column that changes"),
    ],
    ids=["text", "empty", "constant"],
)
@pytest.mark.parametrize("command", [("train", "series", "--run", "r", "--data"), ("data", "show")])
def test_what_is_no_series_is_one_line(place, ostinato, command, text, message):
    (place / "a.csv").write_text(text)
    code, out, err = ostinato(*command, "a.csv")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not (place / "r").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("generate", "--prime", "many"), "expected one series to continue in many, found 8"),
        (("generate", "--horizon", 0), "expected --horizon of at least 1, found 0"),
        (
            ("generate", "--out", "a.mid"),
            "expected a file name ending in .csv, .png, .svg, .pdf, found a.mid",
        ),
        (("generate", "--out", "no/a.csv"), "expected a folder to write a.csv in"),
        (("generate", "--steps", 5), "--steps is for runs on music, found one on series"),
        (("generate", "--temperature", 1), "--temperature is for runs on music, words or chars"),
        (("score", "many", "--top", -1), "expected --top of at least 0, found -1"),
        (("score", "many", "--per-token"), "--per-token is for runs on words or chars"),
    ],
)
def test_mistakes_are_one_line(trained, ostinato, arguments, message):
    name, *rest = arguments
    code, out, err = ostinato(name, trained[0], *rest)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_series_are_listed_and_fetched(ostinato):
    assert {name: catalogue.listed(name).kind for name in ("mackey-glass", "lorenz")} == {
        "mackey-glass": "series",
        "lorenz": "series",
    }
    assert (
        "lorenz is ready: 20 series of 3 columns, 10,000 steps, generated"
        in ostinato("data", "fetch", "lorenz")[1]
    )
