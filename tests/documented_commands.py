"""Finds the commands that README and docs print, and says how a test runs each with small settings."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ostinato.domains.registry import DOMAINS
from ostinato.recipe.owned import every_setting
from ostinato.recipe.recipe import Recipe
from ostinato.reproduce.cells import find_cells

ROOT = Path(__file__).parent.parent
# what extending.md prints needs the modules that it prints: tests/docs/test_extending.py runs all of it
APART = ("extending.md",)
# whose Python is one program, run in an environment of its own by tests/docs/test_tutorial_decisions.py
ONE_PROGRAM = ("tutorial_decisions.md",)
PAGES = (ROOT / "README.md", *(p for p in sorted((ROOT / "docs").glob("*.md")) if p.name not in APART))

SHELL = ("sh", "bash", "shell", "console")
COMMAND = re.compile(r"(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\S*/)?(?:ostinato|python3?|pip|pytest|sphinx-build) \S")
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
OPTIONAL = re.compile(r"\s\[(--[^\[\]]*)\]")

# Not run here, by what is in them, with the reason. Everything else that a page prints is run.
NOT_RUN = {
    "python3 -m venv": "the first step of .ci/run",
    "pip install": "the first step of .ci/run, which installs as the README says",
    "pytest": "the last step of .ci/run, and what runs this",
    "sphinx-build": "the step of .ci/run before the tests",
    "postgresql://": "needs a database server; tests/search/test_postgres.py runs these",
}

# The first rule that a command begins with: what makes it small. An option that it has is given this value.
SMALL = "--hidden-size 8 --nade-size 8 --epochs 1 --accuracy-samples 2 --quiet"
TRAINING = f"{SMALL} --threads 1"
REPRODUCTION = f"{SMALL} --rbm-size 4 --classes 3 --cg-iterations 2 --cd-steps 1 --workers 1"
RULES = (
    ("train words", f"{TRAINING} --data words.txt --streams 4"),
    ("train chars", f"{TRAINING} --data words.txt --streams 4"),
    ("train delays", f"{TRAINING} --length 10 --cg-iterations 2"),
    ("train task", f"{TRAINING} --length 10 --cg-iterations 2"),
    ("train series", f"{TRAINING} --data sensors.csv"),
    ("train --init-from", "--quiet --epochs 1"),
    ("train --resume", "--quiet --epochs 2"),
    ("train", f"{TRAINING} --data songs --cg-iterations 2 --ais-steps 2"),
    ("generate runs/sensors-1", "--samples 20"),
    ("generate", "--steps 8"),
    ("harmonize", "--particles 10"),
    ("score", ""),
    ("rescore", ""),
    ("export", ""),
    ("evaluate --baselines", "--data songs"),
    ("evaluate", ""),
    ("data show", ""),
    ("data list", ""),
    ("doctor", ""),
    ("check", ""),
    ("runs", ""),
    ("completion", ""),
    ("search --join", "--quiet"),
    ("search", f"{SMALL} --data songs --trials 2 --workers 1"),
    # methods on problems with long delays: none of them in no time
    ("reproduce delays", "--budget 0s --quiet"),
    # on stand-ins for the published data; what is not trained in the time is left out of the table
    ("reproduce", f"{REPRODUCTION} --budget 15s"),
    ("report", "--samples 0"),
    ("compare", ""),
    ("diagnose", ""),
    ("replay", ""),
)
# Options that a run of text does not know.
NOT_FOR_TEXT = ("--steps",)

# The benchmarks that take seconds, and what makes them small; of the others only the arguments are checked.
BENCHMARKS = {
    "benchmarks/class_softmax.py": "--turns 1",
    "benchmarks/composition.py": "--particles 2",
    "benchmarks/sealed_runs.py": "--megabytes 1 --turns 2",
    "benchmarks/sealed_training.py": "--data songs --turns 2 --seconds 0.1",
    "benchmarks/hessian_free.py": "--repeat 1",
    "benchmarks/hessian_free_modules.py": "--gradients 5",
    "benchmarks/nade.py": "--rounds 1 --threads 1",
    "benchmarks/recording.py": "--pairs 4",
    "benchmarks/training_curves.py": "",
}

# What stands for a placeholder, on pages about music and on pages about text.
PLACEHOLDERS = {
    "RUN": ("runs/composer", "runs/pydoc-1"),
    "JUDGE": ("runs/composer", "runs/pydoc-1"),
    "RUN-OR-ARPA": ("runs/composer", "runs/pydoc-1"),
    "FILE": ("song.mid", "speech.txt"),
    "NBEST": ("nbest.txt", "nbest.txt"),
    "REFERENCES": ("references.txt", "references.txt"),
    "HELD-OUT": ("speech.txt", "speech.txt"),
    "FOLDER": ("folder", "folder"),
    "N": ("1", "1"),
}
TEXT_PAGES = ("text.md", "tutorial_text.md")


@dataclass(frozen=True)
class Command:
    """A command as a page prints it, on one line; `inline` where it stands within a sentence."""

    page: str
    line: str
    inline: bool

    @property
    def about_text(self) -> bool:
        """Whether it stands on a page about text."""
        return self.page in TEXT_PAGES

    def words(self) -> list[str]:
        """What the shell would see: no variables before it, no folder of the virtual environment."""
        words = [self._filled(word) for word in shlex.split(self.line.removeprefix("$ "), comments=True)]
        while re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        words[0] = words[0].rpartition("/")[2]
        return [word for word in words if word != "..."]

    def _filled(self, word: str) -> str:
        kind = int(self.about_text)
        name, equals, value = word.rpartition("=")
        return name + equals + PLACEHOLDERS.get(value, (value, value))[kind]


def commands() -> list[Command]:
    """Every command of every page, but no line twice."""
    found: dict[tuple[bool, str], Command] = {}
    for page in PAGES:
        for line, inline in lines_of(page.read_text(encoding="utf-8")):
            command = Command(page.name, line, inline)
            found.setdefault((command.about_text, " ".join(command.words())), command)
    return list(found.values())


def lines_of(text: str) -> Iterator[tuple[str, bool]]:
    """The commands of one page: of its shell fences all lines, of other blocks and spans what begins as one.

    Example:
        >>> list(lines_of("Run\\n\\n    ostinato score RUN \\\\\\n        a.mid\\n\\nor `pip install x`.\\n"))
        [('ostinato score RUN a.mid', False), ('pip install x', True)]
    """
    prose = []
    for language, block in blocks(text):
        if language is None:
            prose.append(block)
            continue
        for line in map(str.strip, re.sub(r"\\\n\s*", "", block).splitlines()):
            every = language in SHELL and (language != "console" or line.startswith("$ "))
            if line and not line.startswith("#") and (every or COMMAND.match(line)):
                yield from ((one, False) for part in line.split(" && ") for one in expanded(part.strip()))
    for span in SPAN.findall("\n".join(prose)):
        if COMMAND.match(span):
            yield from ((one, True) for one in expanded(" ".join(span.split())))


def blocks(text: str) -> Iterator[tuple[str | None, str]]:
    """(language, block) of fenced and indented blocks, "" for the language of the latter; None for prose."""
    for part in re.split(r"^(```.*?^```)\s*$", text, flags=re.M | re.S):
        if part.startswith("```"):
            first, _, rest = part.partition("\n")
            language = first.strip("` ")
            if not language.startswith("{"):
                yield language, rest.removesuffix("```")
                continue
        for paragraph in re.split(r"\n\s*\n", part):
            yield ("" if paragraph.lstrip("\n").startswith("    ") else None), paragraph


def expanded(line: str) -> list[str]:
    """A command without its optional parts, and with each of them alone.

    Example:
        >>> expanded("score RUN [--independent] [--dynamic]")
        ['score RUN', 'score RUN --independent', 'score RUN --dynamic']
    """
    bare = " ".join(OPTIONAL.sub("", line).split())
    return [bare] + [f"{bare} {option}" for option in OPTIONAL.findall(line)]


def made_small(words: list[str], *, text: bool) -> list[str]:
    """An `ostinato` command's arguments with the options of its rule; a ValueError where no rule fits."""
    if "--help" in words:
        return words
    line = " ".join(words)
    options = next((rule for prefix, rule in RULES if f"{line} ".startswith(f"{prefix} ")), None)
    if options is None:
        raise ValueError(f"no rule for `ostinato {line}`: add one to RULES in {Path(__file__).name}")
    if words[0] == "train" and "--run" in words:
        words = with_option(words, "--run", "runs/new")
    for name, value in pairs(options):
        if text and name in NOT_FOR_TEXT:
            continue
        if not fits(words, name):
            continue
        # files of one's own are data already
        if name == "--data" and Path(value_of(words, name)).suffix in (".txt", ".csv"):
            continue
        words = with_option(words, name, value)
    return words


