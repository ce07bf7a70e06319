"""Dynamic evaluation: the model goes on learning from the text it has just scored.

Every token is scored before the model has learned from it, so the scores are honest predictions. Source:
Mikolov et al. 2010, "Recurrent neural network based language model", section 2.2.

Shapes: N tokens, T steps of a segment.
"""

import copy

import numpy as np
import torch

from ostinato.data.placement import moved
from ostinato.data.token_streams import TokenStreams
from ostinato.nn import SequenceModel
from ostinato.nn.devices import device_of
from ostinato.optim import SimplifiedNesterov, clip_grad_norm


def score_dynamically(
    model: SequenceModel,
    tokens: np.ndarray,
    *,
    learning_rate: float = 0.1,
    segment_length: int = 20,
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
    adapting = copy.deepcopy(model).eval()
    optimizer = SimplifiedNesterov(adapting.parameters(), learning_rate)
    result, states, device = np.empty(len(tokens)), None, device_of(model)
    for index, here in enumerate(TokenStreams(tokens, 1, segment_length)):
        segment = moved(here, device)
        begin = index * segment_length
        with torch.no_grad():
            distribution, _ = adapting(segment.inputs, states)
            log_p = distribution.log_prob(segment.targets).squeeze(1)
        result[begin : begin + segment_length] = log_p.double().cpu().numpy()
        optimizer.zero_grad()
        loss = adapting.loss(segment.inputs, segment.targets, states)
        loss.objective.backward()
        states = loss.states
        if clip_grad_norm(adapting.parameters(), clip).finite:
            optimizer.step()
    return result
