"""Output layers: each maps a hidden state to a distribution over the next observation."""

from ostinato.nn.outputs.ais import Annealing
from ostinato.nn.outputs.bernoulli import Bernoulli, BernoulliFrames
from ostinato.nn.outputs.class_softmax import ClassSoftmax, ClassTokens, balanced_classes
from ostinato.nn.outputs.direct import DirectNgrams, Features
from ostinato.nn.outputs.gaussian import Gaussian, MultivariateGaussian
from ostinato.nn.outputs.gaussian_mixture import GaussianMixture, MixtureOfGaussians
from ostinato.nn.outputs.nade import NADE, NADEFrames
from ostinato.nn.outputs.rbm import RBM, RBMFrames
from ostinato.nn.outputs.softmax import Softmax, Tokens

__all__ = [
    "NADE",
    "RBM",
    "Annealing",
    "Bernoulli",
    "BernoulliFrames",
    "ClassSoftmax",
    "ClassTokens",
    "DirectNgrams",
    "Features",
    "Gaussian",
    "GaussianMixture",
    "MixtureOfGaussians",
    "MultivariateGaussian",
    "NADEFrames",
    "RBMFrames",
    "Softmax",
    "Tokens",
    "balanced_classes",
]
