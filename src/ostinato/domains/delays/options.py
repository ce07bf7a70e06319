"""What commands can be told of problems with long delays alone."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ShowOptions:
    """Of `ostinato data show`.

    Parameters
    ----------
    length
        Steps of its sequences, or of its delay; 50 where nothing is said.
    """

    length: int = 50
