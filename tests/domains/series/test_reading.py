"""Files as they come, right and wrong: the right values, or one line that says where and what."""

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.domains.series.csv_file import read_csv
from ostinato.domains.series.reading import read_series
from ostinato.errors import UserError

NAN = math.nan


@pytest.fixture
def write(tmp_path):
    def to(name: str, content: str | bytes):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to


@pytest.mark.parametrize(
    ("text", "columns", "values"),
    [
        ("1,2\n3,4\n", ("1", "2"), [[1, 2], [3, 4]]),
        ("x,y\n1,2\n3,4", ("x", "y"), [[1, 2], [3, 4]]),
        ("x;y\r\n1;2\r\n3;4\r\n", ("x", "y"), [[1, 2], [3, 4]]),
        ("x\ty\n1e3\t-2.5\n", ("x", "y"), [[1000, -2.5]]),
        ("\ufeffx,y\n1,2\n", ("x", "y"), [[1, 2]]),
        ("# x,y\n1,2\n", ("x", "y"), [[1, 2]]),
        ('"x, m","y"\n"1","2"\n', ("x, m", "y"), [[1, 2]]),
        ("x\n1\n2\n\n\n", ("x",), [[1], [2]]),
        ("x, y\n 1 , 2 \n", ("x", "y"), [[1, 2]]),
        ("x,y\n,NA\nnan,Null\nN/A,1\n", ("x", "y"), [[NAN, NAN], [NAN, NAN], [NAN, 1]]),
        ("NA,1\n2,3\n", ("1", "2"), [[NAN, 1], [2, 3]]),
        ("x,\n1,5\n2,6\n", ("x", "2"), [[1, 5], [2, 6]]),
    ],
)
def test_csv(write, text, columns, values):
    read = read_series(write("a.csv", text))
    assert read.columns == columns
    assert read.notices == ()
    (series,) = read.series
    assert series.name == "a"
    np.testing.assert_array_equal(series.values, np.array(values, dtype=float))


@pytest.mark.parametrize(
    ("text", "columns", "notice"),
    [
        ("time,x\n0,5\n1,6\n", ("x",), "column 'time' is the time and left out"),
        ("T,x\n0.5,5\n0.5,6\n", ("x",), "column 'T' is the time and left out"),
        (",x\n0,5\n1,6\n", ("x",), "column '' is the time and left out"),
        ("x,timestamp\n5,0\n6,1\n", ("x",), "column 'timestamp' is the time and left out"),
        ("date,x\n2024-01-31,5\n2024-02-01,6\n", ("x",), "column 'date' is the time and left out"),
        ("2024-01-31 10:00,5\n2024-01-31T11:00Z,6\n", ("1",), "column 1 is the time and left out"),
        ("when,x\n10:00,5\n09:00,6\n", ("x",), "column 'when' is the time and left out"),
        (
            "time,x\n0,5\n1,6\n5,7\n",
            ("x",),
            "column 'time' is the time and left out; its steps are from 1 to 4 long and are taken as equal",
        ),
        ("t,x\n21,5\n20.5,6\n", ("t", "x"), "column 't' does not increase: it is kept as data"),
        ("t,x\n21,5\n,6\n", ("t", "x"), "column 't' does not increase: it is kept as data"),
        ("5,6,\n6,7,\n", ("1", "2"), "the last column is empty and left out"),
        ("x,y,\n5,6,\n6,7,\n", ("x", "y"), "the last column is empty and left out"),
    ],
)
def test_the_time_is_left_out_and_said(write, text, columns, notice):
    read = read_series(write("a.csv", text))
    assert (read.columns, read.notices) == (columns, (notice,))
    assert len(read.series[0].values[0]) == len(read.columns)


def test_a_column_of_increasing_numbers_under_another_name_is_data(write):
    assert read_series(write("a.csv", "x,y\n0,1\n1,1\n")).columns == ("x", "y")


