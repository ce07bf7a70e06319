import json

import pytest

from ostinato.domains.music.paper import PAPER_TABLE1
from ostinato.reproduce.cells import Cell
from ostinato.reproduce.table import cells_of, headers, markdown, rows_of_trainings, to_dict
from ostinato.reproduce.training import Training


def score(value, error=0.1, **rest):
    return {
        "value": value,
        "unit": "nats/frame",
        "count": 9,
        "songs": 3,
        "standard_error": error,
        "estimate": False,
        "interval": None,
        "convention": "pooled",
    } | rest


def job(folder, cell, seed, test, **rest):
    recipe = cell.recipe(overrides={"seed": seed})
    job = Training(cell, seed, recipe, folder / f"{cell.name.replace('/', '-')}-{seed}")
    if test is not None:
        import tomli_w

        job.folder.mkdir()
        splits = {
            split: {"log_likelihood": score(test - place, **rest), "accuracy_per_frame": score(30.0)}
            for place, split in enumerate(("test", "valid", "train"))
        }
        (job.folder / "config.toml").write_text(tomli_w.dumps(recipe.to_dict()))
        baseline = {"1-gram": {"test": {"log_likelihood": score(-11.06, 0.116)}}}
        results = {"results": {"model": splits} | baseline, "recipe": recipe.to_dict()}
        results["training"] = {"epochs": 1}
        (job.folder / "results.json").write_text(json.dumps(results))
    return job


def test_a_row_has_the_paper_s_figure_ours_and_the_difference(tmp_path) -> None:
    (row,) = rows_of_trainings([job(tmp_path, Cell("table1", "RNN (SGD+CL)", "jsb"), 0, -8.5)])
    assert row.difference == pytest.approx(-8.5 - PAPER_TABLE1["RNN (SGD+CL)"]["jsb"].test)
    texts = dict(zip(headers("table1"), cells_of(row), strict=True))
    assert texts["test ours"] == "-8.500 ± 0.100"
    assert texts["test difference"] == "+0.130"
    assert texts["train ours"] == "-10.500"
    assert texts["ACC ours"] == "30.00 ± 0.10"
    assert texts["seeds"] == "1"
    assert "- baselines on test (jsb): 1-gram -11.060 ± 0.116.\n" in markdown([row])
    assert to_dict([row])["cells"][0]["baselines"]["1-gram"]["value"] == -11.06


def test_seeds_are_averaged_and_their_spread_is_kept(tmp_path) -> None:
    cell = Cell("table1", "RNN (SGD+CL)", "jsb")
    jobs = [job(tmp_path, cell, 0, -8.0), job(tmp_path, cell, 1, -9.0), job(tmp_path, cell, 2, None)]
    (row,) = rows_of_trainings(jobs)
    assert row.seeds == (0, 1)
    assert row.figures["test"].value == -8.5
    assert row.figures["test"].spread == pytest.approx(0.7071, abs=1e-4)
    assert "spread over seeds" in markdown([row])


def test_what_is_missing_is_a_dash_and_estimates_are_marked(tmp_path) -> None:
    jobs = [
        job(tmp_path, Cell("table1", "RNN-RBM", "jsb"), 0, -6.0, estimate=True, interval=[-6.5, -5.9]),
        job(tmp_path, Cell("table1", "RNN (HF)", "jsb"), 0, None),
    ]
    rbm, missing = rows_of_trainings(jobs)
    texts = dict(zip(headers("table1"), cells_of(rbm), strict=True))
    assert texts["test ours"] == "≈ -6.000 ± 0.100 [-6.500, -5.900]"
    assert texts["train paper"] == "N/A"
    assert missing.difference is None
    assert cells_of(missing)[-1] == "-"
    text = markdown([rbm, missing])
    assert "≈ marks an estimate" in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1
    assert to_dict([rbm, missing])["cells"][1]["ours"] == {}


def test_results_of_other_settings_do_not_count(tmp_path) -> None:
    cell = Cell("table1", "RNN (SGD+CL)", "jsb")
    done = job(tmp_path, cell, 0, -8.0)
    assert done.finished
    other = Training(cell, 0, cell.recipe(overrides={"hidden_size": 9}), done.folder)
    assert not other.finished
