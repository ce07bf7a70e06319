"""Score: how likely a piece is, its most surprising notes, and the notes that a semitone would improve."""

import numpy as np
from train import trained_run

from ostinato.domains.music.open import MusicModel
from ostinato.domains.music.reading.pieces import Piece
from ostinato.domains.music.surprise import score_piece
from ostinato.domains.music.writing.pictures import picture, pitch_name
from ostinato.domains.music.wrong_notes import find_corrections

music = MusicModel.open(trained_run())

frames = np.zeros((16, 88), np.uint8)
frames[:, np.array([48, 60, 67]) - 21] = 1
frames[9, 67 - 21], frames[9, 66 - 21] = 0, 1  # F sharp for G: a slip
piece = Piece("slip", frames, frames_per_beat=music.frames_per_beat)  # from a file: music.read("slip.mid")

score = score_piece(music.model, piece)
print(f"{score.log_likelihood:.2f} nats/frame; most surprising:")
for note in score.notes()[:3]:
    print(f"  bar {note.bar}, beat {note.beat:g}: {note.name}, {note.surprisal:.1f} bits")
for note in find_corrections(music.model, piece)[:1]:
    print(f"better: {pitch_name(note.better)} for {pitch_name(note.pitch)}, {note.gain:+.1f} bits")
bits, curve = score.surprisal, score.frame_surprisal
picture(frames, "slip.png", frames_per_beat=piece.frames_per_beat, surprisal=bits, frame_surprisal=curve)
