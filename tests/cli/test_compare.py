import json

import pytest

from .conftest import QUICK


@pytest.fixture
def other(ostinato, songs, trained, tmp_path):
    code, _, err = ostinato("train", "--data", songs, "--run", tmp_path / "other", "--seed", 1, *QUICK)
    assert code == 0, err
    return tmp_path / "other"


def test_compare_gives_the_scores_of_the_runs_and_their_difference(ostinato, trained, other, tmp_path):
    code, out, err = ostinato("compare", tmp_path / "run", other, tmp_path / "run", "--json")
    assert code == 0, err
    first, second, same = json.loads(out)["runs"]
    assert first["score"] == trained["results"]["model"]["test"]["log_likelihood"]
    gap = second["score"]["value"] - first["score"]["value"]
    assert second["difference"]["value"] == pytest.approx(gap, abs=1e-9)
    low, high = second["difference"]["interval"]
    assert low <= gap <= high
    assert same["difference"]["value"] == 0
    code, out, _ = ostinato("compare", tmp_path / "run", other)
    assert code == 0
    for word in ("minus run", "95% interval", "paired", "2 songs", "first frame of each song included"):
        assert word in out


def test_runs_on_other_data_are_refused(ostinato, songs, trained, tmp_path):
    (songs / "song9.mid").unlink()
    code, _, err = ostinato("train", "--data", songs, "--run", tmp_path / "fewer", *QUICK)
    assert code == 0, err
    code, out, err = ostinato("compare", tmp_path / "run", tmp_path / "fewer")
    assert (code, out) == (2, "")
    assert "expected runs on the same data" in err
    code, _, err = ostinato("compare", tmp_path / "run", tmp_path / "run")
    assert code == 2  # the folder has changed since that run was trained
    assert "it changed" in err


@pytest.fixture
def rbm(ostinato, songs, tmp_path):
    settings = ("--rbm-size", 24, "--cd-steps", 1, "--accuracy-samples", 2, "--gibbs-steps", 16)
    run = tmp_path / "rbm"
    code, _, err = ostinato("train", "--data", songs, "--run", run, "--output", "rbm", *settings, *QUICK)
    assert code == 0, err
    return run


def test_estimates_are_compared_by_their_bounds(ostinato, songs, rbm, tmp_path):
    code, _, err = ostinato("train", "--data", songs, "--run", tmp_path / "run", *QUICK)
    assert code == 0, err
    code, out, err = ostinato("compare", tmp_path / "run", rbm, "--json")
    assert code == 0, err
    first, second = json.loads(out)["runs"]
    assert second["score"]["bound"]
    difference = second["difference"]
    gap = second["score"]["value"] - first["score"]["value"]
    assert difference["value"] == pytest.approx(gap, abs=1e-6)
    # as wide as the estimate's own interval at least
    low, high = second["score"]["interval"]
    assert difference["interval"][1] - difference["interval"][0] >= high - low
    code, out, _ = ostinato("compare", tmp_path / "run", rbm)
    assert code == 0
    assert "≥ " in out
    assert "a lower bound of a likelihood that is estimated" in " ".join(out.split())


def test_evaluate_takes_other_limits_of_an_estimate(ostinato, trained, rbm, tmp_path):
    code, out, err = ostinato("evaluate", rbm, "--ais-frames", 7, "--gibbs-steps", 9, "--json")
    assert code == 0, err
    found = json.loads(out)["results"]["model"]["test"]
    assert found["log_likelihood"]["effort"]["frames"] == 7
    assert found["accuracy_bay"]["effort"]["gibbs_steps"] <= 9
    code, out, err = ostinato("evaluate", tmp_path / "run", "--ais-steps", 9)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--ais-steps is for runs of output rbm, found one of bernoulli" in err
    code, _, err = ostinato("evaluate", "--baselines", "--gibbs-steps", 9)
    assert code == 2
    assert "--gibbs-steps is for runs of output rbm, found baselines on music" in err
    code, _, err = ostinato("evaluate", rbm, "--ais-chains", 1)
    assert code == 2
    assert "--ais-chains in [2, 10000], found 1" in err


def test_sentences_are_compared_for_text_and_tasks_are_refused(ostinato, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat\nthe dog sat on the log\n" * 60)
    quick = ("--data", text, "--hidden-size", 8, "--epochs", 1, "--threads", 1, "--classes", 3)
    for seed in (0, 1):
        code, _, err = ostinato("train", "words", *quick, "--seed", seed, "--run", tmp_path / f"w{seed}")
        assert code == 0, err
    code, out, _ = ostinato("compare", tmp_path / "w0", tmp_path / "w1")
    assert code == 0
    assert "perplexity" in out
    assert "sentences" in out
    quick = ("--length", 10, "--hidden-size", 4, "--epochs", 1, "--threads", 1, "--cg-iterations", 1)
    code, _, err = ostinato("train", "delays", "--run", tmp_path / "delays", *quick)
    assert code == 0, err
    code, _, err = ostinato("compare", tmp_path / "delays", tmp_path / "delays")
    assert code == 2
    assert "expected runs on data whose songs or sentences are resampled" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "two or more runs"),
        (("run",), "two or more runs"),
        (("run", "nowhere"), "expected a run folder at nowhere"),
        (("run", "run", "--resamples", "1"), "--resamples of at least 2"),
    ],
)
def test_wrong_input_is_one_line(ostinato, trained, arguments, words):
    code, out, err = ostinato("compare", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


def test_runs_that_differ_by_their_seed_are_one_way_of_training(ostinato, songs, trained, other, tmp_path):
    for seed in (0, 1):
        run = tmp_path / f"wide{seed}"
        code, _, err = ostinato("train", "--data", songs, "--run", run, "--seed", seed, *QUICK, "--l1", 0.01)
        assert code == 0, err
    runs = (tmp_path / "run", other, tmp_path / "wide0", tmp_path / "wide1")
    code, out, err = ostinato("compare", *runs, "--over-seeds", "--json")
    assert code == 0, err
    first, second = json.loads(out)["runs"]
    assert [len(row["runs"]) for row in (first, second)] == [2, 2]
    code, out, _ = ostinato("compare", *runs, "--json")
    alone = [row["score"]["value"] for row in json.loads(out)["runs"]]
    assert first["score"]["value"] == pytest.approx((alone[0] + alone[1]) / 2, abs=1e-9)
    assert first["spread"] == pytest.approx(abs(alone[0] - alone[1]) / 2**0.5, rel=1e-6)
    assert second["difference"]["over_seeds"]
    code, out, _ = ostinato("compare", *runs, "--over-seeds")
    assert out.count("more") == 2
    assert "standard deviation over seeds" in out
    code, out, _ = ostinato("compare", *runs[:3], "--over-seeds")
    assert "says nothing of its seed" in " ".join(out.split())
    for given, words in (((*runs[:2],), "differ by their seed alone"), ((*runs, runs[0]), "seed 0 again")):
        code, out, err = ostinato("compare", *given, "--over-seeds")
        assert (code, out, words in err) == (2, "", True), err
