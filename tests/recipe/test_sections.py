"""A recipe has the settings of its domain, output, cell and optimizer; older files, with all, are read."""

import tomllib
from pathlib import Path

import pytest

from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError
from ostinato.nn.outputs.registry import OUTPUTS
from ostinato.recipe.core import CORE
from ostinato.recipe.owned import every_setting, owned_settings, owners
from ostinato.recipe.recipe import Recipe

OLD = Path(__file__).parents[1] / "runs" / "old" / "stopped"


@pytest.mark.parametrize("domain", ["music", "words", "chars", "delays"])
def test_a_recipe_has_its_own_settings_and_no_others(domain):
    recipe = Recipe.parse("SGD+C", domain=domain)
    chosen = {recipe.domain, recipe.output, recipe.cell, recipe.optimizer}
    common = {setting.name for setting in CORE}
    for name in every_setting():
        _, having = owners(name)
        assert (name in recipe) == (name in common or bool(chosen & {*having})), name
    assert recipe.to_dict().keys() <= owned_settings(recipe.to_dict()).keys()


def test_a_recipe_on_words_knows_nothing_of_an_rbm_nor_of_music():
    recipe = Recipe.parse("SGD+CLR", domain="words")
    assert not {"rbm_size", "nade_size", "state_scale", "ais_steps", "transpose", "damping", "momentum"} & {
        *recipe.to_dict()
    }
    with pytest.raises(AttributeError, match="no setting 'rbm_size'"):
        recipe.rbm_size  # noqa: B018
    with pytest.raises(
        UserError, match="rbm_size is for output rbm, found output class-softmax; leave it out"
    ):
        recipe.replace(rbm_size=3)


def test_another_output_brings_its_own_settings_at_their_defaults():
    recipe = Recipe.parse("SGD", output="nade", nade_size=7, state_scale=0.5)
    other = recipe.replace(output="rbm")
    assert (other.rbm_size, other.state_scale, "nade_size" in other) == (150, 0.5, False)
    assert other.replace(output="nade").nade_size == 150


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_output_that_does_not_fit_is_refused(output):
    for domain in ("music", "words"):
        if OUTPUTS[output].targets == DOMAINS[domain].targets:
            assert Recipe.parse("SGD", domain=domain, output=output).output == output
        else:
            with pytest.raises(UserError, match=f"output {output} does not fit {domain}; use"):
                Recipe.parse("SGD", domain=domain, output=output)


@pytest.mark.parametrize("run", sorted(path.name for path in OLD.iterdir()))
def test_an_older_run_s_settings_are_read_in_today_s_names(run):
    path = OLD / run / "config.toml"
    old = tomllib.loads(path.read_text())
    recipe = Recipe.from_dict(old)
    assert recipe == Recipe.from_dict(Recipe.read_settings(path)) == Recipe.from_dict(recipe.to_dict())
    assert recipe.domain == {"task": "delays"}.get(old["task"], old["task"])
    assert recipe.name == old["recipe"]
    # what both have is the same; what is left out is another output's, say
    for name, value in old.items():
        if name not in ("task", "momentum_kind"):
            assert recipe.get(name, value) == value, name
            assert name in recipe or owners(name)[0], name
    assert recipe.optimizer == (
        "hessian-free" if recipe.base == "HF" else old["momentum_kind"] if old["momentum"] else "sgd"
    )


@pytest.mark.parametrize("run", sorted(path.name for path in OLD.iterdir()))
def test_an_older_run_s_file_of_settings_gives_its_recipe_again(run):
    from ostinato.cli.settings import Options, asked_for

    path = OLD / run / "config.toml"
    recipe, _ = asked_for(Options(), path)
    assert recipe == Recipe.from_dict(tomllib.loads(path.read_text()))
    assert asked_for(Options(seed=9), path)[0] == recipe.replace(seed=9)
