"""Output layers: each maps a hidden state to a distribution over the next observation."""

from ostinato.nn.outputs.bernoulli import Bernoulli, BernoulliFrames

__all__ = ["Bernoulli", "BernoulliFrames"]
