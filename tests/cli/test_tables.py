"""The one printing layer: any table, any width."""

import ast
import io
import os
import re
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ostinato
from ostinato.cli import main, tables
from ostinato.cli.output import human, say
from ostinato.cli.tables import folded, print_table, render
from ostinato.cli.visible import encodable, visible
from ostinato.domains.domain import Scores
from ostinato.domains.music.shown import results_table
from ostinato.evaluation import numbers
from ostinato.evaluation.scores import Score
from ostinato.evaluation.tables import Column, Table, number_columns
from terminal import check_table, in_terminal, pictures

CLI = Path(ostinato.__file__).parent / "cli"
README = Path(__file__).parent.parent.parent / "README.md"

figures = st.builds(
    numbers.score,
    st.floats(),
    st.sampled_from(["nats", "%", "perplexity", "bits"]),
    st.one_of(st.none(), st.floats(min_value=0)),
    estimate=st.booleans(),
    interval=st.one_of(st.none(), st.tuples(st.floats(), st.floats())),
)
# what people give as names and sentences: brackets, control characters, signs of two columns
texts = st.one_of(st.text("ab [/]春\x1b\t", max_size=90), st.text("abcdefgh-", max_size=50))
headings = st.lists(st.sampled_from(["log-likelihood", "(nats/frame)", "test", "p", "%"]), max_size=3)


@st.composite
def any_table(draw):
    kinds = draw(st.lists(st.booleans(), min_size=1, max_size=7))
    table = Table([Column("\n".join(draw(headings)), text) for text in kinds], draw(texts), [draw(texts)])
    for _ in range(draw(st.integers(0, 4))):
        table.add(*(draw(texts if text else figures) for text in kinds), bold=draw(st.booleans()))
    return table


def without_spaces(text: str) -> str:
    return re.sub(r"\s", "", text)


WIDE = Table([Column("log-likelihood")], "scores")
WIDE.add(numbers.score(10_000.0, "nats", 10_000.0))


@settings(max_examples=60)
@example(WIDE, 20)
@given(any_table(), st.integers(20, 200))
def test_every_cell_of_any_table_is_whole_at_any_width(table, width):
    lines = [line.text for line in render(table, width)]
    assert all(tables.cell_len(line) <= width for line in lines)
    check_table(table, width)
    # a text may be folded: alone in a table it is read line by line
    for place, column in enumerate(table.columns):
        if column.text:
            alone = Table([column])
            for cells, _ in table.rows:
                alone.add(cells[place])
            read = without_spaces("".join(line.text for line in render(alone, width)))
            for cells, _ in table.rows:
                assert without_spaces(visible(cells[place])) in read


@given(st.text(), st.integers(2, 60))
def test_a_folded_text_has_all_its_letters(text, width):
    text = visible(text)
    lines = folded(text, width)
    assert all(tables.cell_len(line) <= width for line in lines)
    assert without_spaces("".join(lines)) == without_spaces(text)


@given(st.text(), st.sampled_from(["ascii", "latin-1", "cp1252", "utf-8"]))
def test_any_text_can_be_shown_on_any_terminal(text, encoding):
    shown = encodable(visible(text), encoding)
    shown.encode(encoding)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202e\u2066]", shown)


def results(value: float = -9.0384) -> Scores:
    systems = {
        "model": (value, 18.2, 25.8),
        "iid": (-15.9, 2.25, 3.54),
        "note-bigram": (-10.5, 12.4, 18.3),
    }
    return {
        name: {
            split: {
                "log_likelihood": Score(likelihood, "nats/frame", "pooled", 9, 3, 0.0731),
                "accuracy_bay": Score(bay, "%", "pooled", 9, 3, 0.23, True, 0.1, (bay - 1, bay + 1)),
                "accuracy_per_frame": Score(frame, "%", "mean", 9, 3, 0.004),
            }
            for split in ("train", "valid", "test")
        }
        for name, (likelihood, bay, frame) in systems.items()
    }


@pytest.mark.parametrize("width", [200, 110, 80, 40, 20])
def test_results_fit(width):
    check_table(results_table(results(), "SGD+CL on [bach]", ("train", "valid", "test")), width)


@pytest.mark.parametrize("width", range(20, 100))
def test_long_numbers_are_aligned_and_whole(width):
    table = Table([Column("", text=True), *number_columns("a", "b c")])
    table.add("x", "-123456789.123 ± 0.123", "1")
    table.add("y", "1", "≈ -123456789.123 ± 0.123\n[-123456789.2, 1]")
    check_table(table, width)
    lines = [line.text for line in render(table, width)]
    assert all(len(line) <= width for line in lines)
    if width > 50:
        assert len({len(line) for line in lines}) == 1


def test_a_narrow_table_is_split_and_a_narrower_one_stacked():
    table = results_table(results(), "", ("valid", "test"))
    parts = {w: sum("──" in line.text for line in render(table, w)) for w in (80, 40, 20)}
    assert parts == {80: 1, 40: 4, 20: 0}
    narrow = "\n".join(line.text for line in render(table, 40))
    assert re.search(r"^model +-9\.038 ± 0\.073$", narrow, re.M)
    assert re.search(
        r"^model\nvalid log-likelihood\n\(nats/frame\)\n  -9\.038 ± 0\.073$",
        "\n".join(line.text for line in render(table, 20)),
        re.M,
    )


