import pytest


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("table3", "--shipped"), "expected table1, table2, delays or a cell"),
        (("table1", "--shipped", "--trials", 3), "found both"),
        (("table1", "--shipped", "--results", "r"), "--shipped or --results, found both"),
        (("table1", "--averaged"), "expected --shipped with --averaged"),
        (("table1", "--show"), "expected a folder with results at results, found none"),
        (("table1", "--protocol", "none.toml"), "cannot read none.toml"),
        (("table1", "--shipped", "--seeds", 0), "--seeds of at least 1"),
        (("table1", "--shipped", "--workers", 0), "--workers of at least 1"),
        (("table1", "--shipped", "--budget", "soon"), "a time such as 90s"),
        (("table1", "--shipped", "--recipe", "SGD"), "choose cells with --rows"),
        (("table1", "--shipped", "--datasets", "bach"), "no data set 'bach'"),
        (("table1", "--shipped", "--hidden-size", 0), "expected --hidden-size in [1"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(ostinato, tmp_path, arguments, words) -> None:
    code, out, err = ostinato("reproduce", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert not (tmp_path / "reproductions").exists()
