"""Training from Python: any form of data, with or without a folder; stopped, resumed, saved and opened."""

import json
import math
import os
import signal
import threading

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import ostinato
from ostinato.errors import UserError
from ostinato.training.monitor import SilentMonitor

SMALL = {"hidden_size": 6, "epochs": 2}


def weights(run) -> dict[str, torch.Tensor]:
    return {name: x.clone() for name, x in run.model.state_dict().items()}


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# Forms of data


class Songs(Dataset):
    def __init__(self, songs):
        self.songs = songs

    def __len__(self):
        return len(self.songs)

    def __getitem__(self, index):
        if not 0 <= index < len(self.songs):
            raise AssertionError("asked for what is not there")
        return torch.from_numpy(self.songs[index])


class Streamed(IterableDataset):
    def __init__(self, songs):
        self.songs = songs

    def __iter__(self):
        return (torch.from_numpy(song) for song in self.songs)


def test_every_form_of_the_same_songs_trains_the_same_network(songs) -> None:
    whole = ostinato.train("SGD", songs, **SMALL)
    forms = [
        [torch.from_numpy(song) for song in songs],
        [song.tolist() for song in songs],
        (song for song in songs),
        [song.astype(bool) for song in songs],
        Songs(songs),
        Streamed(songs),
        DataLoader(Songs(songs), batch_size=None),
        DataLoader(Songs(songs), batch_size=3, collate_fn=list),
    ]
    for form in forms:
        assert same(weights(ostinato.train("SGD", form, **SMALL)), weights(whole)), form


def test_sequences_of_one_length_may_be_an_array_or_come_in_stacked_batches(songs) -> None:
    cut = np.stack([song[:20] for song in songs])
    whole = weights(ostinato.train("SGD", list(cut), **SMALL))
    loader = DataLoader(TensorDataset(torch.from_numpy(cut)), batch_size=4)
    for form in (cut, torch.from_numpy(cut), loader):
        assert same(weights(ostinato.train("SGD", form, **SMALL)), whole)


def test_a_loader_that_shuffles_gives_the_same_data_each_time_and_draws_nothing(songs) -> None:
    loader = DataLoader(Songs(songs), batch_size=None, shuffle=True)
    before = torch.get_rng_state()
    one, other = (ostinato.load_data(loader) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert one.version == other.version


def test_splits_are_taken_as_they_are_given(songs) -> None:
    named = ostinato.load_data({"train": songs[:7], "valid": songs[7:9], "test": songs[9:]})
    assert [len(named[split]) for split in ("train", "valid", "test")] == [7, 2, 1]
    assert (named["test"][0].values == songs[9]).all()
    assert ostinato.load_data((songs[:7], songs[7:9], songs[9:])).version == named.version
    without = ostinato.train("SGD", {"train": songs[:7], "valid": songs[7:]}, **SMALL)
    assert without.evaluate().scores["model"].keys() == {"train", "valid"}


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (
            {"train": [], "validation": []},
            "expected data by name as train, valid and perhaps test, found train",
        ),
        (([np.eye(3, dtype=int)], []), "found a tuple of 2; name the parts"),
        ([np.full((4, 3), 7)], r"found an array \(4, 3\) of int64"),
        ([1.0, 2.0], "found a list of numbers; one sequence is"),
        ([[1.0, 2.0], [[1.0], [2.0, 3.0]]], "expected a sequence of numbers"),
        (7, "expected sequences as data, found int"),
        ([], "found nothing"),
        ([object()], "expected numbers, texts or pairs, found object"),
        ("no-such-data", "expected a data set or a path, found 'no-such-data'"),
        ([np.eye(3, dtype=int), np.eye(4, dtype=int)], "expected songs of one width, found 3"),
        (
            [np.zeros((30, 2)), np.full((30, 2), np.inf)],
            "expected finite values in series 2, found inf",
        ),
        (["a", np.zeros(3)], "expected text, found an array"),
        (
            [(np.zeros((3, 2)), np.zeros(4))] * 4,
            "expected as many targets as inputs for pair 1, 3",
        ),
        ([(np.zeros((3, 2)), np.zeros(3))] * 2, "expected at least 3 sequences to deal"),
        ([np.zeros((30, 2)), np.zeros((30, 3))], "expected series with as many columns, found 2"),
    ],
)
def test_data_that_cannot_be_used_are_refused(data, line) -> None:
    with pytest.raises(UserError, match=line):
        ostinato.train("SGD", data, **SMALL)


def test_whole_numbers_are_frames_and_real_ones_series_but_what_is_said_counts(songs, walks) -> None:
    kinds = [songs, walks, ["a text"], [np.array([3, 1, 2])], [(walks[0], walks[0])]]
    found = ["music", "series", "words", "words", "pairs-real"]
    from ostinato.api.given import domain_of, given_of

    assert [domain_of(given_of(one), None) for one in kinds] == found
    floats = ostinato.load_data([song.astype(float) for song in songs], domain="music")
    assert floats.version == ostinato.load_data(songs).version
    with pytest.raises(UserError, match="expected frames of 0 and 1 for song 1, found other values"):
        ostinato.load_data(walks, domain="music")
    with pytest.raises(UserError, match=r"expected data temporal-order, .* for a problem"):
        ostinato.load_data(songs, domain="delays")


