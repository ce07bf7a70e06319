"""What is known of a data set that has a name, before any of it is read."""

from dataclasses import dataclass
from pathlib import Path

from ostinato.data.download import RemoteFile, data_folder, locate

COMES_WITH, FOLDER, CACHE = "comes with", "folder in OSTINATO_DATA", "cache"
DOWNLOAD, TO_INSTALL, GENERATED = "to download", "to install", "generated"


@dataclass(frozen=True)
class Listed:
    """A named data set: what it is, whose it is, and where it would be taken from now.

    Arguments:
        name: as `data` takes it.
        kind: of what kind, such as "music" or "text".
        about: what it is, in a few words.
        source: the public place that it is from.
        licence: what is known of the right to use it.
        origin: how it is had here: one of "comes with", "folder in OSTINATO_DATA", "cache", "to download",
            "to install" and "generated".
        place: the file, address, package, program or command in question.

    Example:
        >>> Listed("a", "music", "songs", "a book", "none", DOWNLOAD, "https://example.org/a").ready
        False
    """

    name: str
    kind: str
    about: str
    source: str
    licence: str
    origin: str
    place: str

    @property
    def ready(self) -> bool:
        """Whether it can be had without the network."""
        return self.origin not in (DOWNLOAD, TO_INSTALL)


def origin_of(*files: RemoteFile) -> tuple[str, str]:
    """How public files are had here, and where: they are in one place, or have to be downloaded.

    Raises:
        UserError: OSTINATO_DATA names no folder, or holds a file with another checksum.

    Example:
        >>> origin_of(RemoteFile("no-such-file", "https://example.org/no-such-file", "0" * 64))
        ('to download', 'https://example.org/no-such-file')
    """
    found = [locate(file) for file in files]
    paths = [path for path in found if path is not None]
    if len(paths) < len(files):
        return DOWNLOAD, _together(
            [file.url for path, file in zip(found, files, strict=True) if path is None]
        )
    folder = data_folder()
    inside = folder is not None and all(path.parent == folder for path in paths)
    return FOLDER if inside else CACHE, _together([str(path) for path in paths])


def _together(places: list[str]) -> str:
    """One place as it is; of several, the folder that they share."""
    folders = {place.rpartition("/")[0] if "://" in place else str(Path(place).parent) for place in places}
    return places[0] if len(places) == 1 else ", ".join(sorted(folders))
