"""How good a model of text is after so many processor seconds, beside programs on nn.LSTM, nn.GRU and nn.RNN.

Everybody gets one thread, the same hidden size, the same text, Adam with a cosine that ends with the budget,
dropout, and as many tuning trials, drawn from one space by one seed, of TRIAL seconds each, chosen by
validation. A budget is of processor seconds, so that other work on the machine does not count; it covers
updates, ostinato's validations too. The programs are run eagerly, without compiling. Scores are of the whole
validation and test text, read in one pass with the state carried.

    python benchmarks/language_model_quality.py --out FOLDER [--data ptb-words ...] [--budgets 60 120 240 600]
        [--programs ostinato lstm gru rnn] [--seeds 3] [--trials 6] [--hidden-size 200] [--only-table]

Every trial and every cell is a file in the folder, and what is there is not run again: it may be stopped at
any time, and run when nobody else wants the processor, chrt -i 0 python benchmarks/...
"""

import argparse
import itertools
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ostinato.domains.text.evaluation.scores import score_tokens
from ostinato.domains.text.reading import data_sets
from ostinato.domains.text.reading.streams import TokenStreams
from ostinato.domains.text.reading.text_data import TextData
from ostinato.domains.text.reading.vocabulary import Unit
from ostinato.files import atomic_write
from ostinato.recipe.recipe import Recipe
from ostinato.runs.finish import train_in
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model

DATA: dict[str, tuple[str, Unit]] = {
    "pydoc-chars": ("pydoc", "chars"),
    "ptb-chars": ("ptb", "chars"),
    "ptb-words": ("ptb", "words"),
}
PROGRAMS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
OURS = "ostinato"
TRIAL = 60.0
Settings = dict[str, Any]


class Program(nn.Module):
    """What a person writes on torch.nn: embedding, dropout, recurrent layer, dropout, linear layer.

    Args:
        kind: nn.LSTM, nn.GRU or nn.RNN.
        vocabulary: V, tokens.
        size: H, of embedding and layer.
        dropout: probability, of both.
    """

    def __init__(self, kind: Callable[..., nn.Module], vocabulary: int, size: int, dropout: float) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Embedding(vocabulary, size), kind(size, size)
        self.dropout, self.output = nn.Dropout(dropout), nn.Linear(size, vocabulary)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)

    def forward(self, tokens: Tensor, states: Any) -> tuple[Tensor, Any]:
        """Logits (T, B, V) and states."""
        hidden, states = self.layer(self.dropout(self.embedding(tokens)), states)
        return self.output(self.dropout(hidden)), states


def detached(states: Any) -> Any:
    """States that carry no gradients."""
    return states.detach() if isinstance(states, Tensor) else tuple(x.detach() for x in states)


def train_program(
    kind: str, data: TextData, settings: Settings, seconds: float, seed: int, size: int
) -> Program:
    """The program's training: its rate falls along a cosine of the processor time."""
    torch.manual_seed(seed)
    model = Program(PROGRAMS[kind], len(data.vocabulary), size, settings["dropout"])
    rate = settings["learning_rate"]
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    begun, epoch = time.process_time(), 0
    while True:
        states, generator = None, np.random.default_rng([seed, epoch])
        for segment in TokenStreams(data.train, settings["streams"], settings["segment_length"], generator):
            share = (time.process_time() - begun) / seconds
            if share >= 1:
                return model.eval()
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, share / 0.05 + 0.02) * (1 + math.cos(math.pi * share)) / 2
            logits, states = model(segment.inputs, states)
            states, each = detached(states), nn.functional.cross_entropy(
                logits.flatten(0, 1), segment.targets.flatten(), reduction="none"
            )  # fmt: skip
            loss = each.mean() if segment.mask is None else each[segment.mask.flatten()].mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        epoch += 1


