"""The results that are kept with the project, and what is made of them."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from ostinato.recipe.recipe import Recipe
from ostinato.reproduce.cells import TABLES, find_cells
from ostinato.reproduce.document import plan_text, table_text
from ostinato.reproduce.evidence import Evidence
from ostinato.reproduce.kept import read_record
from ostinato.reproduce.page import replaced
from ostinato.reproduce.protocol import CONDITIONS, Protocol
from ostinato.shapes import mapping

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"
CELLS = [*find_cells("table1"), *find_cells("table2")]

pytestmark = pytest.mark.skipif(
    not (RESULTS / "protocol.json").is_file(),
    reason="no results/ beside the tests: a checkout of its own has it",
)


def runs():
    evidence = Evidence(RESULTS)
    return [
        (cell, condition, seed, run)
        for cell in CELLS
        for condition in CONDITIONS
        for seed, run in evidence.seeds(cell, condition).items()
    ]


def test_they_were_made_by_the_protocol_that_is_shipped() -> None:
    there = read_record(RESULTS / "protocol.json", mapping())
    assert there == json.loads(json.dumps(Protocol.read().to_dict()))


@pytest.mark.parametrize("table", TABLES)
def test_the_tables_and_the_plan_are_those_of_the_results(table) -> None:
    evidence = Evidence(RESULTS)
    assert (RESULTS / f"{table}.md").read_text() == table_text(evidence, table)
    assert (RESULTS / "PLAN.md").read_text() == plan_text(evidence, Protocol.read())
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert replaced(page, evidence) == page


def test_the_shipped_settings_are_those_of_the_results() -> None:
    spec = importlib.util.spec_from_file_location("make_results", ROOT / "docs" / "make_results.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    shipped = (ROOT / "src" / "ostinato" / "shipped" / "tuned.toml").read_text(encoding="utf-8")
    assert shipped == made.shipped_text(Evidence(RESULTS))


def test_every_training_has_the_settings_that_its_search_chose_and_scores_that_its_songs_come_to() -> None:
    evidence, protocol = Evidence(RESULTS), Protocol.read()
    for cell, condition, seed, run in runs():
        tuning = evidence.tuning(cell)
        assert len(tuning["trials"]) == protocol.trials
        seen = [t if condition == "plain" else {**t, **t["averaged"]} for t in tuning["trials"]]
        best = max((t for t in seen if t["state"] == "complete"), key=lambda t: t["value"])
        assert (best["params"], best["value"]) == (tuning["chosen"][condition], tuning["valid"][condition])
        recipe = Recipe.from_dict(run["recipe"])
        assert (recipe.averaging > 0) == (condition == "averaged")
        expected = protocol.final_recipe(cell, best["params"], condition, seed, recipe.averaging)
        assert recipe == expected, (cell.name, condition, seed)
        totals = run["test_totals"]
        test = run["results"]["model"]["test"]["log_likelihood"]
        mean = np.sum(totals["log_prob"]) / np.sum(totals["counts"])
        assert mean == pytest.approx(test["value"], abs=1e-5)
        assert np.sum(totals["counts"]) == test["count"]


def test_a_finished_cell_is_trained_again_with_the_settings_that_are_shipped() -> None:
    evidence = Evidence(RESULTS)
    for cell in CELLS:
        seeds = [evidence.seeds(cell, condition) for condition in CONDITIONS]
        if all(0 in found for found in seeds):
            for condition, found in zip(CONDITIONS, seeds, strict=True):
                again = cell.recipe(condition=condition, overrides={"seed": 0})
                assert again == Recipe.from_dict(found[0]["recipe"]), (cell.name, condition)
