"""What is made of letters, a file and options together; and what is said about it."""

from pathlib import Path

import pytest
import tomli_w

from ostinato.cli.settings import Options, asked_for
from ostinato.errors import without_marks
from ostinato.recipe.recipe import Recipe


@pytest.fixture
def config(tmp_path):
    """config(complete, **more): a run's complete config.toml, or a file of these settings alone."""

    def write(complete: Recipe | None = None, /, **more: object) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(tomli_w.dumps((complete.to_dict() if complete else {}) | more))
        return path

    return write


def asked(options: dict, path: Path | None = None, task: str | None = None) -> tuple[Recipe, list[str]]:
    recipe, said = asked_for(Options(**options), path, task)
    return recipe, [without_marks(line) for line in said]


@pytest.mark.parametrize("letters", ["SGD", "SGD+C", "SGD+CLRM", "HF"])
@pytest.mark.parametrize("task", ["music", "words", "task"])
def test_a_run_s_config_alone_gives_its_recipe_and_says_nothing(config, letters, task) -> None:
    recipe = Recipe.parse(letters, task=task)
    assert asked({}, config(recipe)) == (recipe, [])


def test_a_config_of_an_older_run_with_leaks_of_its_own_gives_them_again(config) -> None:
    old = Recipe(recipe="SGD+C", clip="auto", leak_fraction=0.5)  # leaks 0.02 to 0.2, as it was trained
    assert asked({}, config(old)) == (old, [])
    assert asked({"seed": 1}, config(old))[0].leak_low == 0.02


def test_leaky_units_over_a_config_without_them_take_l_s_leaks(config) -> None:
    recipe, said = asked({"leak_fraction": 0.5}, config(Recipe.parse("SGD+C")))
    assert (recipe.leak_low, recipe.leak_high) == (0.8, 0.98)
    assert said == ["leak_fraction without L takes leak_low = 0.8, leak_high = 0.98, as L means them"]
    # where the file has leaky units, its leaks stay
    file = config(Recipe.parse("SGD+C", leak_fraction=0.1, leak_low=0.3, leak_high=0.4))
    recipe, said = asked({"leak_fraction": 0.5}, file)
    assert (recipe.leak_low, recipe.leak_high, said) == (0.3, 0.4, [])


def test_letters_given_say_what_of_the_file_they_take_back(config) -> None:
    file = config(recipe="SGD+CL", l1=0.5, hidden_size=7)
    recipe, said = asked({"recipe": "SGD+C"}, file)
    assert (recipe.l1, recipe.hidden_size) == (0.0, 7)
    assert said == [f"SGD+C takes back what {file} says: l1 = 0.5"]
    assert asked({"recipe": "SGD+C", "l1": 0.2}, file)[0].l1 == 0.2


def test_the_notices_are_printed_with_the_options_names_once(ostinato, songs) -> None:
    quick = ("--data", songs, "--hidden-size", 4, "--epochs", 1, "--threads", 1, "-q")
    code, out, err = ostinato("train", "--recipe", "SGD+C", "--leak-fraction", 0.5, *quick, "--json")
    assert code == 0
    assert '"leak_low": 0.8' in out
    lines = [line for line in err.splitlines() if line.startswith("note: ")]
    assert lines == [
        "note: --leak-fraction without L takes --leak-low = 0.8, --leak-high = 0.98, as L means them"
    ]
    _, _, err = ostinato("train", "--recipe", "SGD+C", "--leak-low", 0.1, "--nade-size", 3, *quick)
    assert "note: --leak-low has no effect with --leak-fraction 0.0" in err
    assert "note: --nade-size has no effect with --output bernoulli: it is for nade" in err
