"""What settings are drawn from."""

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.errors import UserError
from ostinato.recipe.recipe import Recipe
from ostinato.search import Choices, Interval, Space, StudySettings, builtin_space, check_fits
from ostinato.search.sampling import make_sampler

shares = st.floats(0, 1, exclude_max=True)
positive = st.floats(1e-6, 1e6)


@given(positive, positive, st.booleans(), shares)
def test_numbers_lie_between_the_ends(a, b, log, share):
    low, high = sorted((a, b))
    assert low <= Interval(low, high, log=log).at(share) <= high


@given(positive, positive, st.booleans(), shares, shares)
def test_a_greater_share_is_no_smaller_number(a, b, log, share, other):
    low, high = sorted((a, b))
    interval = Interval(low, high, log=log)
    smaller, greater = sorted((share, other))
    # to rounding
    assert interval.at(smaller) <= interval.at(greater) * (1 + 1e-12)


@given(st.integers(1, 1000), st.integers(0, 1000), st.integers(1, 50), shares)
def test_whole_numbers_keep_to_their_steps(low, width, step, share):
    value = Interval(low, low + width, step=step, whole=True).at(share)
    assert isinstance(value, int)
    assert low <= value <= low + width
    assert (value - low) % step == 0


@pytest.mark.parametrize("log", [False, True])
def test_both_ends_of_whole_numbers_are_drawn(log):
    interval = Interval(1, 4, log=log, whole=True)
    assert {interval.at(n / 1000) for n in range(1000)} == {1, 2, 3, 4}


def test_a_logarithmic_interval_halves_at_the_geometric_mean():
    interval = Interval(1e-4, 1e-2, log=True)
    below = sum(interval.at(n / 1000) < 1e-3 for n in range(1000))
    assert abs(below - 500) <= 1


def test_choices_are_equally_likely():
    drawn = [Choices(("a", "b", "none")).at(n / 300) for n in range(300)]
    assert [drawn.count(value) for value in ("a", "b", "none")] == [100, 100, 100]


def test_a_draw_depends_on_seed_number_and_name_only():
    table = {"learning_rate": {"low": 1e-9, "high": 1.0}, "momentum": {"low": 0.0, "high": 0.9}}
    space, part = Space.from_toml(table), Space.from_toml({"momentum": table["momentum"]})
    drawn = [space.sample(1, number) for number in range(50)]
    assert drawn == [space.sample(1, number) for number in range(50)]
    assert [d["momentum"] for d in drawn] == [part.sample(1, number)["momentum"] for number in range(50)]
    assert len({d["momentum"] for d in drawn}) == 50
    assert space.sample(2, 0) != space.sample(1, 0)
    # the two settings do not go up and down together
    above = sum((d["momentum"] > 0.45) == (d["learning_rate"] > 0.5) for d in drawn)
    assert 10 < above < 40


@pytest.mark.parametrize("letters", ["SGD", "SGD+CLRM", "HF+LR"])
@pytest.mark.parametrize("domain", ["music", "words", "chars"])
def test_optuna_records_the_very_draws(domain, letters):
    recipe = Recipe.parse(letters, domain=domain)
    space = builtin_space(recipe)
    settings = StudySettings(recipe=recipe, space=space, data_version="1")
    for number in range(5):
        trial = optuna.create_study(sampler=make_sampler(settings, number)).ask()
        assert space.suggest(trial) == space.sample(recipe.seed, number) == trial.params
        assert isinstance(space.recipe(recipe, trial.params), Recipe)


@pytest.mark.parametrize(
    ("domain", "letters", "names"),
    [
        ("music", "SGD", {"hidden_size", "learning_rate"}),
        ("music", "SGD+C", {"hidden_size", "learning_rate"}),
        (
            "music",
            "SGD+CL",
            {"hidden_size", "learning_rate", "leak_fraction", "leak_low", "leak_high"},
        ),
        ("music", "SGD+CRM", {"hidden_size", "learning_rate", "l1", "momentum"}),
        ("music", "HF", {"hidden_size", "structural_damping"}),
        ("words", "SGD", {"learning_rate"}),
        ("words", "SGD+CLR", {"learning_rate", "clip", "leak_fraction", "nonlinearity"}),
        ("chars", "SGD+CL", {"learning_rate"}),
    ],
)
def test_letters_decide_what_is_searched(domain, letters, names):
    assert set(builtin_space(Recipe.parse(letters, domain=domain)).ranges) == names


def test_the_papers_intervals():
    ranges = builtin_space(Recipe.parse("SGD+CLRM")).ranges
    assert ranges["hidden_size"] == Interval(100, 400, whole=True)
    assert ranges["learning_rate"] == Interval(1e-4, 1e-1, log=True)
    assert ranges["momentum"] == Interval(1e-3, 0.95)
    assert ranges["l1"] == Interval(1e-6, 1e-3, log=True)
    assert ranges["leak_fraction"] == Choices((0.0, 0.25, 0.5))
    words = builtin_space(Recipe.parse("SGD+C", domain="words")).ranges
    assert words["learning_rate"] == Choices((0.1, 0.01, 0.001))
    assert words["clip"] == Choices((30.0, 50.0, "none"))


