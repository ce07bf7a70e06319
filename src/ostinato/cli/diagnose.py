"""`ostinato diagnose`: why a run's training fails, or what keeps it slow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from ostinato.cli.output import human, print_json, say
from ostinato.cli.own_options import option
from ostinato.cli.spelling import as_command
from ostinato.errors import MissingExtra, UserError, named
from ostinato.files import atomic_write

# Of a run's folder: what is written there, if nothing else is said.
PICTURE = "diagnosis.png"


def diagnose(
    run: Path,
    *,
    checkpoint: Literal["last", "best", "fresh"] = "last",
    data: str | None = None,
    out: Path | None = None,
    surface: bool = False,
    device: str = "cpu",
    json: bool = False,
) -> int:
    """Say what keeps a run from learning: how gradients fade or explode over time, states, units, clipping.

    The first sentence names the cause, or says that there is none; the others are measurements. Gradient
    norms are those of the first 24 segments of an epoch, all else is measured on the last of these.

    Parameters
    ----------
    run
        The run's folder.
    checkpoint
        The model: where training stands, the best one, or the one that training began with.
    data
        Other data than the run was trained on; their training part is taken.
    out
        The picture, .png, .svg or .pdf; diagnosis.png in the working folder by default.
    surface
        Also the loss in a plane through the model, along the gradient and the largest curvature, with the
        steps that training would take, clipped and not; and its derivatives on the way across.
    device
        Where the model computes: cpu, cuda, cuda:1 or auto.
    json
        Print every number as one JSON object.
    """
    from ostinato.diagnostics.of_run import diagnose_run
    from ostinato.diagnostics.pictures import drawn
    from ostinato.nn.devices import find_device

    place = find_device(device)
    picture = Path(PICTURE) if out is None else out
    check_picture(picture)
    found = diagnose_run(run, checkpoint=checkpoint, data=data, device=place, surface=surface)
    title = f"{found.folder.name}, {found.of} model on {found.data}"
    record = found.found.record
    made = write_picture(picture, lambda kind: drawn(record, kind, title=title), wanted=out is not None)
    if json:
        print_json(found.to_dict())
        return 0
    if found.found.opening is not None:
        say(found.found.opening)
    for each in found.found.findings:
        say(f"{each.sentence}: {named(each.advice, option, as_command)}")
    if made:
        say(f"picture: {picture}")
    return 0


def write_picture(path: Path, draw: Callable[[str], bytes], *, wanted: bool) -> bool:
    """Draw a picture in the format of its ending; say where the extra for it is missing, unless it is wanted.

    Raises:
        UserError: there is no such format.
        MissingExtra: the picture is wanted, and cannot be drawn.
    """
    try:
        picture = draw(path.suffix.removeprefix("."))
    except MissingExtra as error:
        if wanted:
            raise
        human().print(f"no {path}: {error}")
        return False
    atomic_write(path, picture)
    return True


def check_picture(path: Path) -> None:
    """A UserError unless a picture can be written there: better before the work than after it."""
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise UserError(f"expected {option('out')} as a .png, .svg or .pdf file, found {path}")
    if not path.absolute().parent.is_dir():
        raise UserError(f"expected a folder to write {path.name} in, found none at {path.parent}")
