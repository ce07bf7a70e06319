import pytest

from ostinato.errors import UserError
from ostinato.reproduce.cells import TABLES, Cell, find_cells


def test_the_tables_have_every_row_of_the_paper() -> None:
    assert len(find_cells("table1")) == 11 * 4
    assert len(find_cells("table2")) == 4 * 2
    names = [cell.name for cell in (*find_cells("table1"), *find_cells("table2"))]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("table", TABLES)
def test_every_cell_has_settings_that_go_together(table) -> None:
    for cell in find_cells(table):
        for shipped in (True, False):
            recipe = cell.recipe(shipped=shipped)
            assert recipe.output == cell.output
            assert recipe.name == cell.letters
            assert recipe.data == ("ptb" if table == "table2" else cell.column)
        assert cell.recipe(overrides={"hidden_size": 7}).hidden_size == 7


def test_shipped_settings_belong_to_known_cells_and_letters_mean_what_they_say() -> None:
    from ostinato.reproduce.cells import _shipped

    for table, rows in TABLES.items():
        assert set(_shipped(table)) <= set(rows)
        for row, settings in _shipped(table).items():
            tables = {name for name, value in settings.items() if isinstance(value, dict)}
            assert tables <= set(rows[row])
    for cell in (*find_cells("table1"), *find_cells("table2")):
        recipe = cell.recipe()
        assert (recipe.get("clip", "none") != "none") == ("C" in cell.letters)
        assert (recipe.leak_fraction > 0) == ("L" in cell.letters)
        assert (recipe.nonlinearity == "relu") == ("R" in cell.letters)
        assert (recipe.get("momentum", 0) > 0) == ("M" in cell.letters)


def test_cells_are_chosen_by_data_set_and_row() -> None:
    found = find_cells("table1", ["jsb", "nottingham"], ["rnn-sgd+cl", "RNN-RBM"])
    assert [cell.name for cell in found] == [
        "table1/nottingham/rnn-SGD+CL",
        "table1/nottingham/rbm-SGD+CM",
        "table1/jsb/rnn-SGD+CL",
        "table1/jsb/rbm-SGD+CM",
    ]
    assert find_cells("TABLE1/jsb/nade-HF") == [Cell("table1", "RNN-NADE (HF)", "jsb")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("table3",), "did you mean table2 or table1"),
        (("table1/jsb/rnn-SGD+CLL",), "did you mean table1/jsb/rnn-SGD+CL"),
        (("table1", ["bach"]), "no data set 'bach'"),
        (("table2", ["jsb"]), "known: chars, words"),
        (("table1", [], ["RNN (SGD+CX)"]), "did you mean RNN (SGD+C"),
        (("table1/jsb/rnn-SGD", ["jsb"]), "leave out datasets"),
    ],
)
def test_what_there_is_not_is_named(arguments, words) -> None:
    with pytest.raises(UserError) as raised:
        find_cells(*arguments)
    assert words in str(raised.value)
