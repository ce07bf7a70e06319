"""How many processor threads training takes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ostinato.errors import UserError, argument
from ostinato.recipe.recipe import Recipe


def default_threads(recipe: Recipe) -> int:
    """One thread where a step is too small to share, all that PyTorch found otherwise.

    A step of one stream with 200 units takes some ten microseconds: threads gain little there on an idle
    machine, and wait for each other on a busy one.
    """
    multiplications_a_step = recipe.streams * recipe.hidden_size**2
    return torch.get_num_threads() if multiplications_a_step > 2_000_000 else 1


@contextmanager
def threads(number: int) -> Iterator[None]:
    """PyTorch computes with so many threads inside, and with as many as before afterwards.

    Raises:
        UserError: there are less than 1.

    Example:
        >>> before = torch.get_num_threads()
        >>> with threads(1):
        ...     torch.get_num_threads()
        1
        >>> torch.get_num_threads() == before
        True
    """
    if number < 1:
        raise UserError(f"expected {argument('threads')} of at least 1, found {number}")
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
