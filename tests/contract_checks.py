"""What every domain, output, cell and optimizer is checked for: the package's own, and others' too."""

import importlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from contract_rows import DATA, Row, Tiny
from ostinato.domains.answer import Asked
from ostinato.domains.domain import domain_named, load_data
from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError
from ostinato.nn.cells.state import map_state
from ostinato.nn.curvature.gauss_newton import GaussNewton
from ostinato.nn.outputs.registry import OUTPUTS
from ostinato.optim.declared import OPTIMIZERS
from ostinato.runs.finish import RESULTS, conclude, train_in
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model
from ostinato.training.monitor import Interrupted


def tensors(folder, checkpoint: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    found, state = Run.open(folder).load_checkpoint(checkpoint)
    return {
        k: x.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes() for k, x in found.items()
    }, state


def stopping_after(updates: int) -> Callable[[], int]:
    """Asks to stop when it has been asked so often."""
    asked = iter(range(10**6))
    return lambda: 15 if next(asked) >= updates else 0


def trains_stops_resumes_and_scores(row: Row, source: str, folder: Path) -> None:
    recipe = row.recipe(source)
    data = load_data(recipe, progress=False)
    whole, parts = folder / "whole", folder / "parts"
    progress = train_in(whole, recipe, data)
    assert progress.epoch == 2
    assert progress.sums.skipped_in_a_row == 0
    with pytest.raises(Interrupted):
        # Hessian-free also heeds a stop between the iterations of an update
        train_in(
            parts,
            recipe,
            data,
            stop_requested=stopping_after(6 if OPTIMIZERS[row.optimizer].curvature else 1),
        )
    left, state = tensors(parts, "last")
    assert (state["progress"]["epoch"], state["progress"]["segment"]) == (0, 1)
    train_in(parts, recipe, data)
    for checkpoint in ("last", "best"):
        (one, state), (other, resumed) = tensors(whole, checkpoint), tensors(parts, checkpoint)
        assert one == other, checkpoint
        assert state["optimizer"] == resumed["optimizer"]
    last, _ = tensors(whole, "last")
    weights = [name for name in last if name.startswith("model.") and "optimizer" not in name]
    assert all(len(last[name]) == len(left[name]) for name in weights)
    assert any(last[name] != left[name] for name in weights)
    one, other = (Run.open(folder).metrics() for folder in (whole, parts))
    seconds = {"seconds", "cg_seconds"}
    strip = [[{k: v for k, v in r.items() if k not in seconds} for r in m] for m in (one, other)]
    assert strip[0] == strip[1]
    valid = [r for r in one if "valid_log_likelihood" in r or "best" in r]
    assert len(valid) == 2
    assert all(math.isfinite(v) for r in valid for k, v in r.items() if k.startswith("valid_"))
    with Run.open(whole) as run:
        summary = conclude(run, data, ("test",))
    scores = summary["results"]["model"]["test"]
    assert all(math.isfinite(score["value"]) for score in scores.values())
    assert len(summary["results"]) > 1  # a baseline beside it
    assert json.loads((whole / RESULTS).read_text()) == json.loads(json.dumps(summary))


def offers_what_it_declares(row: Row, source: str, folder: Path) -> None:
    """Drawing from the output, `generate`, a report's samples, totals of a comparison, tables."""
    recipe = row.recipe(source, epochs=1)
    data, domain = load_data(recipe, progress=False), domain_named(recipe.domain)
    train_in(folder / "run", recipe, data)
    trained = load_model(Run.open(folder / "run"))
    segment = domain.streams(recipe, data, 0)[0]
    with torch.no_grad():
        distribution, _ = trained.model(segment.inputs, None, segment.starts)
        first, again = (distribution.sample(generator=torch.Generator().manual_seed(3)) for _ in range(2))
        assert first.shape == segment.targets.shape
        assert torch.equal(first, again)
        assert distribution.log_prob(first).isfinite().all()
    declared = DOMAINS[row.domain]
    if "generate" in declared.commands:
        command = declared.commands["generate"]
        options = command.options(**DATA.get(row.domain, Tiny()).generate)
        made = [command.load()(folder / "run", Asked(seed=s), options).record() for s in (5, 5)]
        assert made[0] == made[1]
        assert json.dumps(made[0])
    else:
        assert declared.generate == ""
    if declared.sampler:
        module, _, name = declared.sampler.partition(":")
        make = getattr(importlib.import_module(module), name)
        (sample,) = make("run", folder / "run", 1, 0, 200_000)
        assert sample.command.startswith("ostinato generate ")
        assert sample.text or sample.frames
    scores = domain.score(recipe, trained.model, data, ("test",), baselines=False)
    assert list(scores) == ["model"]
    baselines = domain.baselines(data, ("valid", "test"))
    table = domain.table(
        baselines | domain.score(recipe, trained.model, data, ("valid", "test"), baselines=False), "here"
    )
    shown = {cells[0].partition(":")[0] for cells, _ in table.rows}
    assert shown == {*baselines, "model"}
    try:
        totals = domain.totals(trained.model, data, "test")
    except UserError:
        return
    assert totals.counts.sum() > 0
    assert totals.log_prob.shape == totals.counts.shape
    mean = totals.log_prob.sum() / totals.counts.sum()
    if OUTPUTS[row.output].exact:
        assert mean == pytest.approx(totals.score.value, abs=1e-6)
        assert totals.score.value == pytest.approx(scores["model"]["test"]["log_likelihood"].value, abs=1e-5)


def doubles(row: Row, source: str) -> tuple[Any, dict[str, Tensor | None], Any]:
    """The row's model in float64, one segment that is small, and a state that is carried into it."""
    recipe = row.recipe(source, dtype="float64", hidden_size=3, nade_size=2)
    data, domain = load_data(recipe, progress=False), domain_named(recipe.domain)
    identity, segment = domain.identity(data), domain.streams(recipe, data, 0)[0]
    inputs, targets = segment.inputs[:5], segment.targets[:5]
    if targets.dim() == 3 and targets.dtype == torch.uint8:  # few notes are enough
        # with onsets (`music.layout`) of both their rows
        notes = [row + first for first in range(0, targets.shape[2], 88) for row in (40, 41, 42)]
        inputs, targets = inputs[..., notes], targets[..., notes]
        # of the frame before, and of nothing besides
        identity |= {"visible_size": len(notes), "input_size": len(notes)}
    model = domain.model(recipe, identity).eval()
    with torch.no_grad():  # weights of some start small: here all of it should count
        for seed, parameter in enumerate(model.output.parameters()):
            parameter.normal_(0, 0.5, generator=torch.Generator().manual_seed(seed))
    starts = torch.zeros(inputs.shape[:2], dtype=torch.bool)
    starts[2, 1] = True
    mask = torch.ones_like(starts)
    mask[4, 0] = False
    numbers = iter(range(9))
    state = map_state(
        lambda x: torch.randn(x.shape, generator=torch.Generator().manual_seed(next(numbers))).to(x) / 2,
        model.rnn.initial_state(inputs.shape[1]),
    )
    return model, {"inputs": inputs, "targets": targets, "starts": starts, "mask": mask}, state


def carries_its_state(row: Row, source: str) -> None:
    model, segment, state = doubles(row, source)
    inputs, starts = segment["inputs"], segment["starts"]
    with torch.no_grad():
        whole, last = model.rnn(inputs, state, starts)
        pieces, carried = [], state
        for part in (slice(0, 1), slice(1, 4), slice(4, None)):
            piece, carried = model.rnn(inputs[part], carried, starts[part])
            pieces.append(piece)
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=0, atol=1e-12)
    map_state(lambda a, b: torch.testing.assert_close(a, b, rtol=0, atol=1e-12), carried, last)
    # a sequence that starts in the middle of stream 1 knows nothing of what was before
    with torch.no_grad():
        fresh, _ = model.rnn(inputs[2:], None, starts[2:])
        nothing, _ = model.rnn(inputs[2:])
    torch.testing.assert_close(whole[2:, 1], fresh[:, 1], rtol=0, atol=1e-12)
    torch.testing.assert_close(whole[2:, 1], nothing[:, 1], rtol=0, atol=1e-12)
    assert not torch.allclose(whole[2:, 0], fresh[:, 0], rtol=0, atol=1e-6)


