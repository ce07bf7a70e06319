"""What a program may get wrong: an error in one line, nothing ignored, nothing left behind."""

import warnings

import numpy as np
import pytest
import torch

import ostinato
from ostinato import UserError

SONGS = [np.eye(12, dtype=np.uint8)[np.arange(k, k + 24) % 12] for k in range(10)]
TEXT = ["the cat sat", "the dog sat", "a cat ran"] * 20
TINY = {"hidden_size": 4, "epochs": 1}


class Net(torch.nn.Module):
    def forward(self, inputs):
        raise RuntimeError("never meant to work")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ostinato.train("SGD", ostinato.load_data(SONGS), model=Net()), "found loaded data"),
        (lambda: ostinato.train("SGD", "jsb", model=Net()), "in memory with model, found 'jsb'"),
        (lambda: ostinato.train("SGD", ostinato.load_data(TEXT), domain="chars"), "expected domain words"),
        (lambda: ostinato.train(SONGS), "as recipe, found list; what is trained on comes second"),
        (lambda: ostinato.train("SGD", SONGS, threads=0), "threads of at least 1, found 0"),
        (lambda: ostinato.train("SGD", SONGS, device=""), "device"),
        (lambda: ostinato.train("SGD", SONGS, out=3), "a path as out, found 3"),
        (lambda: ostinato.train("SGD", SONGS, monitor=print), "a Monitor as monitor"),
        (
            lambda: ostinato.train("SGD", SONGS, checkpoint_seconds=-1),
            "checkpoint_seconds as a finite number of at least 0, found -1",
        ),
        (
            lambda: ostinato.train("SGD", SONGS, checkpoint_seconds=float("nan")),
            "checkpoint_seconds as a finite",
        ),
        (lambda: ostinato.open_run(3), "the path of a run, found 3"),
        (lambda: ostinato.train(resume=3), "the path of a run, found 3"),
        (lambda: ostinato.load_data(SONGS)["foo"], "expected one of train, valid, test, found 'foo'"),
        (lambda: ostinato.load_data("temporal-order")["test"], "which draws its own"),
        (lambda: ostinato.train("SGD", [torch.eye(12).to_sparse()] * 9), "a dense tensor"),
        (lambda: ostinato.compare("runs/a"), "a list of two or more runs"),
        (lambda: ostinato.compare([], split="foo"), "found 'foo'"),
        (lambda: ostinato.compare([], resamples=1), "resamples to be a whole number of at least 2, found 1"),
        (lambda: ostinato.compare([], seed=-1), "seed to be a whole number of at least 0, found -1"),
    ],
)
def test_a_wrong_call_is_one_line(call, words) -> None:
    with pytest.raises(UserError) as error:
        call()
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_failed_call_leaves_its_folder_free(tmp_path) -> None:
    place = tmp_path / "run"
    for wrong in ({"device": "cuda:99"}, {"threads": "2"}):
        with pytest.raises(UserError):
            ostinato.train("SGD", SONGS, out=place, **TINY, **wrong)
        assert not place.exists()
    pairs = [(np.zeros((5, 3)), np.zeros(5, int))] * 10
    with pytest.raises(RuntimeError, match="never meant"):
        ostinato.train("SGD", pairs, model=Net(), out=place, epochs=1)
    assert not place.exists()
    assert ostinato.train("SGD", SONGS, out=place, **TINY).folder == place


def test_values_under_a_mask_are_not_trained_on() -> None:
    rng = np.random.default_rng(0)
    whole = [rng.normal(size=(40, 2)) for _ in range(10)]
    holes = [rng.random((40, 2)) < 0.2 for _ in range(10)]
    masked = [np.ma.masked_array(np.where(h, 99.0, x), h) for x, h in zip(whole, holes, strict=True)]
    missing = [np.where(h, np.nan, x) for x, h in zip(whole, holes, strict=True)]
    scores = [
        ostinato.train("SGD", data, **TINY).history[0]["valid_log_likelihood"] for data in (masked, missing)
    ]
    assert scores[0] == scores[1]
    with pytest.raises(UserError, match="real numbers where some are masked"):
        ostinato.train("SGD", [np.ma.masked_array(np.arange(5), [0, 1, 0, 0, 0])] * 10)


def test_a_run_without_a_finite_score_says_so() -> None:
    waves = [np.sin(np.arange(60) / 3 + k) for k in range(10)]
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        run = ostinato.train("SGD", waves, hidden_size=4, epochs=1, learning_rate=1e38)
    assert any("no epoch had a finite validation score" in str(one.message) for one in heard)
    with pytest.raises(UserError, match="a run that has ended: no epoch had a finite"):
        run.evaluate()


def test_what_a_run_is_asked_is_not_ignored() -> None:
    run = ostinato.train("SGD", {"train": SONGS[:6], "valid": SONGS[6:]}, **TINY)
    with pytest.raises(UserError, match="found none in test"):
        run.evaluate(splits=["test"])
    with pytest.raises(UserError, match="a mapping of train"):
        run.score({"train": SONGS})
    with pytest.raises(UserError, match="a run that has its own"):
        ostinato.train(resume=run, model=Net(), epochs=2)
    for steps in (-2, 0, 500):
        with pytest.raises(UserError, match=r"prime_steps in \[1, 24\]"):
            run.generate(SONGS[0], steps=4, prime_steps=steps)
    with pytest.raises(UserError, match="expected semitones with prime"):
        run.generate(steps=4, semitones=2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": "3"}, "expected steps to be a whole number, found '3'"),
        ({"steps": True}, "expected steps to be a whole number, found True"),
        ({"count": 1.5}, "expected count to be a whole number, found 1.5"),
        ({"temperature": "1"}, "expected temperature to be a number, found '1'"),
        ({"prime_steps": 2.5}, "expected prime_steps to be a whole number or None, found 2.5"),
        ({"seed": "a"}, "expected seed to be a whole number, found 'a'"),
    ],
)
def test_an_option_of_another_type_is_refused(options, words) -> None:
    run = ostinato.train("SGD", SONGS, **TINY)
    with pytest.raises(UserError) as error:
        run.generate(SONGS[0], **options)
    assert str(error.value) == words


def test_token_ids_are_not_words_of_a_file(tmp_path) -> None:
    (tmp_path / "t.txt").write_text("the cat sat\n" * 5)
    run = ostinato.train("SGD", [np.array([1, 2, 3, 1, 2])] * 30, classes=2, **TINY)
    with pytest.raises(UserError, match="expected token ids, which the run was trained on"):
        run.evaluate(tmp_path / "t.txt")


def test_bfloat16_is_what_it_says() -> None:
    waves = [torch.sin(torch.arange(40) / 3 + k).bfloat16() for k in range(10)]
    found = [
        ostinato.train("SGD", data, **TINY).history[0]["valid_log_likelihood"]
        for data in (waves, [wave.float() for wave in waves])
    ]
    assert found[0] == found[1]


def test_frames_of_other_notes_are_no_data_of_the_run(tmp_path) -> None:
    from ostinato.domains.music.writing import piano_roll

    for k in range(5):
        piano_roll.to_midi(
            np.eye(88, dtype=np.uint8)[30 + np.random.default_rng(k).permutation(40)], tmp_path / f"{k}.mid"
        )
    run = ostinato.train("SGD", SONGS, **TINY)
    with pytest.raises(UserError, match="expected frames of 12 rows, as the run was trained on, found 88"):
        run.evaluate(tmp_path)
    with pytest.raises(UserError, match="expected frames of shape"):
        run.generate(steps=4, out=tmp_path / "new.mid")
