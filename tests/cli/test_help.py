"""Help: a line for every command, the defaults of the recipe in question, nothing lost where it is narrow."""

import dataclasses
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pyte
import pytest

import ostinato as package
from ostinato.cli.help import shown_defaults
from ostinato.cli.main import COMMANDS, LINES, app
from ostinato.cli.settings import UNSET
from ostinato.recipe import Recipe

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
KINDS = ("music", "words", "chars", "task")


@pytest.mark.parametrize("letters", RECIPES)
@pytest.mark.parametrize("kind", KINDS)
def test_train_shows_the_defaults_that_the_recipe_gives(ostinato, letters, kind) -> None:
    check_defaults(ostinato, Recipe.parse(letters, task=kind), kind, "--recipe", letters)


@pytest.mark.parametrize(
    ("arguments", "recipe"),
    [
        ((), Recipe.parse("SGD+CL")),
        (("words",), Recipe.parse("SGD+CLR", task="words")),
        (("task",), Recipe.parse("HF", task="task")),
        (("--output", "nade", "--recipe", "HF"), Recipe.parse("HF", output="nade")),
        (("--output", "rbm"), Recipe.parse("SGD+CL", output="rbm")),
        (("--recipe", "SGD+C", "--leak-fraction", "0.25"), Recipe.parse("SGD+C", leak_fraction=0.25)),
        (("--frames-per-beat", "4"), Recipe.parse("SGD+CL", frames_per_beat=4)),
        (("--no-transpose",), Recipe.parse("SGD+CL", transpose=False)),
        (
            ("task", "--data", "memorization"),
            Recipe.parse("HF", task="task", data="memorization"),
        ),
    ],
)
def test_options_given_change_the_defaults_of_others(ostinato, arguments, recipe) -> None:
    check_defaults(ostinato, recipe, *arguments)


def check_defaults(ostinato, recipe: Recipe, *arguments: str) -> None:
    code, out, err = ostinato("train", *arguments, "--help")
    assert (code, err) == (0, "")
    shown = defaults_in(out)
    for field in dataclasses.fields(recipe):
        if field.name == "task":
            continue
        value = getattr(recipe, field.name)
        text = shown["--" + field.name.replace("_", "-")]
        if value is None:
            assert text == UNSET[field.name]
        elif field.type is bool:
            assert text == ("yes" if value else "no")
        else:
            # what is shown, typed as an option, is the same setting
            assert type(value)(text) == value, field.name
    assert f"those of {recipe.recipe} on" in " ".join(out.split())


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
    expected = shown_defaults(Recipe.parse("SGD+M", task="chars"))
    assert {name: shown[name] for name in expected} == expected
    page = ostinato("reproduce", "--help")[1]
    assert not defaults_in(page).keys() & expected.keys()
    # they would make a cell another cell
    assert not {"--recipe", "--output", "--data", "--seed"} & entries(page).keys()


def test_what_most_people_need_comes_first(ostinato) -> None:
    page = ostinato("train", "--help")[1]
    start, end = page.index("\nMost used\n"), page.index("\nOptions\n")
    first = [name for name in entries(page[start:end]) if name.startswith("--")]
    assert len(first) == 10
    assert {"--recipe", "--data", "--output", "--epochs", "--resume"} <= set(first)
    groups = re.findall(r"^(\w[\w -]*)$", page[end:], flags=re.M)
    assert groups == [
        "Options",
        "Data",
        "Text",
        "Model",
        "Output",
        "Optimization",
        "Hessian-free",
        "Training",
    ]


def in_a_terminal(width: int) -> list[str]:
    """The help pages as a terminal of this width shows them."""
    fcntl, pty, termios = map(pytest.importorskip, ("fcntl", "pty", "termios"))  # not on Windows
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    hidden = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TERM")
    environment = {k: v for k, v in os.environ.items() if k not in hidden} | {"TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-c", PRINT_ALL, SOURCE, *map(" ".join, HELPS)],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=environment,
    )
    os.close(follower)
    output = b""
    try:
        while chunk := os.read(leader, 1 << 16):
            output += chunk
    except OSError:
        pass  # the other end is closed
    os.close(leader)
    assert process.wait() == 0, output.decode()
    assert b"\x1b[" in output, "no colours: not taken for a terminal"
    lines = output.count(b"\n") + 100
    screen = pyte.Screen(width, lines * 2)
    pyte.ByteStream(screen).feed(output)
    return "\n".join(line.rstrip() for line in screen.display).split("=====")


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
