"""One Gauss-Newton product against one gradient, and against the double-backward way through plain PyTorch.

    python benchmarks/hessian_free.py [--threads 1] [--repeat 15]

The plain way: torch.nn.RNN, J v by differentiating J^T w twice, H in closed form, J^T by backward. Times
are the best of the repetitions, methods taking turns, so that a busy machine disturbs all of them alike.
"""

import argparse
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ostinato.nn import RNN, SequenceModel
from ostinato.nn.curvature.gauss_newton import GaussNewton
from ostinato.nn.outputs import NADE, Bernoulli, Softmax

STREAMS, STEPS, HIDDEN, VISIBLE, VOCABULARY, NOTES = 16, 100, 200, 88, 1000, 4


def fastest(methods: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    best = dict.fromkeys(methods, math.inf)
    for _ in range(repeat):
        for name, method in methods.items():
            begin = time.perf_counter()
            method()
            best[name] = min(best[name], time.perf_counter() - begin)
    return best


def model_and_batch(output: str) -> tuple[SequenceModel, Tensor]:
    generator = torch.Generator().manual_seed(0)
    if output == "softmax":
        rnn = RNN(VOCABULARY, HIDDEN, generator=generator)
        tokens = torch.randint(VOCABULARY, (STEPS, STREAMS), generator=generator)
        return SequenceModel(rnn, Softmax(HIDDEN, VOCABULARY, generator=generator)), tokens
    rnn = RNN(VISIBLE, HIDDEN, generator=generator)
    frames = torch.rand(STEPS, STREAMS, VISIBLE, generator=generator) < NOTES / VISIBLE
    layer = NADE if output == "nade" else Bernoulli
    return SequenceModel(rnn, layer(HIDDEN, VISIBLE, generator=generator)), frames.to(torch.uint8)


def ours(output: str) -> dict[str, Callable[[], object]]:
    model, batch = model_and_batch(output)
    operator = GaussNewton(model, batch, batch)
    vector = operator.gradient()
    operator.curvature(vector)
    other = GaussNewton(model, batch, batch)
    return {
        "gradient": other.gradient,
        "product": lambda: operator.curvature(vector),
        "product, structural": lambda: operator.curvature(vector, 0.1),
    }


def plain_products() -> dict[str, Callable[[], object]]:
    """A Gauss-Newton product of nn.RNN with independent notes, by double backward.

    Once with a graph for every product, and once with one graph kept for all of them.
    """
    torch.manual_seed(0)
    rnn, linear = nn.RNN(VISIBLE, HIDDEN), nn.Linear(HIDDEN, VISIBLE)
    parameters = [*rnn.parameters(), *linear.parameters()]
    batch = model_and_batch("bernoulli")[1].float()
    vectors = [torch.randn_like(p) for p in parameters]

    def graph() -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        logits = linear(rnn(batch)[0])
        w = torch.zeros_like(logits, requires_grad=True)
        return logits, w, torch.autograd.grad(logits, parameters, w, create_graph=True)

    def product(logits: Tensor, w: Tensor, transposed: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (change,) = torch.autograd.grad(transposed, w, vectors, retain_graph=True)
        p = torch.sigmoid(logits.detach())
        curved = p * (1 - p) * change / p[..., 0].numel()
        return torch.autograd.grad(logits, parameters, curved, retain_graph=True)

    kept = graph()
    return {"double backward": lambda: product(*graph()), "double backward, kept": lambda: product(*kept)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeat", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"H={HIDDEN} B={STREAMS} T={STEPS}, {options.threads} threads; milliseconds, best of {options.repeat}"
    )
    for output in ("bernoulli", "softmax", "nade"):
        methods = ours(output)
        if output == "bernoulli":
            methods |= plain_products()
        times = fastest(methods, options.repeat)
        print(f"\n{output}")
        for name, seconds in times.items():
            print(f"  {name:26s} {1000 * seconds:8.2f}   {seconds / times['gradient']:.2f} gradients")
        for name in (name for name in times if name.startswith("double backward")):
            print(f"  a product is {times[name] / times['product']:.1f}x as fast as by {name}")


if __name__ == "__main__":
    main()
