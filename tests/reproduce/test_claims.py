import numpy as np
import pytest

from ostinato.reproduce.cells import Cell
from ostinato.reproduce.claims import CLAIMS, Claim, verdicts
from ostinato.reproduce.document import claims_text, plan_text, table_text
from ostinato.reproduce.evidence import Evidence, grouped
from ostinato.reproduce.page import BEGIN, END, page_text, replaced
from ostinato.reproduce.protocol import Protocol
from ostinato.reproduce.training import Experiment


def fill(evidence, row, totals, condition="plain"):
    for seed, each in enumerate(totals):
        score = {"value": sum(each) / (10.0 * len(each)), "standard_error": 0.1, "estimate": False}
        score |= {"interval": None, "convention": "pooled", "unit": "nats/frame", "count": 10, "songs": 2}
        model = {
            split: {"log_likelihood": score, "accuracy_per_frame": score}
            for split in ("train", "valid", "test")
        }
        content = {"recipe": {}, "results": {"model": model}, "cpu_seconds": 36.0}
        content |= {"training": {"epochs": 1}, "data": "0123"}
        content["test_totals"] = {"of": "songs", "ordered": False} | grouped(
            np.array(each), np.full(len(each), 10)
        )
        evidence.write_seed(Cell("table1", row, "jsb"), condition, seed, content)


def words(evidence, claim):
    return {v.column: v.word for v in verdicts(evidence, "plain", [claim])}


def test_a_claim_is_decided_by_seeds_and_songs(tmp_path) -> None:
    rng = np.random.default_rng(0)
    songs = rng.normal(-85, 5, size=40)
    evidence = Evidence(tmp_path)
    claim = Claim("clipping helps", "table1", "RNN (SGD+C)", "RNN (SGD)")
    fill(evidence, "RNN (SGD)", [songs + rng.normal(0, 0.1, 40) for _ in range(3)])
    assert words(evidence, claim) == dict.fromkeys(("piano-midi", "nottingham", "musedata", "jsb"), "open")
    for shift, word in ((2.0, "holds"), (-2.0, "fails")):
        fill(evidence, "RNN (SGD+C)", [songs + shift + rng.normal(0, 0.1, 40) for _ in range(3)])
        assert words(evidence, claim)["jsb"] == word
    # the songs say the same in every seed, but seeds differ by more than the rows do
    fill(evidence, "RNN (SGD+C)", [songs + shift for shift in (4.0, -3.0, 1.0)])
    assert words(evidence, claim)["jsb"] == "undecided"


def test_the_documents_have_what_the_folder_has(tmp_path) -> None:
    evidence, cell = Evidence(tmp_path), Cell("table1", "RNN (SGD)", "jsb")
    fill(evidence, cell.row, [[-80.0, -90.0], [-82.0, -92.0]])
    curve = {"value": -8.6, "curve": [-8.6]}
    trial = {"number": 0, "state": "complete", "params": {}, **curve, "averaged": curve, "cpu_seconds": 36.0}
    evidence.write_tuning(cell, {"trials": [trial], "chosen": {"plain": {"learning_rate": 0.01}}})
    text = table_text(evidence, "table1")
    assert "| jsb | RNN (SGD) | -7.88 | -8.600 |" in text
    assert "| jsb | RNN (SGD+C) | -7.81 | - |" in text
    assert text.count("| clipping helps |") == 8
    assert "| table1/jsb/rnn-SGD | 1/16 | 2/5 | 0/5 | 0.03 | tuned |" in plan_text(evidence, Protocol.read())
    assert claims_text([]).startswith("| claim |")


def test_the_page_has_what_is_finished_both_ways_with_both_errors(tmp_path) -> None:
    evidence, cell = Evidence(tmp_path), Cell("table1", "RNN (SGD)", "jsb")
    fill(evidence, cell.row, [[-80.0, -90.0], [-82.0, -92.0]])
    assert "Finished: 0 of 44 cells" in page_text(evidence)
    fill(evidence, cell.row, [[-70.0, -80.0], [-72.0, -82.0]], "averaged")
    text = page_text(evidence)
    assert "Finished: 1 of 44 cells" in text
    assert "RNN (SGD+C)" not in text
    assert "### Claims" not in text
    lines = [line for line in text.splitlines() if line.startswith("| jsb | RNN (SGD) |")]
    assert [line.count("|") for line in lines] == [14, 14]
    assert "| 0.141 | +0.050 |" in lines[0]
    assert "-8.600" in lines[0]
    assert "-7.600" in lines[1]
    fill(evidence, "RNN (SGD+C)", [[-80.0, -90.0], [-82.0, -92.0]])
    assert "### Claims, plain" in page_text(evidence)
    old = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replaced(old, evidence) == f"before\n{page_text(evidence)}after\n"
    with pytest.raises(ValueError, match="expected a page with"):
        replaced("nothing", evidence)


@pytest.mark.parametrize("claim", CLAIMS)
def test_claims_name_rows_that_there_are(claim, tmp_path) -> None:
    assert {v.word for v in verdicts(Evidence(tmp_path), "plain", [claim])} == {"open"}


def test_more_seeds_than_are_wanted_leave_nothing_to_do(tmp_path) -> None:
    evidence, cell = Evidence(tmp_path), Cell("table1", "RNN (SGD)", "jsb")
    for condition in ("plain", "averaged"):
        fill(evidence, cell.row, [[-80.0, -90.0]] * 3, condition)
    evidence.write_tuning(cell, {"trials": [], "chosen": {"plain": {"learning_rate": 0.01}}})
    for seeds, finished in ((2, True), (3, True), (4, False)):
        protocol = Protocol(seeds=seeds, seeds_of_short_runs=seeds)
        assert Experiment(cell, protocol, evidence, tmp_path).finished == finished