def fits(words: list[str], name: str) -> bool:
    """Whether a setting is one of what the command trains: a run on words has no size of NADE."""
    setting = name.removeprefix("--").replace("-", "_")
    if (
        setting not in every_setting()
        or words[0] not in ("train", "search", "reproduce")
        or "--join" in words
    ):
        return True
    if words[:2] == ["reproduce", "delays"]:
        return False
    if words[0] == "reproduce":
        columns, rows = (values_of(words, option) for option in ("--datasets", "--rows"))
        cells = find_cells(words[1], columns, rows)
        recipes = [Recipe.parse(c.letters, domain=c.domain.name, output=c.output) for c in cells]
        return any(setting in recipe for recipe in recipes)
    given = {o: value_of(words, f"--{o}") for o in ("data", "output", "cell", "optimizer")}
    given = {option: value for option, value in given.items() if value}
    domain = words[1] if len(words) > 1 and words[1] in DOMAINS else "music"
    return setting in Recipe.parse(value_of(words, "--recipe") or None, domain=domain, **given)


def values_of(words: list[str], name: str) -> list[str]:
    """The values of an option that takes several."""
    if name not in words:
        return []
    rest = words[words.index(name) + 1 :]
    return rest[: next((place for place, word in enumerate(rest) if word.startswith("--")), len(rest))]


def pairs(options: str) -> list[tuple[str, str | None]]:
    """The options of a rule: names with their values.

    Example:
        >>> pairs("--epochs 1 --quiet")
        [('--epochs', '1'), ('--quiet', None)]
    """
    return [(name, value or None) for name, value in re.findall(r"(--\S+)(?: (?!--)(\S+))?", options)]


def value_of(words: list[str], name: str) -> str:
    """The value of an option, "" where it is not given."""
    return words[words.index(name) + 1] if name in words else ""


def with_option(words: list[str], name: str, value: str | None) -> list[str]:
    """The arguments with this option at this value, whether or not they have it.

    Example:
        >>> with_option(["train", "--epochs", "200"], "--epochs", "1")
        ['train', '--epochs', '1']
    """
    if name not in words:
        return [*words, name] if value is None else [*words, name, value]
    if value is None:
        return words
    place = words.index(name)
    return [*words[: place + 1], value, *words[place + 2 :]]
