"""What a run's seal costs: reading all of a run with and without it, and saving a checkpoint.

    python benchmarks/sealed_runs.py --megabytes 10 --turns 20

Readings are paired: the same run with its seal and without, in turn, after one of each that does not count;
by the clock, and by the processor's time, which other work on the machine disturbs less. A checkpoint is
saved with the seal before it, as training does; the seal's share is timed by itself.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ostinato import seal
from ostinato.runs.folder import Run
from ostinato.seal import Sealer


def make(folder: Path, megabytes: float) -> Run:
    weights = torch.randn(int(megabytes * 1e6 / 8))
    run = Run.create(folder, {"data": "jsb"})
    for epoch in range(200):
        run.append_metrics({"epoch": epoch, "valid_log_likelihood": -8.5, "best": True})
    run.write_text("vocabulary.json", '{"unit": "words"}')
    for name in ("best", "last"):
        run.save_checkpoint(name, {"model.weight": weights}, {"epoch": 200})
    run.close()
    return run


def read_all(folder: Path) -> None:
    run = Run.open(folder)
    run.config(), run.metrics(), run.load_checkpoint("best"), run.load_checkpoint("last")


def seconds(call: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of the processor."""
    begin = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - begin[0], time.process_time() - begin[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=float, default=10.0, help="of the run's two checkpoints together")
    parser.add_argument("--turns", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, seal.telling(lambda _: None):
        folder = Path(place) / "run"
        run = make(folder, options.megabytes)
        path, hidden = folder / seal.SEAL, Path(place) / "hidden.json"
        pairs, saving = [], []
        for turn in range(options.turns + 1):
            sealed = seconds(lambda: read_all(folder))
            path.rename(hidden)
            plain = seconds(lambda: read_all(folder))
            hidden.rename(path)
            if turn > 0:
                pairs.append((sealed, plain))
        for k, name in enumerate(("by the clock", "of the processor")):
            without = 1000 * statistics.median(plain[k] for _, plain in pairs)
            differences = [1000 * (sealed[k] - plain[k]) for sealed, plain in pairs]
            low, middle, high = statistics.quantiles(differences, n=4)
            print(
                f"reading a run of {options.megabytes:g} MB: {without:.1f} ms {name} without a seal, "
                f"with it {middle:+.1f} ms ({low:+.1f} to {high:+.1f}: the middle half of the turns)"
            )
        with run.lock():
            tensors, state = run.load_checkpoint("last")
            for turn in range(options.turns):
                begin = time.perf_counter()
                run.save_checkpoint("last", tensors, state | {"turn": turn})
                saving.append(1000 * (time.perf_counter() - begin))
            sealer = Sealer(folder)
            sealing = [1000 * seconds(lambda: sealer.settle(always=True))[0] for _ in range(options.turns)]
        print(
            f"saving a checkpoint of {options.megabytes / 2:g} MB: {statistics.median(saving):.1f} ms, of "
            f"which {statistics.median(sealing):.1f} ms are the seal, beside its digest"
        )


if __name__ == "__main__":
    main()
