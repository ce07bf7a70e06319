"""`ostinato replay`: a step where training went wrong, made again."""

from __future__ import annotations

from pathlib import Path

from ostinato.cli.diagnose import check_picture, write_picture
from ostinato.cli.output import print_json, say
from ostinato.cli.own_options import option


def replay(
    bundle: Path,
    *,
    out: Path | None = None,
    device: str = "cpu",
    json: bool = False,
) -> int:
    """Make a recorded step of training again, bit for bit, and say where it went wrong.

    Training writes a bundle into the run's folder flight where loss or gradient is not finite, jumps, or the
    loss diverges. Ends with 1 where the step comes out otherwise, as it may on another machine.

    Parameters
    ----------
    bundle
        The bundle, such as runs/bach-1/flight/epoch-0-segment-31.
    out
        The picture of losses and gradients over the segment, .png, .svg or .pdf; replay.png in the working
        folder by default.
    device
        Where the model computes: cpu, cuda, cuda:1 or auto.
    json
        Print every number as one JSON object.
    """
    from ostinato.diagnostics.pictures import replayed
    from ostinato.nn.devices import find_device
    from ostinato.training.flights import MEND
    from ostinato.training.replay import replay as make_again

    path = Path("replay.png") if out is None else out
    check_picture(path)
    found = make_again(bundle, device=find_device(device))
    title = f"{found.about['why']}: epoch {found.about['epoch']}, {found.about['where']}"
    drawn = write_picture(path, lambda kind: replayed(found.to_dict(), kind, title), wanted=out is not None)
    if json:
        print_json(found.to_dict())
        return int(not found.same)
    say(f"{found.about['what']}, at epoch {found.about['epoch']}, {found.about['where']}")
    say(found.blame.sentence)
    if found.same:
        say("the step was made again: loss, norms, weights and optimizer are the same to the bit")
    else:
        why = f" ({', '.join(found.elsewhere)})" if found.elsewhere else ""
        say(f"the step was made again and came out otherwise{why}: {', '.join(found.different)}")
    settings = " ".join(f"{option(name)} {value}" for name, value in found.about["advice"].items())
    if found.blame.what == "input":
        say(MEND)
    elif settings:
        say(f"train with {settings}")
    if drawn:
        say(f"picture: {path}")
    return int(not found.same)
