"""What scoring asks of a model, or of a baseline in its place."""

from typing import Any, Protocol

from torch import Tensor
from torch.distributions import Distribution


class Predictor(Protocol):
    """A model, as evaluation sees it: carried states in, distributions of every next frame out."""

    def __call__(
        self, inputs: Tensor, states: Any = None, starts: Tensor | None = None
    ) -> tuple[Distribution, Any]:
        """Predict (T, B) frames."""
