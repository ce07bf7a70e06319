"""A model over any cell: its states are carried, reordered, saved and taken up again like those of an RNN."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ostinato.data.sequences import Sequence, Splits
from ostinato.domains.music.compose import generate
from ostinato.domains.music.particles import sample_conditioned
from ostinato.domains.music.reading.pieces import Piece
from ostinato.domains.music.wrong_notes import find_corrections
from ostinato.domains.text.direct_model import DirectModel
from ostinato.nn import GRU, LSTM, RNN, SequenceModel
from ostinato.nn.outputs import NADE, RBM, Bernoulli, ClassSoftmax, DirectNgrams
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.training.loop import Interrupted, Trainer

CELLS = (RNN, GRU, LSTM)
OUTPUTS: tuple[Any, ...] = ((Bernoulli, ()), (NADE, (4,)), (RBM, (4,)))
double = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lively(kind: type, visible: int, hidden: int = 7, layers: int = 2, **options: Any) -> Any:
    """A cell whose outputs depend much on what was long before."""
    cell = kind(visible, hidden, layers, generator=seeded(), dtype=double, **options)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.mul_(4)
    return cell


def music_model(kind: type, visible: int = 12) -> SequenceModel:
    output = Bernoulli(7, visible, generator=seeded(1), dtype=double)
    with torch.no_grad():
        output.weight.mul_(4)
    return SequenceModel(lively(kind, visible), output).eval()


@pytest.mark.parametrize("kind", CELLS)
def test_every_cell_has_the_same_loss_in_one_segment_and_in_many(kind: type) -> None:
    model = music_model(kind)
    frames = (torch.rand(11, 3, 12, generator=seeded(2)) < 0.3).to(torch.uint8)
    starts = torch.rand(10, 3, generator=seeded(3)) < 0.2
    whole = model.loss(frames[:-1], frames[1:], None, starts)
    states, total = None, 0.0
    for a, b in itertools.pairwise((0, 1, 4, 10)):
        part = model.loss(frames[a:b], frames[a + 1 : b + 1], states, starts[a:b])
        states, total = part.states, total + float(part.nll)
    assert total == pytest.approx(float(whole.nll), rel=1e-12)
    tensors = [states] if kind is not LSTM else list(states)  # type: ignore[arg-type, list-item]
    assert not any(x.requires_grad for x in tensors)


@pytest.mark.parametrize("kind", CELLS)
def test_generated_frames_are_drawn_from_the_whole_past(kind: type) -> None:
    model = music_model(kind)
    prime = (np.random.default_rng(0).random((5, 12)) < 0.3).astype(np.uint8)
    pieces = generate(model, 6, visible_size=12, count=3, prime=prime, generator=seeded())
    draw = seeded()
    frames = torch.zeros(12, 3, 12, dtype=torch.uint8)
    frames[1:6] = torch.from_numpy(prime)[:, None]
    with torch.no_grad():
        for t in range(5, 11):  # from the beginning, every time
            distribution, _ = model(frames[: t + 1])
            frames[t + 1] = type(distribution)(distribution.logits[-1:]).sample(generator=draw)[0]
    assert np.array_equal(pieces, frames[1:].transpose(0, 1).numpy())


@pytest.mark.parametrize("kind", CELLS)
def test_particles_take_their_states_along(kind: type) -> None:
    """The estimated probability of some notes is the one found by adding up all that could be."""
    model, steps, visible = music_model(kind, 3), 4, 3
    fixed = np.zeros((steps, visible), bool)
    fixed[:, 0] = True
    values = np.tile([[1], [0]], (2, visible))[:steps]
    every = torch.tensor(list(itertools.product([0, 1], repeat=2 * steps)), dtype=torch.uint8)
    frames = torch.from_numpy(values.astype(np.uint8)).repeat(len(every), 1, 1).transpose(0, 1).contiguous()
    frames[:, :, 1:] = every.view(-1, steps, 2).transpose(0, 1)
    with torch.no_grad():
        read = torch.cat([torch.zeros_like(frames[:1]), frames[:-1]])
        exact = float(model(read)[0].log_prob(frames).sum(0).logsumexp(0))
    found = sample_conditioned(model, fixed, values, particles=4000, threshold=1.0, generator=seeded())
    assert found.log_evidence == pytest.approx(exact, abs=0.04)


@pytest.mark.parametrize("kind", CELLS)
def test_corrections_are_those_of_the_whole_piece(kind: type) -> None:
    output = Bernoulli(7, 88, generator=seeded(1), dtype=double)
    model = SequenceModel(lively(kind, 88), output).eval()
    frames = np.zeros((9, 88), np.uint8)
    for begin, end in ((0, 2), (2, 6), (6, 9)):
        frames[begin:end, np.random.default_rng(begin).choice(range(30, 60, 2), 3, replace=False)] = 1

    def bits(frames: np.ndarray) -> float:
        values = torch.from_numpy(frames)[:, None]
        with torch.no_grad():
            predicted, _ = model(torch.cat([torch.zeros_like(values[:1]), values[:-1]]))
        return float(predicted.log_prob(values).sum()) / math.log(2)

    found = find_corrections(model, Piece("random", frames, frames_per_beat=1), horizon=100)
    assert len(found) > 3
    for note in found:
        changed = frames.copy()
        changed[note.begin : note.end, [note.pitch - 21, note.better - 21]] = [0, 1]
        assert note.gain == pytest.approx(bits(changed) - bits(frames), abs=1e-9)


@pytest.mark.parametrize("kind", CELLS)
def test_direct_connections_carry_their_history_beside_any_state(kind: type) -> None:
    output = ClassSoftmax(7, [1, 3, 5], generator=seeded(), dtype=double)
    direct = DirectNgrams(500, 4, output.widest, dtype=double)
    with torch.no_grad():
        direct.table.normal_(generator=seeded())
    model = DirectModel(lively(kind, 9, token_inputs=True), output, direct)
    tokens = torch.randint(9, (13, 2), generator=seeded())
    whole, _ = model(tokens)
    states, parts = None, []
    for a, b in itertools.pairwise((0, 1, 2, 9, 13)):
        part, states = model(tokens[a:b], states)
        parts.append(part.probs)
    torch.testing.assert_close(torch.cat(parts), whole.probs)
    loss = model.loss(tokens[:-1], tokens[1:], model.loss(tokens[:3], tokens[1:4]).states)
    loss.objective.backward()
    assert model.rnn.embedding.grad.is_sparse


@pytest.mark.parametrize("kind", CELLS)
def test_every_output_trains_over_every_cell(kind: type) -> None:
    frames = torch.zeros(9, 4, 6, dtype=torch.uint8)
    frames[::2, :, [0, 2]] = 1
    frames[1::2, :, [1, 3]] = 1
    for output in (kind_of(8, 6, *size, generator=seeded(1)) for kind_of, size in OUTPUTS):
        model = SequenceModel(kind(6, 8, 2, dropout=0.1, leak=0.2, generator=seeded()), output, l1=1e-4)
        optimizer = torch.optim.Adam(model.parameters(), 0.05)
        scores = []
        for _ in range(100):
            optimizer.zero_grad()
            loss = model.loss(frames[:-1], frames[1:])
            loss.objective.backward()
            optimizer.step()
            scores.append(float(loss.nll) / loss.frames)
        assert scores[-1] < scores[0] - 2


def small_data() -> Splits:
    draw = np.random.default_rng(0)

    def song(name: str) -> Sequence:
        frames = np.zeros((int(draw.integers(20, 50)), 12), np.uint8)
        frames[::2, [0, 4, 7]] = 1
        frames[1::2, [2, 5, 9]] = 1
        return Sequence(name, frames ^ (draw.random(frames.shape) < 0.02).astype(np.uint8))

    songs = [song(f"song{i}") for i in range(12)]
    return Splits("small", tuple(songs[:8]), tuple(songs[8:10]), tuple(songs[10:]))


@pytest.mark.parametrize("kind", [GRU, LSTM])
@pytest.mark.parametrize("letters", ["SGD+CM", "HF"])
def test_interrupted_anywhere_it_ends_bit_for_bit_the_same(tmp_path: Path, kind: type, letters: str) -> None:
    settings: dict[str, Any] = {"cell": kind.__name__.lower(), "hidden_size": 9, "num_layers": 2}
    settings |= {"leak_fraction": 1.0, "leak_low": 0.3, "leak_high": 0.3}
    settings |= {"streams": 2, "segment_length": 15, "epochs": 2}
    settings |= (
        {"cg_iterations": 2, "epochs": 1} if letters == "HF" else {"learning_rate": 0.2, "dropout": 0.2}
    )
    recipe = Recipe.parse(letters, **settings)
    runs = [Run.create(tmp_path / name, recipe.to_dict()) for name in ("unbroken", "broken")]
    Trainer(recipe, small_data(), runs[0]).fit()
    stops = 0
    for attempt in range(1, 400):
        calls = iter(range(10**6))
        # HF stops between iterations too; SGD only has so many segments
        budget = (15 if attempt == 1 else 1 + attempt % 5) if letters == "HF" else 1 + attempt % 2
        trainer = Trainer(
            recipe,
            small_data(),
            runs[1],
            stop_requested=lambda calls=calls, n=budget: 15 * (next(calls) >= n),
        )
        try:
            trainer.fit()
            break
        except Interrupted:
            stops += 1
            tensors, _ = runs[1].load_checkpoint("last")
            carried = sorted(name for name in tensors if name.startswith("carried"))
            assert carried in ([], ["carried"] if kind is GRU else ["carried.0", "carried.1"])
    assert stops >= 3
    ends = [run.load_checkpoint("last")[0] for run in runs]
    torch.testing.assert_close(ends[1], ends[0], rtol=0, atol=0)
    assert [r["valid_log_likelihood"] for r in runs[0].metrics() if "epoch" in r and "best" in r] == [
        r["valid_log_likelihood"] for r in runs[1].metrics() if "epoch" in r and "best" in r
    ]
