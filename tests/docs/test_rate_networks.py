"""docs/rate_networks.md: its program runs as it stands, from the first block to the last."""

import doctest
import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "rate_networks.md"


def test_the_program_runs() -> None:
    blocks = re.findall(r"^```pycon\n(>>> .*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)
    assert len(blocks) >= 2
    test = doctest.DocTestParser().get_doctest("".join(blocks), {}, PAGE.stem, str(PAGE), 0)
    runner = doctest.DocTestRunner()
    runner.run(test)
    assert runner.summarize().failed == 0