@torch.no_grad()
def nats_of_program(model: Program, tokens: np.ndarray) -> float:
    """Mean of -log p, in one pass."""
    total, states = 0.0, None
    ids = torch.from_numpy(np.concatenate([[0], tokens.astype(np.int64)])).unsqueeze(1)
    for begin in range(0, len(tokens), 1000):
        targets = ids[begin + 1 : begin + 1001]
        logits, states = model(ids[begin : begin + len(targets)], states)
        total += float(nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum"))
    return total / len(tokens)


def ours(
    domain: str, name: str, data: TextData, settings: Settings, seconds: float, seed: int, size: int
) -> Any:
    """ostinato's training with a budget that its schedule knows; the model of the best validation."""
    own = {k: v for k, v in settings.items() if k != "dropout"}
    own |= {"input_dropout": settings["dropout"], "output_dropout": settings["dropout"]}
    fixed = {"learning_rate_rule": "cosine", "warmup": 0.05, "epochs": 1_000_000, "patience": 1_000_000}
    fixed |= {
        "minutes": seconds / 60,
        "minutes_of": "cpu",
        "hidden_size": size,
        "seed": seed,
        "averaging": 0.0,
    }
    fixed |= {"clip": 1.0, "leak_fraction": 0.0, "l1": 0.0}
    recipe = Recipe.parse("adam+C", domain=domain, data=name, **fixed | own)
    with tempfile.TemporaryDirectory(prefix="quality-") as folder:
        train_in(Path(folder) / "run", recipe, data, checkpoint_seconds=1e9)
        return load_model(Run.open(Path(folder) / "run")).model


def drawn(program: str, trials: int) -> Iterator[Settings]:
    """The settings of each tuning trial: the same draws for everybody; ostinato's also choose its cell."""
    draws = np.random.default_rng(2012)
    for trial in range(trials):
        settings: Settings = {
            "learning_rate": round(float(10 ** draws.uniform(-2.8, -1.8)), 5),
            "dropout": round(float(draws.choice([0.0, 0.1, 0.2])), 2),
            "streams": int(draws.choice([8, 16, 32])),
            "segment_length": int(draws.choice([32, 64])),
        }
        if program == OURS:
            settings |= CELLS_TRIED[trial % len(CELLS_TRIED)]
        yield settings


# What ostinato's trials go through, one after the other.
CELLS_TRIED: tuple[Settings, ...] = (
    {"cell": "lstm", "embedding_size": 200},
    {"cell": "gru", "embedding_size": 200},
    {"cell": "rnn", "nonlinearity": "relu", "initialization": "orthogonal", "recurrent_rate": 0.3},
)


@dataclass(frozen=True)
class Bench:
    """One data set in one folder.

    Arguments:
        folder: where results are.
        data: which of `DATA`.
        loaded: the same.
        size: H.
        trials: of tuning.
    """

    folder: Path
    data: str
    loaded: TextData
    size: int
    trials: int

    def measured(self, program: str, settings: Settings, seconds: float, seed: int) -> dict[str, Any]:
        """One training: validation and test, nats a token, and the processor seconds that it took."""
        (name, domain), loaded, begun = DATA[self.data], self.loaded, time.process_time()
        if program == OURS:
            model = ours(domain, name, loaded, settings, seconds, seed, self.size)
            spent = time.process_time() - begun
            nats = {split: -float(score_tokens(model, loaded[split]).mean()) for split in ("valid", "test")}
        else:
            found = train_program(program, loaded, settings, seconds, seed, self.size)
            spent = time.process_time() - begun
            nats = {split: nats_of_program(found, loaded[split]) for split in ("valid", "test")}
        return {"settings": settings, "seconds": seconds, "seed": seed, "spent": spent, **nats}

    def once(self, name: str, program: str, settings: Settings, seconds: float, seed: int) -> dict[str, Any]:
        """What a file says; where it is not there, it is measured and written."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            result = self.measured(program, settings, seconds, seed)
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic_write(path, json.dumps(result) + "\n")
            nats = f"{result['valid']:.4f} valid, {result['test']:.4f} test"
            print(f"{name}: {nats} nats a token, {result['spent']:.0f} s")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def best_settings(self, program: str) -> Settings:
        """Those of the trial with the best validation."""
        tried = [
            self.once(f"trial-{self.data}-{program}-{k}", program, settings, TRIAL, 0)
            for k, settings in enumerate(drawn(program, self.trials))
        ]
        best = min(tried, key=lambda one: one["valid"] if math.isfinite(one["valid"]) else math.inf)
        settings: Settings = best["settings"]
        return settings


def shown(data: str, nats: float) -> float:
    """Perplexity of words, bits of characters."""
    return math.exp(nats) if data.endswith("words") else nats / math.log(2)


def table(folder: Path, budgets: list[float]) -> None:
    """Every cell that is there: mean and range over seeds, and ostinato's margin to the best other one."""
    for data, budget in itertools.product(DATA, budgets):
        means: dict[str, float] = {}
        for program in (OURS, *PROGRAMS):
            cells = _read(folder, f"cell-{data}-{program}-{budget:g}-*.json")
            if not cells:
                continue
            valid, test = ([shown(data, c[s]) for c in cells] for s in ("valid", "test"))
            means[program] = statistics.fmean(test)
            tuning = sum(one["spent"] for one in _read(folder, f"trial-{data}-{program}-*.json"))
            print(
                f"{data:11} {budget:4g} s {program:8} valid {statistics.fmean(valid):7.3f} test "
                f"{means[program]:7.3f} [{min(test):.3f}, {max(test):.3f}] {len(cells)} seeds, tuned in "
                f"{tuning:.0f} s"
            )
        others = [value for program, value in means.items() if program != OURS]
        if OURS in means and others:
            print(f"{data:11} {budget:4g} s margin {min(others) - means[OURS]:+.3f}")


def _read(folder: Path, pattern: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob(pattern))]


def main() -> None:
    """Tuning, then every cell that is not there yet, then the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--programs", nargs="+", choices=(OURS, *PROGRAMS), default=[OURS, *PROGRAMS])
    parser.add_argument("--budgets", nargs="+", type=float, default=[60.0, 120.0, 240.0, 600.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--hidden-size", type=int, default=200)
    parser.add_argument("--only-table", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if not asked.only_table:
        for budget, data in itertools.product(asked.budgets, asked.data):
            name, unit = DATA[data]
            bench = Bench(asked.out, data, data_sets.load(name, unit), asked.hidden_size, asked.trials)
            for program in asked.programs:
                settings = bench.best_settings(program)
                for seed in range(1, asked.seeds + 1):
                    bench.once(f"cell-{data}-{program}-{budget:g}-{seed}", program, settings, budget, seed)
    print(f"one thread, {asked.hidden_size} units, torch {torch.__version__}, {os.uname().machine}")
    table(asked.out, asked.budgets)


if __name__ == "__main__":
    main()
