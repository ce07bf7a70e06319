"""A picture of piano-roll frames: time to the right, pitch upwards, held notes as bars."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from ostinato.data.notes import COLUMNS, LOWEST, checked, spans
from ostinato.errors import UserError
from ostinato.files import atomic_write

FORMATS = (".png", ".svg", ".pdf")
_INK, _GRID, _BLACK_KEYS, _PAPER = "#22333b", "#d9d4cc", "#f3f0ea", "#ffffff"
_NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")


def pitch_name(pitch: int) -> str:
    """Scientific name of a MIDI pitch.

    Example:
        >>> pitch_name(60), pitch_name(21), pitch_name(70)
        ('C4', 'A0', 'A♯4')
    """
    return f"{_NAMES[pitch % 12]}{pitch // 12 - 1}"


def picture(
    frames: np.ndarray,
    path: str | os.PathLike[str],
    *,
    frames_per_beat: int = 2,
    title: str = "",
    max_frames: int = 256,
) -> None:
    """Draw frames (T, 88) to a PNG, SVG or PDF file; of a long piece its beginning, `max_frames` frames.

    Args:
        frames: What is not zero sounds.
        path: The picture; its suffix chooses the format. It is written in one step.
        frames_per_beat: Frames to a quarter note, for the axis of time.
        title: Written above.
        max_frames: How much of a long piece is shown.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "scale.png"
        >>> picture(np.eye(88), path)
        >>> path.read_bytes()[1:4]
        b'PNG'
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"picture: expected a file name ending in {', '.join(FORMATS)}, found {path.name}")
    frames = checked(frames)
    if len(frames) > max_frames:
        title = f"{title} (first {max_frames} of {len(frames):,} frames)".strip()
    shown = frames[:max_frames]
    figure = _draw(shown, frames_per_beat, title)
    data = io.BytesIO()
    # no date in the file: the same frames make the same picture
    metadata = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    suffix = path.suffix.lower()
    figure.savefig(data, format=suffix[1:], facecolor=_PAPER, metadata=metadata[suffix])
    atomic_write(path, data.getvalue())


def _draw(frames: np.ndarray, frames_per_beat: int, title: str) -> Any:
    # Figure and canvas of our own instead of pyplot: nothing global, whatever back end the user has chosen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MultipleLocator

    sounding = np.flatnonzero(frames.any(axis=0)) + LOWEST
    low, high = (int(sounding[0]), int(sounding[-1])) if len(sounding) else (60, 72)
    low, high = min(low, 60) - 2, max(high, 60) + 2
    beats = max(len(frames) / frames_per_beat, 1.0)
    width = float(np.clip(beats * 0.16, 7, 16))
    figure = Figure(figsize=(width, float(np.clip((high - low) * 0.11, 3, 7))), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _keyboard(axes, low, high)
    _bars(axes, frames, frames_per_beat)
    # every bar of common time, or every 2, 4, ... bars of a long piece
    axes.xaxis.set_major_locator(MultipleLocator(4 * 2 ** max(0, int(np.ceil(np.log2(beats / 64))))))
    axes.set(xlim=(0, beats), ylim=(low - 0.5, high + 0.5), xlabel="quarter notes")
    axes.set_title(title, loc="left", fontsize=11, color=_INK)
    axes.tick_params(length=0, labelsize=8, colors=_INK)
    axes.xaxis.label.set(color=_INK, fontsize=9)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    return figure


def _keyboard(axes: Any, low: int, high: int) -> None:
    """The rows of the black keys shaded, a line below each C, and names on the axis."""
    for pitch in range(low, high + 1):
        if len(_NAMES[pitch % 12]) > 1:
            axes.axhspan(pitch - 0.5, pitch + 0.5, color=_BLACK_KEYS, lw=0, zorder=0)
    cs = [pitch for pitch in range(low, high + 1) if pitch % 12 == 0]
    for pitch in cs:
        axes.axhline(pitch - 0.5, color=_GRID, lw=0.8, zorder=1)
    # C, E, G in one or two octaves; where there are more of them, the Cs alone
    named = cs if high - low > 40 else [p for p in range(low, high + 1) if p % 12 in (0, 4, 7)]
    axes.set_yticks(named, [pitch_name(pitch) for pitch in named])


def _bars(axes: Any, frames: np.ndarray, frames_per_beat: int) -> None:
    from matplotlib import colormaps
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    held = list(spans(frames))
    bars = [
        Rectangle((begin / frames_per_beat, column + LOWEST - 0.42), (end - begin) / frames_per_beat, 0.84)
        for begin, end, column in held
    ]
    # low notes dark and high notes bright: the voices can be told apart
    columns = np.array([column for *_, column in held], dtype=float)
    low, high = columns.min(initial=COLUMNS), columns.max(initial=0)
    colours = colormaps["viridis"](0.12 + 0.65 * (columns - low) / max(high - low, 1.0))
    axes.add_collection(PatchCollection(bars, facecolor=colours, edgecolor=_PAPER, linewidth=0.4, zorder=2))
