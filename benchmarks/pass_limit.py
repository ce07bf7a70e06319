"""The least time that a pass of a recurrent layer can take on a core, from what was measured of the core.

A pass is `benchmarks/recurrence.py`'s: what I inputs contribute, the scan of T steps of B streams, and the
gradients of all weights and of the initial state. A cell with K gates of H units has five products; in
multiply-adds, counted in whole vectors of L numbers, gate by gate, as v(n) = ceil(n / L) (a hundred units
cost seven vectors of sixteen):

    inputs               T B I v(K H)         x U^T, all gates side by side
    forward              T B K H v(H)         h W^T of every step
    adjoint              T B K H v(H)         delta W of every step
    gradient of W        T B K H v(H)         delta^T h
    gradient of U        T B K H v(I)         delta^T x

each at the rate of multiply-adds of one core in a loop of nothing else (`peers/core.cpp`). Of the forward
and the adjoint scan every step also reads all of W, 4 K H^2 bytes: where that takes longer, at the bandwidth
of the second-level cache, also measured, it counts instead. A layer that skips inputs which are zero pays for
those that are not, n of a frame's: T B n v(K H) forward, and as much for the gradient.

What follows the products, gates and their slopes forward, and the deltas from them on the way back, costs
T B v(H) times what it was measured to take for one vector, the kernels' own functions with everything in the
first-level cache (`peers/phases.cpp`). With n threads all of it takes the n-th part.

Not counted, so that it is a limit: reading anything but W from any cache or memory, packing, what threads
wait for each other, autograd and Python.

Shapes: T time, B streams, H hidden, I inputs.
"""

from typing import NamedTuple

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


class Core(NamedTuple):
    """What was measured of one core, for numbers of 32 bits."""

    flops: float  # a second, two for each multiply-add of a lane
    bandwidth: float  # bytes a second from the second-level cache
    lanes: int  # L
    pointwise: dict[str, tuple[float, float]]  # seconds a vector of units, forward and back, of each cell


class Limit(NamedTuple):
    """Seconds, by part."""

    inputs: float
    forward: float
    adjoint: float
    gradients: float
    pointwise: float
    bound_by_bytes: bool  # whether the scans' are the bytes of W

    @property
    def seconds(self) -> float:
        """Of the whole pass."""
        return self.inputs + self.forward + self.adjoint + self.gradients + self.pointwise


def of_pass(
    core: Core, cell: str, shape: tuple[int, int, int], inputs: int, threads: int, on: float | None = None
) -> Limit:
    """The limit of a pass.

    Args:
        core: what one core can do.
        cell: one of `GATES`.
        shape: B, T and H.
        inputs: I.
        threads: on as many cores.
        on: how many of a frame's inputs are not zero, for a layer that skips the others.

    Example:
        >>> core = Core(2e9, 1e9, 4, {"RNN": (1e-9, 1e-9)})
        >>> found = of_pass(core, "RNN", (1, 1, 2), 3, 1)
        >>> found.bound_by_bytes, round(found.forward * 1e9), round(found.gradients * 1e9)
        (True, 16, 16)
    """
    (streams, steps, hidden), gates = shape, GATES[cell]
    frames, rows = steps * streams, gates * hidden

    def vectors(numbers: int) -> int:
        return -(-numbers // core.lanes)

    def multiply_adds(count: float) -> float:
        return 2 * core.lanes * count / core.flops / threads

    scan = multiply_adds(frames * rows * vectors(hidden))
    read = steps * 4 * rows * hidden / core.bandwidth / threads
    of_inputs = frames * (inputs if on is None else on) * vectors(rows)
    back = frames * rows * vectors(inputs) if on is None else of_inputs
    each = sum(core.pointwise[cell])
    return Limit(
        multiply_adds(of_inputs),
        max(scan, read),
        max(scan, read),
        multiply_adds(frames * rows * vectors(hidden) + back),
        frames * vectors(hidden) * each / threads,
        read > scan,
    )


def useful_flops(cell: str, shape: tuple[int, int, int], inputs: int) -> tuple[float, float, float, float]:
    """Of the products of inputs, forward scan, adjoint scan and gradients: two for each multiply-add.

    No vector is filled up here.
    """
    (streams, steps, hidden), gates = shape, GATES[cell]
    each = 2.0 * steps * streams * gates * hidden
    return each * inputs, each * hidden, each * hidden, each * (hidden + inputs)
