"""Metre as a side input, from files to what is written, and keys drawn for each epoch."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

import ostinato
from ostinato.data.sequences import Sequence
from ostinato.domains.music.augment import in_random_keys
from ostinato.domains.music.bars import Bars
from ostinato.domains.music.metre import BARS_AGO, parsed, side_of
from ostinato.domains.music.open import MusicModel
from ostinato.domains.music.reading import data_sets
from ostinato.domains.music.reading.frames import AsFrames
from ostinato.domains.music.reading.pieces import Piece, read_piece
from ostinato.domains.music.surprise import score_piece
from ostinato.domains.music.wrong_notes import find_corrections
from ostinato.errors import UserError
from ostinato.nn import RNN, SequenceModel
from ostinato.nn.outputs import Bernoulli
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run

JIGS = 9


@pytest.fixture(scope="module")
def jigs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tunes in 6/8 with a pickup of an eighth, and one in 3/4."""
    folder = tmp_path_factory.mktemp("jigs")
    for k in range(JIGS):
        a, b = "CDEFGABc"[k % 8], "GABcdefg"[k % 7]
        tune = f"{a}|{a}{b}{a} {b}2{a}|{b}{a}{b} {a}3|" * 2
        (folder / f"jig{k}.abc").write_text(f"X:1\nM:6/8\nL:1/8\nK:C\n{tune}{a}{a}{a} {b}2|\n")
    (folder / "waltz.abc").write_text("X:1\nM:3/4\nL:1/8\nK:C\nC2E2G2|c2G2E2|C6|G6|C2E2G2|C6|\n")
    return folder


