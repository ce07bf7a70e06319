"""Output layers: each maps a hidden state to a distribution over the next observation."""

from ostinato.nn.outputs.bernoulli import Bernoulli, BernoulliFrames
from ostinato.nn.outputs.nade import NADE, NADEFrames

__all__ = ["NADE", "Bernoulli", "BernoulliFrames", "NADEFrames"]
