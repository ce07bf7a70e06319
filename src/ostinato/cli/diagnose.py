"""`ostinato diagnose`: why a run's training fails, or what keeps it slow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ostinato.cli.output import human, print_json, say
from ostinato.cli.own_options import option
from ostinato.cli.spelling import as_command
from ostinato.errors import MissingExtra, UserError, named
from ostinato.files import atomic_write

if TYPE_CHECKING:
    from ostinato.diagnostics.of_run import RunDiagnosis

# Of a run's folder: what is written there, if nothing else is said.
PICTURE = "diagnosis.png"


def diagnose(
    run: Path,
    *,
    checkpoint: Literal["last", "best", "fresh"] = "last",
    data: str | None = None,
    out: Path | None = None,
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
    device
        Where the model computes: cpu, cuda, cuda:1 or auto.
    json
        Print every number as one JSON object.
    """
    from ostinato.diagnostics.of_run import diagnose_run
    from ostinato.nn.devices import find_device

    place = find_device(device)
    picture = Path(PICTURE) if out is None else out
    if picture.suffix not in (".png", ".svg", ".pdf"):
        raise UserError(f"expected --out as a .png, .svg or .pdf file, found {picture}")
    found = diagnose_run(run, checkpoint=checkpoint, data=data, device=place)
    drawn = _draw(found, picture, wanted=out is not None)
    if json:
        print_json(found.to_dict())
        return 0
    if not found.found.alarms:
        say("nothing that was measured keeps this run from learning")
    for each in found.found.findings:
        say(f"{each.sentence}: {named(each.advice, option, as_command)}")
    if drawn:
        say(f"picture: {picture}")
    return 0


def _draw(found: RunDiagnosis, path: Path, *, wanted: bool) -> bool:
    from ostinato.diagnostics.pictures import drawn

    try:
        title = f"{found.folder.name}, {found.of} model on {found.data}"
        picture = drawn(found.found.record, path.suffix.removeprefix("."), title=title)
    except MissingExtra as error:
        if wanted:
            raise
        human().print(f"no {path}: {error}")
        return False
    atomic_write(path, picture)
    return True
