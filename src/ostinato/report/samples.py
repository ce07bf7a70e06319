"""What the models of finished runs make, for a report: short pieces with their sound, and text."""

import itertools
import shlex
from collections.abc import Sequence

from ostinato.domains.music.compose import generate
from ostinato.domains.music.notes import LOWEST, spans
from ostinato.domains.music.open import MusicModel, seeded
from ostinato.domains.music.writing.audio import wav_bytes
from ostinato.domains.text.generate import Sampling, generate_tokens, pieces
from ostinato.domains.text.reading.vocabulary import Vocabulary
from ostinato.report.records import RunRecord, Sample
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model

FRAMES, TOKENS = 32, {"words": 120, "chars": 600}
TEMPO = 120.0
# Of all the sound of a report, so that the page with Plotly's five stays below 8 MB: base64 adds a third.
MOST_BYTES = 1_800_000
_RATES = (22_050, 16_000, 11_025, 8_000)
# Pieces shorter than a few seconds would tell nothing: no more than these are made.
MOST_PIECES = 20


def make_samples(runs: Sequence[RunRecord], count: int, seed: int = 0) -> list[Sample]:
    """`count` samples of every run that has a model: pieces of music, or text; none of a task.

    The same runs, count and seed give the same samples. All pieces share one budget of bytes: more pieces
    have fewer samples a second, then fewer frames; after `MOST_PIECES`, further runs have none.

    Raises:
        UserError: a run's checkpoint is damaged, or made by a newer version.
    """
    ready = [run for run in runs if Run.open(run.folder).has_checkpoint("best")]
    music = [run for run in ready if run.task == "music"][: MOST_PIECES // max(count, 1)]
    samples: list[Sample] = []
    for run in ready if count else []:
        if run.task in TOKENS:
            samples += [_text(run, seed + number) for number in range(count)]
        elif run in music:
            samples += _pieces(run, count, seed, MOST_BYTES // (count * len(music)))
    return samples


def affordable(frames: int, seconds_per_frame: float, most_bytes: int) -> tuple[int, int]:
    """Frames and samples a second of a piece in so many bytes: the rate gives way first, then the length.

    Example:
        >>> affordable(32, 0.5, 1_000_000), affordable(32, 0.5, 300_000), affordable(32, 0.5, 95_000)
        ((32, 22050), (32, 8000), (11, 8000))
    """
    for rate in _RATES:
        fitting = int((most_bytes / (2 * rate) - 0.12) / seconds_per_frame)
        if fitting >= frames:
            return frames, rate
    return max(fitting, 1), _RATES[-1]


def _pieces(run: RunRecord, count: int, seed: int, most_bytes: int) -> list[Sample]:
    music = MusicModel.open(run.folder)
    seconds_per_frame = 60 / TEMPO / music.frames_per_beat
    frames, rate = affordable(FRAMES, seconds_per_frame, most_bytes)
    made = []
    for own in range(seed, seed + count):
        generator = seeded(own)
        roll = generate(music.model, frames, visible_size=music.visible_size, generator=generator)[0]
        sound = wav_bytes(roll, frames_per_beat=music.frames_per_beat, tempo=TEMPO, rate=rate)
        made.append(
            Sample(
                run=run.name,
                seed=own,
                command=f"ostinato generate {shlex.quote(str(run.folder))} --steps {frames} --seed {own} "
                f"--tempo {TEMPO:g} --out piece.mid --out piece.wav",
                notes=[(begin, end, column + LOWEST) for begin, end, column in spans(roll)],
                frames=frames,
                frames_per_beat=music.frames_per_beat,
                wav=sound,
                seconds=len(sound) / (2 * rate),
            )
        )
    return made


def _text(run: RunRecord, seed: int) -> Sample:
    opened, tokens = Run.open(run.folder), TOKENS[run.task]
    model, vocabulary = load_model(opened).model, Vocabulary.read(opened.folder)
    generator = seeded(seed)
    drawn = generate_tokens(model, vocabulary, Sampling(), generator=generator)
    text = "".join(pieces(itertools.islice(drawn, tokens), vocabulary.unit))
    folder = shlex.quote(str(run.folder))
    return Sample(run.name, seed, f"ostinato generate {folder} --tokens {tokens} --seed {seed}", text=text)
