"""The live picture of several workers: what terminals of 80 and 40 columns show of it, and without one."""

import io
import json
import multiprocessing
import os
import re
import sys
import time

import numpy as np
import pytest
from rich.console import Console
from rich.live import Live

from ostinato.cli.workboard import Board, LinePost, Picture, SlotPost, post_to, read_slot
from ostinato.domains.music.writing import piano_roll
from terminal import in_terminal, pictures, screen

STATES = [
    {
        "label": f"trial {number}",
        "epoch": 7,
        "epochs": 200,
        "settings": {
            "hidden_size": "212",
            "learning_rate": "0.001234",
            "leak_fraction": "0.25",
            "leak_low": "0.1234",
        },
        "first": 1,
        "since": 0.0,
    }
    for number in (17, 18)
]


def drawn(picture, states, width, height=24):
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, highlight=False)
    console.print(picture.draw(states, height))
    return screen(console.file.getvalue(), width)


@pytest.mark.parametrize("width", [80, 40])
def test_no_number_is_cut(width):
    picture = Picture("trials", 0, 5000)
    picture.count({"done": 1234, "best": "best -8.123 (trial 1017)"})
    lines = drawn(picture, STATES, width)
    words = [word for line in lines for word in line.split()]
    for number in (17, 18):
        assert f"trial {number}  epoch 7/200" in lines
    for word in ("hidden_size=212", "learning_rate=0.001234", "leak_fraction=0.25", "leak_low=0.1234"):
        assert words.count(word) == 2
    assert lines[0].startswith("1234/5000 trials ")
    assert re.fullmatch(r"\d+\.\d trials/s, about \d+:\d\d left", lines[1])
    assert "best -8.123 (trial 1017)" in lines
    assert all(len(line) <= width for line in lines)


def test_more_workers_than_lines_are_counted():
    lines = drawn(Picture("trials", 0, 9), STATES * 20, 80, height=24)
    assert lines[-1] == "and 34 more workers"
    assert len(lines) <= 24


def test_time_left_by_epochs_and_then_by_trials(monkeypatch):
    picture = Picture("trials", 10, 20)
    assert drawn(picture, [], 80)[1] == "the first epochs are not done yet"
    now = time.time()
    # two workers at a tenth of a trial a second, 0.8 of a trial done: 9.2 trials at 0.2 a second
    states = [
        STATES[0] | {"epoch": e, "first": f, "epochs": 100, "since": now - 3} for e, f in ((40, 10), (40, 10))
    ]
    monkeypatch.setattr(time, "time", lambda: now)
    assert drawn(picture, states, 80)[1] == "at most 0:46 left"
    begin = picture._begin
    picture.count({"done": 12})
    monkeypatch.setattr(time, "monotonic", lambda: begin + 240)
    assert drawn(picture, states, 80)[1] == "30.0 trials/h, about 16:00 left"


def test_what_one_worker_knows_late_is_not_shown_as_the_latest():
    picture = Picture("trials", 0, 9)
    picture.count({"done": 5, "best": "best -1.000 (trial 4)"})
    picture.count({"done": 3, "best": "best -2.000 (trial 1)"})
    lines = drawn(picture, [], 80)
    assert lines[0].startswith("5/9 trials")
    assert lines[2] == "best -1.000 (trial 4)"


def test_a_slot_holds_what_was_written_last_and_never_half_of_it():
    slot = multiprocessing.get_context("spawn").RawArray("c", 8192)
    assert read_slot(slot) is None
    post = SlotPost(slot)
    post.at("trial 3", {"learning_rate": 0.0123456}, 20)
    post.epoch(1)
    post.epoch(2)
    state = read_slot(slot)
    assert (state["label"], state["epoch"], state["first"]) == ("trial 3", 2, 1)
    assert state["settings"] == {"learning_rate": "0.01235"}
    for number in range(20):
        post.done(f"line {number} " + "x" * 2000, {"done": number})
    state = read_slot(slot)
    assert (state["written"], state["ended"], state["done"], state["label"]) == (20, 20, 19, None)
    assert state["lines"][-1].startswith("line 19")
    slot[100] = b"#"  # as in the middle of a write
    assert read_slot(slot) is None


def test_without_a_terminal_there_is_a_line_at_each_end_and_quiet_says_nothing():
    console = Console(file=io.StringIO(), width=40, soft_wrap=True)
    board = Board(console, 2, "trials", 0, 3)
    assert not board.live
    assert board.slot(1) is None
    post = LinePost(console)
    with board:
        post.at("trial 0", {"learning_rate": 0.0123456, "hidden_size": 200, "leak_fraction": 0.25}, 9)
        post.epoch(1)
        post.done("1/3  trial 0 complete -8.123, 9 epochs", {})
    assert console.file.getvalue().splitlines() == [
        "trial 0: learning_rate 0.01235, hidden_size 200, leak_fraction 0.25",
        "1/3  trial 0 complete -8.123, 9 epochs",
    ]
    quiet = post_to(None, Console(), quiet=True)
    quiet.at("trial 0", {}, 1)
    quiet.notice("nothing")
    assert type(quiet).__name__ == "SilentPost"


def test_what_scrolled_off_and_each_picture_is_seen_however_it_was_read():
    console = Console(file=io.StringIO(), width=20, height=5, force_terminal=True)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        for number in range(9):
            live.update(f"picture {number}", refresh=True)
            console.print(f"line {number}")
    *live_ones, last = pictures(console.file.getvalue().replace("\n", "\r\n").encode(), 20, 5)
    assert [line for line in last if line] == [f"line {number}" for number in range(9)]
    assert {line for picture in live_ones for line in picture} >= {f"picture {number}" for number in range(9)}


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 40])
def test_a_search_in_a_terminal(width, tmp_path):
    (tmp_path / "songs").mkdir()
    rng = np.random.default_rng(0)
    for number in range(8):
        roll = (rng.random((64, 88)) < 0.05).astype(np.uint8)
        piano_roll.to_midi(roll, tmp_path / "songs" / f"{number}.mid")
    (tmp_path / "space.toml").write_text("[search]\nlearning_rate = {low = 1e-3, high = 0.1, log = true}\n")
    written = in_terminal(
        [
            *(sys.executable, "-m", "ostinato", "search", "--data", "songs", "--space", "space.toml"),
            *("--trials", "3", "--workers", "2", "--study", "s", "--no-pruning"),
            *("--hidden-size", "4", "--epochs", "60", "--patience", "60"),
        ],
        width,
        40,
        folder=tmp_path,
        variables={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    shown = pictures(written, width, 40)
    text = " ".join(" ".join(shown[-1]).split())  # also what is broken between two words
    trials = json.loads((tmp_path / "s" / "trials.json").read_text())
    assert len(trials) == 3
    for trial in trials:
        assert f"trial {trial['number']} complete {trial['value']:.3f}" in text
    live = "\n".join(line for picture in shown[:-1] for line in picture)
    # a trial that takes less time than lies between two pictures is on none
    rates = set(re.findall(r"^  learning_rate=(\S+)$", live, re.MULTILINE))
    assert rates
    assert rates <= {f"{trial['params']['learning_rate']:.4g}" for trial in trials}
    assert re.search(r"^trial \d  epoch \d+/60$", live, re.MULTILINE)
    assert re.search(r"^[0-3]/3 trials ━", live, re.MULTILINE)
    # nothing of the picture is left over at the end
    assert not [line for line in shown[-1] if "━" in line], "\n".join(shown[-1])