def test_what_is_given_is_not_searched():
    recipe = Recipe.parse("SGD+M")
    assert set(builtin_space(recipe, frozenset({"momentum"})).ranges) == {"hidden_size", "learning_rate"}
    with pytest.raises(UserError, match="every searched setting given"):
        builtin_space(recipe, frozenset({"momentum", "hidden_size", "learning_rate"}))


def test_the_ends_of_the_leaks_range_are_put_in_order():
    space, recipe = builtin_space(Recipe.parse("SGD+L")), Recipe.parse("SGD+L")
    made = space.recipe(recipe, {"leak_low": 0.15, "leak_high": 0.05})
    assert (made.leak_low, made.leak_high) == (0.05, 0.15)


def test_a_recipe_differs_from_the_base_in_what_is_searched_only():
    recipe = Recipe.parse("SGD+CM", epochs=7)
    space = builtin_space(recipe)
    params = space.sample(0, 0)
    assert space.recipe(recipe, params).to_dict() == recipe.to_dict() | params


def test_toml_there_and_back(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(
        "[search]\n"
        "streams = {choices = [1, 4]}\n"
        "hidden_size = {low = 50, high = 200, step = 50}\n"
        "clip = {low = 0.5, high = 5, log = true}\n"
    )
    space = Space.read(path)
    assert space.ranges["hidden_size"] == Interval(50, 200, step=50, whole=True)
    assert Space.from_toml(space.to_toml()) == space


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("learning_rat = {low = 0, high = 1}", "did you mean learning_rate"),
        ("learning_rate = {low = 1, high = 0.1}", "1.0 > 0.1; swap them"),
        ("l2 = {low = 0, high = 1, log = true}", "low above 0"),
        ("learning_rate = {lo = 0, high = 1}", "did you mean low"),
        ("learning_rate = {low = 0.1}", "low and high, or choices"),
        ("learning_rate = 0.1", r"found 0\.1"),
        ("learning_rate = {choices = []}", "choices = "),
        ("learning_rate = {choices = [1], low = 0}", "are for intervals"),
        ("learning_rate = {low = 0, high = 1}", "learning_rate above 0"),
        ("l2 = {low = 0, high = 1, step = 0}", "step above 0"),
        ("hidden_size = {low = 4, high = 8, step = 0.5}", "whole step above 0"),
        ("hidden_size = {low = 4.5, high = 8}", "to be int"),
        ("momentum = {low = 0, high = 1}", "momentum in"),
        ('nonlinearity = {choices = ["tan"]}', "'tanh'"),
        ("nonlinearity = {low = 0, high = 1}", "is no number"),
        ('clip = {low = "auto", high = 2}', "expected numbers"),
        ('data = {choices = ["jsb"]}', "cannot be searched"),
        ("= 3", "found none in"),
    ],
)
def test_what_is_no_space_is_refused(tmp_path, line, found):
    path = tmp_path / "space.toml"
    path.write_text(f"[search]\n{line}\n")
    with pytest.raises(UserError, match=found):
        Space.read(path)


@pytest.mark.parametrize(
    ("text", "found"),
    [("", "an empty file"), ("[space]\n", "found space"), ("[search]\n", "settings to search")],
)
def test_a_file_without_a_space_is_refused(tmp_path, text, found):
    path = tmp_path / "space.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=found):
        Space.read(path)
    with pytest.raises(UserError, match="cannot read"):
        Space.read(tmp_path / "nothing.toml")


def test_draws_for_another_output_are_left_out_and_none_is_searched_in_vain():
    recipe = Recipe.parse("SGD", output="nade")
    space = Space.from_toml({"nade_size": {"choices": [3]}, "rbm_size": {"choices": [4]}})
    with pytest.raises(UserError, match="searched rbm_size is for output rbm, found output nade"):
        check_fits(space, recipe)
    space = Space(space.ranges | {"output": Choices(("nade", "rbm"))})
    check_fits(space, recipe)
    made = space.recipe(recipe, {"nade_size": 3, "rbm_size": 4, "output": "rbm"})
    assert (made.rbm_size, "nade_size" in made) == (4, False)
    assert space.recipe(recipe, {"nade_size": 3, "rbm_size": 4, "output": "nade"}).nade_size == 3


def test_an_older_study_over_the_momentum_keeps_its_kind():
    recipe = Recipe.parse("SGD").to_dict()
    for new in ("domain", "optimizer", "cell"):
        del recipe[new]
    old = recipe | {"task": "music", "momentum": 0.0, "momentum_kind": "classical", "rbm_size": 150}
    search = {"momentum": {"low": 0.5, "high": 0.9}}
    study = {"data_version": "1", "trials": 3}
    found = StudySettings.from_dict({"study": study, "recipe": old, "search": search})
    made = found.space.recipe(found.recipe, {"momentum": 0.7})
    assert (made.optimizer, made.momentum) == ("classical", 0.7)


def test_data_that_were_moved_are_no_other_data():
    """A study of before there were onsets and bars stays one where its folder of files is elsewhere now."""
    before = Recipe.from_dict({"domain": "music", "data": "a/songs"})
    settings, other = (
        StudySettings(recipe=recipe, space=Space({}), data_version="1")
        for recipe in (before, Recipe.from_dict({"domain": "music", "data": "b/songs"}))
    )
    assert settings.with_data_of(other) == other
    assert before.replace(data="b/songs").get("frames") == "onsets"
