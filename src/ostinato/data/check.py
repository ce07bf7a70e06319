"""What of the cache folder is as it was written; what is not is removed, and made again when it is needed."""

import shutil
from pathlib import Path

from ostinato import seal
from ostinato.data.cache import TOKENS, is_whole
from ostinato.errors import UserError
from ostinato.files import read_regular


def check_cache(folder: Path) -> dict[str, bool]:
    """Of everything that is kept in a cache folder, whether it is whole; what is not has been removed.

    Downloads are not looked at: whoever reads one compares it with what was published.

    Args:
        folder: see `cache.cache_folder`.

    Raises:
        UserError: something cannot be removed.
    """
    found: dict[str, bool] = {}
    for path in sorted(folder.glob("*.npz")):
        found[path.name] = _is_whole_file(path)
        if not found[path.name]:
            _remove(path)
    for path in sorted((folder / TOKENS).glob("*")):
        if (path / seal.SEAL).exists():  # otherwise it is being made, or will be made again
            name = f"{TOKENS}/{path.name}"
            found[name] = _is_whole_folder(path)
            if not found[name]:
                _remove(path)
    return found


def _is_whole_file(path: Path) -> bool:
    try:
        return is_whole(read_regular(path), path.stem)
    except (OSError, UserError):
        return False


def _is_whole_folder(path: Path) -> bool:
    try:
        return all(seal.examine(path).values())
    except UserError:
        return False


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:
        raise UserError(f"cannot remove {path}: {error.strerror}; check its permissions") from error
