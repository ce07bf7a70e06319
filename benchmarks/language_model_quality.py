"""How good a model of text is after so many processor seconds, beside programs on nn.LSTM, nn.GRU and nn.RNN.

Everybody gets one thread, the same hidden size, the same text, Adam with a cosine that ends with the budget,
dropout, and the same tuning trials, `TRIED`, of TRIAL seconds each, chosen by validation; for budgets above
LONG seconds, which are more passes, four more of LONG seconds: dropout as found, and as `DROPPED` has it. A
budget is of processor seconds, so that other work on the machine does not count. The programs' covers their
updates alone, ostinato's its validations too; the programs keep the best of the weights after each quarter of
theirs, by the first 35,000 tokens of validation, as somebody does who watches a training. They are run
eagerly, without compiling. Scores are of the whole validation and test text, read in one pass with the state
carried.

    python benchmarks/language_model_quality.py --out FOLDER [--data ptb-words ...] [--budgets 60 120 240 600]
        [--programs ostinato lstm gru rnn] [--seeds 3] [--hidden-size 200] [--only-table]

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
from collections.abc import Callable
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
TRIAL, LONG = 60.0, 120.0
WATCHED = 35_000
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
    rate, watched, best = settings["learning_rate"], 0.0, Best(model, data.valid[:WATCHED])
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    begun, epoch, quarter = time.process_time(), 0, 1
    while True:
        states, generator = None, np.random.default_rng([seed, epoch])
        for segment in TokenStreams(data.train, settings["streams"], settings["segment_length"], generator):
            share = (time.process_time() - begun - watched) / seconds
            if share >= quarter / 4:
                watched += best.look()
                quarter += 1
            if share >= 1:
                return best.kept()
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


class Best:
    """The weights of the lowest validation so far.

    Args:
        model: whose weights.
        tokens: to validate on.
    """

    def __init__(self, model: Program, tokens: np.ndarray) -> None:
        self.model, self.tokens, self.nats = model, tokens, math.inf
        self.weights: dict[str, Tensor] = model.state_dict()

    def look(self) -> float:
        """Validate; the processor seconds that it took."""
        begun = time.process_time()
        if (nats := nats_of_program(self.model.eval(), self.tokens)) < self.nats:
            self.nats, self.weights = nats, {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.train()
        return time.process_time() - begun

    def kept(self) -> Program:
        """The model with these weights."""
        self.model.load_state_dict(self.weights)
        return self.model.eval()


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


# What ostinato's program has that the others do not: hashed n-grams that learn beside the network. Their
# penalty is that of a pass: words were no better for it.
# docs/text.md has what was tried before.
OWN: dict[str, Settings] = {
    "chars": {"direct": 16_000_000, "direct_order": 7, "direct_rate": 0.15, "direct_l2": 1.0},
    "words": {"direct": 16_000_000, "direct_order": 3, "direct_rate": 0.3, "direct_l2": 0.0},
}


def ours(
    domain: str, name: str, data: TextData, settings: Settings, seconds: float, seed: int, size: int
) -> Any:
    """ostinato's training with a budget that its schedule knows; the model of the best validation."""
    own = {k: v for k, v in settings.items() if k != "dropout"} | OWN[domain]
    own |= {"input_dropout": settings["dropout"], "output_dropout": settings["dropout"]}
    own["direct_l2"] /= len(data.train)
    fixed = {"learning_rate_rule": "cosine", "warmup": 0.05, "epochs": 1_000_000, "patience": 1_000_000}
    fixed |= {
        "minutes": seconds / 60,
        "minutes_of": "cpu",
        "seed": seed,
        "optimizer_settings": "fused = true",
    }
    fixed |= {"cell": "gru", "hidden_size": size, "embedding_size": size, "averaging": 0.0}
    fixed |= {"clip": 1.0, "leak_fraction": 0.0, "l1": 0.0}
    recipe = Recipe.parse("adam+C", domain=domain, data=name, **fixed | own)
    with tempfile.TemporaryDirectory(prefix="quality-") as folder:
        train_in(Path(folder) / "run", recipe, data, checkpoint_seconds=1e9)
        return load_model(Run.open(Path(folder) / "run")).model


# The tuning trials, the same for everybody.
TRIED: tuple[Settings, ...] = (
    {"learning_rate": 0.002, "dropout": 0.1, "streams": 8, "segment_length": 32},
    {"learning_rate": 0.004, "dropout": 0.0, "streams": 16, "segment_length": 32},
    {"learning_rate": 0.004, "dropout": 0.2, "streams": 8, "segment_length": 32},
    {"learning_rate": 0.008, "dropout": 0.1, "streams": 16, "segment_length": 32},
    {"learning_rate": 0.016, "dropout": 0.1, "streams": 16, "segment_length": 32},
)
DROPPED = (0.2, 0.35, 0.5)