def test_data_that_were_loaded_train_with_the_settings_they_were_loaded_with(texts) -> None:
    data = ostinato.load_data(texts, domain="chars", vocabulary_size=12)
    run = ostinato.train("SGD", data, **SMALL)
    assert (run.recipe.domain, run.recipe.vocabulary_size) == ("chars", 12)
    with pytest.raises(UserError, match="expected vocabulary_size 12, with which the data were loaded"):
        ostinato.train("SGD", data, vocabulary_size=9, **SMALL)


# Settings


def test_settings_and_letters_make_the_recipe(songs) -> None:
    run = ostinato.train("SGD+CL", songs, learning_rate=0.05, **SMALL)
    assert (run.recipe.name, run.recipe.learning_rate, run.recipe.leak_fraction) == ("SGD+CL", 0.05, 0.5)
    made = ostinato.Recipe.parse("SGD+C", hidden_size=6, epochs=9)
    assert ostinato.train(made, songs, epochs=1).recipe.hidden_size == 6


def test_what_is_not_plain_about_settings_is_warned_of(songs) -> None:
    with pytest.warns(UserWarning, match="leak_low has no effect with leak_fraction 0.0: it is for larger"):
        ostinato.train("SGD", songs, leak_low=0.1, **SMALL)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"hiden_size": 3}, "unknown setting 'hiden_size': did you mean hidden_size"),
        ({"epochs": -1}, "expected epochs in"),
        ({"threads": 0}, "expected threads of at least 1, found 0"),
        ({"device": "tpu"}, "expected device to be cpu"),
        ({"loss": torch.nn.functional.mse_loss}, "expected loss with model, found it alone"),
        ({"resume": "runs/a"}, "expected resume without recipe, found both"),
    ],
)
def test_mistakes_name_arguments(songs, arguments, line) -> None:
    with pytest.raises(UserError, match=line) as found:
        ostinato.train("SGD", songs, **arguments)
    assert "--" not in str(found.value)


# Folders


def test_a_run_in_a_folder_is_like_one_of_the_command_line(songs, tmp_path) -> None:
    run = ostinato.train("SGD", songs, out=tmp_path / "run", **SMALL)
    assert run.folder == tmp_path / "run"
    assert json.loads((run.folder / "results.json").read_text())["results"]["1-gram"]
    with pytest.raises(UserError, match=r"or go on with this one: ostinato.train\(resume="):
        ostinato.train("SGD", songs, out=tmp_path / "run", **SMALL)


def test_a_run_without_a_folder_leaves_nothing_and_can_be_saved(songs, tmp_path) -> None:
    run = ostinato.train("SGD", songs, **SMALL)
    place, before = run.opened.folder.parent, weights(run)
    assert (run.folder, place.exists()) == (None, True)
    assert run.save(tmp_path / "kept") == tmp_path / "kept" == run.folder
    assert not place.exists()
    again = ostinato.open_run(tmp_path / "kept")
    assert same(weights(again), before)
    assert json.loads((tmp_path / "kept" / "results.json").read_text())["run"] == str(tmp_path / "kept")
    assert run.save(tmp_path / "copy") != run.folder == tmp_path / "kept"
    assert json.loads((tmp_path / "copy" / "results.json").read_text())["run"] == str(tmp_path / "copy")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    with pytest.raises(UserError, match="expected a new or an empty folder"):
        run.save(tmp_path / "copy")
    other = ostinato.train("SGD", songs, **SMALL)
    place = other.opened.folder.parent
    del other
    assert not place.exists()


def test_training_leaves_the_number_of_threads_and_signals_as_they_were(songs) -> None:
    before = torch.get_num_threads(), signal.getsignal(signal.SIGINT)
    ostinato.train("SGD", songs, threads=1, **SMALL)
    assert (torch.get_num_threads(), signal.getsignal(signal.SIGINT)) == before


def test_a_program_measures_while_it_trains_and_keeps_what_fails(songs, pairs) -> None:
    run = ostinato.train("SGD+C", songs, hidden_size=4, epochs=2, diagnose_every=2)
    assert [any("horizon" in name for name in record) for record in run.history] == [False, True]
    with pytest.raises(UserError, match="on_failure go-on, stop, ignore, found 'never'"):
        ostinato.train("SGD", songs, hidden_size=4, epochs=1, on_failure="never")
    with pytest.raises(UserError, match="training stopped: "):
        ostinato.train("SGD+R", songs, hidden_size=4, epochs=30, learning_rate=1e3, on_failure="stop")
    with pytest.raises(UserError, match="diagnose_every"):
        ostinato.train("SGD", songs, hidden_size=4, epochs=1, diagnose_every=-1)
    whole = [(x[:12].astype(np.float32), y[:12]) for x, y in pairs]
    with pytest.raises(UserError, match="diagnose_every"):
        ostinato.train(
            data=whole, model=torch.nn.Linear(3, 2), loss=lambda found, y: found.mean(), diagnose_every=1
        )