def test_values_beside_a_date_are_in_their_places(write):
    read = read_series(write("a.csv", "x,date,y\n1,2024-01-01,2\n,2024-01-02,4\n"))
    np.testing.assert_array_equal(read.series[0].values, [[1, 2], [NAN, 4]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found an empty file"),
        ("\n\n", "found an empty file"),
        ("\nx,y\n1,2\n", "found an empty first row"),
        ("x,y\n", "found a header alone"),
        ("x,y\n1,2\n3,hot\n", "row 3, column 'y': expected a number, found 'hot'; leave the cell empty"),
        ("1,2\n3,hot\n", "row 2, column 2: expected a number, found 'hot'"),
        ("x;y\n1,5;2\n", "row 2, column 'x': expected a number, found '1,5'; write numbers with a decimal p"),
        ("x,y\n1_000,2\n", "row 2, column 'x': expected a number, found '1_000'"),
        ("x\n1 2\n", "found '1 2'; separate columns by a comma"),
        (
            "date,x\n31.1.2024,2\n",
            "row 2, column 'date': expected a number, found '31.1.2024'; write times as",
        ),
        ("date,x\n2024-01-31,2\nlater,3\n", "row 3, column 'date': expected an ISO date or time"),
        ("date,x\n2024-01-31,2\n2024-01-30,3\n", "row 3, column 'date': expected dates in order"),
        ("2024-01-31,2\n2024-01-30,3\n", "row 2, column 1: expected dates in order"),
        ("x,y\n1,2\n3\n", "row 3: expected 2 cells as in the first row, found 1"),
        ("x,y\n1,2\n3,4,5\n", "row 3: expected 2 cells as in the first row, found 3"),
        ("x,y\n1,2\n\n3,4\n", "row 3: expected 2 cells, found an empty row before others"),
        ("x,y\n1,2\n3,inf\n", "row 3, column 'y': expected a finite number, found inf"),
        ("1,2\n-1e999,4\n", "row 2, column 1: expected a finite number, found -inf"),
        ("x,x\n1,2\n", "expected columns of different names"),
        ("time\n1\n2\n", "expected columns of numbers"),
        ("2024-01-01\n2024-01-02\n", "expected columns of numbers"),
        ('x,y\n"1,2\n', "which cannot be read"),
        (b"x,y\n1,\xff\n", "expected a CSV file in UTF-8"),
        ("x\n" + "a" * 200_000 + "\n", "which cannot be read"),
    ],
)
def test_csv_that_cannot_be_used(write, text, message):
    path = write("a.csv", text)
    with pytest.raises(UserError) as failure:
        read_series(path)
    text = str(failure.value)
    assert message in text
    assert str(path) in text
    assert "\n" not in text
    assert len(text) < 300 + len(str(path))


