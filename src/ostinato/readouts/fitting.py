"""Ridge regression on the features of a recurrence, in one pass over the data, whatever its length.

    W = argmin sum_t |y_t - W f_t - b|^2 + r |W|^2

b is not penalised. X'X, X'Y and the sums are collected in float64, piece by piece, so that neither states nor
data have to fit into memory; with centred sums (X'X - n m m' + r 1) W' = X'Y - n m y'. The penalty r is not
scaled by the number of steps: as in reservoirpy, whose predictions these are where the weights are copied.

Shapes: T time, B streams, I inputs, F features, K targets, n steps that count.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ostinato.errors import UserError, argument
from ostinato.nn.cells.protocol import Recurrence
from ostinato.nn.cells.state import State
from ostinato.readouts.module import Readout, features

#: Data: inputs and targets (T, B, .), lists of series (T, .), or an iterable of pairs of either.
Data = Tensor | Sequence[Tensor] | Iterable[tuple[Tensor, Tensor]]

_AT_ONCE = 2**22  # numbers of features that are held at once: 32 MiB of float64


class _Piece(NamedTuple):
    inputs: Tensor  # (T, B, I), or tokens (T, B)
    targets: Tensor  # (T, B, K)
    counts: Tensor  # boolean (T, B)
    starts: Tensor | None
    begins: bool  # whether the state before it is that before a sequence


@torch.no_grad()
def fit_readout(
    cell: Recurrence,
    inputs: Data,
    targets: Tensor | Sequence[Tensor] | None = None,
    *,
    starts: Tensor | None = None,
    washout: int = 0,
    ridge: float | Sequence[float] = 1e-6,
    validation: tuple[Any, Any] | None = None,
    bias: bool = True,
    all_layers: bool = False,
    direct: bool = False,
    carry: bool = False,
) -> Readout:
    """A linear readout of any recurrence, trained or not, by ridge regression in one pass.

    With an untrained `ostinato.reservoir` this is an echo-state network. The cell is used as it stands, in
    evaluation mode, and is not changed.

    Args:
        cell: the recurrence, with the time first.
        inputs: (T, B, I), or tokens (T, B); or a list of series (T_i, I), of any lengths; or, with no
            `targets`, an iterable of pairs (inputs, targets) of tensors, read once, one after another.
        targets: (T, B, K), or a list of (T_i, K).
        starts: boolean (T, B), where a new sequence starts, with tensors alone.
        washout: steps after each start that are run and not fitted, while the states forget where they began.
        ridge: r, or several, of which the best on the validation data is taken: the smallest error, and of
            equal ones the largest r.
        validation: a pair (inputs, targets) as above, with the same washout. Needed for several r.
        bias: whether there is b.
        all_layers: whether the outputs of every layer are read, or the last one's.
        direct: whether the inputs are read too.
        carry: whether, of an iterable, each pair goes on where the one before it ended; or begins anew.

    Raises:
        UserError: the data do not go together, hold numbers that are not finite, or leave nothing to fit;
            or the equations have no unique solution.

    Example:
        >>> from ostinato.readouts import reservoir
        >>> draws = torch.Generator().manual_seed(0)
        >>> x = torch.rand(1000, 4, 1, generator=draws, dtype=torch.float64) - 0.5
        >>> before = x.roll(3, 0)  # to remember what was 3 steps ago
        >>> net = reservoir(1, 50, generator=draws, dtype=torch.float64)
        >>> readout = fit_readout(net, x[:800], before[:800], washout=20, ridge=[1e-8, 1e-4, 1.0],
        ...                       validation=(x[800:], before[800:]))
        >>> readout.ridge, readout.errors[1e-8] < 0.05
        (1e-08, True)
    """
    _check_cell(cell)
    if isinstance(washout, bool) or not isinstance(washout, int) or washout < 0:
        raise UserError(f"expected {argument('washout')} as a whole number of at least 0, found {washout!r}")
    if validation is not None and (not isinstance(validation, tuple | list) or len(validation) != 2):
        found = f"{len(validation)} of them" if isinstance(validation, tuple | list) else _kind(validation)
        raise UserError(f"expected {argument('validation')} as a pair (inputs, targets), found {found}")
    ridges = _ridges(ridge, validation)
    reading = {"all_layers": all_layers, "direct": direct}
    was_training = cell.training
    cell.eval()  # type: ignore[attr-defined]  # an nn.Module
    try:
        sums = _Sums()
        for made, wanted in _read(cell, _pieces(cell, inputs, targets, starts, washout, carry), reading):
            sums.add(made, wanted)
        weights = [sums.solved(r, bias=bias) for r in ridges]
        errors = {}
        if validation is not None:
            own = _pieces(cell, *validation, None, washout, carry)
            found = _errors(_read(cell, own, reading), weights)
            if not all(math.isfinite(error) for error in found):
                raise UserError(
                    f"expected finite inputs of {argument('validation')}, found an error of {min(found)}"
                )
            errors = dict(zip(ridges, found, strict=True))
    finally:
        cell.train(was_training)  # type: ignore[attr-defined]
    best = min(ridges, key=lambda r: (errors[r], -r)) if errors else ridges[0]
    return _readout(cell, weights[ridges.index(best)], best, errors, sums.count, reading)


def _check_cell(cell: Any) -> None:
    if not isinstance(cell, Recurrence):
        name = f"{type(cell).__module__}.{type(cell).__name__}"
        own = f"; its state dict loads into ostinato.nn.{type(cell).__name__}"
        raise UserError(
            f"expected {argument('cell')} as a recurrence such as ostinato.nn.RNN, found {name}"
            + (own if isinstance(cell, nn.RNNBase) else "")
        )
    if cell.batch_first:
        raise UserError(f"expected {argument('cell')} with batch_first=False, found True")
    if getattr(cell, "bidirectional", False):  # what is read in pieces has no state after its end
        raise UserError(
            f"expected {argument('cell')} that reads forwards in time alone, found one that reads in both "
            "directions"
        )


def _kind(value: Any) -> str:
    """What something is, for a message."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    place = "" if type(value).__module__ == "builtins" else f"{type(value).__module__}."
    return f"a {place}{type(value).__name__}"


