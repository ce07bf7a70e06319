"""Layers whose weights keep constraints: signs by Dale's law, connections that are not there, fixed ones.

Shapes: I inputs, H hidden.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ostinato.nn.cells.constraint import Constraint, as_mask, balance_, dale_signs
from ostinato.nn.cells.stack import RecurrentStack


class ConstrainedStack(RecurrentStack):
    """Layers of one gate; a subclass says in its constructor, by `_constrain`, what is constrained."""

    def _constrain(
        self, dale: Any, connectivity: Any, plasticity: Any, input_mask: Any, input_plasticity: Any
    ) -> None:
        """Hold the constraints, and let the weights that were drawn keep them."""
        signs = None if dale is None else dale_signs(dale, self.hidden_size)
        hidden = (self.hidden_size, self.hidden_size)
        first = (self.hidden_size, self.embedding_size or self.input_size)
        like, own, inputs = self.weight_hh_l0, [], []

        def given(name: str, mask: Any, shape: tuple[int, int]) -> Tensor | None:
            return None if mask is None else as_mask(name, mask, shape, like)

        connectivity = given("connectivity", connectivity, hidden)
        plasticity = given("plasticity", plasticity, hidden)
        input_mask = given("input_mask", input_mask, first)
        input_plasticity = given("input_plasticity", input_plasticity, first)
        for layer in range(self.num_layers):
            own.append(Constraint(hidden, signs=signs, mask=connectivity, plastic=plasticity, like=like))
            if layer == 0:
                inputs.append(Constraint(first, mask=input_mask, plastic=input_plasticity, like=like))
            else:  # what comes from the layer below keeps the signs of its units
                inputs.append(Constraint(hidden, signs=signs, like=like))
        self.constraints_hh, self.constraints_ih = nn.ModuleList(own), nn.ModuleList(inputs)
        self._settle()

    @torch.no_grad()
    def _settle(self) -> None:
        """Let weights that were just drawn keep the constraints."""
        for layer in range(self.num_layers):
            name, raw = self._weight_names[layer][0], getattr(self, f"weight_hh_l{layer}")
            own: Any = self.constraints_hh[layer]
            if own.signs is not None:
                balance_(raw, own.signs, own.mask)
                self._rescale(raw, own.signs, own.mask)
            own.settle_(raw)
            if not self._reads_tokens(layer):
                inputs: Any = self.constraints_ih[layer]
                raw = getattr(self, name)
                if inputs.signs is not None:
                    raw.abs_()
                inputs.settle_(raw)

    def _rescale(self, raw: Tensor, signs: Tensor, mask: Tensor | None) -> None:
        if self.initialization != "echo-state":
            return
        signed = raw * signs if mask is None else raw * signs * mask
        radius = torch.linalg.eigvals(signed.double()).abs().max()
        if radius > 0:
            raw.mul_((self.spectral_radius / radius).to(raw.dtype))

    def recurrent_weight(self, layer: int = 0) -> Tensor:
        """W of a layer, (H, H), with its signs, zeros and fixed connections."""
        made: Tensor = self.constraints_hh[layer](self._own(f"weight_hh_l{layer}"))
        return made

    def input_weight(self, layer: int = 0) -> Tensor:
        """U of a layer, (H, I), or (H, H) above the first, with its zeros and fixed connections."""
        raw = self._own(self._weight_names[layer][0])
        if self._reads_tokens(layer):
            embedded: Tensor = raw.T
            return embedded
        made: Tensor = self.constraints_ih[layer](raw)
        return made

    def assign_recurrent_(self, weight: Tensor, layer: int = 0) -> None:
        """Set W (H, H) of a layer.

        Raises:
            ValueError: it breaks a constraint, or has another shape.
        """
        constraint: Any = self.constraints_hh[layer]
        constraint.assign_(getattr(self, f"weight_hh_l{layer}"), weight)

    def assign_input_(self, weight: Tensor, layer: int = 0) -> None:
        """Set U (H, I) of a layer; raises as `assign_recurrent_` does."""
        raw, constraint = getattr(self, self._weight_names[layer][0]), self.constraints_ih[layer]
        target: Any = constraint
        target.assign_(raw.T if self._reads_tokens(layer) else raw, weight)
