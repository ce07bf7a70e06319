"""Help: a line for every command, the defaults of the recipe in question, nothing lost where it is narrow."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ostinato as package
from ostinato.cli.help import shown_options
from ostinato.cli.main import COMMANDS, LINES, app
from ostinato.domains.registry import DOMAINS
from ostinato.recipe.recipe import Recipe
from terminal import in_terminal, pictures

HELPS = [[], *([name] for name in LINES), *(["data", n] for n in ("list", "fetch", "show"))]
HELPS += [["runs", "diff"], ["runs", "remove"]]
SOURCE = str(Path(package.__file__).parent.parent)

PRINT_ALL = """
import sys
sys.path.insert(0, sys.argv[1])
from ostinato.cli.main import run
for line in sys.argv[2:]:
    assert run([*line.split(), "--help"]) == 0
    print("=====")
"""


def entries(page: str) -> dict[str, str]:
    """What a help page of 80 columns says of each option, by its first name."""
    found: dict[str, str] = {}
    name = ""
    for line in page.splitlines():
        if re.match(r"  \S", line):
            label, _, text = line[2:].partition("  ")
            name = next((word for word in label.split() if word.startswith("--")), label.split()[0])
            found[name] = text.strip()
        elif line.startswith("   ") and name:
            found[name] += f" {line.strip()}"
        else:
            name = ""
    return found


def defaults_in(page: str) -> dict[str, str]:
    shown = {name: re.search(r"\[default: ([^\]]*)\]", text) for name, text in entries(page).items()}
    return {name: match[1] for name, match in shown.items() if match}


def test_every_command_has_its_line_and_no_internal_name_is_shown(ostinato) -> None:
    ostinato("train", "--help")  # after which the command has its own help
    code, out, _ = ostinato("--help")
    assert code == 0
    found = entries(out)
    for title, commands in COMMANDS.items():
        assert f"\n{title}\n" in out
        for name, (_, line) in commands.items():
            assert found[name] == line
    assert set(LINES) == {name for name in app if not name.startswith("-")}
    assert "generate-text" not in out
    assert "score-text" not in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("arguments", HELPS, ids=" ".join)
def test_options_are_spelled_with_dashes(arguments) -> None:
    command = app
    for name in arguments:
        command = command[name]
    if command.default_command is None:
        return
    names = [name for own in command.assemble_argument_collection() for name in own.names]
    names += [name for own in command.assemble_argument_collection() for name in own.negatives]
    assert [name for name in names if name.startswith("--") and "_" in name] == []
    assert names
    assert ("--no-look-back" in names) == (arguments in (["train"], ["search"], ["reproduce"]))


@pytest.mark.parametrize("arguments", HELPS, ids=" ".join)
def test_short_and_long_names_of_help(ostinato, arguments) -> None:
    code, out, err = ostinato(*arguments, "-h")
    assert (code, err) == (0, "")
    assert out == ostinato(*arguments, "--help")[1]
    assert out.startswith(" ".join(["Usage: ostinato", *arguments]))
    for name, text in entries(out).items():
        assert text, f"{name} has no help"


def test_version_by_both_names(ostinato) -> None:
    assert ostinato("-V") == ostinato("--version") == (0, f"{package.__version__}\n", "")


def test_no_help_page_imports_what_takes_long() -> None:
    """What keeps help below 0.8 s: benchmarks/help.py measures that."""
    heavy = ("torch", "numpy", "music21", "optuna", "matplotlib", "scipy", "symusic", "pooch", "jinja2")
    code = f"""
import sys
sys.path.insert(0, {SOURCE!r})
from ostinato.cli.main import run
for words in {HELPS!r}:
    assert run([*words, "--help"]) == 0
    found = [name for name in {heavy!r} if name in sys.modules]
    assert not found, (words, found)
assert run(["--version"]) == 0
assert run(["runs", {SOURCE!r}, "--json"]) == 0
assert "torch" not in sys.modules
assert run(["train", "words", "--recipe", "SGD+CRM", "--data", "ptb", "--help"]) == 0
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


RECIPES = ("SGD", "SGD+C", "SGD+CL", "SGD+CRM", "SGD+CLRM", "HF+L")
KINDS = ("music", "words", "chars", "delays")


@pytest.mark.parametrize("letters", RECIPES)
@pytest.mark.parametrize("kind", KINDS)
def test_train_shows_the_defaults_that_the_recipe_gives(ostinato, letters, kind) -> None:
    check_defaults(ostinato, Recipe.parse(letters, domain=kind), kind, "--recipe", letters)


