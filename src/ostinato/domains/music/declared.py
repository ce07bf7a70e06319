"""Music: songs as binary frames of notes."""

from ostinato.domains.declared import DomainDeclared
from ostinato.recipe.setting import Setting

MUSIC = DomainDeclared(
    name="music",
    place="ostinato.domains.music.domain:Music",
    summary="songs as frames of notes",
    targets="binary",
    recipe="SGD+CL",
    step="frame",
    names=("bach", "jsb", "nottingham", "musedata", "piano-midi"),
    data_sets="ostinato.domains.music.reading.data_sets",
    settings=(
        Setting(
            "frames_per_beat",
            int | None,
            None,
            "Data",
            "frames a quarter note",
            low=1,
            high=96,
            unset="the data set's own",
        ),
        Setting("transpose", bool, True, "Data", "transpose files to C major or C minor"),
    ),
    defaults={"data": "bach", "output": "bernoulli"},
    hessian_free={"streams": 64},
)
