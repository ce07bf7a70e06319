"""The music data sets by name, and any file or folder of music: `load` makes each the same `Splits`."""

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from ostinato.data.listing import COMES_WITH, TO_INSTALL, Listed, origin_of
from ostinato.data.sequences import Splits
from ostinato.domains.answer import Part
from ostinato.domains.music.grid import Quantize
from ostinato.domains.music.layout import Frames
from ostinato.domains.music.options import MAX_FRAMES_PER_BEAT
from ostinato.domains.music.reading import bach, folder, published, statistics
from ostinato.domains.music.reading.frames import USUAL, AsFrames, Repeats
from ostinato.domains.music.reading.keys import KeyFrom
from ostinato.domains.music.reading.notation import SUFFIXES
from ostinato.errors import MissingExtra, UserError, argument, needs, no_such_data
from ostinato.evaluation.numbers import counted

DEFAULT = "bach"


def names() -> tuple[str, ...]:
    """The names that `load` knows, the default first.

    Example:
        >>> names()
        ('bach', 'jsb', 'nottingham', 'musedata', 'piano-midi')
    """
    return (DEFAULT, *published.PUBLISHED)


def owns(path: Path) -> bool:
    """Whether a file has an ending of music, or a folder holds one that has.

    Example:
        >>> owns(Path("song.mid")), owns(Path("song.txt"))
        (True, False)
    """
    if not path.is_dir():
        return path.suffix.lower() in SUFFIXES
    try:
        return bool(folder.find(path)[0])
    except UserError:
        return False


def describe(data: Splits) -> dict[str, Any]:
    """As `statistics.describe`."""
    return statistics.describe(data)


def described(found: dict[str, Any]) -> Iterator[Part]:
    """As `shown.described`."""
    from ostinato.domains.music import shown

    return shown.described(found)


def content(data: Splits) -> str:
    """How much there is."""
    return counted(len(data), "song")


def draw(data: Splits, path: Path) -> None:
    """The first training song as a piano roll."""
    from ostinato.domains.music.writing import pictures

    song = data.train[0]
    title = f"{data.name}: {song.name}"
    pictures.picture(song.values, path, frames_per_beat=data.details["frames_per_beat"], title=title)


def load(
    name_or_path: str | Path = DEFAULT,
    *,
    frames_per_beat: int | Literal["auto"] | None = None,
    transpose: bool = True,
    quantize: Quantize | None = None,
    pedal: bool = False,
    repeats: Repeats | None = None,
    chords: bool = False,
    frames: Frames | None = None,
    metre: bool = False,
    look_back: bool = False,
    key: KeyFrom = "guessed",
    split_by: folder.SplitBy | None = None,
    split_seed: int = 0,
    cache: bool = True,
    progress: bool = True,
) -> Splits:
    """A data set of binary frames in train, valid and test: piano-rolls (T, 88), or (T, 176) with onsets.

    Args:
        name_or_path: One of `names()`, else a file or folder of MIDI, MusicXML, ABC or kern. A folder with
            the name of a data set is written `./bach`.
        frames_per_beat: Frames to a quarter note: by default 1 for piano-rolls of `bach`, and otherwise
            "auto", what suits the notes (`grid.fitting`). The published sets have the frames that they have.
        transpose: Move each piece to C major or C minor (the published sets are there already).
        quantize: How notes become frames (`grid.place`): by default "sample" for piano-rolls of `bach`, and
            "nearest" otherwise.
        pedal: Whether the sustain pedal of MIDI files holds notes.
        repeats: Whether repeats and endings are "played", or every bar once, as "written": by default played
            in ABC, and not in MusicXML.
        chords: Whether the chord symbols of ABC and MusicXML sound.
        frames: Whether frames say where notes begin ("onsets"), see `layout`. By default they are a
            "piano-roll", though training has onsets of `bach` and of files where nothing else is said.
        metre: Whether each song has its place in bar, beat and phrase beside it (`metre.side_of`), for a
            model to read; the published sets have no bars.
        look_back: Whether the same place 1, 2, 4 and 8 bars before is read, too.
        key: What `transpose` goes by: the key "guessed" from the notes, or the one that a file has "stated",
            where it has one.
        split_by: "work" of files, by default, so that versions of one stay in one split, or "piece".
        split_seed: Another number, another split; the published sets keep theirs.
        cache: Whether what is read is kept in the user's cache folder.
        progress: Whether to show a progress bar, on standard error, while music is read.

    Raises:
        UserError: no such name or path, no usable music, no network, or an option that cannot be had.

    Example:
        >>> load("notingham")
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: expected a data set or a path, found 'notingham'; did you mean nottingham?
    """
    asked = AsFrames(
        frames_per_beat, transpose, quantize, pedal, repeats, chords, metre, look_back, key, frames
    )
    if isinstance(frames_per_beat, int) and not 1 <= frames_per_beat <= MAX_FRAMES_PER_BEAT:
        raise UserError(
            f"expected {argument('frames_per_beat')} in [1, {MAX_FRAMES_PER_BEAT}], found {frames_per_beat}"
        )
    if split_by is not None and name_or_path in names():
        raise UserError(
            f"{argument('split_by')} is for files of your own, found {name_or_path}; leave it out"
        )
    if name_or_path in published.PUBLISHED:
        return _published(str(name_or_path), asked)
    options: dict[str, Any] = {"split_seed": split_seed, "use_cache": cache, "progress": progress}
    if name_or_path == DEFAULT:
        _only_for_files(asked, "bach", ("pedal", "repeats", "chords", "key"))
        return bach.load(asked, **options)
    return folder.load(_existing(name_or_path), asked, split_by=split_by or "work", **options)


