"""Models on another device than the CPU.

Where there is no GPU, on one that is not there (`pretend_device`): the same numbers as PyTorch's operations
give on the CPU, to the bit, and no operation that a GPU would refuse for meeting tensors of two devices. With
a GPU the tests at the end compare its numbers with the CPU's.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_every_kind import small_series
from test_loop import small_data, small_recipe, weights

import ostinato
from ostinato.data.sequences import Splits
from ostinato.domains.delays.problems import TaskData, TemporalOrder
from ostinato.domains.domain import Data, domain_named
from ostinato.domains.music.compose import generate
from ostinato.domains.music.particles import sample_conditioned
from ostinato.domains.music.reading.pieces import Piece
from ostinato.domains.music.surprise import score_piece
from ostinato.domains.music.wrong_notes import find_corrections
from ostinato.domains.text.evaluation.dynamic import score_dynamically
from ostinato.domains.text.evaluation.scores import score_tokens
from ostinato.domains.text.generate import Sampling, generate_tokens
from ostinato.domains.text.reading.data_sets import TextData, load
from ostinato.errors import UserError
from ostinato.nn.devices import device_of, find_device, multinomial, permutation, uniform
from ostinato.nn.kernels import select
from ostinato.recipe.recipe import Recipe
from ostinato.runs import trained as opening
from ostinato.runs.folder import Run
from ostinato.runs.results import score_run
from ostinato.runs.trained import load_model
from ostinato.training import build as building
from ostinato.training import loop as training
from ostinato.training.loop import Interrupted, SilentMonitor, Trainer
from pretend_device import ELSEWHERE, MixedDevices, PretendDevice, there

TEXT = "the cat sat on the mat\na dog ran to the cat\nthe red mat is on a dog\n"


def text_data(unit: str, folder: Path) -> TextData:
    for name, times in (("train", 3), ("valid", 1), ("test", 1)):
        (folder / f"{name}.txt").write_text(TEXT * times)
    paths = [str(folder / f"{name}.txt") for name in ("train", "valid", "test")]
    return load(paths[0], unit, valid=paths[1], test=paths[2])


TASK = TaskData(TemporalOrder(10), epoch_sequences=20)

QUICK = {"epochs": 2}
SCORED_BY_SAMPLES: dict[str, dict[str, Any]] = {
    "nade": {"accuracy_samples": 2},
    "rbm": {"accuracy_samples": 2, "ais_steps": 5, "gibbs_steps": 8},
}


def music(letters: str, output: str = "bernoulli", **settings: Any) -> Recipe:
    return small_recipe(letters, output=output, **QUICK | SCORED_BY_SAMPLES.get(output, {}) | settings)


MUSIC = {
    "bernoulli": music("SGD+CLRM", l2=1e-4, averaging=0.9),
    "two-layers": music("SGD+CL", num_layers=2, dropout=0.3, nonlinearity="sigmoid"),
    "halving": music("SGD", learning_rate_rule="halving", learning_rate=1.5, epochs=4),
    "classical": music("SGD+C", dtype="float64", momentum=0.5, optimizer="classical"),
    "nade": music("SGD+CRM", output="nade", nade_size=5, nade_order="high-to-low"),
    "rbm": music("SGD+CM", output="rbm", rbm_size=5, cd_steps=2, persistent_chains=7, pretrain_frames=1),
    "small-rbm": music(
        "SGD", output="rbm", rbm_size=4, cd_steps=1, pretrain_rnn=1, ais_steps=1, gibbs_steps=8
    ),
    "HF": music("HF+LR", cg_iterations=3, preconditioner=True, epochs=1),
    "HF-nade": music("HF", output="nade", nade_size=5, cg_iterations=3, epochs=1),
}
SMALL = {"hidden_size": 7, "streams": 3, "segment_length": 8, "epochs": 2}
DIRECT = {"direct": 300, "direct_order": 3, "vocabulary_size": 20}
LANGUAGE = {
    "words": Recipe.parse("SGD+CLR", domain="words", classes=3, **SMALL),
    "words-momentum": Recipe.parse("SGD+CM", domain="words", output="softmax", momentum=0.5, **SMALL),
    "words-direct": Recipe.parse("SGD+CL", domain="words", classes=3, **DIRECT, **SMALL),
    "chars": Recipe.parse("SGD+CL", domain="chars", **SMALL),
    "HF-words": Recipe.parse("HF", domain="words", classes=3, cg_iterations=3, **SMALL),
}
TASKS = {
    "task": Recipe.parse(
        "HF+L", domain="delays", data="temporal-order", length=10, cg_iterations=3, **SMALL | {"streams": 10}
    ),
}
SERIES = {
    "series": Recipe.parse("SGD+C", domain="series", **SMALL),
    "series-mixture": Recipe.parse(
        "HF", domain="series", output="gaussian-mixture", cg_iterations=3, **SMALL
    ),
}
GATED = {
    "gru": music("SGD+CL", cell="gru", optimizer="adam", num_layers=2, dropout=0.3),
    "lstm": music("SGD+CL", cell="lstm", optimizer="rmsprop", learning_rate_rule="cosine"),
    "HF-lstm": music("HF+L", cell="lstm", cg_iterations=3, epochs=1),
}
EVERY = MUSIC | LANGUAGE | TASKS | SERIES | GATED


def data_for(recipe: Recipe, folder: Path) -> Data:
    if recipe.domain == "music":
        data = small_data()
        return Splits("few", data.train[:3], data.valid[:1], data.test[:1])
    if recipe.domain == "series":
        return small_series(missing=0.1)
    return TASK if recipe.domain == "delays" else text_data(recipe.domain, folder)


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendDevice]:
    """The device that is not there, under the name "elsewhere"; the CPU computes with PyTorch as well."""

    def find(name: Any) -> torch.device:
        return ELSEWHERE if str(name) == "elsewhere" else find_device(name)

    for module in (training, opening):
        monkeypatch.setattr(module, "find_device", find)
    monkeypatch.setattr(select, "_native", lambda: None)
    monkeypatch.setattr("ostinato.domains.delays.evaluation.PIECE", 10_000)
    with PretendDevice() as mode:
        yield mode


def train(folder: Path, recipe: Recipe, data: Data, **options: Any) -> Run:
    with Run.create(folder, recipe.to_dict()) as run:
        Trainer(recipe, data, run, **options).fit()
    return run


@pytest.mark.parametrize("name", EVERY)
def test_training_is_consistent_and_gives_the_same_numbers(
    tmp_path: Path, pretend: PretendDevice, name: str
) -> None:
    recipe = EVERY[name]
    data = data_for(recipe, tmp_path)
    here = train(tmp_path / "here", recipe, data)
    assert pretend.operations == 0
    elsewhere = train(tmp_path / "elsewhere", recipe, data, device="elsewhere")
    assert pretend.operations > 500
    for checkpoint in ("last", "best"):
        assert weights(elsewhere, checkpoint) == weights(here, checkpoint)
    assert elsewhere.load_checkpoint("last")[1]["devices"] == [str(ELSEWHERE)]
    assert score_run(elsewhere, data, device="elsewhere") == score_run(here, data)


SAMPLED = {
    "bernoulli": music("SGD"),
    "nade": music("SGD", output="nade", nade_size=4),
    "rbm": music("SGD", output="rbm", rbm_size=21),
}


@pytest.mark.parametrize("output", SAMPLED)
def test_composing_and_scoring_draw_and_give_the_same(
    pretend: PretendDevice, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    for module in ("nade", "rbm_frames"):
        monkeypatch.setattr(f"ostinato.nn.outputs.{module}.MEAN_SAMPLES", 2)
    model = building.build_model(SAMPLED[output], building.Sizes(88, 88)).eval()
    frames = (np.random.default_rng(0).random((4, 88)) < 0.05).astype(np.uint8)
    piece, fixed = Piece("a", frames, 1), frames != 0

    def everything() -> list[Any]:
        seeded = torch.Generator().manual_seed(3)
        drawn = generate(model, 2, count=2, prime=frames[:2], temperature=0.8, generator=seeded)
        particles = sample_conditioned(model, fixed, frames, particles=5, threshold=1, generator=seeded)
        piece_score = score_piece(model, piece)
        found = [drawn, *dataclasses.astuple(particles), piece_score.note_log_probs, piece_score.log_probs]
        if output != "rbm":
            found += [dataclasses.astuple(c) for c in find_corrections(model, piece)]
        else:
            # 21 hidden units are too many to count their states: annealing estimates
            inputs = torch.from_numpy(frames).unsqueeze(1).to(device_of(model))
            with torch.no_grad():
                estimate = model(inputs)[0].likelihood(inputs, generator=seeded)
            known = (estimate.forward, estimate.backward, estimate.bound)
            found += [x.numpy() for x in known]
        return [*found, model(torch.zeros(2, 1, 88).to(device_of(model)))[0].mean.detach().cpu().numpy()]

    here = everything()
    model.to(ELSEWHERE)
    before = pretend.operations
    same(everything(), here)
    assert pretend.operations > before + 500


def same(found: list[Any], wanted: list[Any]) -> None:
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["words", "words-momentum", "words-direct", "chars"])
def test_text_is_scored_and_generated_the_same(tmp_path: Path, pretend: PretendDevice, name: str) -> None:
    recipe = LANGUAGE[name]
    data = text_data(recipe.domain, tmp_path)
    domain = domain_named(recipe.domain)
    model = domain.model(recipe, domain.identity(data), data).eval()

    def everything() -> list[Any]:
        seeded = torch.Generator().manual_seed(3)
        words = generate_tokens(model, data.vocabulary, Sampling(top_k=5, top_p=0.9), generator=seeded)
        tokens = data.test[:30]
        return [
            [next(words) for _ in range(20)],
            score_tokens(model, tokens, independent=True),
            score_dynamically(model, tokens, segment_length=7),
            model(torch.zeros(2, 1, dtype=torch.int64, device=device_of(model)))[0]
            .sample((3,), generator=seeded)
            .cpu()
            .numpy(),
        ]

    here = everything()
    model.to(ELSEWHERE)
    same(everything(), here)
    assert pretend.operations > 500


class Notices(SilentMonitor):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def notice(self, text: str) -> None:
        self.texts.append(text)


@pytest.mark.parametrize("name", ["bernoulli", "halving", "words-momentum", "HF"])
@pytest.mark.parametrize("first", ["cpu", "elsewhere"])
def test_a_run_goes_on_on_another_device(
    tmp_path: Path, pretend: PretendDevice, name: str, first: str
) -> None:
    # a given threshold leaves no pass to find it: every stop is in training
    changed = {} if name == "HF" else {"clip": 1.0, "segment_length": 4}
    recipe = EVERY[name].replace(**changed)
    data = data_for(recipe, tmp_path)
    unbroken = train(tmp_path / "unbroken", recipe, data)
    run = Run.create(tmp_path / "run", recipe.to_dict())
    for budget in (3, 4):
        calls = iter(range(10**6))
        stop = Trainer(
            recipe, data, run, device=first, stop_requested=lambda c=calls, n=budget: 15 * (next(c) >= n)
        )
        with pytest.raises(Interrupted):
            stop.fit()
    second = "elsewhere" if first == "cpu" else "cpu"
    monitor = Notices()
    Trainer(recipe, data, run, monitor, device=second).fit()
    notice = "the run was trained on {} and goes on on {}: sums are rounded in another order"
    assert any(notice.format(*map(str, (name_of(first), name_of(second)))) in text for text in monitor.texts)
    assert run.load_checkpoint("last")[1]["devices"] == [name_of(first), name_of(second)]
    assert weights(run) == weights(unbroken)  # these two devices round alike


def name_of(device: str) -> str:
    return str(ELSEWHERE) if device == "elsewhere" else device


def test_a_finished_run_is_not_said_to_go_on(tmp_path: Path, pretend: PretendDevice) -> None:
    recipe = EVERY["bernoulli"]
    data, monitor = data_for(recipe, tmp_path), Notices()
    run = train(tmp_path / "run", recipe, data)
    Trainer(recipe, data, run, monitor, device="elsewhere").fit()
    assert not any("goes on" in text for text in monitor.texts)


def test_the_native_kernels_leave_other_devices_alone() -> None:
    assert not select.is_native(torch.empty(1, device="meta"))
    with pytest.raises(ValueError, match="not available here for this device"):
        select.kernel_for(torch.empty(1, device="meta"), "cpu")


# What stands for the device must itself refuse


def mixed(there_: torch.Tensor) -> Any:
    return there_ + torch.ones(3)


def into_a_list(there_: torch.Tensor) -> Any:
    return torch.stack([there_, torch.ones(3)])


def by_a_generator_of_the_cpu(there_: torch.Tensor) -> Any:
    return torch.rand(3, device=there_.device, generator=torch.Generator())


def by_index(there_: torch.Tensor) -> Any:
    return torch.ones(3)[there_.long()]


@pytest.mark.parametrize("mistake", [mixed, into_a_list, by_a_generator_of_the_cpu, by_index])
def test_the_pretended_device_refuses_a_mixture(mistake: Any) -> None:
    with PretendDevice():
        tensor = there(torch.ones(3))
        with pytest.raises(MixedDevices):
            mistake(tensor)
        with pytest.raises((RuntimeError, TypeError)):
            tensor.numpy()
        with pytest.raises(MixedDevices):
            tensor.data_ptr()
        assert (tensor + 1).tolist() == [2, 2, 2]
        assert tensor.cpu().numpy().tolist() == [1, 1, 1]


# Names and draws


@pytest.mark.parametrize("name", ["gpu", "mps", "cuda:x", "cpu:1", "", "meta"])
def test_a_name_that_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="expected device to be cpu, cuda, cuda:NUMBER or auto, found"):
        find_device(name)


def test_devices_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == find_device("cpu") == find_device(torch.device("cpu"))
    for name in ("cuda", "cuda:1"):
        with pytest.raises(UserError, match=f"expected a GPU for device {name}, found none that PyTorch"):
            find_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert [str(find_device(name)) for name in ("auto", "cuda", "cuda:0")] == ["cuda:0", "cuda:1", "cuda:0"]
    with pytest.raises(UserError, match="expected a GPU of number 0 to 1, found device cuda:2"):
        find_device("cuda:2")


def test_draws_come_from_the_generator_wherever_they_go() -> None:
    def seeded() -> torch.Generator:
        return torch.Generator().manual_seed(5)

    with PretendDevice():
        like, weights_ = torch.zeros(2, dtype=torch.float64), torch.tensor([[1.0, 2.0, 4.0]])
        assert uniform((4,), there(like), seeded()).tolist() == uniform((4,), like, seeded()).tolist()
        moved, still = (multinomial(w, 9, seeded()) for w in (there(weights_), weights_))
        assert moved.device == ELSEWHERE
        assert moved.tolist() == still.tolist()
        assert permutation(7, ELSEWHERE, seeded()).tolist() == permutation(7, like.device, seeded()).tolist()


# On a real GPU

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU here")


@gpu
@pytest.mark.parametrize("name", EVERY)
def test_a_gpu_trains_to_the_same_scores(tmp_path: Path, name: str) -> None:
    recipe = EVERY[name].replace(dtype="float64")
    data = data_for(recipe, tmp_path)
    runs = [train(tmp_path / device, recipe, data, device=device) for device in ("cpu", "cuda")]
    found, wanted = (
        score_run(run, data, device=device).scores["model"]["test"]["log_likelihood"].value
        for run, device in zip(runs, ("cuda", "cpu"), strict=True)
    )
    # in float64 nothing but the order of sums differs; a draw that falls to the other side of it may
    assert found == pytest.approx(wanted, abs=0.05 if "rbm" in name else 1e-6)
    assert runs[1].load_checkpoint("last")[1]["devices"] == ["cuda:0"]
    assert "gpu" in runs[1].load_checkpoint("last")[1]["environment"]


@gpu
@pytest.mark.parametrize("output", SAMPLED)
def test_a_gpu_draws_the_same_frames(output: str) -> None:
    recipe = SAMPLED[output].replace(dtype="float64")
    model, drawn = building.build_model(recipe, building.Sizes(88, 88)).eval(), []
    for device in ("cpu", "cuda"):
        drawn.append(generate(model.to(device), 8, count=4, generator=torch.Generator().manual_seed(1)))
    assert (drawn[0] != drawn[1]).mean() < 0.01


@gpu
def test_a_run_goes_from_the_gpu_to_the_cpu(tmp_path: Path) -> None:
    recipe = EVERY["bernoulli"]
    data = data_for(recipe, tmp_path)
    run = train(tmp_path / "run", recipe, data, device="cuda")
    on_cpu, on_gpu = (load_model(run, device=device).model for device in ("cpu", "cuda"))
    assert {p.device.type for p in on_gpu.parameters()} == {"cuda"}
    more = recipe.replace(epochs=recipe.epochs + 1)
    assert Trainer(more, data, run).fit().epoch == more.epochs
    assert {p.device.type for p in on_cpu.parameters()} == {"cpu"}


def in_memory() -> dict[str, Any]:
    """Sequences of every kind that a program may have, and options of what is generated."""
    rng = np.random.default_rng(0)
    songs = [np.eye(88, dtype=np.uint8)[30 + np.arange(k, k + 20) % 20] for k in range(6)]
    walks = [np.cumsum(rng.standard_normal((40, 2)), 0) for _ in range(6)]
    pairs = [(walk, (walk[:, 0] > 0).astype(np.int64)) for walk in walks]
    return {
        "music": (songs, {"steps": 4}),
        "words": (["the cat sat on the mat", "a dog ran"] * 20, {"tokens": 4}),
        "series": (walks, {"horizon": 3, "samples": 4}),
        "pairs-category": (pairs, None),
    }


@pytest.mark.parametrize("kind", in_memory())
def test_what_a_program_asks_of_a_run_is_the_same_elsewhere(
    kind: str, pretend: PretendDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ostinato.api import run, training
    from ostinato.nn.devices import find_device

    for module in (run, training):
        monkeypatch.setattr(
            module,
            "find_device",
            lambda name: ELSEWHERE if str(name) in ("elsewhere", "meta") else find_device(name),
        )
    sequences, options = in_memory()[kind]
    settings = (
        {"hidden_size": 4, "epochs": 1, "classes": 2} if kind == "words" else {"hidden_size": 4, "epochs": 1}
    )
    here = ostinato.train("SGD", sequences, **settings)
    there = ostinato.train("SGD", sequences, device="elsewhere", **settings)
    assert pretend.operations > 20
    assert there.score(sequences).log_probs.tolist() == here.score(sequences).log_probs.tolist()
    assert here.score(sequences, device="elsewhere").score == here.score(sequences).score
    assert there.evaluate().to_dict() == here.evaluate().to_dict()
    assert there.opened.load_checkpoint("last")[1]["devices"] == [str(ELSEWHERE)]
    if options is not None:
        made = [
            run.generate(seed=1, device=device, **options)
            for run, device in ((here, None), (there, None), (there, "cpu"), (here, "elsewhere"))
        ]
        shown = [str(getattr(one, "paths", one)) for one in made]
        assert len(set(shown)) == 1
