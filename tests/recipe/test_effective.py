"""Which settings change nothing, checked by training: the same weights, or others."""

import numpy as np
import pytest

from ostinato.data.sequences import Sequence, Splits
from ostinato.domains.delays.problems import TaskData, find_task
from ostinato.domains.text.reading.data_sets import TextData
from ostinato.domains.text.reading.vocabulary import Vocabulary
from ostinato.errors import UserError
from ostinato.recipe.core import CORE
from ostinato.recipe.effective import effective_settings, idle_settings, ordered
from ostinato.recipe.owned import every_setting, owners
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.runs.results import score_run
from ostinato.training.loop import Trainer

# Another value for every setting that a recipe may have no use for.
OTHER = {
    "leak_low": 0.01,
    "leak_high": 0.9,
    "spectral_radius": 0.5,
    "learning_rate": 0.01,
    "recurrent_rate": 3.0,
    "recurrent_norm": 0.1,
    "vanishing_penalty": 3.0,
    "learning_rate_rule": "halving",
    "warmup": 0.5,
    "minutes_of": "cpu",
    "momentum": 0.3,
    "clip": 1e-3,
    "clip_quantile": 0.1,
    "clip_window": 1,
    "clip_factor": 0.1,
    "clip_by": "sequence",
    "momentum_schedule": "sutskever",
    "weight_decay": 0.3,
    "damping": 7.0,
    "damping_floor": 50.0,
    "structural_damping": 0.9,
    "cg_iterations": 1,
    "cg_decay": 0.1,
    "curvature_share": 1.0,
    "preconditioner": True,
    "nade_size": 3,
    "nade_order": "high-to-low",
    "rbm_size": 3,
    "cd_steps": 1,
    "persistent_chains": 2,
    "pretrain_frames": 1,
    "pretrain_rnn": 1,
    "ais_steps": 3,
    "ais_chains": 2,
    "ais_frames": 20,
    "gibbs_steps": 8,
    "state_scale": 1.0,
    "accuracy_samples": 2,
    "classes": 2,
    "within_class_rate": 3.0,
    "embedding_scale": 0.3,
    "embedding_rate": 3.0,
    "direct": 1000,
    "look_back": True,
    "copy_gates": True,
    "direct_order": 2,
    "segment_length": 7,
    "length": 20,
    "epoch_sequences": 30,
    "frames_per_beat": 4,
    "transpose": False,
    "quantize": "nearest",
    "pedal": True,
    "repeats": "played",
    "chords": True,
    "key": "stated",
    "split_by": "piece",
    "vocabulary_size": 30,
    "unit": "words",
    "vocabulary": "lexicon.txt",
    "minimum_count": 2,
    "keep_singletons": True,
    "unknown_types": 9,
    "white_space": "ascii",
    "valid_data": "valid.txt",
    "test_data": "test.txt",
    "independent": True,
    "embedding_size": 3,
    "recurrent_scale": 0.5,
    "direct_rate": 0.1,
    "direct_l2": 0.05,
    "tied": True,
}
# These act when validation hardly improves, damping has fallen far, or the last solution is a good start:
# two epochs may not come to it.
LATE = {"learning_rate_rule", "damping_floor", "cg_decay"}
# A recipe's own techniques, whose settings the recipes below vary themselves.
NOT_TRIED = {"leak_fraction", "nonlinearity", "initialization"}
# Keys are the piano's, of 88 notes: tests/domains/music/test_metre.py.
NOT_TRIED |= {"augment"}
# These act when data are read from files.
READING = {
    "key",
    "split_by",
    "frames_per_beat",
    "transpose",
    "quantize",
    "pedal",
    "repeats",
    "chords",
    "metre",
    "vocabulary_size",
    "unit",
    "vocabulary",
    "minimum_count",
    "keep_singletons",
    "unknown_types",
    "white_space",
    "independent",
    "valid_data",
    "test_data",
}
SMALL = {"hidden_size": 5, "epochs": 2, "streams": 4, "segment_length": 11}
TEXT = SMALL | {"vocabulary_size": 20}
HF = SMALL | {"recipe": "HF", "optimizer": "hessian-free"}
RECIPES = [
    Recipe(**SMALL, optimizer="nesterov", momentum=0.9, clip=1.0),
    Recipe(**SMALL, optimizer="classical", clip="quantile"),
    Recipe(**SMALL, leak_fraction=0.5, initialization="echo-state", learning_rate_rule="halving"),
    # a tenth of five units is none
    Recipe(**SMALL, leak_fraction=0.1, recipe="SGD+L"),
    Recipe(**SMALL, output="nade", nade_size=4, nonlinearity="relu", l1=1e-3),
    # with 20 units or fewer its likelihood is exact, without annealing
    Recipe(**SMALL, rbm_size=21, output="rbm", ais_steps=4, ais_chains=3),
    Recipe(**HF),
    Recipe(**HF, output="nade", nade_size=4, leak_fraction=0.5),
    Recipe(**TEXT, domain="words", output="class-softmax", classes=3, direct=500, learning_rate=0.3),
    Recipe(**TEXT, domain="chars", output="softmax", optimizer="nesterov", momentum=0.9, learning_rate=0.3),
    Recipe(**TEXT | HF, domain="words", output="class-softmax", classes=3),
    Recipe(**SMALL, domain="delays", output="softmax", data="temporal-order", length=10, epoch_sequences=20),
]


