import dataclasses

import pytest

from ostinato.effective import NEEDS
from ostinato.errors import without_marks
from ostinato.notices import SWITCHES, notices
from ostinato.recipe import Recipe


def said(letters: str, task: str = "music", file: dict | None = None, **given: object) -> list[str]:
    recipe = Recipe.parse(letters, task=task, **(file or {}) | given)
    return [without_marks(line) for line in notices(recipe, given, file)]


def test_tables_name_settings() -> None:
    names = {field.name for field in dataclasses.fields(Recipe)}
    assert NEEDS.keys() <= names
    assert {other for needs in NEEDS.values() for other in needs} <= names
    assert set(SWITCHES.values()) <= names


@pytest.mark.parametrize("letters", ["SGD", "SGD+CL", "SGD+CRM", "HF"])
@pytest.mark.parametrize("task", ["music", "words", "chars", "task"])
def test_letters_alone_and_settings_that_always_have_an_effect_say_nothing(letters, task) -> None:
    assert said(letters, task, hidden_size=10, epochs=3, seed=4, l2=0.1) == []


@pytest.mark.parametrize(
    ("letters", "task", "given", "leaks"),
    [
        ("SGD+C", "music", {}, (0.8, 0.98)),
        ("SGD+C", "music", {"output": "nade"}, (0.8, 0.98)),
        ("SGD+CR", "words", {}, (0.02, 0.2)),
        ("HF", "task", {}, (0.8, 0.98)),
        ("SGD+CR", "chars", {"leak_low": 0.1}, (0.1, 0.2)),
        ("SGD+C", "music", {"leak_low": 0.1, "leak_high": 0.3}, (0.1, 0.3)),
    ],
)
def test_leaky_units_without_l_take_the_leaks_that_l_means(letters, task, given, leaks) -> None:
    recipe = Recipe.parse(letters, task=task, leak_fraction=0.5, **given)
    assert (recipe.leak_low, recipe.leak_high) == leaks
    lines = said(letters, task, leak_fraction=0.5, **given)
    taken = {"leak_low", "leak_high"} - given.keys()
    assert len(lines) == bool(taken)
    for name in taken:
        assert f"{name} = {getattr(recipe, name)}" in lines[0]


def test_a_complete_config_gives_the_same_recipe_and_no_notice() -> None:
    for recipe in (
        Recipe.parse("SGD+C", leak_fraction=0.3),
        Recipe(recipe="SGD", leak_fraction=0.3),  # the fields' leaks, as runs before this rule have them
        Recipe.parse("SGD+CM", output="nade"),
        Recipe(recipe="SGD", output="nade", momentum=0.9),
    ):
        stored = recipe.to_dict()
        letters = stored.pop("recipe")
        assert Recipe.parse(letters, **stored) == recipe
        assert notices(recipe, {}, stored) == []


def test_momentum_without_m() -> None:
    assert said("SGD+C", momentum=0.9) == ["momentum without M keeps learning_rate = 0.05 (M means 0.01)"]
    assert said("SGD+C", momentum=0.9, learning_rate=0.02) == []
    recipe = Recipe.parse("SGD+C", output="nade", momentum=0.9)
    assert recipe.momentum_schedule == "sutskever"
    assert said("SGD+C", output="nade", momentum=0.9) == [
        "momentum without M takes learning_rate = 0.3, momentum_schedule = sutskever, as M means them"
    ]
    assert said("SGD+CM", momentum=0.5) == []


def test_rectifiers_without_r() -> None:
    assert said("SGD+C", nonlinearity="relu") == [
        "nonlinearity without R keeps l1 = 0.0 (R means 0.0001)",
    ]
    (line,) = said("SGD+C", nonlinearity="relu", output="rbm")
    assert line.startswith(
        "nonlinearity without R keeps l1 = 0.0, initialization = uniform (R means 1e-05, id"
    )
    assert said("SGD+C", nonlinearity="sigmoid") == []


def test_what_a_file_says_counts_as_given() -> None:
    assert said("SGD+C", file={"momentum": 0.9, "learning_rate": 0.02}) == []
    (line,) = said("SGD+C", file={"momentum": 0.9})
    assert "keeps learning_rate = 0.05" in line
    # but a complete file is full of settings without an effect
    assert said("SGD+C", file={"nade_size": 20, "leak_low": 0.1}) == []


@pytest.mark.parametrize(
    ("letters", "given", "line"),
    [
        ("SGD+CL", {"leak_fraction": 0}, "SGD+CL has L, and leak_fraction 0.0 takes it back"),
        ("SGD+CL", {"clip": "none"}, "SGD+CL has C, and clip none takes it back"),
        ("SGD+CR", {"nonlinearity": "tanh"}, "SGD+CR has R, and nonlinearity tanh takes it back"),
        ("SGD+CM", {"momentum": 0}, "SGD+CM has M, and momentum 0.0 takes it back"),
    ],
)
def test_a_letter_that_an_option_takes_back(letters, given, line) -> None:
    assert said(letters, **given) == [line]


@pytest.mark.parametrize(
    ("task", "letters", "given", "line"),
    [
        (
            "music",
            "SGD+C",
            {"leak_low": 0.1},
            "leak_low has no effect with leak_fraction 0.0: it is for larger",
        ),
        ("music", "SGD", {"momentum_kind": "classical"}, "momentum_kind has no effect with momentum 0.0"),
        ("music", "SGD", {"nade_size": 9}, "nade_size has no effect with output bernoulli: it is for nade"),
        ("music", "SGD", {"state_scale": 1}, "with output bernoulli: it is for nade or rbm"),
        ("music", "SGD", {"damping": 1}, "damping has no effect with recipe SGD: it is for HF"),
        ("music", "HF", {"learning_rate": 1}, "learning_rate has no effect with recipe HF: it is for SGD"),
        ("music", "SGD", {"length": 20}, "length has no effect with task music: it is for task"),
        ("words", "SGD", {"transpose": False}, "transpose has no effect with task words: it is for music"),
        (
            "chars",
            "SGD",
            {"classes": 3},
            "with output softmax: it is for class-softmax",
        ),
        ("words", "SGD", {"direct_order": 2}, "direct_order has no effect with direct 0"),
        ("music", "SGD", {"spectral_radius": 1}, "with initialization uniform: it is for echo-state"),
    ],
)
def test_a_setting_without_an_effect(task, letters, given, line) -> None:
    (found,) = said(letters, task, **given)
    assert line in found
