"""What only an extra brings is imported where it is needed, and nowhere else; pyproject.toml names it all."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from clean_environments import EXTRAS, INSTALLED_SIZE
from imports_of_extras import faults, imports, libraries, sources

ROOT = Path(__file__).parents[2]
OPTIONAL = INSTALLED_SIZE.PROJECT["optional-dependencies"]
# not imported by the package itself: tasks that docs/tutorial_decisions.md trains on
USED_ELSEWHERE = {"all", "neuro"}
# pins versions of what others bring, so that it needs an environment of its own
ALONE = {"neuro"}


def test_every_import_of_an_extra_is_local_and_says_which():
    found = [fault for name, text in sources().items() for fault in faults(name, text)]
    assert found == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("import plotly", "before it is needed"),
        ("with needs('report'):\n    import plotly", "before it is needed"),
        ("def f():\n    import plotly", "outside of"),
        ("def f():\n    with needs('music'):\n        import plotly", "which [music] does not bring"),
        ("def f():\n    with needs('music'):\n        def g():\n            import symusic", "outside of"),
        ("class A:\n    from matplotlib import figure", "before it is needed"),
        ("def f():\n    with needs('report'):\n        import narwhals", "pyproject.toml does not name"),
        ("def f():\n    with needs('report'):\n        import plotly.offline", ""),
        ("def f():\n    with needs('music'):\n        from matplotlib.figure import Figure", ""),
        ("if TYPE_CHECKING:\n    import plotly", ""),
        ("if TYPE_CHECKING:\n    import json\nelse:\n    import plotly", "before it is needed"),
        ("import torch, numpy", ""),
    ],
)
def test_a_wrong_import_is_found_and_a_right_one_is_not(text, wrong):
    found = faults("some.module", text)
    assert wrong in found[0] if wrong else found == []


def test_every_extra_is_asked_for_somewhere():
    asked = {each.extra for text in sources().values() for each in imports(text)} - {None}
    assert asked == set(EXTRAS) - USED_ELSEWHERE
    assert all(libraries()[extra] for extra in asked)


def test_all_brings_every_extra_and_the_tests_bring_all():
    (everything,) = map(Requirement, OPTIONAL["all"])
    assert everything.extras == set(EXTRAS) - {"all"} - ALONE
    assert any("all" in Requirement(text).extras for text in OPTIONAL["test"])


def test_every_requirement_has_a_lower_bound():
    lists = [INSTALLED_SIZE.PROJECT["dependencies"], *OPTIONAL.values()]
    wanted = [Requirement(text) for texts in lists for text in texts]
    unbounded = [str(r) for r in wanted if r.name != "ostinato" and not str(r.specifier).startswith(">=")]
    assert unbounded == []


def test_the_documentation_lists_every_extra_with_what_it_brings():
    page = (ROOT / "docs" / "installing.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `?\[?(\w+)\]?`? \| \d+ \| \d+ \| ([^|]*) \|", page, re.M))
    assert list(rows) == ["core", *EXTRAS]
    named = {"core": INSTALLED_SIZE.PROJECT["dependencies"]} | OPTIONAL
    for name, brings in rows.items():
        wanted = [Requirement(text) for text in named[name]]
        own = {r.name for r in wanted if r.name != "ostinato"}
        others = {f"[{extra}]" for r in wanted for extra in r.extras if r.name == "ostinato"}
        assert set(re.findall(r"[\w-]+|\[\w+\]", brings)) == own | others, name
