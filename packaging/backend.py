"""scikit-build-core, but a source distribution made from a git clone holds what git tracks, and nothing else.

By itself it takes every file that git does not ignore: notes and data that lie about would be published.
"""

import subprocess
from typing import Any

from scikit_build_core import build
from scikit_build_core.build import *  # noqa: F403  (all hooks that this version has)

# What has a meaning in the patterns that scikit-build-core takes, which are .gitignore's.
_SPECIAL = "\\*?[]!# "


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    """Build the source distribution; an unpacked one, which has no git, holds only what belongs to it."""
    settings = dict(config_settings or {})
    if tracked := tracked_files():
        settings |= {
            "sdist.inclusion-mode": "explicit",
            "sdist.include": [_pattern(name) for name in tracked],
        }
    return build.build_sdist(sdist_directory, settings)


def tracked_files() -> list[str]:
    """The files that git tracks in this folder; none where it is not the top of a clone."""
    try:
        top = _git("rev-parse", "--show-prefix")
    except (OSError, subprocess.CalledProcessError):
        return []
    return [] if top.strip() else [name for name in _git("ls-files", "-z").split("\0") if name]


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


def _pattern(name: str) -> str:
    return "/" + "".join(f"\\{c}" if c in _SPECIAL else c for c in name)