@pytest.fixture(scope="module")
def run(jigs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "jigs"
    ostinato.train("adam+C", jigs, out=out, hidden_size=12, epochs=2, frames_per_beat=2)
    return out


def test_features_say_beat_bar_and_phrase() -> None:
    bars = Bars(pickup=0.5, metres=((0.0, 6, 8), (6.5, 2, 4)))
    side = side_of(bars, 0.0, frames=21, grid=2)
    parts = np.split(side.features, np.cumsum([72, 12, 12, 5, 1]), axis=1)
    within, beat, beats, kind = (part.argmax(1).tolist() for part in parts[:4])
    assert all((part.sum(1) == 1).all() for part in parts[:4])
    # a pickup of one frame, two bars of six eighths in two beats, then bars of two quarters
    assert within == [24, *([0, 12, 24] * 4), *([0, 12] * 4)]
    assert beat == [1, *([0, 0, 0, 1, 1, 1] * 2), *([0, 0, 1, 1] * 2)]
    assert beats == [1] * 21
    assert kind == [2] * 13 + [1] * 8
    assert parts[4].ravel().tolist() == [1] + [0] * 20
    numbers = parts[5] @ (1 << np.arange(5))
    assert numbers.tolist() == [0] + [0] * 6 + [1] * 6 + [2] * 4 + [3] * 4


@pytest.mark.parametrize("grid", [1, 2, 3, 4, 6])
def test_the_bars_before_are_found(grid: int) -> None:
    bars = Bars(pickup=1.0, metres=((0.0, 3, 4), (13.0, 4, 4), (29.0, 6, 8)))
    side = side_of(bars, 0.0, frames=60 * grid, grid=grid)
    places = [bars.place(t / grid) for t in range(60 * grid)]
    for t, here in enumerate(places):
        for column, ago in enumerate(BARS_AGO):
            there = [
                t - s
                for s, place in enumerate(places[:t])
                if place.bar == here.bar - ago and abs(place.offset - here.offset) < 1e-6
            ]
            assert side.back[t, column] == (there[0] if there else 0), (t, ago)


def test_a_pickup_of_thirds_is_on_its_frames() -> None:
    side = side_of(Bars(1 / 3, ((0.0, 2, 4),)), 0.0, frames=20, grid=3)
    assert side.features[:, :72].argmax(1).tolist() == [16, *([0, 8, 16] * 7)][:20]


def test_songs_of_files_have_their_metre_and_published_ones_have_none(jigs: Path) -> None:
    data = data_sets.load(jigs, frames_per_beat=2, metre=True, look_back=True, cache=False)
    plain = data_sets.load(jigs, frames_per_beat=2, cache=False)
    assert data.version != plain.version
    assert "metre" not in plain.details
    assert data.details["metre"]["usual"] == "6/8"
    assert data.details["metre"]["pickups"]["6/8"] == 0.5
    assert data.details["metre"]["pieces"] == {"6/8": JIGS, "3/4": 1}
    assert all(song.side is None for song in plain.train)
    for song in (*data.train, *data.valid, *data.test):
        piece = read_piece(jigs / song.name, AsFrames(2, metre=True, look_back=True))
        side = piece.side()
        assert song.side is not None
        assert side is not None
        np.testing.assert_array_equal(song.side.features, side.features)
        np.testing.assert_array_equal(song.side.back, side.back)
    with pytest.raises(UserError, match="metre is for files of your own, found jsb"):
        data_sets.load("jsb", metre=True)


def test_new_runs_on_files_and_bach_have_metre_and_those_of_before_do_not() -> None:
    for data, expected in (("bach", True), ("jsb", None), ("some/folder", True)):
        assert Recipe.parse("SGD", data=data).get("metre") is expected
        assert Recipe.parse("SGD", data=data).get("look_back") is (True if data == "some/folder" else None)
        assert Recipe.from_dict({"recipe": "SGD", "data": data}).get("metre") is None
    assert Recipe.parse("SGD", data="bach", metre=False).get("metre") is False


def test_files_have_copy_gates_where_the_output_can_and_runs_of_before_have_none(jigs: Path) -> None:
    for output, expected in (("bernoulli", True), ("nade", True), ("rbm", False)):
        assert Recipe.parse("SGD", data="some/folder", output=output).get("copy_gates") is expected
    assert Recipe.parse("SGD", data="bach").get("copy_gates") is None
    assert Recipe.from_dict({"recipe": "SGD", "data": "some/folder"}).get("copy_gates") is None
    with pytest.raises(UserError, match="output bernoulli or nade with copy_gates, found rbm"):
        Recipe.parse("SGD", data="some/folder", output="rbm", copy_gates=True)


@pytest.mark.parametrize("frames", ["onsets", "piano-roll"])
def test_runs_with_copy_gates_open_and_those_without_as_before(
    jigs: Path, tmp_path: Path, frames: Literal["onsets", "piano-roll"]
) -> None:
    sizes = {"hidden_size": 5, "epochs": 1, "frames_per_beat": 2, "frames": frames, "output": "nade"}
    for gates in (True, False):
        run = ostinato.train("adam", jigs, out=tmp_path / str(gates), copy_gates=gates, **sizes)
        model = MusicModel.open(tmp_path / str(gates)).model
        assert hasattr(model.output, "gates") is gates
        names = {name.split(".")[0] for name, _ in model.output.named_parameters()}
        assert names == ({"output", "weight", "bias"} if gates else names)
        assert run.generate(steps=5).shape == (1, 5, 176 if frames == "onsets" else 88)


def test_what_is_composed_has_the_metre_that_was_asked_for(run: Path, tmp_path: Path) -> None:
    trained = ostinato.open_run(run)
    for asked, pickup, metre in ((None, None, (0.5, 6, 8)), ("3/4", 1.0, (1.0, 3, 4)), ("3/4", 0, (0, 3, 4))):
        out = tmp_path / "made.mid"
        drawn = trained.generate(steps=60, seed=3, metre=asked, pickup=pickup, out=[out])
        again = read_piece(out, AsFrames(2, transpose=False))
        assert (again.bars.pickup, *again.bars.stretches[0].metre) == metre
        first = int(drawn[0].any(1).argmax())
        np.testing.assert_array_equal(again.frames, drawn[0][first : first + len(again.frames), :88])
    # the metre matters to the model
    usual, other = (trained.generate(steps=60, seed=3, metre=metre) for metre in ("6/8", "3/4"))
    assert (usual != other).any()
    with pytest.raises(UserError, match="metre like 3/4 or 6/8, found 'waltz'"):
        trained.generate(steps=4, metre="waltz")
    with pytest.raises(UserError, match=r"pickup of at least 0 and less than a bar of 6/8 \(3 quarter"):
        trained.generate(steps=4, pickup=3.0)
    with pytest.raises(
        UserError, match=r"pickup in whole frames.* 2 to a quarter note, found 0.3; the nearest is 0.5"
    ):
        trained.generate(steps=4, pickup=0.3)
    # of nothing there is no part
    trained.generate(steps=60, seed=3, metre="3/4", out=[tmp_path / "made.mid"])
    assert b"given" not in (tmp_path / "made.mid").read_bytes()


def test_a_piece_that_is_continued_keeps_its_metre(run: Path, jigs: Path) -> None:
    trained, music = ostinato.open_run(run), MusicModel.open(run)
    waltz = jigs / "waltz.abc"
    drawn = trained.generate(waltz, steps=9, seed=1)
    piece = music.read(waltz)
    side = piece.side(len(piece) + 9)
    assert side is not None
    from ostinato.domains.music.compose import generate
    from ostinato.domains.seed import seeded

    own = generate(
        music.model, 9, visible_size=music.visible_size, prime=piece.frames, side=side, generator=seeded(1)
    )
    np.testing.assert_array_equal(piece.in_own_key(own[0]), drawn[0])
    with pytest.raises(UserError, match="metre without a file to continue"):
        trained.generate(waltz, steps=9, metre="3/4")


def test_scores_know_the_metre_as_training_did(run: Path, jigs: Path) -> None:
    trained = ostinato.open_run(run)
    scores = trained.evaluate(baselines=False).scores["model"]["test"]["log_likelihood"]
    songs = trained.data["test"]
    each = trained.score([jigs / song.name for song in songs])
    total = sum(float(one.log_probs.sum()) for one in each)
    assert total / sum(len(song) for song in songs) == pytest.approx(scores.value, abs=1e-5)


def test_a_run_that_reads_bars_refuses_data_without(run: Path) -> None:
    with pytest.raises(UserError, match="expected pieces with bars, which the run's model reads, found jsb"):
        ostinato.open_run(run).evaluate("jsb")


def test_a_run_without_metre_is_told_none(jigs: Path) -> None:
    trained = ostinato.train("SGD", jigs, hidden_size=5, epochs=1, frames_per_beat=2, metre=False)
    assert trained.generate(steps=4).shape == (1, 4, 176)
    with pytest.raises(UserError, match="expected no metre of a run trained without metre, found 3/4"):
        trained.generate(steps=4, metre="3/4")


def test_a_wrong_note_is_heard_through_the_bars_after_it() -> None:
    draw = np.random.default_rng(0)
    frames = np.eye(88, dtype=np.uint8)[draw.integers(30, 50, 24)]
    piece = Piece("a", frames, 1, bars=Bars(metres=((0.0, 2, 4),)), metre=True, look_back=True)
    side = piece.side()
    assert side is not None
    generator = torch.Generator().manual_seed(0)
    rnn = RNN(side.size(88), 9, generator=generator, dtype=torch.float64)
    model = SequenceModel(rnn, Bernoulli(9, 88, generator=generator, dtype=torch.float64)).eval()
    before = score_piece(model, piece).log_probs.sum()
    for found in find_corrections(model, piece, horizon=99)[:6]:
        other = frames.copy()
        other[found.begin : found.end, [found.pitch - 21, found.better - 21]] = [0, 1]
        changed = Piece("b", other, 1, bars=piece.bars, metre=True, look_back=True)
        gain = (score_piece(model, changed).log_probs.sum() - before) / np.log(2)
        assert found.gain == pytest.approx(gain, abs=1e-6)


def test_keys_are_drawn_anew_for_each_epoch_and_the_same_again(jigs: Path, tmp_path: Path) -> None:
    songs = [Sequence(str(k), np.eye(88, dtype=np.uint8)[[40 + k, 44 + k]]) for k in range(30)]
    moved, again = (in_random_keys(songs, np.random.default_rng(1)) for _ in range(2))
    other = in_random_keys(songs, np.random.default_rng(2))
    shifts = [int(m.values[0].argmax() - s.values[0].argmax()) for m, s in zip(moved, songs, strict=True)]
    assert set(shifts) <= set(range(-6, 6))
    assert len(set(shifts)) > 6
    assert all((m.values == a.values).all() for m, a in zip(moved, again, strict=True))
    assert any((m.values != o.values).any() for m, o in zip(moved, other, strict=True))

    how = {"hidden_size": 6, "frames_per_beat": 2, "augment": "transpose", "streams": 2}
    whole = ostinato.train("SGD", jigs, out=tmp_path / "whole", epochs=4, **how)
    plain = ostinato.train("SGD", jigs, epochs=4, **{**how, "augment": "none"})
    ostinato.train("SGD", jigs, out=tmp_path / "parts", epochs=2, **how)
    parts = ostinato.train(resume=tmp_path / "parts", epochs=4)
    scores = [[epoch["valid_log_likelihood"] for epoch in r.history] for r in (whole, parts, plain)]
    assert scores[0] == scores[1]
    assert scores[0] != scores[2]
    weights = [Run.open(tmp_path / name).load_checkpoint("last")[0] for name in ("whole", "parts")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    # what is scored is in its own key
    assert [s.values.tolist() for s in whole.data["test"]] == [s.values.tolist() for s in plain.data["test"]]


def test_a_metre_is_read() -> None:
    assert str(parsed(" 12/8 ")) == "12/8"
    for text in ("3", "0/4", "3/5", "3/4/5", "-3/4"):
        with pytest.raises(UserError, match="expected metre"):
            parsed(text)
