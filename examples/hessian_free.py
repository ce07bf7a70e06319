"""Hessian-free optimisation of a plain PyTorch module that has nothing to do with this package otherwise.

A small network learns two interleaved spirals. The operator needs three things: the module, its inputs, and
a loss that is convex in the module's outputs (here cross-entropy of logits).
"""

import math

import torch
from torch import Tensor, nn

from ostinato.optim import HessianFree
from ostinato.optim.hessian_free import ModuleOperator


def spirals(points: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points (2 N, 2) on two spirals, and which one each is on (2 N,)."""
    turn = torch.rand(points, generator=generator).sqrt() * 3 * math.pi
    arm = torch.stack([turn.cos(), turn.sin()], 1) * (turn / (3 * math.pi)).unsqueeze(1)
    return torch.cat([arm, -arm]), torch.arange(2).repeat_interleave(points)


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, labels = spirals(200, generator)
    module = nn.Sequential(nn.Linear(2, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 2))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 1 / math.sqrt(max(parameter.shape[-1], 2)), generator=generator)
    optimizer = HessianFree(module.parameters(), damping=0.1)
    for update in range(25):
        operator = ModuleOperator(
            module, (inputs,), lambda logits: nn.functional.cross_entropy(logits, labels)
        )
        report = optimizer.step(operator)
        if update % 5 == 4:
            print(
                f"update {update + 1:2}: loss {report.loss:.5f}, lambda {report.damping:.2g}, "
                f"rho {report.rho:.2f}, {report.iterations} CG iterations ({report.status})"
            )
    right = (module(inputs).argmax(1) == labels).float().mean()
    print(f"{100 * float(right):.1f}% of the points are on the right spiral")


if __name__ == "__main__":
    main()
