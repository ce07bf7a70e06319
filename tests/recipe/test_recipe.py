import itertools
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from ostinato.errors import UserError
from ostinato.recipe.recipe import Recipe


@given(st.permutations("CLRM"), st.integers(0, 4))
def test_letters_in_any_order_mean_the_same(letters: list[str], count: int) -> None:
    chosen = letters[:count]
    recipe = Recipe.parse("SGD" + ("+" if chosen else "") + "".join(chosen))
    assert (recipe.clip == "quantile") == ("C" in chosen)
    assert (recipe.leak_fraction > 0) == ("L" in chosen)
    assert (recipe.nonlinearity == "relu") == ("R" in chosen)
    assert (recipe.l1 > 0) == ("R" in chosen)
    assert (recipe.get("momentum", 0) > 0) == ("M" in chosen)
    assert recipe.optimizer == ("nesterov" if "M" in chosen else "sgd")


def test_every_recipe_survives_toml(tmp_path: Path) -> None:
    for count in range(5):
        for letters in itertools.combinations("CLRM", count):
            recipe = Recipe.parse("SGD" + ("+" + "".join(letters) if letters else ""), learning_rate=1 / 3)
            path = tmp_path / "config.toml"
            path.write_text(tomli_w.dumps(recipe.to_dict()))
            assert Recipe.from_dict(Recipe.read_settings(path)) == recipe


def test_a_setting_overrides_its_letter() -> None:
    recipe = Recipe.parse("SGD+CR", clip=7, nonlinearity="sigmoid")
    assert (recipe.clip, recipe.nonlinearity) == (7.0, "sigmoid")
    with pytest.raises(AttributeError, match="does not change"):
        recipe.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("letters", "settings", "name", "optimizer"),
    [
        (None, {"domain": "series"}, "adam+C", "adam"),
        ("SGD+C", {"domain": "series"}, "SGD+C", "sgd"),
        ("Adam+lc", {}, "adam+CL", "adam"),
        ("RMSprop", {}, "rmsprop", "rmsprop"),
        ("SGD+CL", {"optimizer": "adam"}, "adam+CL", "adam"),
        (None, {"domain": "series", "optimizer": "sgd"}, "SGD+C", "sgd"),
        (None, {"domain": "series", "optimizer": "adamw"}, "adamw+C", "adamw"),
        ("SGD+CM", {}, "SGD+CM", "nesterov"),
        ("SGD+C", {"momentum": 0.9}, "SGD+C", "nesterov"),
        ("HF", {}, "HF", "hessian-free"),
    ],
)
def test_the_name_says_which_optimizer(letters, settings, name, optimizer) -> None:
    recipe = Recipe.parse(letters, **settings)
    assert (recipe.name, recipe.optimizer) == (name, optimizer)
    assert recipe.to_dict()["recipe"] == name
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    stored = recipe.to_dict()
    assert Recipe.parse(stored.pop("recipe"), **stored) == recipe
    assert Recipe.parse(
        name, domain=recipe.domain, **{n: settings[n] for n in settings if n == "momentum"}
    ) == (recipe)


def test_another_optimizer_takes_another_name() -> None:
    assert Recipe.parse("SGD+CM").replace(optimizer="adam").name == "adam+C"
    assert Recipe.parse("adam+C").replace(optimizer="classical").name == "SGD+C"
    assert Recipe(recipe="HF").optimizer == "hessian-free"
    # as runs had it whose name did not say so
    old = Recipe.parse(None, domain="series").to_dict() | {"recipe": "SGD+C"}
    assert Recipe.from_dict(old).name == "adam+C"


@pytest.mark.parametrize(
    ("letters", "optimizer", "message"),
    [
        ("adam+C", "sgd", "expected optimizer adam and recipe adam together, found sgd and adam"),
        ("adam", "hessian-free", "expected optimizer adam and recipe adam together, found hessian-free"),
        ("SGD", "hessian-free", "expected optimizer hessian-free and recipe HF together"),
    ],
)
def test_an_optimizer_that_contradicts_the_name_is_refused(letters, optimizer, message) -> None:
    with pytest.raises(UserError, match=message):
        Recipe.parse(letters, optimizer=optimizer)


@pytest.mark.parametrize(
    "letters",
    [
        *("", "ADAMM", "SGD+", "+C", "SGD+X", "SGD+CC", "SGDC", "HF+C"),
        *("adam+M", "adam+", "nesterov", "nesterov+C", "hessian-free", "lbfgs"),
    ],
)
def test_unknown_letters_are_refused(letters: str) -> None:
    with pytest.raises(UserError, match="expected a recipe like"):
        Recipe.parse(letters)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hiden_size": 3}, "did you mean hidden_size"),
        ({"hidden_size": 0}, r"hidden_size in \[1"),
        ({"hidden_size": 2.5}, "hidden_size to be int"),
        ({"hidden_size": True}, "hidden_size to be int"),
        ({"learning_rate": -1}, "learning_rate above 0, found -1"),
        ({"learning_rate": 0}, "learning_rate above 0, found 0"),
        ({"learning_rate": 1e300}, "learning_rate of at most 3.4e\\+38, found 1e\\+300"),
        ({"learning_rate": float("nan")}, "learning_rate to be a finite number above 0, found nan"),
        ({"epochs": 0}, r"expected epochs in \[1, 1000000\], found 0"),
        ({"optimizer": "nesterov", "momentum": 1.0}, r"momentum in \[0, 1\)"),
        ({"nonlinearity": "gelu"}, "'tanh' or 'relu'"),
        ({"clip": "often"}, "'quantile' or 'none'"),
        ({"clip_quantile": 1.5}, r"clip_quantile in \[0, 1\]"),
        ({"leak_low": 0.5, "leak_high": 0.1}, "leak_low <= leak_high"),
        ({"dropout": 0.5}, "between layers"),
        ({"transpose": 1}, "transpose to be bool"),
        ({"data": 3}, "data to be str"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Recipe.from_dict(settings)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"learnig_rate = 0.1", "did you mean learning_rate"),
        (b"learning_rate = ", "expected a TOML file"),
        (b"\xff\xfe", "expected a TOML file"),
        (b"seed = " + b"[" * 100_000, "expected a TOML file"),
        (b'recipe = ["C"]', r"expected recipe = .*, found \['C'\]"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        Recipe.read_settings(path)
    with pytest.raises(UserError, match="cannot read"):
        Recipe.read_settings(tmp_path / "none.toml")
