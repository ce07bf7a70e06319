"""`ostinato check`: what of a run, a study or the cache is damaged, and what can be made again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ostinato.cli.output import print_json, print_table, say
from ostinato.cli.visible import visible
from ostinato.errors import UserError
from ostinato.evaluation.numbers import counted
from ostinato.evaluation.tables import Column, Table

if TYPE_CHECKING:
    from ostinato.runs.check import Checked


def check(place: Path | None = None, *, json: bool = False) -> int:
    """Say which files of a run, a study or the cache are not as they were written; make again what can be.

    Results, their picture and the list of trials are made again from the best model and the record of the
    study; a run's settings from its last checkpoint; its vocabulary from its text; what the cache lacks when
    it is needed. A run of before there were seals is sealed. Ends with 1 where something is lost.

    Parameters
    ----------
    place
        The folder of a run or a study, or the cache; by default the cache.
    json
        Print one JSON object.
    """
    folder, found = _checked(place)
    lost = [one for one in found if one.state == "lost"]
    if json:
        records = [{"file": one.name, "state": one.state, "about": one.about} for one in found]
        print_json({"folder": str(folder), "whole": not lost, "files": records})
        return int(bool(lost))
    wrong = [one for one in found if one.state != "whole"]
    if wrong:
        table = Table([Column("file", text=True), Column("state"), Column("", text=True)], f"{folder}")
        for one in wrong:
            table.add(visible(one.name), one.state, visible(one.about))
        print_table(table)
    say(f"{folder}: {counted(len(found) - len(wrong), 'file')} as written, {len(wrong)} not")
    return int(bool(lost))


def _checked(place: Path | None) -> tuple[Path, list[Checked]]:
    from ostinato.data.cache import cache_folder
    from ostinato.report.records import STUDY

    folder = cache_folder() if place is None else place
    if (folder / STUDY).is_file():
        from ostinato.search.check import check_study

        return folder, check_study(folder)
    from ostinato.runs.check import check_run, is_run

    if is_run(folder):
        return folder, check_run(folder)
    if place is None or folder.resolve() == cache_folder().resolve():
        return folder, _cache(folder)
    raise UserError(
        f"expected a run, a study or the cache at {folder}, found "
        f"{'another folder' if folder.is_dir() else 'a file' if folder.exists() else 'nothing there'}; "
        f"the cache is {cache_folder()}"
    )


def _cache(folder: Path) -> list[Checked]:
    from ostinato.data.check import check_cache
    from ostinato.runs.check import MADE, WHOLE, Checked

    about = "removed; it is made when it is needed"
    return [
        Checked(name, WHOLE) if whole else Checked(name, MADE, about)
        for name, whole in check_cache(folder).items()
    ]
