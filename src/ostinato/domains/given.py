"""Data that a program has in memory, as a domain is given them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

# What a recipe names as its data where they came from memory: nothing that can be loaded again.
IN_MEMORY = "<memory>"

# Under this name are sequences that are yet to be dealt to train, valid and test.
UNSPLIT = ""

LossFunction = Callable[[Any, Tensor], Tensor]


@dataclass(frozen=True)
class Given:
    """Sequences of a program's own: arrays, texts, pairs (inputs, targets), or loaders of batches.

    Arguments:
        splits: by split, "train", "valid" and perhaps "test"; or all of them under `UNSPLIT`.
        module: a network of the program's own that is to be trained on them; None for one of ostinato's.
        loss: what it is trained on: (what the network returns, targets) to a mean; None where the network
            returns distributions.

    Example:
        >>> Given({UNSPLIT: ["a b", "c"]}).first
        'a b'
    """

    splits: Mapping[str, Sequence[Any]]
    module: nn.Module | None = None
    loss: LossFunction | None = None

    @property
    def first(self) -> Any:
        """The first sequence; None where there is none, or only loaders."""
        return next((each[0] for each in self.splits.values() if isinstance(each, list) and each), None)

    @property
    def is_split(self) -> bool:
        """Whether somebody has dealt them to train, valid and test."""
        return UNSPLIT not in self.splits

    def named(self, what: str) -> dict[str, list[tuple[str, Any]]]:
        """Each sequence with a name, by split.

        Example:
            >>> Given({"train": [1, 2], "valid": [3]}).named("song")["valid"]
            [('valid song 1', 3)]
        """
        return {
            split: [(f"{split} {what} {k}".strip(), one) for k, one in enumerate(each, start=1)]
            for split, each in self.splits.items()
        }
