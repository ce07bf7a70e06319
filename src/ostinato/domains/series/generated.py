"""Series that every machine has: made from a seed, the same to the last bit everywhere.

Only additions, multiplications and divisions of doubles are used, which IEEE 754 defines exactly: a chaotic
system would make another series of the smallest difference between two machines' powers or exponentials.
"""

from collections.abc import Callable

import numpy as np

from ostinato.data.sequences import Sequence
from ostinato.domains.series.reading import Collection
from ostinato.errors import UserError, near_names

# Steps thrown away, until a system is on its attractor.
_WASHOUT = 1000


def names() -> tuple[str, ...]:
    """The data sets that can be made.

    Example:
        >>> names()
        ('lorenz', 'mackey-glass')
    """
    return tuple(sorted(_MAKERS))


def generate(name: str, seed: int = 0) -> Collection:
    """The data set `name`, from a seed.

    Raises:
        UserError: there is none of this name.

    Example:
        >>> lorenz = generate("lorenz")
        >>> lorenz.columns, len(lorenz.series), lorenz.steps
        (('x', 'y', 'z'), 20, 10000)
    """
    if name not in _MAKERS:
        hint = near_names(name.lower(), _MAKERS)
        raise UserError(f"expected the name of a series that can be made, found {name!r}; {hint}")
    return _MAKERS[name](seed)


def mackey_glass(
    steps: int,
    seed: int = 0,
    *,
    tau: float = 17.0,
    sampling: float = 1.0,
    substeps: int = 10,
    start: float | None = None,
    washout: int = _WASHOUT,
) -> np.ndarray:
    """The delay equation of Mackey & Glass 1977, chaotic for tau above about 16.8; values (T,).

        dx/dt = 0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x(t)

    By the classical Runge-Kutta method of order 4. The delayed value in the middle of a step is read off the
    cubic through the values and slopes at its ends, so that the whole is of order 4 too (but for steps of
    the first few delays, which begin at a kink). Before time 0, x is constant.

    Args:
        steps: T.
        seed: draws that constant from [0.5, 1.5).
        tau: the delay; a multiple of a substep.
        sampling: time between the values that are returned.
        substeps: integration steps in a sampling step: 10, of 0.1.
        start: the constant before time 0, instead of one drawn.
        washout: values thrown away at the beginning.

    Example:
        >>> mackey_glass(3, start=1.2, washout=0).round(4).tolist()
        [1.2, 1.1176, 1.043]
    """
    step = sampling / substeps
    delay = round(tau / step)
    if delay < 1 or abs(delay * step - tau) > 1e-9 * tau:
        raise ValueError(f"tau must be a multiple of the substep {step:g}, got {tau:g}")
    before = start if start is not None else float(np.random.default_rng(seed).uniform(0.5, 1.5))
    total = (steps + washout - 1) * substeps
    # x and its slope at each substep; x[k + delay] is at time k * step
    x, slope = [before] * (delay + 1), [0.0] * delay

    def rate(now: float, then: float) -> float:
        square = then * then
        eighth = square * square * square * square
        return 0.2 * then / (1.0 + eighth * square) - 0.1 * now

    slope.append(rate(before, before))
    for k in range(total):
        now, old, new = x[-1], x[k], x[k + 1]
        middle = (old + new) * 0.5 + (slope[k] - slope[k + 1]) * (step * 0.125)
        if k < delay:
            middle = (
                before  # where it is constant there is no slope; the one kept at time 0 is from its right
            )
        first = slope[-1]
        second = rate(now + first * (step * 0.5), middle)
        third = rate(now + second * (step * 0.5), middle)
        fourth = rate(now + third * step, new)
        x.append(now + (first + (second + third) * 2.0 + fourth) * (step / 6.0))
        slope.append(rate(x[-1], x[k + 1]))
    return np.array(x[delay + washout * substeps :: substeps])


