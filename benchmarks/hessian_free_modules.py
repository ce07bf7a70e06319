"""Hessian-free optimisation of modules of PyTorch beside gradient descent, at equal costs; prints a table.

    python benchmarks/hessian_free_modules.py [--gradients 800] [--threads 1]

Costs are counted in gradients on the whole training set of 256 examples: a product counts as 2.5 (the last
column has what one takes in CPU time), a loss as a third. Gradient descent has momentum 0.9 and the best of
four rates after a fifth of the budget, once with gradients on the whole set, which is what Hessian-free
optimisation has, and once with minibatches of 32. All are compared by the loss on the whole training set;
where there is a batch normalisation, with the statistics of the whole set. This is about optimisation, and
nothing else is looked at.
"""

import argparse
import copy
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ostinato.optim import HessianFree
from ostinato.optim.hessian_free import ModuleOperator

MINIBATCH, MOMENTUM = 32, 0.9
RATES = (0.3, 0.1, 0.03, 0.01)
EXAMPLES, PRODUCT = 256, 2.5


@dataclass(frozen=True)
class Problem:
    name: str
    module: nn.Module
    inputs: Tensor
    targets: Tensor
    loss: nn.Module


class Last(nn.Module):
    """A recurrent layer, and a linear one on its last output."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.layer, self.out = nn.LSTM(inputs, hidden, batch_first=True), nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layer(x)[0][:, -1])


class Encoder(nn.Module):
    """A transformer encoder over embedded tokens and places, and a linear layer on the mean."""

    def __init__(self, tokens: int, length: int, size: int, outputs: int) -> None:
        super().__init__()
        self.read, self.place = nn.Embedding(tokens, size), nn.Parameter(0.1 * torch.randn(length, size))
        layer = nn.TransformerEncoderLayer(size, 2, 2 * size, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(size, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.encoder(self.read(x) + self.place).mean(1))


def regression() -> Problem:
    """The values that a random, wider network gives."""
    x = torch.randn(EXAMPLES, 8)
    teacher = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 2))
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.mul_(3)
        y = teacher(x)
    module = nn.Sequential(nn.Linear(8, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 2))
    return Problem("MLP, squared error", module, x, y, nn.MSELoss())


def first_symbols() -> Problem:
    """Which two of four symbols a sequence of 10 began with."""
    symbols = torch.randint(4, (EXAMPLES, 10))
    x = nn.functional.one_hot(symbols, 4).float()
    return Problem(
        "nn.LSTM, cross-entropy", Last(4, 16, 16), x, 4 * symbols[:, 0] + symbols[:, 1], nn.CrossEntropyLoss()
    )


def most_frequent() -> Problem:
    """Which of five symbols a sequence of 12 has most of (the first of them)."""
    x = torch.randint(5, (EXAMPLES, 12))
    y = nn.functional.one_hot(x, 5).sum(1).argmax(1)
    return Problem("transformer encoder, cross-entropy", Encoder(5, 12, 12, 5), x, y, nn.CrossEntropyLoss())


def bars() -> Problem:
    """Which way a bar lies in a noisy picture of 8 x 8: across, down or along one of two diagonals."""
    kinds = torch.arange(EXAMPLES) % 4
    x = 0.7 * torch.randn(EXAMPLES, 1, 8, 8)
    for picture, kind in zip(x, kinds.tolist(), strict=True):
        at = int(torch.randint(8, ()))
        places = torch.arange(8)
        rows = (torch.full((8,), at), places, places, places)[kind]
        columns = (places, torch.full((8,), at), (places + at) % 8, (at - places) % 8)[kind]
        picture[0, rows, columns] += 1.0
    module = nn.Sequential(
        nn.Conv2d(1, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 4),
    )
    return Problem("CNN with BatchNorm, cross-entropy", module, x, kinds, nn.CrossEntropyLoss())


def whole_loss(problem: Problem, module: nn.Module) -> float:
    """On all examples, without a trace in running statistics."""
    return ModuleOperator(module, (problem.inputs,), problem.loss, problem.targets).loss()


def by_hessian_free(problem: Problem, gradients: float) -> tuple[float, int]:
    """The loss after this budget, and how many updates it was."""
    module = copy.deepcopy(problem.module)
    optimizer = HessianFree(module.parameters(), damping=0.1, max_iterations=15)
    spent, updates = 0.0, 0
    while True:
        before = copy.deepcopy(module.state_dict())
        report = optimizer.step(ModuleOperator(module, (problem.inputs,), problem.loss, problem.targets))
        spent += 1 + PRODUCT * report.products + report.losses / 3
        if spent > gradients:  # an update that was not paid for does not count
            module.load_state_dict(before)
            return whole_loss(problem, module), updates
        updates += 1


def by_gradient_descent(problem: Problem, gradients: int, rate: float, minibatch: int) -> float:
    """The loss after this budget."""
    module = copy.deepcopy(problem.module)
    optimizer = torch.optim.SGD(module.parameters(), rate, MOMENTUM)
    generator = torch.Generator().manual_seed(1)
    for _ in range(gradients):
        for rows in torch.randperm(EXAMPLES, generator=generator).split(minibatch):
            optimizer.zero_grad()
            problem.loss(module(problem.inputs[rows]), problem.targets[rows]).backward()
            optimizer.step()
    loss = whole_loss(problem, module)
    return loss if math.isfinite(loss) else math.inf


def tuned(problem: Problem, gradients: int, minibatch: int) -> tuple[float, float]:
    """The loss of gradient descent after this budget, and its rate."""
    rate = min(RATES, key=lambda r: by_gradient_descent(problem, gradients // 5, r, minibatch))
    return by_gradient_descent(problem, gradients, rate, minibatch), rate


def cost_of_products(problem: Problem, repeat: int = 30) -> tuple[str, float]:
    """How a module's products are made, and how many gradients one takes in CPU time, the best of each."""
    module = copy.deepcopy(problem.module)
    one, other = (ModuleOperator(module, (problem.inputs,), problem.loss, problem.targets) for _ in range(2))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        vector = one.gradient()
        one.curvature(vector)
    way = "double backward" if any("double backward" in str(w.message) for w in heard) else "forward mode"
    methods: dict[str, Callable[[], object]] = {
        "product": lambda: one.curvature(vector),
        "gradient": other.gradient,
    }
    best = dict.fromkeys(methods, math.inf)
    for _ in range(repeat):
        for name, method in methods.items():
            begin = time.process_time()
            method()
            best[name] = min(best[name], time.process_time() - begin)
    return way, best["product"] / best["gradient"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gradients", type=int, default=800)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    budget = options.gradients
    print(
        "| module and loss | at first | HF | SGD, whole set | SGD, minibatches | HF updates | products by | "
        "gradients a product |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for make in (regression, first_symbols, most_frequent, bars):
        torch.manual_seed(0)
        problem = make()
        way, cost = cost_of_products(problem)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Gauss-Newton products of .* double backward")
            loss, updates = by_hessian_free(problem, budget)
        whole, few = tuned(problem, budget, EXAMPLES), tuned(problem, budget, MINIBATCH)
        print(
            f"| {problem.name} | {whole_loss(problem, problem.module):.3g} | {loss:.3g} "
            f"| {whole[0]:.3g} (rate {whole[1]:g}) | {few[0]:.3g} (rate {few[1]:g}) | {updates} | {way} "
            f"| {cost:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
