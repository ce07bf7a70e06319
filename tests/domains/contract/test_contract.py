"""One table of checks over every registered domain x output x cell x optimizer, all of them tiny.

The full product is in `every_row`; the rows here are few, but every pair of two that can go together occurs.
"""

from collections.abc import Callable

import pytest

import contract_checks as checks
from contract_rows import COMING_WITH, DATA, Row, covering, every_row, pairs
from ostinato.domains.registry import DOMAINS
from ostinato.nn.cells.registry import CELLS
from ostinato.nn.outputs.registry import OUTPUTS

EVERY = list(every_row())
ROWS = covering(EVERY)
MODELS = [*{row[:3]: row for row in EVERY}.values()]
# one row of each domain and output, with cells in turn
MADE = [
    next(r for r in EVERY if r[:2] == key and r.cell == [*CELLS][n % len(CELLS)])
    for n, key in enumerate(dict.fromkeys(row[:2] for row in EVERY))
]


def named(row: Row) -> str:
    return "-".join(row)


@pytest.fixture(scope="module")
def data_of(tmp_path_factory) -> Callable[[str], str]:
    """data_of(domain): what `--data` is."""
    made: dict[str, str] = {}

    def of(domain: str) -> str:
        if domain not in made:
            made[domain] = DATA[domain].make(tmp_path_factory.mktemp(domain))
        return made[domain]

    return of


def test_every_domain_has_tiny_data_and_every_pair_a_row():
    assert set(DATA) == set(DOMAINS)
    found = {(row.domain, row.output) for row in ROWS}
    fit = {(d.name, o.name) for d in DOMAINS.entries() for o in OUTPUTS.entries() if o.targets == d.targets}
    assert found == fit
    assert {(row.domain, row.cell) for row in ROWS} == {(d, c) for d in DOMAINS for c in CELLS}
    assert {(row.domain, row.optimizer) for row in ROWS} == {(d, o) for d in DOMAINS for o in COMING_WITH}
    assert set().union(*map(pairs, ROWS)) == set().union(*map(pairs, EVERY))
    assert {o.name for o in OUTPUTS.entries()} == {row.output for row in EVERY}


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_it_trains_stops_resumes_and_scores(row, data_of, tmp_path):
    checks.trains_stops_resumes_and_scores(row, data_of(row.domain), tmp_path)


@pytest.mark.parametrize("row", MADE, ids=named)
def test_what_the_domain_offers_of_a_run(row, data_of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checks.offers_what_it_declares(row, data_of(row.domain), tmp_path)


@pytest.mark.parametrize("row", MODELS, ids=lambda row: "-".join(row[:3]))
def test_a_state_carried_is_one_pass(row, data_of):
    checks.carries_its_state(row, data_of(row.domain))


@pytest.mark.parametrize(
    "row", [row for row in MODELS if OUTPUTS[row.output].curvature], ids=lambda row: "-".join(row[:3])
)
def test_products_are_the_explicit_matrix(row, data_of):
    checks.has_the_explicit_curvature(row, data_of(row.domain))
