"""Draw the pictures of the explanation page with the package itself: `python docs/make_pictures.py [FOLDER]`.

Everything is seeded and needs no data but the chorales that come with music21.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ostinato.data.sequences import Splits
from ostinato.data.streams import Streams
from ostinato.domains.music.reading import data_sets as music
from ostinato.nn import RNN, SequenceModel, leaky_scan, outputs
from ostinato.optim import AverageNorm, ClassicalMomentum, SimplifiedNesterov, clip_grad_norm

HIDDEN = 100
BLUE, ORANGE, GREEN, GREY = "#2563eb", "#ea580c", "#15803d", "#6b7280"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    draw_clipping(folder / "clipping.png")
    draw_leak(folder / "leak.png")
    draw_rectifiers(folder / "rectifiers.png")
    draw_momentum(folder / "momentum.png")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chorales_model(data: Splits, nonlinearity: str = "tanh", l1: float = 0.0) -> SequenceModel:
    rnn = RNN(88, HIDDEN, nonlinearity=nonlinearity, generator=seeded())
    output = outputs.Bernoulli(HIDDEN, 88, generator=seeded(1))
    # As in training: without it, hidden units would first have to saturate to say which notes are common.
    output.initialize_bias_(
        torch.from_numpy(np.concatenate([song.values for song in data.train]).mean(axis=0))
    )
    return SequenceModel(rnn, output, l1=l1)


# C: gradient norms of one epoch, and the threshold that the first pass suggests


def draw_clipping(path: Path) -> None:
    norms, threshold = gradient_norms()
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(norms, color=GREY, linewidth=0.8)
    clipped = np.flatnonzero(norms > threshold)
    axes.plot(
        clipped, norms[clipped], ".", color=ORANGE, markersize=5, label=f"{len(clipped)} are scaled down"
    )
    axes.axhline(
        threshold, color=BLUE, linewidth=1.5, label=f"threshold {threshold:.2f}: the first pass's average"
    )
    axes.set(xlabel="update", ylabel="gradient norm", ylim=(0, None), xlim=(0, len(norms)))
    axes.legend(frameon=False, loc="upper right")
    save(figure, path)


def gradient_norms(epochs: int = 3) -> tuple[np.ndarray, float]:
    """The norm before every update of `epochs` passes over the chorales, and the first pass's average."""
    data, shuffle = music.load("bach"), np.random.default_rng(0)
    model = chorales_model(data)
    optimizer, average = SimplifiedNesterov(model.parameters(), lr=0.05), AverageNorm()
    norms: list[float] = []
    for epoch in range(epochs):
        states = None
        for segment in Streams(data.train, 1, 100, shuffle):
            optimizer.zero_grad()
            loss = model.loss(segment.inputs, segment.targets, states, segment.starts, segment.mask)
            loss.objective.backward()
            states = loss.states
            # the rule of `--clip auto`: the first pass is clipped at the average so far
            clipped = clip_grad_norm(model.parameters(), average.value if average.count else None)
            if epoch == 0:
                average.add(clipped.norm)
            else:
                norms.append(clipped.norm)
            optimizer.step()
    return np.array(norms), average.value


# L: what a unit keeps of an impulse, and what gradient comes back from far away


def draw_leak(path: Path, steps: int = 60) -> None:
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    kept, back = figure.subplots(1, 2)
    for leak, color in ((0.0, GREY), (0.2, GREEN), (0.8, ORANGE), (0.98, BLUE)):
        pulse = torch.zeros(steps, 1, 1)
        pulse[5] = 1
        weight = torch.zeros(1, 1)
        response = leaky_scan(pulse, weight, torch.tensor([leak]), nonlinearity="identity")
        kept.plot(response.flatten() / response.max(), color=color, label=f"a = {leak:g}")
        back.semilogy(range(steps), gradient_by_delay(leak, steps), color=color, label=f"a = {leak:g}")
    kept.set(title="one unit after an impulse", xlabel="step", ylabel="state, of its peak")
    back.set(title="gradient of 50 units' last state", xlabel="steps back", ylabel="norm", ylim=(1e-8, 2))
    kept.legend(frameon=False)
    save(figure, path)


