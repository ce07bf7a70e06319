"""Output layers: each maps a hidden state to a distribution over the next observation."""

from ostinato.nn.outputs.ais import Annealing
from ostinato.nn.outputs.bernoulli import Bernoulli, BernoulliFrames
from ostinato.nn.outputs.nade import NADE, NADEFrames
from ostinato.nn.outputs.rbm import RBM, RBMFrames

__all__ = ["NADE", "RBM", "Annealing", "Bernoulli", "BernoulliFrames", "NADEFrames", "RBMFrames"]