@pytest.mark.parametrize(
    ("arguments", "recipe"),
    [
        ((), Recipe.parse("SGD+CL")),
        (("words",), Recipe.parse("SGD+CLR", domain="words")),
        (("delays",), Recipe.parse("HF", domain="delays")),
        (("task",), Recipe.parse("HF", domain="delays")),
        (("--output", "nade", "--recipe", "HF"), Recipe.parse("HF", output="nade")),
        (("--output", "rbm"), Recipe.parse("SGD+CL", output="rbm")),
        (("--recipe", "SGD+C", "--leak-fraction", "0.25"), Recipe.parse("SGD+C", leak_fraction=0.25)),
        (("--frames-per-beat", "4"), Recipe.parse("SGD+CL", frames_per_beat=4)),
        (("--no-transpose",), Recipe.parse("SGD+CL", transpose=False)),
        (
            ("delays", "--data", "memorization"),
            Recipe.parse("HF", domain="delays", data="memorization"),
        ),
    ],
)
def test_options_given_change_the_defaults_of_others(ostinato, arguments, recipe) -> None:
    check_defaults(ostinato, recipe, *arguments)


def check_defaults(ostinato, recipe: Recipe, *arguments: str) -> None:
    code, out, err = ostinato("train", *arguments, "--help")
    assert (code, err) == (0, "")
    shown = defaults_in(out)
    for name, setting in recipe.settings().items():
        if name in ("domain", *DOMAINS[recipe.domain].unused):
            continue
        value, text = recipe.get(name), shown[setting.option]
        if value is None:
            assert text == setting.unset
        elif setting.kind is bool:
            assert text == ("yes" if value else "no")
        else:
            # what is shown, typed as an option, is the same setting
            assert type(value)(text) == value, name
    assert f"those of {recipe.name} on {recipe.domain}" in " ".join(out.split())


def test_a_resumed_run_s_help_shows_its_settings_and_a_config_s(ostinato, tmp_path) -> None:
    (tmp_path / "config.toml").write_text('recipe = "SGD+CM"\nhidden_size = 33\n')
    assert defaults_in(ostinato("train", "--resume", tmp_path, "--help")[1])["--hidden-size"] == "33"
    shown = defaults_in(ostinato("train", "--config", tmp_path / "config.toml", "-h")[1])
    assert (shown["--hidden-size"], shown["--momentum"]) == ("33", "0.9")


def test_help_is_shown_although_the_rest_is_incomplete_or_wrong(ostinato) -> None:
    general = ostinato("train", "--help")[1]
    for words, message in (
        (("--clip",), "expected a value after --clip"),
        (("--recipe", "SGD+X"), "expected a recipe like SGD"),
        (("--config", "none.toml"), "cannot read none.toml"),
    ):
        code, out, err = ostinato("train", *words, "--help")
        assert (code, out) == (0, general)
        assert message in err


def test_search_shows_them_too_and_reproduce_shows_none(ostinato) -> None:
    shown = defaults_in(ostinato("search", "chars", "--recipe", "SGD+M", "--help")[1])
    options = shown_options(Recipe.parse("SGD+M", domain="chars"))
    expected = {name: option.default for name, option in options.items() if option is not None}
    assert {name: shown[name] for name in expected} == expected
    page = ostinato("reproduce", "--help")[1]
    assert not defaults_in(page).keys() & expected.keys()
    # they would make a cell another cell
    assert not {"--recipe", "--output", "--data", "--seed"} & entries(page).keys()


def test_what_most_people_need_comes_first(ostinato) -> None:
    page = ostinato("train", "words", "--help")[1]
    start, end = page.index("\nMost used\n"), page.index("\nOptions\n")
    first = [name for name in entries(page[start:end]) if name.startswith("--")]
    assert len(first) == 10
    assert {"--recipe", "--data", "--output", "--epochs", "--resume"} <= set(first)
    groups = re.findall(r"^(\w[\w -]*)$", page[end:], flags=re.M)
    assert groups == [
        "Options",
        "Text",
        "Model",
        "Optimization",
        "Hessian-free",
        "Training",
    ]
    page = ostinato("train", "--help")[1]
    groups = re.findall(r"^(\w[\w -]*)$", page[page.index("\nOptions\n") :], flags=re.M)
    assert groups == ["Options", "Data", "Model", "Output", "Optimization", "Hessian-free", "Training"]


OWN = {
    "music": {"--frames-per-beat", "--transpose", "--rbm-size", "--nade-size", "--state-scale"},
    "words": {"--vocabulary-size", "--direct", "--valid-data", "--classes", "--within-class-rate"},
    "delays": {"--length", "--epoch-sequences", "--classes", "--within-class-rate"},
}
OWN["chars"] = OWN["words"]


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_can_matter_for_a_kind_of_data_is_shown(ostinato, kind) -> None:
    shown = entries(ostinato("train", kind, "--help")[1])
    assert shown.keys() >= OWN[kind]
    assert not shown.keys() & (set().union(*OWN.values()) - OWN[kind])
    assert ("--segment-length" in shown) == (kind != "delays")
    # all of them are understood, whatever is shown
    code, _, err = ostinato("train", kind, "--rbm-size", "3", "--vocabulary-size", "9", "--length", "20")
    assert code == 2
    assert "leave it out" in err


