"""docs/python.md: its programs run as they stand, each by itself, and every public name has its entry."""

import doctest
import re
from pathlib import Path

import pytest

import ostinato

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "python.md").read_text(encoding="utf-8")
PROGRAMS = {
    section.split("\n", 1)[0]: block
    for section in PAGE.split("\n## ")[1:]
    for block in re.findall(r"^```pycon\n(>>> .*?)^```", section, flags=re.M | re.S)
}


def test_there_is_a_program_for_each_kind_of_data() -> None:
    of_data = {name: program for name, program in PROGRAMS.items() if ".train(" in program}
    assert list(of_data) == ["Music", "Words", "Delays", "Series", "Your own network and loader"]
    for name, program in of_data.items():
        for what in (".train(", ".evaluate(", ".open_run("):
            assert what in program, name
        assert ".save(" in program or "out=" in program, name
        assert ".generate(" in program or ".score(" in program, name


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_programs_run(name, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OSTINATO_DATA", raising=False)
    test = doctest.DocTestParser().get_doctest(PROGRAMS[name], {}, name, "docs/python.md", 0)
    assert test.examples
    runner = doctest.DocTestRunner()
    runner.run(test)
    assert runner.summarize().failed == 0


def test_every_public_name_has_an_entry_in_the_reference() -> None:
    reference = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
    entries = set(re.findall(r"^## ostinato\.(\w+)$", reference, flags=re.M))
    assert set(dir(ostinato)) - entries == set()
    assert entries - set(dir(ostinato)) == set()
