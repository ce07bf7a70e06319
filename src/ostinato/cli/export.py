"""`ostinato export`: a run's model as a file that programs in other languages run."""

from __future__ import annotations

from pathlib import Path

from ostinato.cli.output import present
from ostinato.cli.own_options import asked


def export(run: Path, file: Path, *, json: bool = False) -> int:
    """Write one step of a model of text as an ONNX file, which decoders in C++ run by onnxruntime.

    The file's inputs are tokens and the model's state, its outputs the log-probabilities (in nats) of what
    comes next and the state after the tokens; its properties name the tokens.

    Parameters
    ----------
    run
        The run's folder.
    file
        The file to write, NAME.onnx.
    json
        Print one JSON object.
    """
    declared, _ = asked(run, "export", None)
    answer = declared.commands["export"].load()(run, file)
    present(answer, json=json)
    return 0
