import pytest

from ostinato.errors import UserError
from ostinato.reproduce.cells import Cell, find_cells
from ostinato.reproduce.protocol import AVERAGED, PLAIN, Protocol


def test_every_cell_has_something_to_search_and_the_same_rule() -> None:
    protocol = Protocol.read()
    for cell in [*find_cells("table1"), *find_cells("table2")]:
        space = protocol.space_for(cell)
        assert space.ranges, cell.name
        recipe = protocol.tuning_recipe(cell)
        assert (recipe.averaging, recipe.l2) == (0.0, 0.0), cell.name
        assert recipe.epochs == recipe.patience == protocol.tuning_epochs[cell.column]
        assert cell.output in protocol.l2
        assert ("momentum" in space.ranges) == ("M" in cell.letters), cell.name
        assert ("leak_low" in space.ranges) == ("L" in cell.letters), cell.name
        for name, span in space.ranges.items():  # what the letters stand for is among what is searched
            if hasattr(span, "low") and name not in ("l1", "momentum"):
                assert span.low <= recipe.get(name) <= span.high, (cell.name, name, recipe.get(name))


def test_averaged_adds_an_average_and_l2_and_changes_nothing_else() -> None:
    protocol, cell = Protocol.read(), Cell("table1", "RNN-NADE (SGD+CRM)", "musedata")
    plain, averaged = (protocol.final_recipe(cell, {"l1": 3e-5}, c, 2, 0.9975) for c in (PLAIN, AVERAGED))
    different = {n for n in plain.to_dict() if plain.get(n) != averaged.get(n)}
    assert different == {"averaging", "l2"}
    assert (averaged.averaging, averaged.l2, averaged.seed, averaged.l1) == (0.9975, 1e-4, 2, 3e-5)
    assert averaged.epochs == protocol.epochs["musedata"]


def test_overrides_are_not_searched() -> None:
    protocol = Protocol.from_dict(Protocol.read().to_dict() | {"overrides": {"hidden_size": 7}})
    cell = Cell("table1", "RNN (SGD)", "jsb")
    assert set(protocol.space_for(cell).ranges) == {"learning_rate"}
    assert protocol.tuning_recipe(cell).hidden_size == 7


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"trails": 3}, "unknown 'trails' in a protocol: did you mean trials"),
        ({"trials": 0}, "expected a whole number of at least 1 as trials of a protocol, found 0"),
        ({"seeds": 1.5}, "as seeds of a protocol, found 1.5"),
    ],
)
def test_a_wrong_protocol_is_refused(content, words) -> None:
    with pytest.raises(UserError, match=words):
        Protocol.from_dict(content)
