"""Frames with onsets: what notes become, and what becomes of frames."""

import dataclasses

import numpy as np
import pytest

from ostinato.data.sequences import Sequence
from ostinato.domains.given import UNSPLIT, Given
from ostinato.domains.music.evaluation.baselines import BASELINES, fit_baseline, note_frequencies
from ostinato.domains.music.evaluation.frames import evaluate_frames, in_quarters, total_by_song
from ostinato.domains.music.harmonize import Region, melody, regions
from ostinato.domains.music.layout import COLUMNS, begun, invalid, roll, shifted, spans, struck
from ostinato.domains.music.memory import wrap
from ostinato.domains.music.notes import Notes
from ostinato.domains.music.reading.data_sets import load
from ostinato.domains.music.reading.folder import split_songs
from ostinato.domains.music.reading.frames import AsFrames
from ostinato.domains.music.reading.pieces import Piece, read_piece
from ostinato.domains.music.rhythm import attacks
from ostinato.domains.music.surprise import score_piece
from ostinato.domains.music.writing.piano_roll import to_midi
from ostinato.domains.music.wrong_notes import find_corrections
from ostinato.errors import UserError
from ostinato.nn.outputs.registry import OUTPUTS
from ostinato.recipe.recipe import Recipe

C = 39  # column of middle C


def notes(*each):
    """Of (start, end, pitch)."""
    start, end, pitch = (np.array(x) for x in zip(*each, strict=True))
    return Notes(start.astype(float), end.astype(float), pitch)


def random_frames(seed, steps=60, low=30, high=50):
    generator = np.random.default_rng(seed)
    sounds = np.zeros((steps, COLUMNS), bool)
    sounds[:, low:high] = generator.random((steps, high - low)) < 0.4
    again = sounds & (generator.random(sounds.shape) < 0.3)
    return begun(np.concatenate([sounds, again], axis=1).astype(np.uint8))


def test_a_repeated_note_is_not_a_held_one():
    repeated = notes((0, 1, 60), (1, 2, 60)).frames(1, quantize="nearest", onsets=True)
    held = notes((0, 2, 60)).frames(1, quantize="nearest", onsets=True)
    assert roll(repeated)[:, C].tolist() == roll(held)[:, C].tolist() == [1, 1]
    assert (repeated[:, COLUMNS + C].tolist(), held[:, COLUMNS + C].tolist()) == ([1, 1], [1, 0])
    assert list(spans(repeated)) == [(0, 1, C), (1, 2, C)]
    assert list(spans(held)) == [(0, 2, C)]


@pytest.mark.parametrize("quantize", ["nearest", "sample"])
def test_the_rows_that_sound_are_those_of_a_piano_roll(quantize):
    generator = np.random.default_rng(0)
    start = generator.integers(0, 400, 300) / 12
    piece = Notes(start, start + generator.integers(1, 30, 300) / 12, generator.integers(50, 70, 300))
    plain, with_onsets = (piece.frames(2, quantize=quantize, onsets=which) for which in (False, True))
    np.testing.assert_array_equal(roll(with_onsets), plain)
    assert invalid(with_onsets) == ""
    placed = piece.placed(2, quantize)
    if quantize == "nearest":  # no note is fused with another
        assert len(list(spans(with_onsets))) == placed.kept.sum()


def test_spans_are_the_frames():
    frames = random_frames(1)
    again = np.zeros_like(frames)
    for begin, end, column in spans(frames):
        assert not again[begin:end, column].any()
        again[begin:end, column] = 1
        again[begin, COLUMNS + column] = 1
    np.testing.assert_array_equal(again, frames)


def test_midi_holds_and_repeats(tmp_path):
    frames = random_frames(2)
    to_midi(frames, tmp_path / "a.mid", frames_per_beat=2)
    how = AsFrames(frames_per_beat=2, transpose=False, frames="onsets")
    np.testing.assert_array_equal(read_piece(tmp_path / "a.mid", how).frames[: len(frames)], frames)