def has_the_explicit_curvature(row: Row, source: str) -> None:
    """[J 0; 0 I]^T G [J 0; 0 I]: J the Jacobian of the states by autograd, G the output's own J^T H J.

    G is taken from its products with all unit vectors, and is itself the Hessian of KL(p || p'), or of what
    `natural` gives, in tests/nn/curvature and tests/nn/outputs.
    """
    model, segment, state = doubles(row, source)
    of_rnn = {name: p.detach() for name, p in model.rnn.named_parameters()}
    counted = segment["mask"].flatten()

    def states(parameters: dict[str, Tensor]) -> Tensor:
        hidden = functional_call(model.rnn, parameters, (segment["inputs"], state, segment["starts"]))[0]
        return hidden.flatten(0, 1)[counted]

    leaves = {name: p.clone().requires_grad_().view_as(p) for name, p in of_rnn.items()}
    hidden = states(leaves)
    rows = [
        torch.cat(
            [
                g.reshape(-1)
                for g in torch.autograd.grad(
                    element, list(leaves.values()), retain_graph=True, materialize_grads=True
                )
            ]
        )
        for element in hidden.flatten()
    ]
    jacobian, n = torch.stack(rows), hidden.numel()
    hidden = hidden.detach()
    targets = segment["targets"].flatten(0, 1)[counted]
    with torch.no_grad():
        inputs = segment["inputs"].flatten(0, 1)[counted]
        point = model.output.linearize(model.told(hidden, inputs), targets)
        own = dict(model.output.named_parameters())
        sizes = [n, *(p.numel() for p in own.values())]
        columns = []
        for unit in torch.eye(sum(sizes), dtype=torch.float64):
            h, *rest = unit.split(sizes)
            changes = {name: x.view_as(p) for (name, p), x in zip(own.items(), rest, strict=True)}
            back, given = point.product(h.view_as(hidden), changes)
            columns.append(torch.cat([back.flatten(), *(given[name].flatten() for name in own)]))
        output = torch.stack(columns, 1)
    torch.testing.assert_close(output, output.T, atol=1e-9, rtol=0)
    assert float(torch.linalg.eigvalsh(output)[0]) > -1e-9 * float(output.abs().max())
    down = torch.block_diag(jacobian, torch.eye(sum(sizes) - n, dtype=torch.float64))
    explicit = down.T @ output @ down / len(hidden)
    operator = GaussNewton(
        model, segment["inputs"], segment["targets"], state, segment["starts"], segment["mask"]
    )
    operator.gradient()
    found = torch.stack([operator.curvature(v) for v in torch.eye(len(explicit), dtype=torch.float64)], 1)
    torch.testing.assert_close(found, explicit, atol=1e-8, rtol=0)
