"""Music: songs as binary frames of notes."""

from typing import Any, Literal

from ostinato.domains.declared import Command, DomainDeclared
from ostinato.domains.music import options
from ostinato.domains.music.paper import TABLE1
from ostinato.errors import UserError, argument
from ostinato.nn.outputs.registry import OUTPUTS
from ostinato.recipe.declared import Settings
from ostinato.recipe.setting import Setting

NAMES = ("bach", "jsb", "nottingham", "musedata", "piano-midi")


def _anew(settings: Settings) -> Settings:
    """Files are placed at the nearest frame and split by work; frames have onsets if they can, and a metre.

    Runs that say nothing, of before, have samples split by piece, piano-rolls and no metre.
    """
    # what a program has in memory has a name in angle brackets
    if settings["data"] in NAMES[1:] or settings["data"].startswith("<"):
        return {}
    frames = {"frames": "onsets" if OUTPUTS[settings["output"]].onsets else "piano-roll", "metre": True}
    if settings["data"] == NAMES[0]:
        return frames  # where bars do not recur, those before mislead: docs/experiments.md
    back = {"look_back": True, "copy_gates": OUTPUTS[settings["output"]].offsets}
    return frames | back | {"quantize": "nearest", "split_by": "work"}


def _check(recipe: Any) -> None:
    """Onsets, and gates, are for outputs that can have them."""
    if recipe.get("frames") == "onsets" and not OUTPUTS[recipe.output].onsets:
        able = " or ".join(entry.name for entry in OUTPUTS.entries() if entry.onsets)
        raise UserError(
            f"{argument('frames')} onsets is for {argument('output')} {able}, found {recipe.output}; "
            f"use {argument('frames')} piano-roll"
        )
    if recipe.get("copy_gates") and not OUTPUTS[recipe.output].offsets:
        able = " or ".join(entry.name for entry in OUTPUTS.entries() if entry.offsets)
        raise UserError(
            f"expected {argument('output')} {able} with {argument('copy_gates')}, found {recipe.output}; "
            "leave one of them out"
        )


MUSIC = DomainDeclared(
    name="music",
    place="ostinato.domains.music.domain:Music",
    summary="songs as frames of notes",
    targets="binary",
    recipe="SGD+CL",
    step="frame",
    sequences="songs",
    columns=(
        ("log_likelihood", "train", "train, nats/frame"),
        ("log_likelihood", "valid", "validation, nats/frame"),
        ("log_likelihood", "test", "test, nats/frame"),
        ("accuracy_bay", "test", "test accuracy (a), %"),
        ("accuracy_per_frame", "test", "test accuracy (b), %"),
    ),
    published=TABLE1,
    generate="--steps 64",
    sampler="ostinato.domains.music.samples:make",
    sounds=True,
    names=NAMES,
    data_sets="ostinato.domains.music.reading.data_sets",
    reads="a file of music",
    commands={
        "generate": Command(options=options.ComposeOptions, place="ostinato.domains.music.commands:compose"),
        "score": Command(options=options.ScoreOptions, place="ostinato.domains.music.commands:score_pieces"),
        "evaluate": Command(options=options.EvaluateOptions),
        "show": Command(options=options.ShowOptions),
    },
    settings=(
        Setting(
            "frames_per_beat",
            int | Literal["auto"] | None,
            None,
            "Data",
            "frames a quarter note; auto: what suits the files' notes",
            low=1,
            high=options.MAX_FRAMES_PER_BEAT,
            unset="the data set's own",
        ),
        Setting("transpose", bool, True, "Data", "transpose files to C major or C minor"),
        Setting(
            "quantize",
            Literal["nearest", "sample"] | None,
            None,
            "Data",
            "frames of files: notes at the nearest frame, or samples of what sounds",
            unset="nearest for files, sample for bach",
        ),
        Setting("pedal", bool, False, "Data", "the sustain pedal of MIDI files holds notes"),
        Setting(
            "repeats",
            Literal["played", "written"] | None,
            None,
            "Data",
            "repeats and endings of files are played, or written once",
            unset="played in ABC, not in MusicXML",
        ),
        Setting("chords", bool, False, "Data", "chord symbols of ABC and MusicXML sound"),
        Setting(
            "key",
            Literal["guessed", "stated"],
            "guessed",
            "Data",
            "what transpose goes by: the key guessed from the notes, or the one a file states",
        ),
        Setting(
            "split_by",
            Literal["work", "piece"] | None,
            None,
            "Data",
            "what of files stays in one split: versions of one work, or identical pieces alone",
            unset="work for files",
        ),
        Setting(
            "frames",
            Literal["onsets", "piano-roll"] | None,
            None,
            "Data",
            "frames say where notes begin, or only what sounds",
            unset="onsets for bach and files, piano-roll for the published sets",
        ),
        Setting(
            "metre",
            bool | None,
            None,
            "Data",
            "the model is told the place in bar, beat and phrase",
            unset="yes for bach and files, no for the published sets",
        ),
        Setting(
            "look_back",
            bool | None,
            None,
            "Data",
            "the model reads what sounded at the same place 1, 2, 4 and 8 bars before",
            needs={"metre": (True,)},
            unset="yes for files",
        ),
        Setting(
            "copy_gates",
            bool | None,
            None,
            "Data",
            "gates add what sounded there to the notes' log-odds",
            needs={"look_back": (True,)},
            unset="yes for files, but with an RBM",
        ),
        Setting(
            "augment",
            Literal["none", "transpose"],
            "none",
            "Data",
            "transpose: each epoch moves every training piece to a random key that fits the keyboard",
        ),
    ),
    defaults={"data": "bach", "output": "bernoulli"},
    hessian_free={"streams": 64},
    fixed=(
        "frames_per_beat",
        "transpose",
        "quantize",
        "pedal",
        "repeats",
        "chords",
        "key",
        "split_by",
        "frames",
    ),
    anew=_anew,
    check=_check,
    search={
        "hidden_size": {"low": 100, "high": 400},
        "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    },
    search_letters={
        "L": {
            "leak_fraction": {"choices": [0.0, 0.25, 0.5]},
            "leak_low": {"low": 0.02, "high": 0.2},
            "leak_high": {"low": 0.02, "high": 0.2},
        },
        "R": {"l1": {"low": 1e-6, "high": 1e-3, "log": True}},
        "M": {"momentum": {"low": 1e-3, "high": 0.95}},
    },
)
