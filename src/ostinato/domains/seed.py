"""A user's seed as a source of randomness."""

import torch

from ostinato.errors import UserError, argument


def seeded(seed: int) -> torch.Generator:
    """A generator that starts from a user's seed.

    Example:
        >>> seeded(1).initial_seed()
        1
    """
    if not 0 <= seed < 2**32:
        raise UserError(f"expected {argument('seed')} of 0 to {2**32 - 1}, found {seed}")
    return torch.Generator().manual_seed(seed)
