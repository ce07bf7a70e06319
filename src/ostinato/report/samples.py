"""What the models of finished runs make, for a report: asked from the domain of each."""

import importlib
from collections.abc import Sequence

from ostinato.domains.registry import DOMAINS
from ostinato.domains.sample import Sample
from ostinato.report.records import RunRecord
from ostinato.runs.folder import Run

# Of all the sound of a report, so that the page with Plotly's five stays below 8 MB: base64 adds a third.
MOST_BYTES = 1_800_000
# Pieces shorter than a few seconds would tell nothing: no more than these are made.
MOST_PIECES = 20


def make_samples(runs: Sequence[RunRecord], count: int, seed: int = 0) -> list[Sample]:
    """`count` samples of every run that has a model and whose domain makes any, such as pieces or texts.

    The same runs, count and seed give the same samples. All that have sound share one budget of bytes: more
    pieces have fewer samples a second, then fewer frames; after `MOST_PIECES`, further runs have none.

    Raises:
        UserError: a run's checkpoint is damaged, or made by a newer version.
    """
    ready = [run for run in runs if Run.open(run.folder).has_checkpoint("best")]
    sounding = [run for run in ready if DOMAINS[run.domain].sounds][: MOST_PIECES // max(count, 1)]
    samples: list[Sample] = []
    for run in ready if count else []:
        declared = DOMAINS[run.domain]
        if declared.sampler and (run in sounding or not declared.sounds):
            module, _, name = declared.sampler.partition(":")
            make = getattr(importlib.import_module(module), name)
            samples += make(run.name, run.folder, count, seed, MOST_BYTES // (count * max(len(sounding), 1)))
    return samples
