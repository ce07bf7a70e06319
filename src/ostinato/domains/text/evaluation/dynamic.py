"""Dynamic evaluation: the model goes on learning from the text it has just scored.

Every token is scored before the model has learned from it, so the scores are honest predictions. Source:
Mikolov et al. 2010, "Recurrent neural network based language model", section 2.2.

Shapes: N tokens, T steps of a segment.
"""

import copy
from typing import Any

import numpy as np
import torch

from ostinato.data.placement import moved
from ostinato.domains.text.reading.streams import TokenSegment, TokenStreams
from ostinato.nn import SequenceModel
from ostinato.nn.devices import device_of
from ostinato.optim import SimplifiedNesterov, clip_grad_norm

SEGMENT = 20


class Adapting:
    """A copy of a model that learns from one segment of a text after the other.

    Args:
        model: stays as it is.
        learning_rate: step size; 0 learns nothing.
        clip: largest norm of a gradient.

    Attributes:
        model: the copy.
        states: after the last segment.
    """

    def __init__(self, model: SequenceModel, learning_rate: float, clip: float = 1.0) -> None:
        self.model = copy.deepcopy(model).eval()
        self.states: Any = None
        self._optimizer = SimplifiedNesterov(self.model.parameters(), learning_rate)
        self._clip, self._device = clip, device_of(model)

    def score(self, here: TokenSegment) -> np.ndarray:
        """Log-probability of each token of the next segment, (T,), before anything is learned from it."""
        segment = moved(here, self._device)
        with torch.no_grad():
            distribution, _ = self.model(segment.inputs, self.states)
            return distribution.log_prob(segment.targets).squeeze(1).double().cpu().numpy()

    def learn(self, here: TokenSegment) -> None:
        """One step of gradient descent on the mean -log p of a segment, and the states after it."""
        segment = moved(here, self._device)
        self._optimizer.zero_grad()
        loss = self.model.loss(segment.inputs, segment.targets, self.states)
        loss.objective.backward()
        self.states = loss.states
        if clip_grad_norm(self.model.parameters(), self._clip).finite:
            self._optimizer.step()


def score_dynamically(
    model: SequenceModel,
    tokens: np.ndarray,
    *,
    learning_rate: float = 0.1,
    segment_length: int = SEGMENT,
    clip: float = 1.0,
) -> np.ndarray:
    """Log-probability of each token in nats, the model adapting as it reads; shape (N,).

    After each segment of T steps a copy of the model takes one step of gradient descent on the mean -log p
    of that segment. The model that was given stays as it was.

    Args:
        model: a language model.
        tokens: ids (N,).
        learning_rate: step size; 0 scores without learning.
        segment_length: T.
        clip: largest norm of a gradient.
    """
    adapting = Adapting(model, learning_rate, clip)
    result = np.empty(len(tokens))
    for index, segment in enumerate(TokenStreams(tokens, 1, segment_length)):
        begin = index * segment_length
        result[begin : begin + segment_length] = adapting.score(segment)
        adapting.learn(segment)
    return result