def _ridges(ridge: Any, validation: Any) -> list[float]:
    many = isinstance(ridge, Iterable) and getattr(ridge, "shape", None) != ()  # 0-d arrays are Iterable
    try:
        ridges = [] if isinstance(ridge, str) else [float(r) for r in ridge] if many else [float(ridge)]
    except (TypeError, ValueError):
        ridges = []
    if not ridges or not all(0 <= r < float("inf") for r in ridges):
        raise UserError(f"expected {argument('ridge')} of at least 0, or several, found {ridge!r}")
    if len(ridges) > 1 and validation is None:
        raise UserError(
            f"expected {argument('validation')} data to choose one of {len(ridges)} values of "
            f"{argument('ridge')}, found none"
        )
    return ridges


def _readout(
    cell: Any,
    found: tuple[Tensor, Tensor | None],
    ridge: float,
    errors: dict[float, float],
    count: int,
    reading: dict[str, bool],
) -> Readout:
    weight, offset = found
    linear = nn.Linear(
        weight.shape[1], weight.shape[0], offset is not None, device=weight.device, dtype=weight.dtype
    )
    linear.weight.copy_(weight)
    if offset is not None:
        linear.bias.copy_(offset)
    readout = Readout(cell, linear, **reading)
    readout.ridge, readout.errors, readout.count = ridge, errors, count
    return readout