def test_a_thread_that_is_not_the_main_one_trains(songs) -> None:
    found = []
    thread = threading.Thread(target=lambda: found.append(ostinato.train("SGD", songs, **SMALL)))
    thread.start()
    thread.join()
    assert len(found[0].history) == 2


# Stopped and resumed


class Pressing(SilentMonitor):
    """Presses Ctrl-C in the second epoch."""

    def segment(self, epoch, done, total, frames):
        if (epoch, done) == (1, 1):
            os.kill(os.getpid(), signal.SIGINT)


class Raising(SilentMonitor):
    """As Ctrl-C where no handler could be set."""

    def segment(self, epoch, done, total, frames):
        if (epoch, done) == (1, 1):
            raise KeyboardInterrupt


@pytest.mark.parametrize("monitor", [Pressing, Raising])
@pytest.mark.parametrize("kept", [False, True])
def test_a_stopped_run_goes_on_and_ends_as_an_unbroken_one(songs, tmp_path, monitor, kept) -> None:
    settings = {"hidden_size": 6, "epochs": 4, "streams": 2, "segment_length": 10}
    whole = ostinato.train("SGD+CL", songs, **settings)
    out = tmp_path / "run" if kept else None
    with pytest.raises(KeyboardInterrupt) as stopped:
        ostinato.train("SGD+CL", songs, out=out, monitor=monitor(), **settings)
    assert isinstance(stopped.value, ostinato.TrainingStopped)
    run = stopped.value.run
    assert (run.stopped_because, run.folder) == ("", out)
    assert len(run.history) < 4
    if kept:
        run = ostinato.train(resume=out, data=songs)
    else:
        assert ostinato.train(resume=run) is run
    assert run.stopped_because == "all epochs done"
    assert same(weights(run), weights(whole))
    strip = [[{k: v for k, v in r.items() if k != "seconds"} for r in each.history] for each in (run, whole)]
    assert strip[0] == strip[1]


def test_a_run_that_is_done_goes_on_to_more_epochs_and_to_nothing_else(songs) -> None:
    run = ostinato.train("SGD", songs, **SMALL)
    assert run.resume(epochs=3) is run
    assert same(weights(run), weights(ostinato.train("SGD", songs, hidden_size=6, epochs=3)))
    with pytest.raises(UserError, match="expected the settings the run was started with, found learn"):
        run.resume(learning_rate=0.5)
    with pytest.raises(UserError, match="expected the data the run was started with"):
        run.resume(data=songs[1:], epochs=4)


def test_data_that_were_in_memory_are_asked_for_again(songs, tmp_path) -> None:
    path = ostinato.train("SGD", songs, **SMALL).save(tmp_path / "run")
    run = ostinato.open_run(path)
    for ask in (run.evaluate, lambda: run.resume(epochs=5), lambda: ostinato.evaluate(path)):
        with pytest.raises(UserError, match="expected the data, which a program had in memory"):
            ask()
    with pytest.raises(UserError, match="expected the data the run was trained on"):
        run.evaluate(songs[1:])
    first = run.evaluate(songs).to_dict()
    assert first == run.evaluate().to_dict()
    assert math.isfinite(first["model"]["test"]["log_likelihood"]["value"])


def test_the_command_line_says_what_it_cannot_do_with_such_a_run(songs, tmp_path, command) -> None:
    path = ostinato.train("SGD", songs, **SMALL).save(tmp_path / "run")
    code, _, err = command("train", "--resume", path)
    assert code == 2
    assert "a program had in memory when the run was made, found none: give them as data again" in err


def test_a_run_of_the_command_line_is_opened(tmp_path, command) -> None:
    np.save(tmp_path / "walk.npy", np.cumsum(np.random.default_rng(0).standard_normal(200)))
    small = ("--hidden-size", "4", "--epochs", "2", "--learning-rate-rule", "constant", "--quiet")
    where = ("--data", tmp_path / "walk.npy", "--run", tmp_path / "run")
    assert command("train", "series", *where, *small)[0] == 0
    run = ostinato.open_run(tmp_path / "run")
    there = json.loads((tmp_path / "run" / "results.json").read_text())["results"]
    assert run.evaluate().to_dict() == there
    assert run.resume(epochs=3).history[-1]["epoch"] == 2
    settings = {"hidden_size": 4, "epochs": 3, "learning_rate_rule": "constant"}
    assert same(weights(run), weights(ostinato.train(None, tmp_path / "walk.npy", **settings)))