@dataclass(frozen=True)
class Bench:
    """One data set in one folder.

    Arguments:
        folder: where results are.
        data: which of `DATA`.
        loaded: the same.
        size: H.
    """

    folder: Path
    data: str
    loaded: TextData
    size: int

    def measured(
        self, program: str, settings: Settings, seconds: float, seed: int, splits: tuple[str, ...]
    ) -> dict[str, Any]:
        """One training: nats a token of the splits, and the processor seconds that it took."""
        (name, domain), loaded, begun = DATA[self.data], self.loaded, time.process_time()
        if program == OURS:
            model = ours(domain, name, loaded, settings, seconds, seed, self.size)
            spent = time.process_time() - begun
            nats = {split: -float(score_tokens(model, loaded[split]).mean()) for split in splits}
        else:
            found = train_program(program, loaded, settings, seconds, seed, self.size)
            spent = time.process_time() - begun
            nats = {split: nats_of_program(found, loaded[split]) for split in splits}
        return {"settings": settings, "seconds": seconds, "seed": seed, "spent": spent, **nats}

    def once(
        self,
        name: str,
        program: str,
        settings: Settings,
        seconds: float,
        seed: int,
        splits: tuple[str, ...] = ("valid", "test"),
    ) -> dict[str, Any]:
        """What a file says; where it is not there, it is measured and written."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            result = self.measured(program, settings, seconds, seed, splits)
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic_write(path, json.dumps(result) + "\n")
            nats = ", ".join(f"{result[split]:.4f} {split}" for split in splits)
            print(f"{name}: {nats} nats a token, {result['spent']:.0f} s")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def best_settings(self, program: str, budget: float) -> Settings:
        """Those of the trial with the best validation, which depend on the budget."""
        tried = [
            self.once(f"trial-{self.data}-{program}-{k}", program, settings, TRIAL, 0, ("valid",))
            for k, settings in enumerate(TRIED)
        ]
        settings = _best_of(tried)
        if budget <= LONG:
            return settings
        further = [settings] + [settings | {"dropout": share} for share in DROPPED]
        return _best_of(
            [
                self.once(f"trial-{self.data}-{program}-long-{k}", program, one, LONG, 0, ("valid",))
                for k, one in enumerate(further)
            ]
        )


def _best_of(tried: list[dict[str, Any]]) -> Settings:
    best = min(tried, key=lambda one: one["valid"] if math.isfinite(one["valid"]) else math.inf)
    settings: Settings = best["settings"]
    return settings


def shown(data: str, nats: float) -> float:
    """Perplexity of words, bits of characters."""
    return math.exp(nats) if data.endswith("words") else nats / math.log(2)


def table(folder: Path, budgets: list[float]) -> None:
    """Every cell that is there: means over seeds, the range, and ostinato's margins to the best other one."""
    for data, budget in itertools.product(DATA, budgets):
        means: dict[str, dict[str, float]] = {}
        for program in (OURS, *PROGRAMS):
            cells = _read(folder, f"cell-{data}-{program}-{budget:g}-*.json")
            if not cells:
                continue
            valid, test = ([shown(data, c[s]) for c in cells] for s in ("valid", "test"))
            means[program] = {"valid": statistics.fmean(valid), "test": statistics.fmean(test)}
            long = "*" if budget > LONG else "[0-9]"
            tuning = sum(one["spent"] for one in _read(folder, f"trial-{data}-{program}-{long}.json"))
            print(
                f"{data:11} {budget:4g} s {program:8} valid {means[program]['valid']:7.3f} test "
                f"{means[program]['test']:7.3f} [{min(test):.3f}, {max(test):.3f}] {len(cells)} seeds, tuned "
                f"in {tuning:.0f} s"
            )
        own = means.pop(OURS, None)
        if own is not None and means:
            margins = {s: min(mean[s] for mean in means.values()) - own[s] for s in ("valid", "test")}
            told = f"valid {margins['valid']:+7.3f} test {margins['test']:+7.3f}"
            print(f"{data:11} {budget:4g} s margin   {told}")


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
    parser.add_argument("--hidden-size", type=int, default=200)
    parser.add_argument("--only-table", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if not asked.only_table:
        for budget, data in itertools.product(asked.budgets, asked.data):
            name, unit = DATA[data]
            bench = Bench(asked.out, data, data_sets.load(name, unit), asked.hidden_size)
            for program in asked.programs:
                settings = bench.best_settings(program, budget)
                for seed in range(1, asked.seeds + 1):
                    bench.once(f"cell-{data}-{program}-{budget:g}-{seed}", program, settings, budget, seed)
    print(f"one thread, {asked.hidden_size} units, torch {torch.__version__}, {os.uname().machine}")
    table(asked.out, asked.budgets)


if __name__ == "__main__":
    main()