def test_moved_frames_move_both_parts():
    frames = random_frames(3)
    up = shifted(frames, 5)
    assert list(spans(up)) == [(b, e, column + 5) for b, e, column in spans(frames)]
    np.testing.assert_array_equal(shifted(up, -5), frames)


def test_parts_of_a_piece_that_is_cut_begin_with_their_notes():
    frames = notes((0, 60, 60)).frames(1, onsets=True)
    splits, how = split_songs([Sequence("a", frames)])
    assert how == "in time"
    parts = [song.values for songs in splits.values() for song in songs]
    assert [invalid(part) for part in parts] == [""] * 3
    assert [int(struck(part).sum()) for part in parts] == [1, 1, 1]


def test_a_held_melody_is_given_as_it_is():
    frames = notes((0, 2, 60), (2, 3, 60), (0, 3, 48)).frames(1, onsets=True)
    given = melody(frames)
    rows = [C, COLUMNS + C]
    assert given.fixed[:, rows].all()
    assert given.values[:, rows].tolist() == [[1, 1], [1, 0], [1, 1]]
    assert given.fixed[:, [C + 1, COLUMNS + C + 1]].all()
    assert not given.values[:, C + 1].any()
    assert not given.fixed[:, [C - 1, COLUMNS + C - 1]].any()


def test_what_comes_out_of_a_gap_may_be_held_or_struck():
    frames = notes((0, 4, 60)).frames(1, onsets=True)
    given = regions(frames, free=[Region(1, 2)])
    assert given.fixed[:, C].tolist() == [True, False, True, True]
    assert given.fixed[:, COLUMNS + C].tolist() == [True, False, False, True]


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_count_strikes_where_they_are_asked_for(name):
    songs = [Sequence(str(seed), random_frames(seed)) for seed in range(3)]
    baseline = fit_baseline(name, songs, onsets=True)
    now = np.concatenate([song.values for song in songs]).astype(bool)
    before = np.concatenate([np.pad(roll(s.values), ((1, 0), (0, 0)))[:-1] for s in songs]).astype(bool)
    sounds, strikes = now[:, :COLUMNS], now[:, COLUMNS:]
    asked = sounds & before
    # the log-likelihood, from counts alone: of pitches silent and sounding before, and of those that go on
    total = 0.0
    for value in (False, True):
        for on, seen in ((sounds, before == value), (strikes, asked & (before == value))):
            if name == "iid":
                everywhere = np.ones_like(before) if on is sounds else asked
                p = np.full(COLUMNS, ((on & everywhere).sum() + 0.5) / (everywhere.sum() + 1))
            elif name == "1-gram":
                everywhere = np.ones_like(before) if on is sounds else asked
                p = ((on & everywhere).sum(0) + 0.5) / (everywhere.sum(0) + 1)
            else:
                p = ((on & seen).sum(0) + 0.5) / (seen.sum(0) + 1)
            total += (seen & on).sum(0) @ np.log(p) + (seen & ~on).sum(0) @ np.log1p(-p)
    found = total_by_song(baseline, songs)
    np.testing.assert_allclose(found.log_prob.sum(), total, rtol=1e-9)
    assert found.log_prob_roll.sum() > found.log_prob.sum()
    assert note_frequencies(songs, onsets=True).shape == (2 * COLUMNS,)


def test_surprisal_of_notes_and_log_likelihood_belong_together():
    songs = [Sequence(str(seed), random_frames(seed)) for seed in range(3)]
    piece = Piece("a", random_frames(9), 2)
    score = score_piece(fit_baseline("note-bigram", songs, onsets=True), piece)
    assert len(score.notes()) == len(list(spans(piece.frames)))
    np.testing.assert_allclose(score.note_log_probs.sum(1), score.log_probs)
    assert score.pitch_log_probs.shape == (len(piece), COLUMNS)


