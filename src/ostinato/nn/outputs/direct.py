"""Maximum-entropy connections: hashed n-gram features that add to the logits of a softmax directly.

    z_j += sum_o table[hash(o, the o tokens before) + j]      o = 1 ... order - 1

A feature is the last o tokens together with the next one. All features share one table by hashing: another
context may land on the same weights, which costs little while the table is large. Source: Mikolov et al.
2011, "Strategies for training large scale neural network language models".

Shapes: N tokens, T steps, B streams, O = order - 1 contexts, K classes, V vocabulary, M table.
"""

import torch
from torch import Tensor, nn

from ostinato.nn.kernels.ngrams import GRAIN, add_windows_, decay_windows_, learn_windows_

# Multipliers of the hash: odd, and far apart. Products wrap around in 64 bits.
_MULTIPLIERS = (0x9E3779B97F4A7C15 - (1 << 64), 0x2545F4914F6CDD1D, 0x5851F42D4C957F2D)
_MASK = (1 << 62) - 1


class DirectNgrams(nn.Module):
    """A table of M weights for hashed n-gram features, all 0 at first.

    It is trained by an optimizer, as other weights are; or, with `learns_apart`, by itself: then the table
    gets no gradient, and `learn` takes a step of plain gradient descent on the weights alone that the
    predictions used, which costs as much as these are and not as the table is.

    Args:
        table_size: M.
        order: of the longest n-gram, at least 2: 3 adds features of the last token and of the last two.
        widest: how many logits follow each other at most: the largest class, or V.
        learns_apart: whether it is trained by itself, by `learn`.
        rate: the learning rate of `learn`, of the sum over tokens.
        l2: strength of an L2 penalty on the table, (l2 / 2) |w|^2 a token, of a table that is trained by
            itself. A pass through N tokens has N l2 of it, the inverse of a Gaussian prior's variance. A
            weight decays when it is used next, by exp(-rate l2 n) for the n tokens since then.

    Example:
        >>> direct = DirectNgrams(1000, order=3, widest=10)
        >>> contexts = direct.contexts(torch.tensor([[4], [7]]), torch.zeros(2, 1, dtype=torch.int64))
        >>> contexts.shape
        torch.Size([2, 1, 2])
    """

    tokens: Tensor
    used: Tensor

    def __init__(
        self,
        table_size: int,
        order: int,
        widest: int,
        *,
        learns_apart: bool = False,
        rate: float = 0.0,
        l2: float = 0.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if order < 2 or table_size <= widest:
            raise ValueError(
                f"expected an order of at least 2 and a table of more than {widest} weights, "
                f"got {order} and {table_size}"
            )
        if l2 < 0 or (l2 > 0 and not learns_apart):
            raise ValueError(f"l2 is at least 0, and for a table that learns_apart, got {l2}")
        self.order, self.widest, self.learns_apart, self.rate, self.l2 = order, widest, learns_apart, rate, l2
        self._seen: list[tuple[Tensor, Tensor]] = []
        self._count = 0
        self.table = nn.Parameter(torch.zeros(table_size, dtype=dtype))
        if l2 > 0:  # how many tokens were learned of, and how many had been when a weight was used last
            self.register_buffer("tokens", torch.zeros((), dtype=torch.int64))
            self.register_buffer("used", torch.zeros(table_size // GRAIN + 1, dtype=torch.int64))

    @property
    def history(self) -> int:
        """Tokens before the current input that the contexts need: order - 2."""
        return self.order - 2

    def contexts(self, inputs: Tensor, before: Tensor, starts: Tensor | None = None) -> Tensor:
        """Hashes of the last 1, ..., order - 1 tokens at each step, shape (T, B, O).

        Args:
            inputs: the token before each prediction, (T, B) int64.
            before: the tokens before the first input, oldest first, (order - 2, B) int64; token 0 for none.
            starts: boolean (T, B), where a sequence starts: what was before its first input is token 0.
        """
        value, hashes = torch.zeros_like(inputs), []
        for o, tokens in enumerate(self._back(inputs, before, starts)):
            value = (value * _MULTIPLIERS[1] + tokens + 1 + o) * _MULTIPLIERS[0]
            hashes.append(value)
        return torch.stack(hashes, -1)

    def after(self, inputs: Tensor, before: Tensor, starts: Tensor | None = None) -> Tensor:
        """The `before` of what follows these inputs, (order - 2, B)."""
        back = self._back(inputs, before, starts)[: self.history]
        return torch.stack([tokens[-1] for tokens in reversed(back)]) if back else before

    def _back(self, inputs: Tensor, before: Tensor, starts: Tensor | None) -> list[Tensor]:
        """At each step the input, the token before it, and so on, order - 1 in all, each (T, B)."""
        text, result, steps = torch.cat([before, inputs]), [], len(inputs)
        cut = torch.zeros_like(inputs, dtype=torch.bool)
        for o in range(self.order - 1):
            tokens = text[self.history - o : self.history - o + steps]
            result.append(tokens.masked_fill(cut, 0))
            if starts is not None:
                # one token further back lies before the start if it is crossed on the way
                shifted = torch.cat([torch.zeros_like(starts[: min(o, steps)]), starts[: max(steps - o, 0)]])
                cut = cut | shifted
        return result

    def places(self, contexts: Tensor, group: int | Tensor) -> Tensor:
        """Where in the table a group of logits starts for each context (N, O): group 0, or a class.

        The group may be another one for each of the N, (N, 1).
        """
        mixed = (contexts + group) * _MULTIPLIERS[2]
        mixed = (mixed ^ (mixed >> 29)) & _MASK
        return mixed % (len(self.table) - self.widest)

    def indices(self, contexts: Tensor, group: int, width: int) -> Tensor:
        """The table's entries that add to `width` logits of a group, shape (N, O, width)."""
        return self.places(contexts, group).unsqueeze(-1) + torch.arange(width, device=contexts.device)

    @torch.no_grad()
    def add_(self, logits: Tensor, places: Tensor) -> Tensor:
        """Add the features at `places` (N, O) to logits (N, width) of a group, in place."""
        return add_windows_(logits, self.table.detach(), places)

    def remember(self, places: Tensor, residual: Tensor) -> None:
        """What `learn` is to descend along: the gradient (N, width) of -log p by the logits at `places`."""
        self._seen.append((places, residual.detach()))

    def count(self, tokens: int) -> None:
        """So many tokens are what is remembered."""
        self._count += tokens

    def forget(self) -> None:
        """What was remembered is not learned."""
        self._seen, self._count = [], 0

    @torch.no_grad()
    def learn(self, scale: float = 1.0) -> None:
        """Step along what was remembered: the weights that were used move by rate * scale * gradient.

        Of one weight that several predictions used all steps are taken, as of a sum over tokens.
        """
        seen, count = self._seen, self._count
        self.forget()
        if self.l2 > 0:
            self.tokens += count
            now, strength = int(self.tokens), self.rate * scale * self.l2
            for places, residual in seen:
                decay_windows_(self.table.detach(), places, residual.shape[1], self.used, now, strength)
        for places, residual in seen:
            learn_windows_(self.table.detach(), places, residual, self.rate * scale)

    def forward(self, contexts: Tensor, group: int, width: int) -> Tensor:
        """What the features add to `width` logits of a group, shape (N, width)."""
        if not torch.is_grad_enabled():
            return self.add_(self.table.new_zeros(len(contexts), width), self.places(contexts, group))
        indices = self.indices(contexts, group, width)
        return self.table.index_select(0, indices.flatten()).view(indices.shape).sum(1)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{len(self.table)}, order={self.order}, widest={self.widest}"


class Features:
    """The features of N predictions, as an output layer adds them to its logits.

    Args:
        direct: the table.
        contexts: hashes (..., O).
    """

    def __init__(self, direct: DirectNgrams, contexts: Tensor) -> None:
        self.direct, self.contexts = direct, contexts

    def places(self, group: int | Tensor) -> Tensor:
        """Where in the table a group's features are, of each of the N predictions, (N, O)."""
        return self.direct.places(self.contexts.reshape(-1, self.contexts.shape[-1]), group)

    def expand(self, shape: torch.Size) -> "Features":
        """The same for a batch (...) that this one broadcasts to."""
        return Features(self.direct, self.contexts.expand(*shape, -1))

    def __call__(self, group: int, width: int, rows: Tensor | None = None) -> Tensor:
        """What to add to `width` logits of a group: (..., width), or for some rows of the flat batch."""
        flat = self.contexts.reshape(-1, self.contexts.shape[-1])
        if rows is not None:
            return self.direct(flat.index_select(0, rows), group, width)
        return self.direct(flat, group, width).view(*self.contexts.shape[:-1], width)
