import pytest

from ostinato.errors import UserError, without_marks
from ostinato.recipe.letters import SWITCHES
from ostinato.recipe.notices import notices
from ostinato.recipe.owned import every_setting
from ostinato.recipe.recipe import Recipe


def noticed(letters: str, domain: str = "music", file: dict | None = None, **given: object) -> list[str]:
    recipe = Recipe.parse(letters, file, domain=domain, **given)
    return [without_marks(line) for line in notices(recipe, given, file)]


def test_tables_name_settings() -> None:
    names = every_setting().keys()
    assert {other for setting in every_setting().values() for other in setting.needs} <= names
    assert set(SWITCHES.values()) <= names


@pytest.mark.parametrize("letters", ["SGD", "SGD+CL", "SGD+CRM", "HF"])
@pytest.mark.parametrize("domain", ["music", "words", "chars", "delays"])
def test_letters_alone_and_settings_that_always_have_an_effect_say_nothing(letters, domain) -> None:
    assert noticed(letters, domain, hidden_size=10, epochs=3, seed=4, l2=0.1) == []


@pytest.mark.parametrize(
    ("letters", "domain", "given", "leaks"),
    [
        ("SGD+C", "music", {}, (0.8, 0.98)),
        ("SGD+C", "music", {"output": "nade"}, (0.8, 0.98)),
        ("SGD+CR", "words", {}, (0.02, 0.2)),
        ("HF", "delays", {}, (0.8, 0.98)),
        ("SGD+CR", "chars", {"leak_low": 0.1}, (0.1, 0.2)),
        ("SGD+C", "music", {"leak_low": 0.1, "leak_high": 0.3}, (0.1, 0.3)),
    ],
)
def test_leaky_units_without_l_take_the_leaks_that_l_means(letters, domain, given, leaks) -> None:
    recipe = Recipe.parse(letters, domain=domain, leak_fraction=0.5, **given)
    assert (recipe.leak_low, recipe.leak_high) == leaks
    lines = noticed(letters, domain, leak_fraction=0.5, **given)
    taken = {"leak_low", "leak_high"} - given.keys()
    assert len(lines) == bool(taken)
    for name in taken:
        assert f"{name} = {getattr(recipe, name)}" in lines[0]


def test_a_complete_config_gives_the_same_recipe_and_no_notice() -> None:
    for recipe in (
        Recipe.parse("SGD+C", leak_fraction=0.3),
        Recipe(recipe="SGD", leak_fraction=0.3),  # the fields' leaks, as runs before this rule have them
        Recipe.parse("SGD+CM", output="nade"),
        Recipe(recipe="SGD", output="nade", optimizer="nesterov", momentum=0.9),
    ):
        stored = recipe.to_dict()
        letters = stored.pop("recipe")
        assert Recipe.parse(letters, **stored) == recipe
        assert notices(recipe, {}, stored) == []


def test_momentum_without_m() -> None:
    takes = "momentum without M takes optimizer = nesterov, as M means it"
    assert noticed("SGD+C", momentum=0.9) == [f"{takes}, and keeps learning_rate = 0.05 (M means 0.01)"]
    assert noticed("SGD+C", momentum=0.9, learning_rate=0.02) == [takes]
    assert noticed("SGD+C", momentum=0.9, learning_rate=0.02, optimizer="classical") == []
    assert noticed("rmsprop+C", momentum=0.9) == []
    recipe = Recipe.parse("SGD+C", output="nade", momentum=0.9)
    assert recipe.momentum_schedule == "sutskever"
    assert noticed("SGD+C", output="nade", momentum=0.9) == [
        "momentum without M takes optimizer = nesterov, learning_rate = 0.3, momentum_schedule = sutskever, "
        "as M means them"
    ]
    assert noticed("SGD+CM", momentum=0.5) == []


def test_an_optimizer_in_the_place_of_sgd() -> None:
    assert noticed("SGD+C", recipe="SGD+C", optimizer="adam") == [
        "optimizer adam takes the place of SGD: adam+C"
    ]
    assert noticed("SGD+C", optimizer="adam") == []  # the letters were not given
    assert noticed("adam+C", recipe="Adam+c", optimizer="adam") == []


def test_rectifiers_without_r() -> None:
    assert noticed("SGD+C", nonlinearity="relu") == [
        "nonlinearity without R keeps l1 = 0.0 (R means 0.0001)",
    ]
    (line,) = noticed("SGD+C", nonlinearity="relu", output="rbm")
    assert line.startswith(
        "nonlinearity without R keeps l1 = 0.0, initialization = uniform (R means 1e-05, id"
    )
    assert noticed("SGD+C", nonlinearity="sigmoid") == []


def test_what_a_file_says_counts_as_given() -> None:
    assert noticed("SGD+C", file={"momentum": 0.9, "learning_rate": 0.02, "optimizer": "nesterov"}) == []
    (line,) = noticed("SGD+C", file={"momentum": 0.9})
    assert "keeps learning_rate = 0.05" in line
    # but a complete file is full of settings without an effect; what another output needs is left out
    assert noticed("SGD+C", file={"leak_low": 0.1, "nade_size": 150}) == []
    assert noticed("SGD+C", file={"nade_size": 20, "leak_low": 0.1}) == [
        "SGD+C on music with output bernoulli has no use for nade_size = 20"
    ]


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
    assert noticed(letters, **given) == [line]


@pytest.mark.parametrize(
    ("domain", "letters", "given", "line"),
    [
        (
            "music",
            "SGD+C",
            {"leak_low": 0.1},
            "leak_low has no effect with leak_fraction 0.0: it is for larger",
        ),
        (
            "music",
            "SGD",
            {"optimizer": "classical", "momentum_schedule": "sutskever"},
            "momentum_schedule has no effect with momentum 0.0",
        ),
        ("music", "SGD", {"metre": False, "look_back": True}, "look_back has no effect without metre=True"),
        ("words", "HF", {"embedding_rate": 3}, "with optimizer hessian-free, which has no learning_rate"),
        ("delays", "HF", {"segment_length": 7}, "segment_length has no effect on delays"),
        ("words", "SGD", {"direct_order": 2}, "direct_order has no effect with direct 0"),
        ("music", "SGD", {"spectral_radius": 1}, "with initialization uniform: it is for echo-state"),
    ],
)
def test_a_setting_without_an_effect(domain, letters, given, line) -> None:
    (found,) = noticed(letters, domain, **given)
    assert line in found


@pytest.mark.parametrize(
    ("domain", "letters", "given", "line"),
    [
        ("music", "SGD", {"nade_size": 9}, "nade_size is for output nade, found output bernoulli"),
        ("music", "SGD", {"state_scale": 1}, "is for output nade or rbm, found output bernoulli"),
        ("music", "SGD", {"damping": 1}, "damping is for optimizer hessian-free, found optimizer sgd"),
        ("music", "HF", {"learning_rate": 1}, "found optimizer hessian-free; leave it out"),
        ("music", "SGD", {"length": 20}, "length is for domain delays, found domain music"),
        ("words", "SGD", {"transpose": False}, "transpose is for domain music, found domain words"),
        ("chars", "SGD", {"classes": 3}, "classes is for output class-softmax, found output softmax"),
    ],
)
def test_a_setting_of_another_output_or_kind_of_data_is_refused(domain, letters, given, line) -> None:
    with pytest.raises(UserError, match=line):
        noticed(letters, domain, **given)
    # of a file, which may be another run's, it is left out, and that is said
    (found,) = noticed(letters, domain, file=given)
    assert f"has no use for {next(iter(given))} = " in found