def gradient_by_delay(leak: float, steps: int, units: int = 50) -> np.ndarray:
    """Norm of the gradient of the last state's sum with respect to the drive, so many steps before."""
    drive = (0.5 * torch.randn(steps, 1, units, generator=seeded())).requires_grad_()
    weight = torch.randn(units, units, generator=seeded(1)) * 0.6 / units**0.5  # spectral radius about 0.6
    states = leaky_scan(drive, weight, torch.full((units,), leak))
    (gradient,) = torch.autograd.grad(states[-1].sum(), drive)
    norms = gradient.flatten(1).norm(dim=1).flip(0)
    return (norms / norms.max()).numpy()


# R: how many units are silent, for three penalties


def draw_rectifiers(path: Path) -> None:
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axes = figure.subplots(1, 3)
    cases = (("tanh", 0.0), ("relu", 0.0), ("relu", 3e-3))
    for ax, (nonlinearity, l1) in zip(axes, cases, strict=True):
        states = states_after_training(nonlinearity, l1)
        silent = float((states == 0).float().mean())
        ax.imshow(
            states[:60].T.abs().numpy(), aspect="auto", cmap="Blues", vmin=0, vmax=1, interpolation="nearest"
        )
        name = nonlinearity if nonlinearity == "tanh" else f"rectifiers, L1 {l1:g}"
        ax.set(title=f"{name}\n{100 * silent:.0f}% of the states are zero", xlabel="frame")
        ax.set_yticks([])
    axes[0].set_ylabel("100 units, |h|")
    save(figure, path)


def states_after_training(nonlinearity: str, l1: float, epochs: int = 4) -> Tensor:
    """States (T, H) on the first validation chorales of a network trained for a few passes."""
    data, shuffle = music.load("bach"), np.random.default_rng(0)
    model = chorales_model(data, nonlinearity, l1)
    optimizer = SimplifiedNesterov(model.parameters(), lr=0.02, momentum=0.9)
    for _ in range(epochs):
        states = None
        for segment in Streams(data.train, 4, 100, shuffle):
            optimizer.zero_grad()
            loss = model.loss(segment.inputs, segment.targets, states, segment.starts, segment.mask)
            loss.objective.backward()
            states = loss.states
            clip_grad_norm(model.parameters(), 1.0)
            optimizer.step()
    segment = Streams(data.valid, 1, 300)[0]
    with torch.no_grad():
        return model.rnn(segment.inputs, None, segment.starts)[0][:, 0]


# M: three ways down an ill-conditioned quadratic


def draw_momentum(path: Path, steps: int = 80) -> None:
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    paths, losses = figure.subplots(1, 2)
    x, y = np.meshgrid(np.linspace(-11, 11, 200), np.linspace(-1.6, 1.6, 200))
    paths.contour(
        x, y, (x**2 + 50 * y**2) / 2, levels=np.geomspace(0.3, 80, 9), colors="#d1d5db", linewidths=0.8
    )
    for name, momentum, color in (("plain", 0.0, GREY), ("classical", 0.9, ORANGE), ("Nesterov", 0.9, BLUE)):
        kind = ClassicalMomentum if name == "classical" else SimplifiedNesterov
        points = descent(kind, momentum, steps)
        paths.plot(points[:, 0], points[:, 1], ".-", color=color, linewidth=1, markersize=3)
        losses.semilogy((points[:, 0] ** 2 + 50 * points[:, 1] ** 2) / 2, color=color, label=name)
    paths.set(title="from (-10, 1) to the minimum", xlabel="curvature 1", ylabel="curvature 50")
    losses.set(title="rate 0.015, momentum 0.9", xlabel="step", ylabel="loss")
    losses.legend(frameon=False)
    save(figure, path)


def descent(kind: type, momentum: float, steps: int) -> np.ndarray:
    """The points (steps + 1, 2) that an optimizer visits on (x^2 + 50 y^2) / 2."""
    point = torch.tensor([-10.0, 1.0], requires_grad=True)
    optimizer = kind([point], lr=0.015, momentum=momentum)
    visited = [point.detach().clone()]
    for _ in range(steps):
        point.grad = torch.tensor([1.0, 50.0]) * point.detach()
        optimizer.step()
        visited.append(point.detach().clone())
    return torch.stack(visited).numpy()


def save(figure: Figure, path: Path) -> None:
    for ax in figure.axes:
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, metadata={"Software": None})  # the same bytes from every version
    print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "pictures")