def listed(name: str) -> Listed:
    """What a named data set is, and where it comes from."""
    if name == DEFAULT:
        about, source = "four-part chorales by Bach", "the corpus of music21"
        return Listed(name, "music", about, source, bach.LICENCE, *_corpus())
    found = published.PUBLISHED[name]
    origin, place = origin_of(found.file)
    return Listed(name, "music", found.about, found.file.url, published.LICENCE, origin, place)


def _corpus() -> tuple[str, str]:
    """How the corpus is had here, and with what."""
    try:
        with needs("music"):
            return COMES_WITH, f"music21 {version('music21')}"
    except MissingExtra:
        return TO_INSTALL, "pip install 'ostinato[music]'"


def listing() -> list[Listed]:
    """Every named data set of music."""
    return [listed(name) for name in names()]


def _published(name: str, asked: AsFrames) -> Splits:
    fixed = published.PUBLISHED[name].frames_per_beat
    if asked.frames_per_beat not in (None, fixed):
        raise UserError(
            f"{name} is published with {fixed} frames per beat, found {asked.frames_per_beat} asked for; "
            f"leave {argument('frames_per_beat')} out, or use bach or files of your own"
        )
    if not asked.transpose:
        raise UserError(
            f"{name} is published in C major and C minor, the first keys are lost; "
            f"leave {argument('transpose')} out, or use bach or files of your own"
        )
    if asked.onsets:
        raise UserError(
            f"{name} is published without onsets, found {argument('frames')} onsets asked for; leave it out, "
            "or use bach or files of your own"
        )
    _only_for_files(asked, name, ("quantize", "pedal", "repeats", "chords", "metre", "look_back", "key"))
    return published.load(name)


def _only_for_files(asked: AsFrames, name: str, options: tuple[str, ...]) -> None:
    """An option that changes how files are read changes nothing of a data set that is as it is."""
    for option in options:
        if getattr(asked, option) != getattr(USUAL, option):
            raise UserError(f"{argument(option)} is for files of your own, found {name}; leave it out")


def _existing(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    try:
        path = path.expanduser()
        found = bool(str(name_or_path)) and path.exists()
        broken = path.is_symlink()
    except (OSError, ValueError, RuntimeError):  # a name too long, with a null character, of no user
        found = broken = False
    if found:
        return path
    if broken:
        raise UserError(f"{path} is a link to nothing, or to itself")
    raise no_such_data("a data set or a path", str(name_or_path), names())
