"""Does the 99 % interval of an RBM's log-likelihood hold the exact value? RBMs small enough to be enumerated.

Each is trained on chords that move by steps, with biases that follow the frame before (through a fixed random
layer), so that it is as peaked as one that was trained on music; then its mean log p of new frames is
estimated as `ostinato evaluate` does, and enumerated. Nothing of a repeat is shared with another: data,
weights, chains.

    python benchmarks/rbm_likelihood.py [--units 14 20 24] [--repeats 20] [--out table.md]

One thread. A repeat takes 10 to 40 seconds of one core, the most of it to train and to enumerate.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from ostinato.nn.outputs import RBM, Annealing, RBMFrames

NOTES, STATE, UPDATES, BATCH = 40, 30, 2000, 100
# Frames of each repeat: enumeration takes about a second a frame with 24 units.
FRAMES = {14: 240, 20: 120, 24: 16}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, nargs="+", default=[14, 20, 24])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "| hidden units | frames | intervals | hold the exact value | mean width | agreed | mean steps "
        "| middle - exact | bound - exact | seconds each |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for units in arguments.units:
        found = [repeat(units, FRAMES.get(units, 100), seed) for seed in range(arguments.repeats)]
        lines.append(row(units, found))
        print("\n".join(lines[-1:]), flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def repeat(units: int, count: int, seed: int) -> dict[str, float]:
    """Train one, estimate, enumerate."""
    frames, values = trained(units, count, seed)
    begin = time.process_time()
    found = frames.likelihood(values, generator=torch.Generator().manual_seed(1000 + seed))
    seconds = time.process_time() - begin
    log_z = frames.log_partition().double()
    exact = float((-frames.free_energy(values).double() - log_z).mean())
    low, high = found.interval()
    result = {
        "frames": count,
        "exact": exact,
        "held": low <= exact <= high,
        "width": high - low,
        "agreed": found.agreed,
        "steps": found.steps,
        "middle": found.mean(found.middle) - exact,
        "bound": found.mean(found.bound) - exact,
        "seconds": seconds,
    }
    print(units, seed, {name: round(float(value), 4) for name, value in result.items()}, flush=True)
    return result


def row(units: int, found: list[dict[str, float]]) -> str:
    def mean(name: str) -> float:
        return float(np.mean([each[name] for each in found]))

    cells = [
        f"{units}",
        f"{mean('frames'):.0f}",
        f"{len(found)}",
        f"{sum(each['held'] for each in found):.0f}",
        f"{mean('width'):.3f}",
        f"{sum(each['agreed'] for each in found):.0f}",
        f"{mean('steps'):.0f}",
        f"{mean('middle'):+.4f}",
        f"{mean('bound'):+.4f}",
        f"{mean('seconds'):.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def trained(units: int, count: int, seed: int) -> tuple[RBMFrames, torch.Tensor]:
    """Frames of a trained RBM, and new data for them."""
    draw, numbers = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    data = chords(20_000 + count + 1, numbers)
    into = torch.randn(NOTES, STATE, generator=draw) / 2
    states, values = torch.tanh(data[:-1].float() @ into), data[1:]
    output = RBM(STATE, NOTES, units, state_scale=1.0, generator=draw)
    output.initialize_bias_((values.sum(0) + 0.5) / (len(values) + 1))
    optimizer = torch.optim.SGD(output.parameters(), lr=0.1, momentum=0.9)
    for _ in range(UPDATES):
        rows = torch.randint(20_000, (BATCH,), generator=draw)
        optimizer.zero_grad()
        (output.training_loss(states[rows], values[rows], draw) / BATCH).backward()
        optimizer.step()
    with torch.no_grad():
        plain = output(states[20_000:])
        return RBMFrames(plain.biases, plain.weight.detach(), Annealing()), values[20_000:]


def chords(count: int, numbers: np.random.Generator) -> torch.Tensor:
    """Chords of four notes, major or minor, whose roots move by fourths, fifths and steps; 0.1 % of noise."""
    moves = np.array([0, 0, 5, 7, 2, 10])
    roots = np.cumsum(numbers.choice(moves, count)) % 12
    thirds = 3 + (numbers.random(count) < 0.6)
    frames, rows = np.zeros((count, NOTES), np.uint8), np.arange(count)
    for note in (np.zeros(count, int), thirds, np.full(count, 7), np.full(count, 12)):
        frames[rows, roots + note + 12 * numbers.integers(0, 2, count)] = 1
    return torch.from_numpy(frames ^ (numbers.random(frames.shape) < 0.001))


if __name__ == "__main__":
    main()
