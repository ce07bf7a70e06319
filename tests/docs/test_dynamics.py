"""docs/dynamics.md: its programs run as they stand, each by itself."""

import doctest
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "dynamics.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```pycon\n(>>> .*?)^```", PAGE, flags=re.M | re.S)


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_the_programs_run(number):
    test = doctest.DocTestParser().get_doctest(PROGRAMS[number], {}, str(number), "docs/dynamics.md", 0)
    runner = doctest.DocTestRunner()
    runner.run(test)
    assert runner.summarize().failed == 0


def test_there_are_programs():
    assert len(PROGRAMS) == 4