def data_for(recipe):
    if recipe.domain == "delays":
        return TaskData(find_task(recipe.data, recipe.length), epoch_sequences=recipe.epoch_sequences)
    draw = np.random.default_rng(0)
    if recipe.domain == "music":
        songs = [Sequence(str(n), (draw.random((25, 22)) < 0.2).astype(np.uint8)) for n in range(6)]
        return Splits("small", tuple(songs[:4]), (songs[4],), (songs[5],))
    text = "".join(f"{a} saw {b}\n" for a, b in draw.choice(["the cat", "a dog", "birds"], (20, 2)))
    vocabulary = Vocabulary.count(recipe.domain, [text])
    return TextData("small", vocabulary, *[vocabulary.encode(text)] * 3, version="1")


def outcome(folder, recipe):
    """The weights that a recipe trains, as bytes, and their scores."""
    with Run.create(folder, recipe.to_dict()) as run:
        data = data_for(recipe)
        Trainer(recipe, data, run).fit()
        tensors, _ = run.load_checkpoint("last")
        scores = score_run(run, data, baselines=False).to_dict()
    return {k: v.numpy().tobytes() for k, v in tensors.items() if k.startswith("model.")}, repr(scores)


def changed(recipe, name):
    """The recipe with another value, or None where that does not go with the rest."""
    try:
        return recipe.replace(**{name: OTHER[name]})
    except UserError:
        return None


@pytest.mark.long
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: f"{r.domain}-{r.name}-{r.output}")
def test_idle_settings_change_nothing_and_the_others_something(tmp_path, recipe):
    idle, without = idle_settings(recipe), outcome(tmp_path / "without", recipe)
    assert idle <= OTHER.keys()
    every = recipe
    for name in sorted(idle):
        every = changed(every, name) or every
    assert (every != recipe) == bool(idle)
    assert outcome(tmp_path / "idle", every) == without
    same = [
        name
        for name in sorted(OTHER.keys() - idle - LATE - READING)
        if name in recipe and (other := changed(recipe, name)) and outcome(tmp_path / name, other) == without
    ]
    assert same == []


def test_every_rule_is_tried():
    every = every_setting()
    needy = {name for name, setting in every.items() if setting.needs}
    here = {name for recipe in RECIPES for name in recipe.to_dict()}
    owned = {name for recipe in RECIPES for name in recipe.values()}
    assert set().union(*map(idle_settings, RECIPES)) == (needy & owned) | {"segment_length"}
    # every setting of an output, say, that one of the recipes has: it is idle, or it changes something
    own = {name for name in here if owners(name)[0]} - NOT_TRIED
    assert own <= OTHER.keys()
    assert OTHER.keys() <= every.keys()
    assert all(every[name].default != value for name, value in OTHER.items())
    assert all(name in OTHER or setting in CORE for name, setting in every.items() if setting.needs)


def test_draws_are_shown_as_they_were_used():
    base = Recipe.parse("SGD+CLM", hidden_size=4)
    draws = {"leak_fraction": 0.5, "leak_low": 0.19, "leak_high": 0.06, "hidden_size": 6, "momentum": 0.2}
    assert effective_settings(base, draws) == draws | {"leak_low": 0.06, "leak_high": 0.19}
    # no unit leaks: by the fraction, or since the fraction of so few units is none
    for fraction in (0.0, 0.05):
        used = effective_settings(base, draws | {"leak_fraction": fraction})
        assert (used["leak_low"], used["leak_high"], used["leak_fraction"]) == (None, None, fraction)
    # one end alone is what it is
    assert ordered({"leak_high": 0.1}) == {"leak_high": 0.1}


@pytest.mark.parametrize(
    "draws", [{"leak_low": 0.9, "x": 1}, {"output": "softmax"}, {"learning_rate": "much"}]
)
def test_draws_that_make_no_recipe_are_shown_as_they_are(draws):
    assert effective_settings(Recipe(), draws) == draws
