import datetime
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from harken.config import ExamplesConfig
from harken.data.columns import Kept, Table, as_written, floats, holds_numbers
from harken.data.opening import arrow_table
from harken.errors import DataError


def table(columns, **more) -> Table:
    columns = arrow_table(columns)
    return Table("file", columns, tuple(columns.column_names), np.arange(columns.num_rows), **more)


def column(values, kind=None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


def test_columns_are_found_by_name_and_the_nearest_is_offered():
    found = table({"review": ["a"], "stars": [1]})
    assert found.column("review", "text").to_pylist() == ["a"]
    with pytest.raises(DataError, match=r"no column 'revew', only 'review', 'stars': did you mean --text review\?"):
        found.column("revew", "text")
    with pytest.raises(DataError, match="only 'review', 'stars': choose one with --label"):
        found.column("quality", "label")


def test_two_columns_of_one_name_are_refused_where_they_are_wanted():
    twice = pa.Table.from_arrays([pa.array(["a"])] * 3, ["x", "x", "y"])
    found = Table("file", twice, ("x", "x", "y"), np.arange(1))
    assert found.column("y", "text").to_pylist() == ["a"]
    with pytest.raises(DataError, match="2 columns called 'x': rename all but one"):
        found.column("x", "text")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.Series(["a", "b"]).astype("category"), ["a", "b"]),
        (pl.Series(["a", None], dtype=pl.Categorical), ["a", None]),
        (pl.Series(["a"], dtype=pl.Enum(["a", "b"])), ["a"]),
        (pa.array(["a"], pa.string_view()), ["a"]),
        (pa.array([b"a"]), ["a"]),
        ([decimal.Decimal("1.5")], [1.5]),
        ([datetime.date(2020, 2, 1)], ["2020-02-01"]),
        (pa.array(np.array([1.5], np.float16)), [1.5]),
        (pl.Series([["a"], []]), [["a"], []]),
        (pa.array([[1, 2]], pa.list_view(pa.int8())), [[1, 2]]),
        (pl.Series([[1.0, 2.0]], dtype=pl.Array(pl.Float64, 2)), [[1.0, 2.0]]),
        ([True, None], [True, None]),
        ([None], [None]),
    ],
)
def test_every_type_becomes_one_of_a_few(values, expected):
    assert table({"x": values}).column("x", "text").to_pylist() == expected


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(DataError, match=r"column 'x' \(binary\) cannot be read"):
        table({"x": [b"\xff"]}).column("x", "text")


def test_places_are_lines_rows_or_ids():
    assert table({"x": [1, 2]}).place(1) == "row 1 (counted from 0)"
    assert table({"x": [1, 2]}, lines=np.array([2, 5])).place(1) == "line 5"
    assert table({"x": [1]}, lines=np.array([2]), ids=["a7"]).place(0) == "id 'a7' (it begins in line 2)"


def test_bad_rows_are_left_out_counted_or_complained_of():
    found = table({"x": [1, 2, 3]}, lines=np.array([2, 4, 7]), ids=["a", "b", "c"], skipped=1)
    assert found.without({}, False)[0] is found
    kept, rows = found.without({1: "it is bad"}, True)
    assert kept.columns.column("x").to_pylist() == [1, 3]
    assert (kept.lines.tolist(), kept.numbers.tolist(), kept.ids, kept.skipped) == ([2, 7], [0, 2], ["a", "c"], 2)
    assert rows.tolist() == [0, 2]
    with pytest.raises(DataError, match=r"file, id 'b' \(it begins in line 4\): it is bad \(--skip-bad-rows"):
        found.without({2: "worse", 1: "it is bad"}, False)
    with pytest.raises(DataError, match="no row that can be read: all 4 of them are bad"):
        found.without(dict.fromkeys(range(3), "bad"), True)


def test_files_read_line_by_line_count_their_rows_alike():
    strict, kept = Kept("file", ExamplesConfig()), Kept("file", ExamplesConfig(skip_bad_rows=True))
    with pytest.raises(DataError, match="file is empty"):
        strict.check()
    with pytest.raises(DataError, match=r"file, line 3: wrong \(--skip-bad-rows"):
        strict.refuse(3, "wrong")
    kept.refuse(3, "wrong")
    with pytest.raises(DataError, match="all 1 of them are bad, such as line 3: wrong"):
        kept.check()
    kept.keep(4)
    found = kept.table(pa.table({"x": [1]}), ["x"])
    assert (found.numbers.tolist(), found.lines.tolist(), found.skipped) == ([1], [4], 1)


def test_floats_of_texts():
    cells = ["1", " 2.5 ", "-.5", "+1e3", "1.", "", " ", None, "NaN", "-inf", "x", "1_0", "0x1"]
    values, bad = floats(column(cells))
    nan, inf = np.nan, np.inf
    np.testing.assert_array_equal(values, [1, 2.5, -0.5, 1000, 1, nan, nan, nan, nan, -inf, nan, nan, nan])
    assert [cells[i] for i in np.flatnonzero(bad)] == ["x", "1_0", "0x1"]


@pytest.mark.parametrize(
    ("cells", "values", "bad"),
    [
        ([1, None], [1, np.nan], [False, False]),
        ([True, False], [1, 0], [False, False]),
        ([None, None], [np.nan, np.nan], [False, False]),
        ([[1], None], [np.nan, np.nan], [True, False]),
    ],
)
def test_floats_of_other_columns(cells, values, bad):
    found, wrong = floats(column(cells))
    np.testing.assert_array_equal(found, values)
    assert wrong.tolist() == bad


def test_columns_of_numbers():
    assert holds_numbers(column([1, None]), written=False)
    assert holds_numbers(column(["1", "", "2.5"]), written=True)
    assert not holds_numbers(column(["1", "2.5"]), written=False)
    assert not holds_numbers(column(["", ""]), written=True)
    mixed = column(["1"] * 150 + ["x"])
    assert not holds_numbers(mixed, written=True)
    assert holds_numbers(mixed, written=True, mostly=True)
    assert not holds_numbers(column(["1", "x", "y"]), written=True, mostly=True)


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        (["1", "-2", None], [1, -2, None]),
        (["0.5", "1", "1.5"], [0.5, 1.0, 1.5]),
        (["1.0", "2.0"], [1.0, 2.0]),
        (["1", "b"], ["1", "b"]),
        (["007", "8"], ["007", "8"]),
        (["1.50", "2"], ["1.50", "2"]),
        (["nan", "inf"], ["nan", "inf"]),
        (["true"], ["true"]),
        ([None], [None]),
    ],
)
def test_labels_are_what_their_cells_spell_if_all_agree(cells, labels):
    found = as_written(cells)
    assert found == labels
    assert list(map(type, found)) == list(map(type, labels))
