"""A picture of piano-roll frames: time to the right, pitch upwards, held notes as bars."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from ostinato.domains.music.layout import COLUMNS, LOWEST, checked, roll, shaped, spans
from ostinato.errors import UserError, check_installed, needs
from ostinato.files import atomic_write

FORMATS = (".png", ".svg", ".pdf")
_INK, _GRID, _BLACK_KEYS, _PAPER = "#22333b", "#d9d4cc", "#f3f0ea", "#ffffff"
_MOST_BITS = 12.0
MOST_FRAMES = 512  # in one picture: more are too narrow to be seen
_NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")


def pitch_name(pitch: int) -> str:
    """Scientific name of a MIDI pitch.

    Example:
        >>> pitch_name(60), pitch_name(21), pitch_name(70)
        ('C4', 'A0', 'A♯4')
    """
    return f"{_NAMES[pitch % 12]}{pitch // 12 - 1}"


def check_writable(path: str | os.PathLike[str], formats: tuple[str, ...] = FORMATS) -> None:
    """A UserError if an ending is none of `formats`, there is no such folder, or nothing to draw with."""
    path = Path(path)
    if path.suffix.lower() not in formats:
        raise UserError(f"expected a file name ending in {', '.join(formats)}, found {path.name}")
    if not path.absolute().parent.is_dir():
        raise UserError(f"expected a folder to write {path.name} in, found none at {path.parent}")
    if path.suffix.lower() in FORMATS:
        check_installed("music", "matplotlib.figure")


def picture(
    frames: np.ndarray,
    path: str | os.PathLike[str],
    *,
    frames_per_beat: int = 2,
    title: str = "",
    max_frames: int = 256,
    surprisal: np.ndarray | None = None,
    frame_surprisal: np.ndarray | None = None,
) -> None:
    """Draw frames (T, 88) to a PNG, SVG or PDF file; of a long piece its beginning, `max_frames` frames.

    Args:
        frames: What is not zero sounds.
        path: The picture; its suffix chooses the format. It is written in one step.
        frames_per_beat: Frames to a quarter note, for the axis of time.
        title: Written above.
        max_frames: How much of a long piece is shown.
        surprisal: Of each note in bits, (T, 88): then every frame of a note has a colour by it.
        frame_surprisal: Of each frame in bits, (T,): a curve below.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "scale.png"
        >>> picture(np.eye(88), path)
        >>> path.read_bytes()[1:4]
        b'PNG'
    """
    path = Path(path)
    check_writable(path)
    frames = checked(frames)
    if len(frames) > max_frames:
        title = f"{title} (first {max_frames} of {len(frames):,} frames)".strip()
    shown = frames[:max_frames]
    if surprisal is not None:
        surprisal = shaped(surprisal)[:max_frames]
    if frame_surprisal is not None:
        frame_surprisal = frame_surprisal[:max_frames]
    figure = _draw(shown, frames_per_beat, title, surprisal, frame_surprisal)
    data = io.BytesIO()
    # no date in the file: the same frames make the same picture
    metadata = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    suffix = path.suffix.lower()
    figure.savefig(data, format=suffix[1:], facecolor=_PAPER, metadata=metadata[suffix])
    atomic_write(path, data.getvalue())


def _draw(
    frames: np.ndarray,
    frames_per_beat: int,
    title: str,
    surprisal: np.ndarray | None,
    frame_surprisal: np.ndarray | None,
) -> Any:
    # Figure and canvas of our own instead of pyplot: nothing global, whatever back end the user has chosen.
    with needs("music"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MultipleLocator

    sounding = np.flatnonzero(roll(frames).any(axis=0)) + LOWEST
    low, high = (int(sounding[0]), int(sounding[-1])) if len(sounding) else (60, 72)
    low, high = min(low, 60) - 2, max(high, 60) + 2
    beats = max(len(frames) / frames_per_beat, 1.0)
    width, height = float(np.clip(beats * 0.16, 7, 16)), float(np.clip((high - low) * 0.11, 3, 7))
    below = 0.0 if frame_surprisal is None else 1.2
    figure = Figure(figsize=(width, height + below), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    if frame_surprisal is None:
        axes = bottom = figure.add_subplot()
    else:
        axes, bottom = figure.subplots(2, sharex=True, height_ratios=[height, below])
        _curve(bottom, frame_surprisal, frames_per_beat)
    if surprisal is None:
        _bars(axes, frames, frames_per_beat)
    else:
        _coloured(figure, axes, frames, frames_per_beat, surprisal)
    _keyboard(axes, low, high)
    # every bar of common time, or every 2, 4, ... bars of a long piece
    axes.xaxis.set_major_locator(MultipleLocator(4 * 2 ** max(0, int(np.ceil(np.log2(beats / 64))))))
    axes.set(xlim=(0, beats), ylim=(low - 0.5, high + 0.5))
    axes.set_title(title, loc="left", fontsize=11, color=_INK)
    bottom.set_xlabel("quarter notes", color=_INK, fontsize=9)
    for each in {axes, bottom}:
        each.tick_params(length=0, labelsize=8, colors=_INK)
        for side in ("top", "right", "left"):
            each.spines[side].set_visible(False)
        each.spines["bottom"].set_color(_GRID)
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
    with needs("music"):
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


def _coloured(
    figure: Any, axes: Any, frames: np.ndarray, frames_per_beat: int, surprisal: np.ndarray
) -> None:
    """Every frame of a note coloured by its surprisal: pale where it was expected, dark where not."""
    with needs("music"):
        from matplotlib.collections import PatchCollection
        from matplotlib.patches import Rectangle

    times, columns = np.nonzero(roll(frames))
    cells = [
        Rectangle((t / frames_per_beat, column + LOWEST - 0.42), 1 / frames_per_beat, 0.84)
        for t, column in zip(times, columns, strict=True)
    ]
    # a scale that ends at 12 bits (1 in 4096), whatever the piece: pictures can be compared
    drawn = PatchCollection(cells, cmap="YlOrRd", edgecolor="#00000022", linewidth=0.3, zorder=2)
    drawn.set_array(surprisal[times, columns])
    drawn.set_clim(0, _MOST_BITS)
    axes.add_collection(drawn)
    bar = figure.colorbar(drawn, ax=axes, extend="max", pad=0.01, aspect=30)
    bar.set_label("surprisal (bits)", fontsize=9, color=_INK)
    bar.ax.tick_params(length=0, labelsize=8, colors=_INK)
    bar.outline.set_visible(False)


def _curve(axes: Any, bits: np.ndarray, frames_per_beat: int) -> None:
    edges = np.arange(len(bits) + 1) / frames_per_beat
    axes.stairs(bits, edges, color=_INK, linewidth=0.9)
    axes.set_ylim(0, None)
    axes.set_ylabel("bits / frame", fontsize=8, color=_INK)
    axes.grid(axis="y", color=_GRID, lw=0.6)
