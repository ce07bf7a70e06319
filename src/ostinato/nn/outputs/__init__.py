"""Output layers: each maps a hidden state to a distribution over the next observation."""

from typing import TYPE_CHECKING

from ostinato import lazily

if TYPE_CHECKING:
    from ostinato.nn.outputs.agreement import Annealing as Annealing
    from ostinato.nn.outputs.bernoulli import Bernoulli as Bernoulli
    from ostinato.nn.outputs.bernoulli import BernoulliFrames as BernoulliFrames
    from ostinato.nn.outputs.class_softmax import ClassSoftmax as ClassSoftmax
    from ostinato.nn.outputs.class_softmax import ClassTokens as ClassTokens
    from ostinato.nn.outputs.class_softmax import balanced_classes as balanced_classes
    from ostinato.nn.outputs.copy_gates import CopyGates as CopyGates
    from ostinato.nn.outputs.copy_gates import Seen as Seen
    from ostinato.nn.outputs.direct import DirectNgrams as DirectNgrams
    from ostinato.nn.outputs.direct import Features as Features
    from ostinato.nn.outputs.gaussian import Gaussian as Gaussian
    from ostinato.nn.outputs.gaussian import MultivariateGaussian as MultivariateGaussian
    from ostinato.nn.outputs.gaussian_mixture import GaussianMixture as GaussianMixture
    from ostinato.nn.outputs.gaussian_mixture import MixtureOfGaussians as MixtureOfGaussians
    from ostinato.nn.outputs.nade import NADE as NADE
    from ostinato.nn.outputs.nade import NADEFrames as NADEFrames
    from ostinato.nn.outputs.onsets import OnsetFrames as OnsetFrames
    from ostinato.nn.outputs.onsets import Onsets as Onsets
    from ostinato.nn.outputs.rbm import RBM as RBM
    from ostinato.nn.outputs.rbm_frames import RBMFrames as RBMFrames
    from ostinato.nn.outputs.rbm_onsets import OnsetRBM as OnsetRBM
    from ostinato.nn.outputs.rbm_onsets import OnsetRBMFrames as OnsetRBMFrames
    from ostinato.nn.outputs.softmax import Softmax as Softmax
    from ostinato.nn.outputs.softmax import Tokens as Tokens

_PLACES = {
    "Annealing": "agreement",
    "Bernoulli": "bernoulli",
    "BernoulliFrames": "bernoulli",
    "ClassSoftmax": "class_softmax",
    "ClassTokens": "class_softmax",
    "CopyGates": "copy_gates",
    "DirectNgrams": "direct",
    "Features": "direct",
    "Gaussian": "gaussian",
    "GaussianMixture": "gaussian_mixture",
    "MixtureOfGaussians": "gaussian_mixture",
    "MultivariateGaussian": "gaussian",
    "NADE": "nade",
    "NADEFrames": "nade",
    "OnsetFrames": "onsets",
    "OnsetRBM": "rbm_onsets",
    "OnsetRBMFrames": "rbm_onsets",
    "Onsets": "onsets",
    "RBM": "rbm",
    "RBMFrames": "rbm_frames",
    "Seen": "copy_gates",
    "Softmax": "softmax",
    "Tokens": "softmax",
    "balanced_classes": "class_softmax",
}

__all__ = [*_PLACES]

if not TYPE_CHECKING:  # a type checker knows the names above, and no others
    __getattr__, __dir__ = lazily(__name__, _PLACES)
