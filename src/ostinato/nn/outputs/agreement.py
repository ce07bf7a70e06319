"""The log-likelihood of many frames under RBMs, annealed until two opposite biases agree.

Forward annealing says too much of log p in expectation, backward annealing and the bound from the data too
little. Where their means are within a tolerance, and known well enough for that to be said, they AGREE, and
the middle of both directions is the estimate. Where they do not, there is no estimate, only an interval.

The work is shared out in three parts, so that large data sets can be had:

    all N frames          a rough value A of log p each, from short chains
    some hundred frames   a path of more and more temperatures, respaced each time, until both sides agree
    n frames of the N     both directions and the bound along that path

The mean over all frames is then mean_N A + mean_n (x - A) for x forward, backward or the bound (Cochran,
Sampling Techniques, 1977, 9.8, difference estimation); n is as large as its error asks for, up to a limit.

Shapes: N frames, n of them annealed at length, M chains a frame, K steps.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from ostinato.nn.outputs.ais import LogWeights, anneal
from ostinato.nn.outputs.temperatures import cubic, respaced
from ostinato.nn.outputs.visible_units import BINARY, VisibleUnits

# 99 % intervals: the two ends may each be missed half a percent of the time.
CONFIDENCE = 0.99

# Degrees of freedom of Student's t from which its expansion about the normal is exact to 1e-6.
_MANY = 200

# The rough pass: steps and chains of each frame, and how many frames get as many.
_ROUGH_STEPS, _ROUGH_CHAINS, _ROUGH_FRAMES = 200, 2, 20_000

# Frames on which the path is found, and the steps of its first try.
_PILOT_FRAMES, _FIRST_STEPS = 256, 128

# From one try to the next the steps grow by a factor in this range.
_GROWTH = (2.0, 6.0)

# What of the tolerance the frames that are left out may cost, to either side.
_SAMPLING_SHARE = 0.4


@dataclass(frozen=True)
class Annealing:
    """How much work a likelihood is worth.

    Arguments:
        steps: K at most: the path gets longer until both directions agree, or it has so many.
        chains: M of each frame and direction; at least 2.
        frames: n at most; of larger data sets a random sample is annealed at length.
        tolerance: by how much the means of both directions may differ and be said to agree, nats a frame.
    """

    steps: int = 10_000
    chains: int = 4
    frames: int = 4096
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        if self.steps < 1 or self.chains < 2 or self.frames < 1 or not self.tolerance > 0:
            raise ValueError(
                "expected at least 1 step, 2 chains and 1 frame, and a tolerance above 0, found "
                f"{self.steps}, {self.chains}, {self.frames} and {self.tolerance}"
            )


@dataclass(frozen=True)
class Estimate:
    """What annealing says of log p of N frames, in nats.

    Arguments:
        rough: A, of every frame, (N,).
        rows: which frames were annealed at length, (n,).
        forward: of these, too high in expectation, (n,).
        backward: too low in expectation, as far as the backward chains start in equilibrium, (n,).
        bound: too low in expectation for the forward sampler's own log p, (n,).
        variance: of the chains, of `forward` and `backward` together, (n,).
        steps, chains: K and M.
        tolerance: what agreement was asked for.
        steps_limit: K at most.
    """

    rough: Tensor
    rows: Tensor
    forward: Tensor
    backward: Tensor
    bound: Tensor
    variance: Tensor
    steps: int
    chains: int
    tolerance: float
    steps_limit: int

    @property
    def middle(self) -> Tensor:
        """Of each frame that was annealed at length, halfway between both directions, (n,)."""
        return (self.forward + self.backward) / 2

    @property
    def impossible(self) -> Tensor:
        """Which of these are above 0, (n,): no probability is, so that chains have missed most of log Z."""
        return self.middle > 0

    @property
    def gap(self) -> float:
        """By how much forward is above the lower of backward and bound, means over the frames annealed at
        length.

        Backward chains start where forward ones ended, and may miss with them what these have missed; the
        bound's start at the data, and do not.
        """
        low = min(float(self.backward.mean()), float(self.bound.mean()))
        return float(self.forward.mean()) - low

    @property
    def gap_error(self) -> float:
        """Standard error of `gap`, from the chains."""
        return _mean_error(self.forward - self.backward, self.variance)

    @property
    def agreed(self) -> bool:
        """Whether all are within the tolerance, and this is no accident of few chains."""
        return abs(self.gap) <= self.tolerance and self.gap_error <= self.tolerance

    @property
    def capped(self) -> bool:
        """Whether they do not agree, with as many steps as were allowed."""
        return not self.agreed and self.steps >= self.steps_limit

    def mean(self, values: Tensor, weights: Tensor | None = None) -> float:
        """The mean over all N frames of what `values` (n,) are of the annealed ones.

        Args:
            values: `forward`, `backward`, `middle` or `bound`.
            weights: of the frames in the mean, (N,); equal by default.
        """
        every = torch.ones_like(self.rough) if weights is None else weights.double()
        own = every[self.rows]
        correction = (own * (values - self.rough[self.rows])).sum() / own.sum()
        return float((every * self.rough).sum() / every.sum() + correction)

    def every(self, which: str) -> Tensor:
        """log p of every frame (N,): as annealed, or rough and corrected by the mean error of rough values.

        Args:
            which: "forward", "backward", "middle" or "bound".
        """
        values = getattr(self, which)
        found = self.rough + (values - self.rough[self.rows]).mean()
        found[self.rows] = values
        return found

    def error(self, values: Tensor, weights: Tensor | None = None) -> float:
        """Standard error of `mean`, from the chains and from the frames left out."""
        every = torch.ones_like(self.rough) if weights is None else weights.double()
        own, count = every[self.rows] / every[self.rows].mean(), len(self.rows)
        noise = _mean_error(own * (self.forward - self.backward), own.square() * self.variance)
        differences = values - self.rough[self.rows]
        differences = own * (differences - (own * differences).sum() / own.sum())
        left_out = 1 - count / len(self.rough)
        spread = float(differences.var()) if count > 1 else 0.0
        return math.sqrt(noise**2 + left_out * spread / count)

    def interval(self, weights: Tensor | None = None) -> tuple[float, float]:
        """A 99 % interval of the mean over all frames: from the lower of backward and bound to forward, each
        with its error.
        """
        ends = [self._end(values, weights) for values in (self.forward, self.backward, self.bound)]
        return min(mean - reach for mean, reach in ends), max(mean + reach for mean, reach in ends)

    def _end(self, values: Tensor, weights: Tensor | None) -> tuple[float, float]:
        far = t_quantile(0.5 + CONFIDENCE / 2, max(1, len(self.rows) - 1))
        return self.mean(values, weights), far * self.error(values, weights)


def t_quantile(share: float, degrees: int) -> float:
    """The number below which `share` of Student's t lies, from its distribution function in closed form.

    The finite series of Abramowitz & Stegun 26.7.3 and 26.7.4, solved by halving; of many degrees of freedom
    the expansion about the normal quantile, 26.7.5. SciPy's is not in the core.

    Args:
        share: in [1/2, 1).
        degrees: of freedom.

    Example:
        >>> [round(t_quantile(0.995, n), 3) for n in (1, 2, 10, 1000)]
        [63.657, 9.925, 3.169, 2.581]
    """
    if degrees > _MANY:
        z = NormalDist().inv_cdf(share)
        first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
        third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
        return z + first / degrees + second / degrees**2 + third / degrees**3
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        low, high = (angle, high) if _within(angle, degrees) < 2 * share - 1 else (low, angle)
    return math.sqrt(degrees) * math.tan(low)


def _within(angle: float, degrees: int) -> float:
    """The share of Student's t between -x and x, for x = sqrt(degrees) tan(angle)."""
    cosine, odd = math.cos(angle), degrees % 2
    term, total = (cosine, cosine) if odd else (1.0, 1.0)
    if degrees == 1:
        total = 0.0
    for k in range(2 + odd, degrees - 1, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total


def _mean_error(differences: Tensor, variance: Tensor) -> float:
    """Standard error of the mean of noisy differences: by their spread over frames, which no heavy tail of
    the weights hides as it does from a few chains; of few frames, by the chains' own if that is larger.
    """
    count = len(differences)
    if count == 0:
        return 0.0
    chains = math.sqrt(float(variance.sum())) / count
    return max(chains, math.sqrt(float(differences.var()) / count)) if count > 1 else chains


class Frames:
    """RBMs that share W, and what was observed of each.

    Args:
        visible_bias: b, (N, V).
        hidden_bias: c, (N, J).
        weight: W, (V, J).
        observed: (N, V).
        units: what the visible ones are.
    """

    def __init__(
        self,
        visible_bias: Tensor,
        hidden_bias: Tensor,
        weight: Tensor,
        observed: Tensor,
        units: VisibleUnits = BINARY,
    ) -> None:
        self.b, self.c, self.weight, self.observed = visible_bias, hidden_bias, weight, observed
        self.units = units

    def __len__(self) -> int:
        return len(self.b)

    def __getitem__(self, rows: Tensor | slice) -> "Frames":
        return Frames(self.b[rows], self.c[rows], self.weight, self.observed[rows], self.units)

    @classmethod
    def joined(cls, parts: list["Frames"]) -> "Frames":
        """All frames of several."""
        b, c, observed = (torch.cat([getattr(p, x) for p in parts]) for x in ("b", "c", "observed"))
        return cls(b, c, parts[0].weight, observed, parts[0].units)

    def log_weight(self) -> Tensor:
        """log f_1(v) = -F(v) of the observed, (N,) float64."""
        v = self.observed.to(self.b.dtype)
        hidden = torch.nn.functional.softplus(torch.addmm(self.c, v, self.weight)).double().sum(1)
        return (v * self.b).double().sum(1) + hidden


class Estimator:
    """Gathers the frames of a data set, part by part, and then says what their log-likelihood is.

    Args:
        total: N, how many frames there will be.
        work: how much.
        generator: source of randomness.

    Example:
        >>> b, c, w = torch.zeros(50, 30), torch.zeros(50, 25), torch.zeros(30, 25)
        >>> estimator = Estimator(50, Annealing(), torch.Generator().manual_seed(0))
        >>> estimator.add(Frames(b, c, w, torch.ones(50, 30)))
        >>> found = estimator.finish()
        >>> found.agreed, round(found.mean(found.middle) / math.log(2), 2)
        (True, -30.0)
    """

    def __init__(self, total: int, work: Annealing, generator: torch.Generator | None) -> None:
        self.total, self.work, self.generator = total, work, generator
        self._rough_path = cubic(max(8, round(_ROUGH_STEPS * min(1.0, _ROUGH_FRAMES / max(1, total)))))
        place = None if generator is None else generator.device
        # the first n of a random order are annealed, for any n up to the limit
        order = torch.randperm(total, generator=generator, device=place).cpu()[: work.frames]
        self._chosen = torch.full((total,), -1, dtype=torch.long)
        self._chosen[order] = torch.arange(len(order))
        self._rough: list[Tensor] = []
        self._kept: list[Frames] = []
        self._places: list[Tensor] = []
        self._seen = 0

    def add(self, frames: Frames, *, rough: bool = True) -> None:
        """Take frames in, in their order; without a rough value of each there can be no estimate."""
        if self._seen + len(frames) > self.total:
            raise ValueError(f"expected {self.total} frames in all, found more")
        places = self._chosen[self._seen : self._seen + len(frames)]
        kept = (places >= 0).nonzero().squeeze(1)
        self._kept.append(frames[kept.to(frames.b.device)])
        self._places.append(torch.stack([places[kept], kept + self._seen]))
        self._seen += len(frames)
        if rough:
            found = self._annealed(frames, self._rough_path, _ROUGH_CHAINS, bound=False)
            self._rough.append((frames.log_weight() - (found.forward + found.backward) / 2).cpu())

    @property
    def kept(self) -> Frames:
        """The frames that may be annealed at length, in random order; `kept_rows` says which they are."""
        if self._seen != self.total or not self.total:
            raise ValueError(f"expected {max(1, self.total)} frames in all, found {self._seen}")
        order = torch.cat(self._places, 1)[0].argsort()
        return Frames.joined(self._kept)[order.to(self._kept[0].b.device)]

    @property
    def kept_rows(self) -> Tensor:
        """Which of all frames `kept` has, (n,)."""
        places = torch.cat(self._places, 1)
        return places[1][places[0].argsort()]

    def finish(self) -> Estimate:
        """Anneal, until both directions agree or the limit is reached."""
        frames, rows, rough = self.kept, self.kept_rows, torch.cat(self._rough)
        pilot = min(_PILOT_FRAMES, len(frames))
        found, betas = self._tried(
            frames[:pilot], rows[:pilot], rough, cubic(min(_FIRST_STEPS, self.work.steps))
        )
        count = self._needed(found, len(frames))
        if count > pilot or found.capped:
            found, _ = self._tried(frames[:count], rows[:count], rough, betas)
        return found

    def _tried(
        self, frames: Frames, rows: Tensor, rough: Tensor, betas: list[float]
    ) -> tuple[Estimate, list[float]]:
        """Both directions on longer and longer paths; the last, with the path it took."""
        work = self.work
        while True:
            weights = self._annealed(frames, betas, work.chains, bound=True)
            found = self._estimate(frames, rows, rough, weights, len(betas) - 1)
            if found.agreed or found.capped:
                return found, betas
            wanted = max(abs(found.gap), found.gap_error) / (0.8 * work.tolerance)
            growth = min(max(wanted, _GROWTH[0]), _GROWTH[1])
            steps = min(work.steps, math.ceil(found.steps * growth))
            betas = respaced(betas, weights.losses.tolist(), steps)

    def _needed(self, found: Estimate, most: int) -> int:
        """n, for the error of the mean to be a share of the tolerance, judged by a first n."""
        aim = _SAMPLING_SHARE * self.work.tolerance
        spread = max(float((x - found.rough[found.rows]).var()) for x in (found.forward, found.backward))
        noise = float((found.forward - found.backward).var())
        count = len(found.rows)
        while count < most and 2.6 * math.sqrt(((1 - count / self.total) * spread + noise) / count) > aim:
            count = min(most, math.ceil(1.1 * count))
        return count

    def _annealed(self, frames: Frames, betas: list[float], chains: int, *, bound: bool) -> LogWeights:
        observed = frames.observed if bound else None
        return anneal(
            frames.b,
            frames.c,
            frames.weight,
            betas,
            chains,
            observed=observed,
            units=frames.units,
            generator=self.generator,
        )

    def _estimate(
        self, frames: Frames, rows: Tensor, rough: Tensor, weights: LogWeights, steps: int
    ) -> Estimate:
        own = frames.log_weight()
        assert weights.bound is not None
        return Estimate(
            rough,
            rows,
            (own - weights.forward).cpu(),
            (own - weights.backward).cpu(),
            (own - weights.bound).cpu(),
            (weights.forward_variance + weights.backward_variance).cpu(),
            steps,
            self.work.chains,
            self.work.tolerance,
            self.work.steps,
        )