@dataclass
class _Sums:
    """What ridge regression needs of features (n, F) and targets (n, K), in float64."""

    count: int = 0
    squares: Tensor | None = None  # X'X
    products: Tensor | None = None  # X'Y
    x: Tensor | None = None
    y: Tensor | None = None

    def add(self, made: Tensor, wanted: Tensor) -> None:
        parts = (_gram(made), made.T @ wanted, made.sum(0), wanted.sum(0))
        if self.squares is None or self.products is None or self.x is None or self.y is None:
            self.squares, self.products, self.x, self.y = parts
        elif wanted.shape[1] != self.products.shape[1]:
            raise UserError(
                f"expected {self.products.shape[1]} {argument('targets')} in every piece of data, found "
                f"{wanted.shape[1]}"
            )
        else:
            self.squares += parts[0]
            self.products += parts[1]
            self.x += parts[2]
            self.y += parts[3]
        self.count += made.shape[0]

    def solved(self, ridge: float, *, bias: bool) -> tuple[Tensor, Tensor | None]:
        """W (K, F), and b (K,)."""
        if self.squares is None or self.products is None or self.x is None or self.y is None:
            raise UserError(f"expected steps to fit beyond {argument('washout')}, found none")
        squares, products = self.squares, self.products
        if bias:
            squares = squares - torch.outer(self.x, self.x) / self.count
            products = products - torch.outer(self.x, self.y) / self.count
        penalty = ridge * torch.eye(len(squares), dtype=squares.dtype, device=squares.device)
        solution, info = torch.linalg.solve_ex(squares + penalty, products)
        if int(info) or not bool(solution.isfinite().all()):
            if not bool(squares.isfinite().all() and products.isfinite().all()):
                raise UserError("expected finite states and targets, found others")
            raise UserError(
                f"the equations of {len(squares)} features have no unique solution with {argument('ridge')} "
                f"{ridge:g}; a larger one, such as 1e-8, gives one"
            )
        offset = (self.y - self.x @ solution) / self.count if bias else None
        return solution.T, offset


def _gram(x: Tensor) -> Tensor:
    """X'X; NumPy sees that it is symmetric and does half of the work, where PyTorch has no such product."""
    if x.device.type != "cpu":
        return x.T @ x
    array = x.numpy()
    return torch.from_numpy(array.T @ array)


def _errors(
    read: Iterable[tuple[Tensor, Tensor]], weights: list[tuple[Tensor, Tensor | None]]
) -> list[float]:
    """The root mean squared error of each of several readouts."""
    totals, count = torch.zeros(len(weights), dtype=torch.float64), 0
    targets = weights[0][0].shape[0]
    for made, wanted in read:
        if wanted.shape[-1] != targets:
            raise UserError(
                f"expected {argument('validation')} of {targets} targets, as those fitted, found "
                f"{wanted.shape[-1]}"
            )
        for place, (weight, offset) in enumerate(weights):
            totals[place] += (nn.functional.linear(made, weight, offset) - wanted).square().sum().cpu()
        count += wanted.numel()
    if not count:
        raise UserError(f"expected steps of {argument('validation')} beyond the washout, found none")
    return (totals / count).sqrt().tolist()


def _read(cell: Any, pieces: Iterable[_Piece], reading: dict[str, bool]) -> Iterator[tuple[Tensor, Tensor]]:
    """Features (n, F) and targets (n, K) of the steps that count, in float64."""
    state: State | None = None
    for piece in pieces:
        made, state = features(cell, piece.inputs, None if piece.begins else state, piece.starts, **reading)
        if bool(piece.counts.all()):
            yield made.flatten(0, 1).double(), piece.targets.flatten(0, 1).double()
        elif bool(piece.counts.any()):
            yield made[piece.counts].double(), piece.targets[piece.counts].double()


