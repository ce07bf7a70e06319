"""The leak of a module: constant, or learned under a parametrisation that keeps it between 0 and 1.

    a = e + (1 - 2 e) sigmoid(s),   e = machine epsilon of the type

A step of any length on s leaves a in [e, 1 - e]: where the sigmoid has rounded to exactly 1, a is 1 - e, and
where it has rounded to 0, a is e, so 1 - a, which the derivatives divide by, is never 0.

Shape: H hidden.
"""

from typing import Any

import torch
from torch import Tensor, nn

LEARNED = "leak_logit"


def squashed(logit: Tensor) -> Tensor:
    """a of s, which has any shape.

    Example:
        >>> squashed(torch.tensor([-1e4, 0.0, 1e4])) < 1
        tensor([True, True, True])
    """
    margin = torch.finfo(logit.dtype).eps
    return margin + (1 - 2 * margin) * torch.sigmoid(logit)


def slope(logit: Tensor) -> Tensor:
    """da/ds of s."""
    open_at = torch.sigmoid(logit)
    return (1 - 2 * torch.finfo(logit.dtype).eps) * open_at * (1 - open_at)


def logit_of(leak: Tensor) -> Tensor:
    """s of a, in [0, 1); an a nearer to 0 or 1 than s can bring it counts as the nearest that it can.

    Example:
        >>> squashed(logit_of(torch.tensor([0.25, 0.9])))
        tensor([0.2500, 0.9000])
    """
    margin = torch.finfo(leak.dtype).eps
    share = ((leak.double() - margin) / (1 - 2 * margin)).clamp(margin**2, 1 - margin)
    return torch.logit(share).to(leak.dtype)


class Leaking(nn.Module):
    """A module with the leak a of H units: None, a buffer `leak`, or made from a parameter `leak_logit`."""

    hidden_size: int
    learned_leak: bool = False

    @property
    def leak(self) -> Tensor | None:
        """The share of the old state that is kept, (H,); None where nothing is."""
        # getattr finds what pruning and the like have put in the parameter's place
        return squashed(getattr(self, LEARNED)) if self.learned_leak else self._buffers["leak"]

    @leak.setter
    def leak(self, value: Any) -> None:
        # a buffer is set by nn.Module and does not come here
        raise AttributeError(
            f"a learned leak is made from the parameter {LEARNED} and cannot be set; load a state dict that "
            "holds leak, or set that parameter"
        )

    def _register_leak(self, leak: float | Tensor | None, like: Tensor) -> None:
        """Hold a leak in the type and on the device of `like`."""
        # not by register_buffer, which a property of the name would make refuse it
        self._buffers["leak"] = None
        if leak is None or (isinstance(leak, int | float) and leak == 0):
            return
        if isinstance(leak, Tensor):
            tensor = leak.detach().to(like.device, like.dtype, copy=True)
        else:
            tensor = torch.full((self.hidden_size,), float(leak), dtype=like.dtype, device=like.device)
        if tuple(tensor.shape) != (self.hidden_size,):
            raise ValueError(f"leak must have shape ({self.hidden_size},), got {tuple(tensor.shape)}")
        if tensor.is_meta:  # has no values
            pass
        elif not bool(((tensor >= 0) & (tensor < 1)).all()):
            raise ValueError(
                f"every leak must lie in [0, 1), in {like.dtype} too: it is the share of the old state that "
                "is kept"
            )
        if not (isinstance(leak, Tensor) and leak.requires_grad):
            self._buffers["leak"] = tensor
            return
        if not tensor.is_meta and not bool((tensor > 0).all()):
            raise ValueError(
                "a learned leak must lie in (0, 1), got one of 0; it stays between them while it is trained, "
                "so let it start at a small number"
            )
        self.learned_leak = True
        del self._buffers["leak"]  # nn.Module would let it be set, without any effect
        self.register_parameter(LEARNED, nn.Parameter(logit_of(tensor)))

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: Any, strict: bool, *rest: Any
    ) -> None:
        self._take_leak(state_dict, f"{prefix}leak", f"{prefix}{LEARNED}")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, *rest)

    def _take_leak(self, state_dict: dict[str, Any], constant: str, learned: str) -> None:
        """Bring the leak of a state dict into the form in which this module has it."""
        own = self._parameters.get(LEARNED)
        if own is not None:
            if constant in state_dict and learned not in state_dict:
                given = state_dict.pop(constant)
                if not bool(((given >= 0) & (given < 1)).all()):
                    low, high = float(given.min()), float(given.max())
                    raise ValueError(
                        f"expected leaks in [0, 1) in {constant}, found {low:.4g} to {high:.4g}: they were "
                        "trained when nothing kept them there; a module with a constant leak takes them"
                    )
                state_dict[learned] = logit_of(given.to(own.dtype))
            # a state dict of torch.nn knows no leak: the module's own one stays
            state_dict.setdefault(learned, own.detach())
        elif self._buffers["leak"] is not None:
            if learned in state_dict and constant not in state_dict:
                state_dict[constant] = squashed(state_dict.pop(learned))
            state_dict.setdefault(constant, self._buffers["leak"])
