"""Methods compared on problems with long delays: by one rule, resumable, and told as they came out."""

import json

import pytest

from ostinato.cli.main import run as main
from ostinato.domains.domain import load_data
from ostinato.errors import UserError
from ostinato.reproduce import delays
from ostinato.reproduce.attempt import Attempt, cost
from ostinato.reproduce.delays import Comparison, DelayCell, chosen_of
from ostinato.reproduce.pool import SilentWatch
from ostinato.runs.folder import Run
from ostinato.training.monitor import Interrupted, SilentMonitor

SMALL = """
problems = ["temporal-order", "memorization"]
lengths = [10]
trials = 2
tuning_budget = 300
seeds = 2
budget = 600
[settings]
hidden_size = 8
epoch_sequences = 128
[methods.CM]
recipe = "SGD+CM"
[methods.CM.space]
learning_rate = { low = 1e-3, high = 0.1, log = true }
[methods.regulariser]
recipe = "SGD+C"
[methods.regulariser.space]
vanishing_penalty = { low = 0.1, high = 1.0, log = true }
[methods.HF]
recipe = "HF"
[methods.HF.space]
damping = { low = 0.1, high = 1.0, log = true }
"""


@pytest.fixture
def protocol(tmp_path, monkeypatch):
    monkeypatch.setattr("ostinato.domains.delays.problems.TEST_SEQUENCES", 200)
    path = tmp_path / "delays.toml"
    path.write_text(SMALL)
    return path


def compared(protocol, tmp_path, *further):
    places = ["--results", str(tmp_path / "results"), "--folder", str(tmp_path / "runs")]
    return main(["reproduce", "delays", "--protocol", str(protocol), *places, "--quiet", *further])


def test_one_command_compares_all_and_does_nothing_twice(protocol, tmp_path, capsys):
    assert compared(protocol, tmp_path) == 0
    first = capsys.readouterr().out
    files = sorted((tmp_path / "results" / "delays").glob("*/*.json"))
    assert len(files) == 6
    times = {path: path.stat().st_mtime_ns for path in files}
    assert compared(protocol, tmp_path, "--show") == 0
    assert capsys.readouterr().out == first
    assert compared(protocol, tmp_path) == 0
    assert {path: path.stat().st_mtime_ns for path in files} == times
    for path in files:
        record = json.loads(path.read_text())
        assert len(record["trials"]) == 2
        assert sorted(record["seeds"]) == ["1", "2"]
        for seed, one in record["seeds"].items():
            assert one["recipe"]["seed"] == int(seed)
            for name, value in record["chosen"].items():
                assert one["recipe"][name] == value
            # one look more than the budget at most, of whatever a look costs
            assert one["cost"] >= 600 or one["solved"]
    text = (tmp_path / "results" / "delays.md").read_text()
    assert text.count("\n") == 2 + 6
    assert "| memorization-10 | HF |" in text


def test_only_some_are_asked_for(protocol, tmp_path, capsys):
    assert compared(protocol, tmp_path, "--datasets", "memorization-10", "--rows", "CM", "--json") == 0
    assert [*json.loads(capsys.readouterr().out)] == ["delays/memorization-10/CM"]
    assert compared(protocol, tmp_path, "--rows", "CX") == 2
    assert "delays has no 'CX'" in capsys.readouterr().err
    assert main(["reproduce", "delays", "--shipped"]) == 2
    assert "--protocol FILE says how" in capsys.readouterr().err
    assert main(["reproduce", "delays/memorization-10", "--protocol", str(protocol)]) == 2
    assert "delays/PROBLEM-LENGTH/METHOD" in capsys.readouterr().err


def test_further_problems_are_tried_by_the_methods_that_are_named(protocol, tmp_path, capsys):
    protocol.write_text(SMALL.replace("[settings]", '[further]\nmemorization-20 = ["CM"]\n[settings]'))
    assert compared(protocol, tmp_path, "--datasets", "memorization-20", "--json") == 0
    assert [*json.loads(capsys.readouterr().out)] == ["delays/memorization-20/CM"]
    assert len(Comparison.read(protocol).cells()) == 7
    for wrong in (
        'copy-20 = ["CM"]',
        'memorization = ["CM"]',
        'memorization-20 = ["CX"]',
        "memorization-20 = 5",
    ):
        protocol.write_text(SMALL.replace("[settings]", f"[further]\n{wrong}\n[settings]"))
        assert compared(protocol, tmp_path, "--show") == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "expected" in line


