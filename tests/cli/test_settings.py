"""What is made of letters, a file and options together; and what is said about it."""

import json
import tomllib
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


def asked(options: dict, path: Path | None = None, domain: str | None = None) -> tuple[Recipe, list[str]]:
    recipe, messages = asked_for(Options(**options), path, domain)
    return recipe, [without_marks(line) for line in messages]


@pytest.mark.parametrize("letters", ["SGD", "SGD+C", "SGD+CLRM", "HF"])
@pytest.mark.parametrize("domain", ["music", "words", "delays"])
def test_a_run_s_config_alone_gives_its_recipe_and_says_nothing(config, letters, domain) -> None:
    recipe = Recipe.parse(letters, domain=domain)
    assert asked({}, config(recipe)) == (recipe, [])


def test_a_config_of_an_older_run_with_leaks_of_its_own_gives_them_again(config) -> None:
    old = Recipe(recipe="SGD+C", clip="auto", leak_fraction=0.5)  # leaks 0.02 to 0.2, as it was trained
    assert asked({}, config(old)) == (old, [])
    assert asked({"seed": 1}, config(old))[0].leak_low == 0.02


def test_leaky_units_over_a_config_without_them_take_l_s_leaks(config) -> None:
    recipe, messages = asked({"leak_fraction": 0.5}, config(Recipe.parse("SGD+C")))
    assert (recipe.leak_low, recipe.leak_high) == (0.8, 0.98)
    assert messages == ["leak_fraction without L takes leak_low = 0.8, leak_high = 0.98, as L means them"]
    # where the file has leaky units, its leaks stay
    file = config(Recipe.parse("SGD+C", leak_fraction=0.1, leak_low=0.3, leak_high=0.4))
    recipe, messages = asked({"leak_fraction": 0.5}, file)
    assert (recipe.leak_low, recipe.leak_high, messages) == (0.3, 0.4, [])


def test_letters_given_say_what_of_the_file_they_take_back(config) -> None:
    file = config(recipe="SGD+CL", l1=0.5, hidden_size=7)
    recipe, messages = asked({"recipe": "SGD+C"}, file)
    assert (recipe.l1, recipe.hidden_size) == (0.0, 7)
    assert messages == [f"SGD+C takes back what {file} says: l1 = 0.5"]
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
    _, _, err = ostinato("train", "--recipe", "SGD+C", "--leak-low", 0.1, *quick)
    assert "note: --leak-low has no effect with --leak-fraction 0.0" in err
    _, _, err = ostinato("train", "--recipe", "SGD+C", "--no-metre", "--look-back", *quick)
    assert "note: --look-back has no effect without --metre\n" in err
    _, _, err = ostinato("train", "--recipe", "SGD+C", "--nade-size", 3, *quick)
    assert err == "ostinato: --nade-size is for --output nade, found --output bernoulli; leave it out\n"


def test_the_option_of_earlier_versions_for_the_kind_of_momentum_still_works() -> None:
    recipe, messages = asked({"recipe": "SGD+CM", "momentum_kind": "classical"})
    assert (recipe.name, recipe.optimizer, recipe.momentum, messages) == ("SGD+CM", "classical", 0.9, [])
    recipe, _ = asked({"recipe": "SGD+C", "momentum": 0.5, "momentum_kind": "classical"})
    assert (recipe.optimizer, recipe.momentum) == ("classical", 0.5)
    for letters in ("SGD+C", "HF"):
        recipe, messages = asked({"recipe": letters, "momentum_kind": "classical"})
        assert recipe == Recipe.parse(letters)
        assert messages == ["momentum_kind has no effect without momentum"]


def test_an_older_flat_file_trains_as_before_and_what_it_says_in_vain_is_told(config) -> None:
    file = config(
        task="words", recipe="SGD+CM", momentum_kind="classical", momentum=0.8, rbm_size=7, transpose=True
    )
    recipe, messages = asked({}, file)
    assert (recipe.domain, recipe.optimizer, recipe.momentum) == ("words", "classical", 0.8)
    assert messages == ["SGD+CM on words with output class-softmax has no use for rbm_size = 7"]


def test_a_file_that_bears_a_data_set_s_name_is_not_taken_for_it(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("jsb", "temporal-order", "mine"):
        (tmp_path / name).touch()
    assert [asked({"data": name})[0].data for name in ("jsb", "temporal-order")] == ["jsb", "temporal-order"]
    assert asked({"data": "mine"})[0].data == str(tmp_path / "mine")
    assert asked({"data": "mine, jsb"})[0].data == f"{tmp_path / 'mine'},{tmp_path / 'jsb'}"


def test_a_resumed_run_refuses_an_option_that_it_has_no_use_for(ostinato, config) -> None:
    folder = config(Recipe.parse("SGD+C", domain="words")).parent
    code, out, err = ostinato("train", "--resume", folder, "--rbm-size", 3)
    assert (code, out) == (2, "")
    assert "--rbm-size is for output rbm, found output class-softmax; leave it out" in err


def test_a_run_on_words_keeps_no_setting_of_music(ostinato, tmp_path) -> None:
    (tmp_path / "text.txt").write_text("the cat saw a dog\n" * 60)
    quick = ("--hidden-size", 4, "--epochs", 1, "--threads", 1, "--segment-length", 5, "--streams", 2, "-q")
    code, _, err = ostinato("train", "words", "--data", "text.txt", "--run", "r", *quick)
    assert code == 0, err
    kept = tomllib.loads((tmp_path / "r" / "config.toml").read_text())
    assert kept["domain"] == "words"
    assert not [
        n for n in kept if n.startswith(("rbm", "nade", "ais", "cg_", "pretrain")) or n == "transpose"
    ]
    code, out, _ = ostinato("train", "--config", "r/config.toml", "--dry-run", "--json")
    assert (code, json.loads(out)["recipe"]) == (0, kept)


def test_an_option_takes_the_place_of_a_file_s_optimizer(config) -> None:
    file = config(Recipe.parse(None, domain="series"))
    recipe, said = asked({"optimizer": "sgd"}, file)
    assert (recipe.name, recipe.optimizer, said) == ("SGD+C", "sgd", [])
    recipe, _ = asked({"recipe": "SGD+C"}, file)
    assert (recipe.name, recipe.optimizer) == ("SGD+C", "sgd")
    assert asked({"recipe": "adam+C"}, file)[0] == Recipe.parse(None, domain="series")
    # as runs had it whose name did not say so
    old = config(Recipe.parse(None, domain="series"), recipe="SGD+C")
    assert asked({}, old)[0] == Recipe.parse(None, domain="series")


def test_letters_and_another_optimizer_given_say_who_takes_whose_place(config) -> None:
    recipe, said = asked({"recipe": "SGD+C", "optimizer": "adam"}, None, "series")
    assert (recipe, said) == (
        Recipe.parse(None, domain="series"),
        ["optimizer adam takes the place of SGD: adam+C"],
    )