@given(
    st.lists(
        st.lists(st.none() | st.floats(allow_infinity=False, allow_nan=False), min_size=2, max_size=2),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from([",", ";", "\t"]),
    st.booleans(),
)
def test_every_number_comes_back_to_the_bit(tmp_path_factory, rows, delimiter, header):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    lines = [delimiter.join("" if x is None else repr(x) for x in row) for row in rows]
    path.write_text("\n".join(["u" + delimiter + "v"] * header + lines) + "\n")
    expected = np.array([[NAN if x is None else x for x in row] for row in rows])
    if np.isnan(expected[:, 1]).all() and not header:
        expected = expected[:, :1]  # a trailing delimiter
    (values,) = read_csv(path).series.values()
    assert values.tobytes() == expected.tobytes()


def npy(array, **settings) -> bytes:
    data = io.BytesIO()
    np.save(data, array, **settings)
    return data.getvalue()


def npz(**arrays) -> bytes:
    data = io.BytesIO()
    np.savez_compressed(data, **arrays)
    return data.getvalue()


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f8", "i8", "u1", "?"])
def test_arrays_of_any_real_type(write, dtype):
    array = np.arange(6).reshape(3, 2).astype(dtype)
    (series,) = read_series(write("a.npy", npy(array))).series
    assert series.values.dtype == np.float64
    np.testing.assert_array_equal(series.values, array.astype(float))


def test_shapes_of_arrays(write):
    assert [s.values.shape for s in read_series(write("a.npy", npy(np.zeros(5)))).series] == [(5, 1)]
    read = read_series(write("a.npy", npy(np.arange(24.0).reshape(2, 4, 3))))
    assert [s.name for s in read.series] == ["a/1", "a/2"]
    np.testing.assert_array_equal(read.series[1].values, np.arange(12.0, 24).reshape(4, 3))
    read = read_series(write("b.npz", npz(first=np.zeros((4, 2)), second=np.ones((7, 2)))))
    assert [(s.name, len(s)) for s in read.series] == [("b/first", 4), ("b/second", 7)]
    read = read_series(write("c.npy", npy(np.full((2, 5), NAN))))
    assert read.notices == (
        f"{write('c.npy', npy(np.full((2, 5), NAN)))} is taken as 2 steps of 5 columns; "
        "transpose it if it is not",
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npy", npy(np.array([1, "x"], dtype=object), allow_pickle=True), "found Python objects"),
        ("a.npz", npz(a=np.array([None])), "found Python objects"),
        ("a.npy", npy(np.array(["x"])), "found one of <U1"),
        ("a.npy", npy(np.zeros(3, complex)), "found one of complex128"),
        ("a.npy", npy(np.zeros(3, "M8[s]")), "found one of datetime64[s]"),
        ("a.npy", npy(np.zeros((0, 2))), "found an empty array of shape (0, 2)"),
        ("a.npy", npy(np.float64(3)), "found shape ()"),
        ("a.npy", npy(np.zeros((2, 2, 2, 2))), "found shape (2, 2, 2, 2)"),
        ("a.npy", npy(np.array([[1, 2], [3, np.inf]])), "row 2, column 2: expected a finite number"),
        ("a.npy", npy(np.zeros(100))[:-50], "cut off or none"),
        ("a.npy", b"no such thing", "cut off or none"),
        ("a.npy", b"", "cut off or none"),
        ("a.npz", npz(a=np.zeros(1000))[:-50], "cut off or none"),
        ("a.npz", npz(), "expected arrays in"),
        ("a.npz", npz(a=np.zeros((3, 1)), b=np.zeros((3, 2))), "found 1 in a/a and 2 in a/b"),
    ],
)
def test_arrays_that_cannot_be_used(write, name, content, message):
    path = write(name, content)
    with pytest.raises(UserError) as failure:
        read_series(path)
    assert message in str(failure.value)
    assert str(path) in str(failure.value)


def test_a_folder_of_files(write):
    write("many/b.csv", "x,y\n1,2\n")
    folder = write("many/a.csv", "x,y,time\n1,2,0\n3,4,1\n").parent
    read = read_series(folder)
    assert (read.name, read.columns) == ("many", ("x", "y"))
    assert [(s.name, len(s)) for s in read.series] == [("a", 2), ("b", 1)]
    assert read.notices == ("a.csv: column 'time' is the time and left out",)
    write("many/notes.md", "#")
    assert read_series(folder).notices[0] == f"1 other files in {folder} were not read"


def test_files_of_one_stem_are_different_series(write):
    write("many/a.csv", "1,2\n")
    folder = write("many/a.npy", npy(np.zeros((2, 2)))).parent
    assert [s.name for s in read_series(folder).series] == ["a", "a.npy"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("x,y,z\n1,2,3\n", "expected files with as many columns, found 2 in"),
        ("x,z\n1,2\n", "found x, y in"),
        ("y,x\n1,2\n", "in the same order, found x, y in"),
        ("1,2\n", "no names in"),
    ],
)
def test_columns_that_differ(write, other, message):
    write("many/a.csv", "x,y\n1,2\n")
    path = write("many/b.csv", other)
    with pytest.raises(UserError) as failure:
        read_series(path.parent)
    assert message in str(failure.value)
    assert str(path) in str(failure.value)


def test_where_there_is_nothing_to_read(write, tmp_path):
    with pytest.raises(UserError, match="found nothing at"):
        read_series(tmp_path / "none.csv")
    with pytest.raises(UserError, match=r"ending in \.csv, \.tsv, \.txt, \.npy, \.npz, found"):
        read_series(write("a.xlsx", b""))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="found none"):
        read_series(tmp_path / "empty")


def test_a_file_that_may_not_be_read_is_an_error_of_the_user(tmp_path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(UserError, match="found none"):
        read_series(tmp_path / "a.csv")