def test_the_readme_s_table_is_what_is_printed():
    """Its numbers come from a training; its layout from here."""
    block = next(b for b in README.read_text(encoding="utf-8").split("```\n") if "SGD+CL on bach\n" in b)
    shown = block[block.index("SGD+CL on bach") :].splitlines()
    names = ("log_likelihood", "log_likelihood", "accuracy_bay", "accuracy_per_frame")
    scores = {}
    for line in shown[5:9]:
        system, *cells = re.split(r"\s{2,}", line)
        by_split = scores[system] = {"valid": {}, "test": {}}
        for split, name, cell in zip(("valid", "test", "test", "test"), names, cells, strict=True):
            value, error = map(float, cell.split(" ± "))
            unit = "nats/frame" if name == "log_likelihood" else "%"
            by_split[split][name] = Score(value, unit, "", 1, 1, error)
    again = [line.text for line in render(results_table(scores, "SGD+CL on bach"), 80)]
    assert shown[: len(again)] == again


@pytest.mark.parametrize(
    "page", [README, *sorted((README.parent / "docs").glob("*.md"))], ids=lambda p: p.name
)
def test_printed_tables_of_the_pages_fit_80_columns(page):
    blocks = page.read_text(encoding="utf-8").split("```")[1::2]
    for block in blocks:
        assert not re.search("[┏┃│…]", block), "a table that the program does not print any more"
        if "───" in block:
            prefixes = ("stopped after", "training", "clipping")  # on standard error, folded by the terminal
            lines = [line for line in block.splitlines() if not line.startswith(prefixes)]
            assert [line for line in lines if len(line) > 80] == []


@pytest.mark.parametrize("columns", ["0", "", "-5", "no", "1", "40", "300"])
def test_any_width_that_is_said_prints_everything(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", columns)
    print_table(results_table(results(), "title"))
    say("a result of 12345.678 nats")
    out = capsys.readouterr().out
    assert out.count("-9.038 ± 0.073") == 2
    assert out.count("────\n") == {"40": 4, "1": 0}.get(columns, 1)
    assert "12345.678" in out
    assert max(map(len, out.splitlines())) <= {"300": 300, "40": 40, "1": 20}.get(columns, 110)


def test_markup_and_control_characters_of_users_are_shown(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    table = Table(
        [Column("[red]piece", text=True), *number_columns("nats [b]")], "[/quote]", ["[url]x[/url]"]
    )
    table.add("see [url]the cat[/url] and [/quote]\x1b[2Jhome\r\n:smile:", "1")
    table.add("\u202edim.3", "2")
    print_table(table)
    human().print("skipped [/x] \x1b[31m.mid")
    out, err = capsys.readouterr()
    for text in ("[red]piece", "[b]", "[/quote]", "[url]x[/url]", r"\x1b[2Jhome\r\n:smile:", r"\u202edim.3"):
        assert text in out
    assert r"skipped [/x] \x1b[31m.mid" in err
    assert "\x1b" not in out + err


def test_no_command_has_a_table_of_its_own():
    for path in CLI.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "rich.table":
                assert path.name in ("progress.py", "workboard.py"), path.name  # live pictures


def test_training_in_a_terminal_of_40_columns(songs, tmp_path):
    """The live progress and the tables as a terminal shows them."""
    width = 40
    small = ["--hidden-size", "8", "--epochs", "3", "--threads", "1", "--run", str(tmp_path / "run")]
    written = in_terminal(
        [sys.executable, "-m", "ostinato", "train", "--data", str(songs), *small],
        width,
        variables={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    shown = "\n".join(pictures(written, width)[-1])
    assert "…" not in written.decode()
    table = shown.partition("± standard")[0]  # notes below it have numbers of their own
    assert len(re.findall(r"-\d+\.\d{3} ± \d[\d.e-]*", table)) == 8, table
    assert len(re.findall(r"\d+\.\d{2} ± 0\.\d{2,3}", shown)) >= 8
    # the bar is gone, and what it said was whole
    assert "frames/s" not in shown
    assert re.search(r"at most \d+:\d\d left", written.decode())
    assert re.search(r"train -\d+\.\d{3}  valid -\d+\.\d{3}", written.decode())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1


@pytest.mark.parametrize(("found", "columns"), [(132, 132), (0, 80), (OSError(), 80)])
def test_the_width_of_a_terminal(monkeypatch, found, columns):
    def size(_):
        if isinstance(found, OSError):
            raise found
        return os.terminal_size((found, 24))

    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setattr(os, "get_terminal_size", size)
    assert tables.terminal_width() == columns


def ascii_output(monkeypatch):
    """Make standard output one that has no other letters; a function that reads it."""
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", output)

    def read() -> str:
        output.flush()
        return output.buffer.getvalue().decode("ascii")

    return read


def test_a_terminal_without_unicode(monkeypatch):
    read = ascii_output(monkeypatch)
    print_table(results_table(results(), "春"))
    say("≈ 3 ± 1")
    shown = read()
    for text in (r"\u6625", "~ 18.20 +/- 0.23", "-----", "~ 3 +/- 1"):
        assert text in shown


def test_what_is_printed_past_the_tables_needs_no_unicode_and_no_width(monkeypatch):
    read = ascii_output(monkeypatch)
    monkeypatch.setattr(main, "run", lambda arguments: print("春", os.environ.get("COLUMNS")))
    monkeypatch.setenv("COLUMNS", "00")
    with pytest.raises(SystemExit):
        main.main()
    assert read() == "\\u6625 None\n"


def test_a_mistake_s_line_shows_control_characters(ostinato, tmp_path):
    code, _, err = ostinato("evaluate", tmp_path / "no\x1b[2J[/red]run")
    assert (code, err.count("\n")) == (2, 1)
    assert r"no\x1b[2J[/red]run" in err
