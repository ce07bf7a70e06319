"""`ostinato report`: one self-contained HTML page about runs and studies."""

from __future__ import annotations

import shlex
from pathlib import Path

import ostinato
from ostinato.cli.output import human, say
from ostinato.errors import UserError, check_installed
from ostinato.files import atomic_write
from ostinato.report.records import read_records

# What a page is promised to stay below.
MOST_BYTES = 8_000_000


def report(
    *folders: Path,
    out: Path = Path("report.html"),
    samples: int = 1,
    seed: int = 0,
) -> int:
    """Write a page about runs and studies: curves, scores beside baselines and paper, music to play.

    The page needs no network and no other file.

    Parameters
    ----------
    folders
        Folders of runs and of studies.
    out
        The page.
    samples
        Pieces of music or text that each model makes for the page; 0 for none.
    seed
        Another number, other samples.
    """
    from ostinato.report.page import compose, render
    from ostinato.report.samples import make_samples

    if not folders:
        raise UserError(
            "expected folders of runs or studies, found none; such as: ostinato report runs/bach-1"
        )
    if not 0 <= samples <= 20:
        raise UserError(f"expected --samples of 0 to 20, found {samples}")
    _check_writable(out)
    check_installed("report", "jinja2", "plotly")
    runs, studies = read_records(folders)
    words = [*map(str, folders), "--out", str(out), "--samples", str(samples), "--seed", str(seed)]
    page = render(
        compose(
            runs,
            studies,
            make_samples(runs, samples, seed),
            command=f"ostinato report {shlex.join(words)}",
            version=ostinato.__version__,
        )
    )
    atomic_write(out, page)
    size = len(page.encode())
    if size > MOST_BYTES:
        human().print(f"the page has {size / 1e6:.1f} MB: give fewer runs or --samples")
    say(f"{out}: {size / 1e6:.1f} MB")
    return 0


def _check_writable(out: Path) -> None:
    """A UserError if the page could not be written: better before the work than after it."""
    if out.is_dir():
        raise UserError(f"expected a file for --out, found a folder: {out}; such as {out / 'report.html'}")
    if not out.absolute().parent.is_dir():
        raise UserError(f"expected a folder to write {out.name} in, found none at {out.parent}")