def _pieces(
    cell: Any, inputs: Any, targets: Any, starts: Tensor | None, washout: int, carry: bool
) -> Iterator[_Piece]:
    """The data in pieces of a length that fits into memory."""
    if starts is not None and not isinstance(inputs, Tensor):
        raise UserError(
            f"expected {argument('starts')} with tensors of all streams alone, found them elsewhere"
        )
    if carry and (targets is not None):
        raise UserError(
            f"expected {argument('carry')} with an iterable of pairs alone, found {argument('targets')}"
        )
    _refuse_arrays(inputs, targets)
    if isinstance(inputs, Tensor):
        if not isinstance(targets, Tensor):
            raise UserError(
                f"expected {argument('targets')} as a tensor, as inputs are, found {_kind(targets)}"
            )
        groups: Iterable[tuple[Tensor, Tensor, Any]] = [(inputs, targets, None)]
    elif targets is not None:
        groups = _padded(inputs, targets)
    else:
        groups = ((*_pair(pair), None) for pair in inputs)
    since: Tensor | None = None
    for x, y, lengths in groups:
        _check(x, y, starts)
        streams = x.shape[1]
        if since is None or not carry:
            since, begins = torch.zeros(streams, dtype=torch.long, device=x.device), True
        elif len(since) != streams:
            raise UserError(f"expected {len(since)} streams to carry on, found {streams}")
        else:
            begins = False
        length = max(1, _AT_ONCE // max(1, streams * cell.hidden_size * cell.num_layers))
        for at in range(0, x.shape[0], length):
            marks = None if starts is None else starts[at : at + length]
            part = slice(at, at + length)
            age, since = _ages(since, marks, x[part].shape[0])
            counts = age >= washout
            if lengths is not None:
                counts &= torch.arange(at, at + len(age), device=x.device).unsqueeze(1) < lengths
            yield _Piece(x[part], y[part], counts, marks, begins)
            begins = False


def _refuse_arrays(*data: Any) -> None:
    for each in data:
        if hasattr(each, "__array__") and not isinstance(each, Tensor):
            raise UserError(
                f"expected data as tensors, found {_kind(each)}; torch.from_numpy makes one of an array, in "
                "the type of the cell's weights"
            )


def _ages(since: Tensor, marks: Tensor | None, steps: int) -> tuple[Tensor, Tensor]:
    """Steps (T, B) of each stream's sequence before each step, and (B,) before the next."""
    time = torch.arange(steps, device=since.device).unsqueeze(1)
    if marks is None:
        return since + time, since + steps
    # the last start at or before each step; before the first one the sequence goes on that was there
    last = torch.where(marks, time, -1).cummax(0).values
    ages = torch.where(last >= 0, time - last, since + time)
    return ages, ages[-1] + 1


def _pair(pair: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(isinstance(x, Tensor) for x in pair):
        raise UserError(
            f"expected {argument('targets')}, or pairs of tensors (inputs, targets), found a "
            f"{type(pair).__name__}"
        )
    return pair[0], pair[1]


def _padded(inputs: Sequence[Tensor], targets: Any) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Series of any lengths, 64 at a time, padded at their ends: what comes later changes no state before."""
    if isinstance(targets, Tensor) or len(inputs) != len(targets):
        found = "a tensor" if isinstance(targets, Tensor) else f"{len(targets)}"
        raise UserError(f"expected {argument('targets')} of each of {len(inputs)} series, found {found}")
    for place, (x, y) in enumerate(zip(inputs, targets, strict=True)):
        _refuse_arrays(x, y)
        if x.shape[0] != y.shape[0]:
            raise UserError(f"expected targets of {x.shape[0]} steps of series {place}, found {y.shape[0]}")
    order = sorted(range(len(inputs)), key=lambda i: inputs[i].shape[0])
    for at in range(0, len(order), 64):
        own = order[at : at + 64]
        lengths = torch.tensor([inputs[i].shape[0] for i in own], device=inputs[own[0]].device)
        x, y = (nn.utils.rnn.pad_sequence([data[i] for i in own]) for data in (inputs, targets))
        yield x, y, lengths


def _check(x: Tensor, y: Tensor, starts: Tensor | None) -> None:
    if y.dim() != 3 or x.dim() not in (2, 3) or x.shape[:2] != y.shape[:2]:
        raise UserError(
            f"expected {argument('inputs')} (T, B, I) and {argument('targets')} (T, B, K), found "
            f"{tuple(x.shape)} and {tuple(y.shape)}"
        )
    if not x.shape[1]:
        raise UserError(f"expected {argument('inputs')} of at least one stream, found {tuple(x.shape)}")
    if not bool(y.isfinite().all()):
        raise UserError(f"expected finite {argument('targets')}, found others")
    if starts is not None and (starts.dtype != torch.bool or starts.shape != x.shape[:2]):
        raise UserError(
            f"expected {argument('starts')} boolean {tuple(x.shape[:2])}, found {starts.dtype} "
            f"{tuple(starts.shape)}"
        )
