"""Why a recurrent network does not learn: gradients over time, taken apart, measured, and put into words.

Section 2 of Bengio, Boulanger-Lewandowski & Pascanu 2012 (arXiv 1212.0901) as measurements: how the gradient
of a loss fades or grows on its way back through time, which part of a parameter's gradient is short-term and
which long-term, how far the state remembers, and whether units are saturated or silent. All of it takes any
recurrence of ours, those of `torch.nn`, and by `adapted` any module that maps (inputs, state) to states.
"""

from typing import TYPE_CHECKING

from ostinato import lazily

if TYPE_CHECKING:
    from ostinato.diagnostics.diagnosis import Diagnosis as Diagnosis
    from ostinato.diagnostics.diagnosis import diagnose as diagnose
    from ostinato.diagnostics.diagnosis import diagnose_model as diagnose_model
    from ostinato.diagnostics.finding import TRAINING as TRAINING
    from ostinato.diagnostics.finding import Finding as Finding
    from ostinato.diagnostics.lags import GradientOverLag as GradientOverLag
    from ostinato.diagnostics.lags import gradient_over_lag as gradient_over_lag
    from ostinato.diagnostics.lags import memory_horizon as memory_horizon
    from ostinato.diagnostics.networks import Network as Network
    from ostinato.diagnostics.networks import adapted as adapted
    from ostinato.diagnostics.networks import network as network
    from ostinato.diagnostics.products import singular_values as singular_values
    from ostinato.diagnostics.products import spectral_radii as spectral_radii
    from ostinato.diagnostics.spans import Span as Span
    from ostinato.diagnostics.spans import gradient_by_span as gradient_by_span

_PLACES = {
    "Diagnosis": "diagnosis",
    "Finding": "finding",
    "GradientOverLag": "lags",
    "Network": "networks",
    "Span": "spans",
    "TRAINING": "finding",
    "adapted": "networks",
    "diagnose": "diagnosis",
    "diagnose_model": "diagnosis",
    "gradient_by_span": "spans",
    "gradient_over_lag": "lags",
    "memory_horizon": "lags",
    "network": "networks",
    "singular_values": "products",
    "spectral_radii": "products",
}

__all__ = [*_PLACES]

if not TYPE_CHECKING:  # a type checker knows the names above, and no others
    __getattr__, __dir__ = lazily(__name__, _PLACES)
