"""A piece as a picture inside the page: an SVG whose colours follow the page's theme."""

import html

from ostinato.domains.sample import Sample

_ROW, _WIDTH, _NARROWEST = 6, 440, 8  # pixels of a semitone, a short piece, a frame
_NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")
_LEFT = 26


def pitch_name(pitch: int) -> str:
    """Scientific name of a MIDI pitch.

    Example:
        >>> pitch_name(60), pitch_name(70)
        ('C4', 'A♯4')
    """
    return f"{_NAMES[pitch % 12]}{pitch // 12 - 1}"


def described(sample: Sample) -> str:
    """A piece in words, for those who do not see it."""
    beats = sample.frames / sample.frames_per_beat
    if not sample.notes:
        return f"Piano-roll of {beats:g} quarter notes of silence"
    pitches = [pitch for *_, pitch in sample.notes]
    sounding = sum(end - begin for begin, end, _ in sample.notes) / sample.frames
    return (
        f"Piano-roll of {beats:g} quarter notes: {len(pitches)} notes from {pitch_name(min(pitches))} to "
        f"{pitch_name(max(pitches))}, {sounding:.1f} at a time on average"
    )


def piano_roll(sample: Sample) -> str:
    """The piece as an SVG: time to the right, pitch upwards, a line at each C and each four quarter notes."""
    pitches = [pitch for *_, pitch in sample.notes] or [60]
    low, high = min(*pitches, 57) - 1, max(*pitches, 63) + 1
    frame = max(_WIDTH / sample.frames, _NARROWEST)
    width, height = _LEFT + round(sample.frames * frame), (high - low + 1) * _ROW

    def y(pitch: int) -> int:
        return (high - pitch) * _ROW

    parts = []
    for pitch in range(low, high + 1):
        if len(_NAMES[pitch % 12]) > 1:
            parts.append(f'<rect class="k" x="{_LEFT}" y="{y(pitch)}" width="{width}" height="{_ROW}"/>')
        if pitch % 12 == 0:
            at = y(pitch) + _ROW
            parts.append(f'<line class="g" x1="{_LEFT}" x2="{width}" y1="{at}" y2="{at}"/>')
            parts.append(f'<text x="{_LEFT - 4}" y="{at}">{pitch_name(pitch)}</text>')
    for bar in range(0, sample.frames, 4 * sample.frames_per_beat):
        x = round(_LEFT + bar * frame, 2)
        parts.append(f'<line class="g" x1="{x}" x2="{x}" y1="0" y2="{height}"/>')
    for begin, end, pitch in sample.notes:
        # a hue by pitch: the voices can be told apart
        shade = round(100 * (pitch - low) / (high - low))
        parts.append(
            f'<rect class="n" style="--p:{shade}%" x="{_LEFT + begin * frame:.4g}" y="{y(pitch) + 0.5}" '
            f'width="{(end - begin) * frame - 0.8:.4g}" height="{_ROW - 1}" rx="1"/>'
        )
    return (
        f'<svg class="roll" role="img" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'aria-label="{html.escape(described(sample))}">{"".join(parts)}</svg>'
    )