def test_the_gain_of_a_moved_note_is_that_of_the_piece_with_it():
    songs = [Sequence(str(seed), random_frames(seed)) for seed in range(3)]
    model, piece = fit_baseline("note-bigram", songs, onsets=True), Piece("a", random_frames(9, 20), 2)
    found = find_corrections(model, piece)
    assert len(found) > 20
    for note in found:
        moved = piece.frames.copy()
        was, now = note.pitch - 21, note.better - 21
        for row in (0, COLUMNS):
            moved[note.begin : note.end, row + now] = moved[note.begin : note.end, row + was]
            moved[note.begin : note.end, row + was] = 0
        assert invalid(moved) == ""
        scores = [total_by_song(model, [Sequence("a", x)]).log_prob.sum() for x in (piece.frames, moved)]
        np.testing.assert_allclose(note.gain, (scores[1] - scores[0]) / np.log(2), atol=1e-6)


def test_how_notes_begin_by_hand():
    # C4 for a beat, again for a beat and a half, then E4 off the beat
    frames = notes((0, 1, 60), (1, 2.5, 60), (2.5, 3, 64)).frames(2, quantize="nearest", onsets=True)
    assert attacks([frames], 2) == {"repeated": 1 / 3, "held": 3 / 6, "off_beat": 1 / 3}
    assert attacks([frames], 2, first_beat=-0.5) == {"repeated": 1 / 3, "held": 3 / 6, "off_beat": 2 / 3}


def test_what_a_new_run_has_and_what_one_of_before_had():
    def frames(**settings):
        return Recipe.parse(None, **settings).get("frames")

    assert frames(data="bach") == frames(data="songs/") == "onsets"
    assert frames(data="jsb") is None
    assert frames(data="bach", output="rbm") == "onsets"
    assert frames(data="bach", frames="piano-roll") == "piano-roll"
    assert Recipe.from_dict({"recipe": "SGD", "domain": "music", "data": "bach"}).get("frames") is None
    assert Recipe.parse(None, data="bach").replace(data="jsb").get("frames") is None
    assert Recipe.parse(None, data="jsb").replace(data="bach").get("frames") == "onsets"


def test_an_output_of_another_s_need_not_have_onsets(monkeypatch):
    other = dataclasses.replace(OUTPUTS["bernoulli"], name="plain", onsets=None)
    monkeypatch.setitem(OUTPUTS._entries, "plain", other)
    assert Recipe.parse(None, data="bach", output="plain").get("frames") == "piano-roll"
    assert Recipe.parse(None, data="bach").replace(output="plain").get("frames") == "piano-roll"
    with pytest.raises(UserError, match="frames onsets is for output bernoulli or nade or rbm, found plain"):
        Recipe.parse(None, data="bach", output="plain", frames="onsets")


@pytest.mark.parametrize("name", ["jsb", "nottingham", "musedata", "piano-midi"])
def test_published_sets_have_no_onsets(name):
    with pytest.raises(UserError, match=f"{name} is published without onsets, found frames onsets"):
        load(name, frames="onsets")


def test_songs_in_memory_are_checked():
    good = random_frames(4)
    assert wrap(Given({UNSPLIT: [good] * 9}), 2, onsets=True).details["frames"] == "onsets"
    bad = good.copy()
    bad[:, COLUMNS:] = 0
    with pytest.raises(UserError, match="begins in frame 0 and is not struck"):
        wrap(Given({UNSPLIT: [bad] * 9}), 2, onsets=True)


def test_log_likelihoods_of_two_grids_compare():
    song = [Sequence("a", random_frames(1))]
    baseline = fit_baseline("1-gram", song, onsets=True)
    frame = evaluate_frames(baseline, song)
    for name in ("log_likelihood", "log_likelihood_roll"):
        quarter = in_quarters(frame, 3)[f"{name}_per_quarter"]
        assert quarter.value == 3 * frame[name].value
        assert quarter.unit == "nats/quarter"