def lorenz(
    steps: int,
    seed: int = 0,
    *,
    count: int = 1,
    sampling: float = 0.05,
    substeps: int = 10,
    washout: int = _WASHOUT,
) -> np.ndarray:
    """The equations of Lorenz 1963 with sigma = 10, rho = 28, beta = 8/3; values (N, T, 3) of x, y, z.

        dx/dt = sigma (y - x),   dy/dt = x (rho - z) - y,   dz/dt = x y - beta z

    By the classical Runge-Kutta method of order 4.

    Args:
        steps: T.
        seed: draws where the series start, within 5 of (0, 0, 25) in every coordinate.
        count: N, series.
        sampling: time between values.
        substeps: integration steps in a sampling step: 10, of 0.005.
        washout: values thrown away at the beginning.

    Example:
        >>> lorenz(4, count=2).shape
        (2, 4, 3)
    """
    step = sampling / substeps
    state = np.random.default_rng(seed).uniform(-5, 5, (3, count)) + np.array([[0.0], [0.0], [25.0]])
    kept = np.empty((steps, 3, count))
    for k in range(steps + washout):
        if k >= washout:
            kept[k - washout] = state
        for _ in range(substeps):
            first = lorenz_rate(state)
            second = lorenz_rate(state + first * (step * 0.5))
            third = lorenz_rate(state + second * (step * 0.5))
            fourth = lorenz_rate(state + third * step)
            state = state + (first + (second + third) * 2.0 + fourth) * (step / 6.0)
    return kept.transpose(2, 0, 1)


def lorenz_rate(state: np.ndarray) -> np.ndarray:
    """The time derivative of states (3, N).

    Example:
        >>> lorenz_rate(np.array([[1.0], [2.0], [3.0]])).ravel().tolist()
        [10.0, 23.0, -6.0]
    """
    x, y, z = state
    return np.stack([(y - x) * 10.0, x * (28.0 - z) - y, x * y - z * (8.0 / 3.0)])


def autoregression(
    steps: int, seed: int = 0, *, coefficient: float = 0.8, deviation: float = 1.0, mean: float = 0.0
) -> np.ndarray:
    """A Gaussian AR(1), started in its stationary distribution; values (T,). For tests: its entropy is known.

        x_t = mean + a (x_{t-1} - mean) + s e_t,   e_t ~ N(0, 1);   entropy log(s sqrt(2 pi e)) nats a step

    Example:
        >>> autoregression(10_000).std().round(1)  # 1 / sqrt(1 - 0.64)
        np.float64(1.7)
    """
    noise = np.random.default_rng(seed).standard_normal(steps) * deviation
    noise[0] /= np.sqrt(1 - coefficient * coefficient)
    x = np.empty(steps)
    now = 0.0
    for t, e in enumerate(noise.tolist()):
        now = coefficient * now + e
        x[t] = now
    return x + mean


def _one_mackey_glass(seed: int) -> Collection:
    """Every sixth unit of time, as is usual since Lapedes & Farber 1987 (x(t + 6) from x(t), x(t - 6), ...).

    At every unit the series is so smooth that a linear predictor is enough: the error of an autoregression of
    order 32 is 0.0005 standard deviations, at every sixth 0.26.
    """
    values = mackey_glass(10_000, seed, sampling=6.0, substeps=60)[:, np.newaxis]
    source = f"Mackey-Glass, tau 17, one series of 10,000 steps of time 6, seed {seed}"
    return Collection("mackey-glass", ("x",), (Sequence("mackey-glass", values),), source)


def _many_lorenz(seed: int) -> Collection:
    series = tuple(
        Sequence(f"lorenz {k + 1}", np.ascontiguousarray(values))
        for k, values in enumerate(lorenz(500, seed, count=20))
    )
    source = f"Lorenz, 20 series of 500 steps of time 0.05, seed {seed}"
    return Collection("lorenz", ("x", "y", "z"), series, source)


_MAKERS: dict[str, Callable[[int], Collection]] = {
    "mackey-glass": _one_mackey_glass,
    "lorenz": _many_lorenz,
}
