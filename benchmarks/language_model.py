"""Training speed of a word model against the rnnlm C++ program: hidden 200, 30 classes, one thread.

rnnlm (T. Mikolov; BPTT 4, block 10) is not part of ostinato: build it from its sources, with -O3 for the
machine, and name the program with --rnnlm. Both train on the same words of the Penn Treebank, one after the
other; processor seconds count, so that other work on the machine disturbs less. Without --rnnlm the range
that it reaches on machines of this class, 3,000 to 4,800 words/s, stands in for it.

    python benchmarks/language_model.py [--rnnlm PATH] [--words 100000] [--to-perplexity 150]

--to-perplexity trains ostinato's shipped defaults until validation perplexity is there, and says how long
it took.
"""

import argparse
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from ostinato.domains.domain import domain_named
from ostinato.domains.text.reading import data_sets as text
from ostinato.domains.text.reading.data_sets import TextData
from ostinato.optim import clip_grad_norm
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.training.build import build_gradient_descent
from ostinato.training.loop import SilentMonitor, Trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rnnlm", type=Path)
    parser.add_argument("--words", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--to-perplexity", type=float)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = text.load("ptb", "words")
    recipe = Recipe.parse("SGD+CLR", domain="words", data="ptb", hidden_size=200)
    if arguments.to_perplexity:
        time_to_perplexity(data, recipe, arguments.to_perplexity)
        return
    print(f"hidden {recipe.hidden_size}, {recipe.classes} classes, one thread, processor seconds")
    ours, theirs = [], []
    for _ in range(arguments.turns):
        ours.append(our_speed(data, recipe, arguments.words))
        if arguments.rnnlm:
            theirs.append(rnnlm_speed(arguments.rnnlm, data, arguments.words))
    speed = float(np.median(ours))
    print(f"ostinato {speed:10,.0f} words/s  ({recipe.streams} streams of {recipe.segment_length} steps)")
    if theirs:
        other = float(np.median(theirs))
        print(f"rnnlm    {other:10,.0f} words/s  (BPTT 4, block 10)\nratio {speed / other:.1f}x")
    else:
        print(f"rnnlm not measured here; 4,800 words/s at most elsewhere: ratio {speed / 4800:.1f}x")


def our_speed(data: TextData, recipe: Recipe, words: int) -> float:
    """Words per processor second of the training step, as the trainer takes it."""
    domain = domain_named(recipe.domain)
    model = domain.model(recipe, domain.identity(data), data)
    optimizer, parameters, carried = build_gradient_descent(recipe, model, 1), list(model.parameters()), None
    done, begin = -3 * recipe.streams * recipe.segment_length, time.process_time()
    for segment in domain.streams(recipe, data, 0):
        for parameter in parameters:
            parameter.grad = None
        loss = model.loss(segment.inputs, segment.targets, carried, segment.starts, segment.mask)
        loss.objective.backward()
        clip = clip_grad_norm(parameters, float(recipe.clip))
        carried = loss.states
        if clip.finite:
            optimizer.step()
        done += loss.frames
        if done == 0:
            begin = time.process_time()  # three steps to warm up
        if done >= words:
            break
    return done / (time.process_time() - begin)


def rnnlm_speed(program: Path, data: TextData, words: int) -> float:
    """Words per processor second of rnnlm's first pass over the same words, less that of setting it up."""
    full, short = (rnnlm_seconds(program, data, n) for n in (words, words // 10))
    return (words - words // 10) / (full - short)


def rnnlm_seconds(program: Path, data: TextData, words: int) -> float:
    """Processor seconds of one pass of training."""
    with tempfile.TemporaryDirectory() as folder:
        train, valid = Path(folder, "train"), Path(folder, "valid")
        train.write_text(data.vocabulary.decode(data.train[:words].tolist()) + "\n")
        valid.write_text(data.vocabulary.decode(data.valid[:100].tolist()) + "\n")
        options = f"-hidden 200 -class 30 -bptt 4 -bptt-block 10 -rand-seed 1 -max-iter 1 -rnnlm {folder}/m"
        command = [str(program), "-train", str(train), "-valid", str(valid), *options.split()]
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


class Reached(Exception):
    """Validation perplexity is there."""


def time_to_perplexity(data: TextData, recipe: Recipe, wanted: float) -> None:
    """Train until validation perplexity is `wanted`; print every epoch."""

    class Until(SilentMonitor):
        def epoch(self, record: dict[str, float]) -> None:
            print(
                f"epoch {record['epoch'] + 1}: perplexity {record['valid_perplexity']:.1f} after "
                f"{time.process_time() - begin:.0f} processor seconds",
                flush=True,
            )
            if record["valid_perplexity"] <= wanted:
                raise Reached

    begin = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder) / "run", recipe.to_dict())
        try:
            Trainer(recipe, data, run, Until()).fit()
        except Reached:
            print(
                f"validation perplexity {wanted:g} after {time.process_time() - begin:.0f} processor seconds"
            )


if __name__ == "__main__":
    main()
