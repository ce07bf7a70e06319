"""Every command and option that README and docs print exists and runs, with small settings and files."""

import importlib.util
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from documented_commands import (
    BENCHMARKS,
    NOT_RUN,
    ONE_PROGRAM,
    PAGES,
    ROOT,
    SPAN,
    Command,
    blocks,
    commands,
    lines_of,
    made_small,
    pairs,
    with_option,
)
from ostinato.cli import tables
from ostinato.cli.main import app, run
from ostinato.domains.music.reading import data_sets as music
from ostinato.domains.music.writing import piano_roll
from published_stand_ins import stand_in
from terminal import check_table

MUSIC_RUNS = ("runs/bach-1", "runs/jsb-1", "runs/jsb-2", "runs/jsb-3")
NADE_RUNS = ("runs/composer", "runs/judge", "runs/mine")
SERIES_RUNS = ("runs/sensors-1",)
TEXT_RUNS = ("runs/pydoc-1", "runs/ptb-1", "runs/manual")
BUNDLE = Path("runs/bach-1/flight/epoch-0-segment-31")
STUDY = "studies/jsb-rnn"
SPACE = "[search]\nlearning_rate = {low = 1e-3, high = 0.1, log = true}\n"
SONGS = ("song.mid", "melody.mid", "soprano.mid", "harmony.mid")
FOLDERS = ("my-music", "path/to/folder")
TEXTS = ("news.txt", "a.txt", "b.txt", "c.txt", "manual.txt")
TINY = ["--hidden-size", "8", "--epochs", "1", "--threads", "1", "--quiet"]
# Commands whose results are tables.
WITH_TABLES = (
    "train",
    "evaluate",
    "compare",
    "score",
    "search",
    "reproduce",
    "data list",
    "data show",
    "doctor",
    "runs diff",
)
SENTENCES = (
    "The statement is executed once , the item too",
    "the item is an object",
    "a name is bound to an object",
)


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A folder with all files and runs that the pages name."""
    place = tmp_path_factory.mktemp("documented")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTINATO_CACHE", str(place / "cache"))
        patch.chdir(place)
        _write_songs(place / "songs")
        _write_texts(place)
        assert run(["train", "--data", "songs", "--run", MUSIC_RUNS[0], *TINY]) == 0
        nade = ["--output", "nade", "--nade-size", "8", "--accuracy-samples", "2", "--run", NADE_RUNS[0]]
        assert run(["train", "--data", "songs", *nade, *TINY]) == 0
        assert run(made_small(["search", "--study", STUDY], text=False)) == 0
        assert run(["train", "words", "--data", "words.txt", "--run", TEXT_RUNS[0], *TINY]) == 0
        assert run(["train", "series", "--data", "sensors.csv", "--run", SERIES_RUNS[0], *TINY]) == 0
        _write_bundle(place)
    for names in (MUSIC_RUNS, NADE_RUNS, TEXT_RUNS):
        for name in names[1:]:
            shutil.copytree(place / names[0], place / name)
    return place


def _write_bundle(place: Path) -> None:
    """The bundle of a step that went wrong, under the name that the pages print."""
    wild = ["--recipe", "SGD+R", "--initialization", "identity", "--clip", "none", "--learning-rate", "1e6"]
    # its second segment is not finite, nor is any validation score: the run ends without a model
    assert (
        run(["train", "--data", "songs", "--run", "runs/wild", *wild, *TINY, "--segment-length", "100"]) == 2
    )
    name = BUNDLE.name
    (place / BUNDLE).parent.mkdir(exist_ok=True)
    for suffix in (".json", ".safetensors"):
        found = min((place / "runs/wild/flight").glob(f"*{suffix}"))
        shutil.move(found, (place / BUNDLE).with_name(name + suffix))
    shutil.rmtree(place / "runs/wild")


def _write_songs(folder: Path) -> None:
    folder.mkdir()
    for seed in range(10):
        rng = np.random.default_rng(seed)
        roll = np.zeros((48, 88), np.uint8)
        for start in range(0, 48, 4):
            roll[start : start + 4, rng.choice(np.arange(30, 60), 3, replace=False)] = 1
        piano_roll.to_midi(roll, folder / f"{seed}.mid")
    for name in SONGS:
        shutil.copy(folder / "0.mid", folder.parent / name)
    for name in FOLDERS:
        shutil.copytree(folder, folder.parent / name)
    # the tutorial's first step writes chorales; this is the one that it scores
    shutil.copy(folder / "0.mid", folder.parent / "my-music" / "chorale-42.mid")


def _write_texts(place: Path) -> None:
    rng = np.random.default_rng(0)
    values = np.cumsum(rng.normal(size=(300, 2)), axis=0).round(2).tolist()
    (place / "sensors.csv").write_text("temperature,pressure\n" + "".join(f"{a},{b}\n" for a, b in values))
    lines = rng.choice(SENTENCES, 300).tolist()
    for name in ("words.txt", *TEXTS):
        (place / name).write_text("\n".join(lines) + "\n")
    (place / "slow.toml").write_text(SPACE)
    (place / "speech.txt").write_text(f"{SENTENCES[0]}\n{SENTENCES[1]} of words\n")
    utterances = [f"u{k}" for k in range(4)]
    hypotheses = [(utterance, words) for utterance in utterances for words in SENTENCES]
    (place / "references.txt").write_text("".join(f"{u} {SENTENCES[0]}\n" for u in utterances))
    (place / "lexicon.txt").write_text("the\nstatement\nzebra\n")
    (place / "nbest.txt").write_text("".join(f"{u}\t-10.5\t{words}\n" for u, words in hypotheses))


@pytest.fixture
def place(made, tmp_path, monkeypatch) -> Path:
    """A copy of that folder, as the working folder."""
    here = tmp_path / "here"
    shutil.copytree(made, here)
    monkeypatch.chdir(here)
    monkeypatch.setenv("OSTINATO_CACHE", str(here / "cache"))
    stand_in(monkeypatch, here / "published")
    return here


def _is_slow(command: Command) -> bool:
    line = command.line
    return "benchmarks/" in line or "docs/make_" in line or "train task" in line


def _parameters() -> list[object]:
    return [
        pytest.param(c, id=f"{c.page}: {' '.join(c.words())}"[:90], marks=[pytest.mark.slow] * _is_slow(c))
        for c in commands()
    ]


@pytest.mark.parametrize("command", _parameters())
def test_a_printed_command_runs(command, place, monkeypatch, capsys):
    program, *arguments = command.words()
    line = " ".join([program, *arguments])
    if any(part in command.line for part in NOT_RUN):
        return
    if program == "ostinato":
        _run_ostinato(arguments, command, capsys)
    elif program in ("python", "python3") and arguments[0].endswith(".py"):
        _run_script(arguments[0], arguments[1:], monkeypatch)
    else:
        pytest.fail(f"{command.page} prints `{line}`: neither run here nor listed in NOT_RUN")


def _run_ostinato(arguments: list[str], command: Command, capsys) -> None:
    if command.inline and len(arguments) == 1:
        arguments = [*arguments, "--help"]  # a command's name in a sentence
    globbed = [name for a in arguments for name in ([*map(str, Path().glob(a))] if "*" in a else [a])]
    small = made_small(globbed, text=command.about_text or any(name in globbed for name in TEXT_RUNS))
    if "--show" in arguments:
        Path("results").mkdir(exist_ok=True)
    printed: list[tables.Table] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "render", _remembering(printed))
        try:
            code = run(small)
        except SystemExit as stopped:
            code = int(stopped.code or 0)
    output = capsys.readouterr()
    assert code == 0, f"ostinato {' '.join(small)}\n{output.err}"
    assert output.out
    _check_tables(printed, small)


def _remembering(printed: list[tables.Table]):
    def render(table: tables.Table, *arguments):
        printed.append(table)
        return original(table, *arguments)

    original = tables.render
    return render


def _check_tables(printed: list[tables.Table], arguments: list[str]) -> None:
    """Every table that a command prints is whole on terminals of 80 and of 40 columns."""
    line = " ".join(arguments)
    if line.startswith(WITH_TABLES) and not {"--json", "--help"} & set(arguments):
        assert printed, f"ostinato {line} printed no table"
    for table in printed:
        for width in (80, 40):
            check_table(table, width)


def _run_script(script: str, arguments: list[str], monkeypatch) -> None:
    module = _loaded(ROOT / script)
    if script == "docs/make_pictures.py":
        # the few made-up songs: reading all chorales takes half a minute
        songs = music.load("songs")
        monkeypatch.setattr(module.music, "load", lambda name: songs)
        module.main(Path("pictures"))
        assert len(list(Path("pictures").glob("*.png"))) == 4
        return
    if script == "docs/make_pieces.py":
        songs = music.load("songs")
        monkeypatch.setattr(module.music, "load", lambda name: songs)
        module.main(Path("pieces"), epochs=1)
        sounds = sorted(Path("pieces").glob("*.mp3"))
        assert [path.read_bytes()[:2] for path in sounds] == 3 * [b"\xff\xf3"]
        return
    if script in BENCHMARKS:
        for name, value in pairs(BENCHMARKS[script]):
            arguments = with_option(arguments, name, value)
        arguments = [a.removeprefix("docs/") for a in arguments]
    else:
        monkeypatch.setattr(module.argparse.ArgumentParser, "parse_args", _parse_and_stop)
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    try:
        module.main()
    except _Parsed:
        assert script not in BENCHMARKS


class _Parsed(Exception):
    """The command line is understood."""


def _parse_and_stop(parser, *_):
    parser.parse_known_args = type(parser).parse_known_args.__get__(parser)
    found, unknown = parser.parse_known_args()
    assert not unknown
    raise _Parsed(found)


def _loaded(path: Path):
    spec = importlib.util.spec_from_file_location(f"documented_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    # as Python has it that runs the file: what lies beside it can be imported
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def test_every_page_is_searched_and_unknown_commands_are_found():
    """What makes the test above fail where a page prints something new."""
    assert len(commands()) > 60
    printed = "```sh\nostinato conduct runs/mine\nmake all\n```\n"
    assert [line for line, _ in lines_of(printed)] == ["ostinato conduct runs/mine", "make all"]
    with pytest.raises(ValueError, match="no rule for `ostinato conduct"):
        made_small(["conduct", "runs/mine"], text=False)


@pytest.fixture(scope="module")
def known_options() -> set[str]:
    """All options of all commands and benchmarks, and those of pip and pytest that the pages use."""
    known = {"--help", "--version", "--pyargs", "--torch-backend"}
    for name in app:
        if not name.startswith("-"):
            known |= _options_of(app[name])
    for script in (ROOT / "benchmarks").glob("*.py"):
        known |= set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', script.read_text(encoding="utf-8")))
    return known


def _options_of(command) -> set[str]:
    found = {sub for name in command if not name.startswith("-") for sub in _options_of(command[name])}
    if command.default_command is not None:
        for argument in command.assemble_argument_collection():
            found |= {name for name in argument.names if name.startswith("--")}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_in_the_text_exist(page, known_options):
    text = page.read_text(encoding="utf-8")
    prose = "\n".join(block for language, block in blocks(text) if language is None)
    for span in SPAN.findall(prose):
        for option in re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", span):
            assert option in known_options, f"{page.name}: `{span}`"


PYTHON = [
    (page.name, place, block)
    for page in PAGES
    for place, (language, block) in enumerate(blocks(page.read_text(encoding="utf-8")))
    if language == "python" and page.name not in ONE_PROGRAM
]


@pytest.mark.parametrize(("page", "number", "block"), PYTHON, ids=[f"{p}-{n}" for p, n, _ in PYTHON])
def test_printed_python_runs(page, number, block, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made / "runs", tmp_path / "runs")
    small = block.replace("Iterator(1, 80,", "Iterator(1, 2,")
    exec(compile(small, f"{page}-{number}", "exec"), {"__name__": "__main__"})
    if page.startswith("tutorial"):
        assert len(list(tmp_path.iterdir())) > 1
