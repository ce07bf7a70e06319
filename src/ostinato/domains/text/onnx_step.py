"""One step of a language model as an ONNX file, for decoders in C++ and other languages.

Shapes: B hypotheses, V vocabulary, L layers, H hidden.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import ostinato
from ostinato.domains.text.direct_model import DirectModel
from ostinato.domains.text.reading.vocabulary import END_ID, Vocabulary
from ostinato.errors import UserError, argument, check_installed, needs
from ostinato.files import atomic_write
from ostinato.nn import SequenceModel
from ostinato.nn.cells.state import State, named_tensors

TOKENS, LOG_PROBS, STATE, NEXT = "tokens", "log_probs", "state", "next_"


class _Step(nn.Module):
    """(tokens (B,), the state) -> log p of what comes next (B, V), and the state after the tokens."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        carried: State = state[0] if len(state) == 1 else state
        read, last = self.model.read(tokens.unsqueeze(0), carried)
        distribution = self.model.distribution(*(x[0] for x in read))
        log_probs: Tensor = distribution.log_probs  # type: ignore[attr-defined]  # outputs of text have it
        return (log_probs, *named_tensors(last, STATE).values())


def export_step(model: SequenceModel, vocabulary: Vocabulary, start: State, path: Path) -> None:
    """Write a step of a model of text; see `LanguageModel.export_onnx`.

    Args:
        model: the model.
        vocabulary: its tokens, which the file's properties name.
        start: any state of it.
        path: of the file.

    Raises:
        UserError: the model has direct n-grams, whose hashes ONNX cannot compute, a cell or a nonlinearity
            that it does not know, or a state of other parts.
        MissingExtra: PyTorch's exporter lacks its libraries.
    """
    check_installed("onnx", "onnx", "onnxscript")
    if isinstance(model, DirectModel):
        raise UserError(
            f"expected a model without {argument('direct')} n-grams, found some: ONNX has no operation for "
            "their hashes; train one without"
        )
    if (
        check := getattr(model.rnn, "check_portable", None)
    ) is not None:  # a network of one's own may lack it
        check()
    tensors = named_tensors(start, STATE)
    batch = torch.export.Dim("batch")
    sizes = {"tokens": {0: batch}, "state": tuple({1: batch} for _ in tensors)}
    example = torch.zeros(next(iter(tensors.values())).shape[1], dtype=torch.int64)
    with _quiet():
        program = torch.onnx.export(
            _Step(model).eval(),
            (example, *tensors.values()),
            dynamo=True,
            dynamic_shapes=sizes,
            input_names=[TOKENS, *tensors],
            output_names=[LOG_PROBS, *(NEXT + name for name in tensors)],
            verbose=False,
        )
    if program is None:
        raise AssertionError("the exporter has made no program")
    atomic_write(path, _with_properties(program.model_proto, vocabulary))


def _with_properties(model: Any, vocabulary: Vocabulary) -> bytes:
    """The file of a model, with what its user must know of tokens as its properties."""
    with needs("onnx"):
        import onnx
    properties = {
        "ostinato_version": ostinato.__version__,
        "unit": vocabulary.unit,
        "tokens": json.dumps(vocabulary.tokens, ensure_ascii=False),
        "end": str(END_ID),
        "unknown": str(vocabulary.unknown_id),
        "unknown_types": str(vocabulary.unknown_types),
    }
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what PyTorch's exporter says of itself: of operators of other packages, of its own future."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
