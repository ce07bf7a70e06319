"""Fixed points: a network learns to remember three bits, and its eight memories are found inside it.

Each input channel sends a pulse of +1 or -1 now and then; each output is to hold the last one of its channel
(Sussillo & Barak 2013).
"""

import os
import time

import torch

from ostinato.dynamics import fixed_points, sample_states
from ostinato.nn import RNN

SMALL = "OSTINATO_SMALL" in os.environ
draws = torch.Generator().manual_seed(1)
torch.manual_seed(1)


def flip_flop(steps: int, streams: int, pulses: float = 0.1) -> tuple[torch.Tensor, torch.Tensor]:
    """Pulses (T, N, 3), and what the bits then are; every channel begins with a pulse."""
    sent = (torch.rand(steps, streams, 3, generator=draws) < pulses).float()
    sent[0] = 1
    x = sent * (2 * torch.randint(2, sent.shape, generator=draws) - 1)
    bits = x.clone()
    for t in range(1, steps):
        bits[t] = torch.where(x[t] != 0, x[t], bits[t - 1])
    return x, bits


cell = RNN(3, 64, generator=draws)
readout = torch.nn.Linear(64, 3)
optimizer = torch.optim.Adam([*cell.parameters(), *readout.parameters()], lr=3e-3)
begin = time.perf_counter()
for _ in range(100 if SMALL else 800):
    x, bits = flip_flop(48, 32)
    loss = (readout(cell(x)[0]) - bits).square().mean()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(cell.parameters(), 1.0)
    optimizer.step()
print(f"trained in {time.perf_counter() - begin:.1f} s, mean squared error {loss:.4f}")

cell, readout = cell.double(), readout.double()  # points to ten digits
x, bits = flip_flop(48, 64)
starts = sample_states(cell, x.double(), 256, noise=0.1, generator=draws)
begin = time.perf_counter()
found = fixed_points(cell, starts=starts)
print(f"{found}, in {time.perf_counter() - begin:.2f} s")
for bits_held in readout(found.states[found.stable]).round().int().tolist():
    print("  remembers", *("+" if bit > 0 else "-" for bit in bits_held))
