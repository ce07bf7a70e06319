"""What `torch.nn` refuses in the making of a recurrent module, in its words; what a module says of itself."""

import numbers
import warnings
from collections.abc import Iterable
from typing import Any


def check_sizes(input_size: Any, hidden_size: Any, num_layers: Any) -> None:
    """Whole numbers above zero."""
    for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
        if not isinstance(size, int):
            raise TypeError(f"{name} should be of type int, got: {type(size).__name__}")
        if size <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if num_layers <= 0:
        raise ValueError("num_layers must be greater than zero")


def check_flags(**flags: Any) -> None:
    """Each one True or False."""
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise TypeError(f"{name} should be of type bool, got: {type(flag).__name__}")


def check_dropout(dropout: Any, num_layers: int) -> None:
    """A probability; a warning where there is nothing between layers that could be dropped."""
    if not isinstance(dropout, numbers.Number) or isinstance(dropout, bool) or not 0 <= float(dropout) <= 1:  # type: ignore[arg-type]
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an element being "
            "zeroed"
        )
    if float(dropout) > 0 and num_layers == 1:  # type: ignore[arg-type]
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
            f"num_layers greater than 1, but got dropout={dropout} and num_layers={num_layers}",
            stacklevel=3,
        )


def checked_embedding(size: Any, token_inputs: bool, bidirectional: bool) -> int | None:
    """The size of a token's embedding, None for none."""
    if size is None:
        return None
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ValueError(f"embedding_size should be a whole number above zero, got {size!r}")
    if not token_inputs or bidirectional:
        raise ValueError("embedding_size is for token_inputs=True, read forwards alone")
    return size


def check_projection(proj_size: int, hidden_size: int, initialization: str, *, known: bool) -> None:
    """The size of an LSTM's projected output, or 0 for none; `known` says whether the cell can have one."""
    if proj_size and not known:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")
    if proj_size and initialization == "echo-state":
        raise ValueError(
            "echo-state weights have eigenvalues to scale, which no projection leaves: proj_size must be 0"
        )


def differing(sizes: Iterable[int], settings: Iterable[tuple[str, Any, Any]]) -> str:
    """The sizes, and every setting (name, value, default) that is not at its default.

    Example:
        >>> differing((3, 5), [("num_layers", 2, 1), ("bias", True, True), ("initialization", "a", "b")])
        "3, 5, num_layers=2, initialization='a'"
    """
    own = (f"{name}={value!r}" for name, value, default in settings if value != default)
    return ", ".join((*map(str, sizes), *own))