def test_results_of_another_comparison_are_not_mixed(protocol, tmp_path, capsys):
    assert compared(protocol, tmp_path, "--rows", "CM") == 0
    capsys.readouterr()
    protocol.write_text(SMALL.replace("budget = 600", "budget = 700"))
    assert compared(protocol, tmp_path, "--rows", "CM") == 2
    assert "made with, found another" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["nonsense = 1\n" + SMALL, "trials = [", "trials = 3"])
def test_a_wrong_comparison_is_one_line(protocol, tmp_path, capsys, wrong):
    protocol.write_text(wrong)
    assert compared(protocol, tmp_path) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_costs_are_counted_in_gradients_of_a_sequence(protocol, tmp_path):
    how = Comparison.read(protocol)
    for method, passes in (("CM", 1), ("regulariser", 2)):
        base = how.base(DelayCell("temporal-order", 10, method)).replace(epochs=2)
        if method == "regulariser":
            base = base.replace(vanishing_penalty=0.5)
        run = Attempt(base, tmp_path / method, 1e9)
        made = run.run(load_data(base), SilentMonitor(), lambda: 0)
        epochs = sum("solved" in record for record in Run.open(tmp_path / method).metrics())
        assert made["cost"] == passes * 128 * epochs
    base = how.base(DelayCell("memorization", 10, "HF")).replace(epochs=2)
    made = Attempt(base, tmp_path / "HF", 1e9).run(load_data(base), SilentMonitor(), lambda: 0)
    updates = [r for r in Run.open(tmp_path / "HF").metrics() if r.get("event") == "hessian-free update"]
    assert (base.streams, base.curvature_share) == (32, 1.0)
    assert made["cost"] == round(sum(32 * (1 + r["losses"] / 3 + r["products"]) for r in updates))
    assert cost(Run.open(tmp_path / "HF"), base) == pytest.approx(made["cost"], abs=0.5)


def test_a_training_ends_where_its_budget_is_spent(protocol, tmp_path):
    base = Comparison.read(protocol).base(DelayCell("temporal-order", 10, "CM"))
    base = base.replace(learning_rate=1e-6)
    made = Attempt(base, tmp_path / "run", 300).run(load_data(base), SilentMonitor(), lambda: 0)
    assert not made["solved"]
    assert made["cost"] == 384


def test_an_interrupted_comparison_goes_on_to_the_same(protocol, tmp_path):
    how = Comparison.read(protocol)
    cells = how.cells(["temporal-order"], ["CM"])

    def results(folder, stops):
        (one,) = delays.experiments(how, cells, folder / "results", folder / "runs")
        calls = iter(stops)
        while not one.finished:
            try:
                one.run(SilentWatch(), lambda: next(calls, 0))
            except Interrupted:
                continue
        found = one.record
        for each in [*found["trials"], *found["seeds"].values()]:
            each.pop("cpu_seconds")
        return found

    whole = results(tmp_path / "a", [])
    assert results(tmp_path / "b", [*[0] * 9, 15, *[0] * 14, 15]) == whole


def test_who_solves_it_cheapest_is_chosen():
    def trial(rate, solved, cost, score):
        return {"settings": {"r": rate}, "solved": solved, "cost": cost, "valid_log_likelihood": score}

    assert chosen_of([trial(1, True, 9, -0.1), trial(2, True, 5, -0.2), trial(3, False, 1, 0)]) == {"r": 2}
    assert chosen_of([trial(1, False, 9, -0.1), trial(2, False, 5, None)]) == {"r": 1}
    with pytest.raises(UserError, match="every one of them diverged"):
        chosen_of([trial(2, False, 5, None)])


def test_every_method_that_comes_along_can_be_built():
    how = Comparison.read()
    for cell in how.cells():
        base = how.base(cell)
        for number in range(how.trials):
            base.replace(**how.draws(cell, number))