def test_help_says_for_what_a_setting_is(ostinato) -> None:
    shown = entries(ostinato("train", "--help")[1])
    assert "[for output rbm]" in shown["--rbm-size"]
    assert "[for output nade or rbm]" in shown["--state-scale"]
    assert "[for optimizer hessian-free]" in shown["--damping"]
    assert "[for every optimizer but hessian-free]" in shown["--learning-rate"]
    assert "[for " not in shown["--hidden-size"]
    assert "[for cell rnn or ctrnn]" in shown["--nonlinearity"]
    # a setting that this recipe does not have: what it is by default where it is had
    assert "[default: 150]" in shown["--rbm-size"]
    assert "[choices: bernoulli, nade, rbm]" in shown["--output"]
    shown = entries(ostinato("train", "words", "--help")[1])
    assert "[choices: softmax, class-softmax]" in shown["--output"]
    assert "[for " not in shown["--vocabulary-size"]


def test_the_first_word_is_a_registered_domain_and_task_an_alias(ostinato) -> None:
    page = " ".join(ostinato("train", "--help")[1].split())
    assert f"[choices: {', '.join(DOMAINS)}]" in page
    assert {*KINDS} <= {*DOMAINS}
    assert "task" not in page
    assert ostinato("train", "task", "--help") == ostinato("train", "delays", "--help")


OUTSIDE = """
import sys
sys.path.insert(0, sys.argv[1])
from ostinato.cli.main import run
from ostinato.domains.declared import DomainDeclared
from ostinato.domains.registry import DOMAINS
from ostinato.nn.cells.registry import CELLS
from ostinato.nn.outputs.registry import OUTPUTS, Output
from ostinato.optim.declared import OPTIMIZERS
from ostinato.optim.settings import DESCENT, Optimizer
from ostinato.recipe.declared import Declared
from ostinato.recipe.setting import Setting

own = lambda name, group: Setting(name, int, 7, group, f"what {name} is", low=1)
DOMAINS.register(
    DomainDeclared(
        name="weather",
        place="nowhere:Nothing",
        targets="binary",
        recipe="SGD+C",
        settings=(own("stations", "Weather"),),
        defaults={"output": "dice", "data": "rain"},
    )
)
OUTPUTS.register(
    Output(name="dice", place="nowhere:Nothing", targets="binary", settings=(own("faces", "Output"),))
)
CELLS.register(Declared(name="brick", place="nowhere:Nothing", settings=(own("corners", "Model"),)))
OPTIMIZERS.register(
    Optimizer(name="stroll", place="nowhere:Nothing", settings=(*DESCENT, own("rests", "Optimization")))
)
for words in sys.argv[2:]:
    print(run(words.split()))
    print("=====")
"""


def test_what_is_registered_from_outside_is_in_the_help_and_is_understood() -> None:
    lines = ("train weather --help", "train --help", "train words --faces 3", "train weather --stations 0")
    code = [sys.executable, "-c", OUTSIDE, SOURCE, *lines]
    done = subprocess.run(
        code, capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "80"}
    )
    own, music, *codes = done.stdout.split("=====\n")
    assert [code.strip() for code in codes] == ["2", "2", ""]
    shown = entries(own)
    assert "what stations is [default: 7]" in shown["--stations"]
    assert "\nWeather\n" in own
    assert "[for output dice] [default: 7]" in shown["--faces"]
    assert "[default: dice]" in shown["--output"]
    assert "[for cell brick]" in shown["--corners"]
    assert "brick]" in shown["--cell"]
    assert "[for optimizer stroll]" in shown["--rests"]
    assert "stroll" in shown["--optimizer"]
    assert "--transpose" not in shown
    assert "--stations" not in entries(music)
    assert "weather" in entries(music)["DOMAIN"]
    assert done.stderr.splitlines() == [
        "ostinato: --faces is for --output dice, found --output class-softmax; leave it out",
        "ostinato: expected --stations at least 1, found 0",
    ]


def in_a_terminal(width: int) -> list[str]:
    """The help pages as a terminal of this width shows them."""
    written = in_terminal([sys.executable, "-c", PRINT_ALL, SOURCE, *map(" ".join, HELPS)], width)
    assert b"\x1b[" in written, "no colours: not taken for a terminal"
    return "\n".join(pictures(written, width)[-1]).split("=====")


def test_nothing_is_lost_at_80_and_at_40_columns() -> None:
    wide = in_a_terminal(400)
    assert len(wide) == len(HELPS) + 1
    for width in (80, 40):
        pages = in_a_terminal(width)
        for words, narrow, whole in zip(HELPS, pages, wide, strict=False):
            assert "".join(narrow.split()) == "".join(whole.split()), (width, words)
            assert "…" not in narrow
            # no word that fits is broken in two
            whole_words = {word for word in whole.split() if len(word) < width - 8}
            assert not whole_words - set(narrow.split()), (width, words)
