import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from harken.config import ExamplesConfig
from harken.data.columns import Table
from harken.data.opening import arrow_table
from harken.data.steps import read_steps, unfit
from harken.errors import DataError

RNG = np.random.default_rng(0)
NAN, INF = np.nan, np.inf


def table(columns, written=False) -> Table:
    columns = arrow_table(columns)
    return Table("file", columns, tuple(columns.column_names), np.arange(columns.num_rows), written=written)


def read(columns, names=None, written=False, **options):
    return read_steps(table(columns, written), names or list(columns), "series", **options)


def rows(steps):
    return [row.tolist() for row in steps.rows]


RAGGED = [[1.0, 2.5, -3.0], [], [4.0]]
NESTED = [[[1.0, 2.0], [3.0, 4.0]], [], [[5.0, 6.0]]]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16()])
@pytest.mark.parametrize("outer", [pa.list_, pa.large_list, pa.list_view])
def test_lists_of_numbers(kind, outer):
    column = pa.array(RAGGED, pa.list_(kind)).cast(pa.list_(kind)).to_pylist()
    steps = read({"x": pa.array(column, outer(pa.float64()) if outer is pa.list_view else outer(kind))})
    assert steps.rows.values.dtype == torch.float32
    assert rows(steps) == [[[1], [2.5], [-3]], [], [[4]]]
    assert steps.problems == {}


@pytest.mark.parametrize("inner", [lambda kind: pa.list_(kind, 2), pa.list_, pa.large_list])
def test_lists_of_vectors(inner):
    column = pa.array(NESTED, pa.list_(inner(pa.float32())))
    assert rows(read({"x": column})) == NESTED
    chunked = pa.chunked_array([column.slice(1), column.slice(0, 2)])  # slices, out of order
    assert rows(read({"x": chunked})) == [[], NESTED[2], NESTED[0], []]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([np.array([1.0, 2.0]), np.array([3.0])]),
        pl.Series([[1, 2], [3]]),
        pd.Series(["[1, 2]", "[3]"]),
        ["1 2", "3.0"],
        ["1;2", " 3 "],
    ],
)
def test_lists_of_frames_and_lists_that_are_spelled(column):
    assert rows(read({"x": column}, written=True)) == [[[1], [2]], [[3]]]


def test_fixed_size_rows_and_random_ragged_rows():
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6.0)), 3)
    assert rows(read({"x": fixed})) == [[[0], [1], [2]], [[3], [4], [5]]]
    lengths = RNG.integers(0, 5, size=40)
    expected = [RNG.normal(size=(length, 3)).astype(np.float32) for length in lengths]
    found = read({"x": pa.array([row.tolist() for row in expected], pa.list_(pa.list_(pa.float64())))})
    for row, values in zip(found.rows, expected, strict=True):
        np.testing.assert_array_equal(row, values.reshape(-1, 3))


def test_missing_values_are_nan_and_null_rows_bad():
    steps = read({"x": [[1.0, None], None, [], [NAN]]})
    np.testing.assert_array_equal(steps.rows.values[:, 0], [1, NAN, NAN])
    assert steps.problems == {1: "'x' is null"}
    steps = read({"x": [[1.0, None], None, []]}, nullable=True)
    assert steps.problems == {}
    assert steps.rows.lengths.tolist() == [2, 0, 0]


def test_ids():
    steps = read({"x": pa.array([[1, 2], [], [3]], pa.list_(pa.int16()))}, whole=True)
    assert steps.rows.values.dtype == torch.int64
    assert rows(steps) == [[1, 2], [], [3]]
    assert read({"x": [[1, None], [2]]}, whole=True).problems == {0: "'x' holds a null, and ids are whole numbers"}
    assert rows(read({"x": ["1 2", ""]}, whole=True, written=True)) == [[1, 2], []]
    for column in ([[1.5]], [[[1]]], ["1.5"]):
        with pytest.raises(DataError, match="ids are lists of whole numbers"):
            read({"x": column}, whole=True)


def test_ragged_channel_counts_name_the_step():
    column = [[[1.0, 2.0]], [[3.0, 4.0], [5.0]], [[6.0, 7.0]], [[1.0, 2.0, 3.0], [1.0]]]
    steps = read({"x": column})
    assert steps.problems[1].startswith("step 1 (counted from 0) of 'x' has 1 values, and most steps have 2")
    assert steps.problems[3].startswith("step 0 (counted from 0) of 'x' has 3 values")
    assert [rows(steps)[row] for row in (0, 2)] == [column[0], column[2]]
    with pytest.raises(DataError, match="lists of empty lists"):
        read({"x": [[[], []]]})


def test_several_columns_of_lists_are_channels():
    columns = {"x": [[1.0, 2.0], [3.0], []], "y": [[4.0, 5.0], [6.0, 7.0], []]}
    steps = read(columns)
    assert steps.channels == ("x", "y")
    assert steps.problems == {1: "'y' has 2 steps, and 'x' has 1: the channels of a series must be equally long"}
    assert rows(steps) == [[[1, 4], [2, 5]], [], []]
    with pytest.raises(DataError, match="ids are one column of lists, and 2 are named"):
        read({"x": [[1]], "y": [[2]]}, whole=True)


@pytest.mark.parametrize(
    ("column", "complaint"),
    [
        ([1.0, 2.0], "column 'x' holds double, and a series is a column of lists of numbers, or several columns"),
        ([["a"]], "and a series is a list of numbers"),
        ([[[["a"]]]], "and a series is a list of numbers"),
        ([True], "column 'x' holds bool"),
    ],
)
def test_columns_that_hold_no_series(column, complaint):
    with pytest.raises(DataError, match=complaint):
        read({"x": column})


def test_cells_that_spell_no_numbers_are_bad_rows():
    steps = read({"x": ["1 2", "3 b c", "[[1, 2], [3]]", None]}, written=True)
    assert steps.problems[1] == "'b' in column 'x' is not a number"
    assert "'2]' in column 'x' is not a number" in steps.problems[2]
    assert steps.problems[3] == "'x' is null"


@pytest.mark.parametrize("cell", ["0,5 0,75", "0,5; 0,75", "[1,2 3]", "0,5\t1"])
def test_a_comma_that_may_be_a_decimal_one(cell):
    steps = read({"x": ["1 2", cell]}, written=True)
    assert steps.problems.keys() == {1}
    assert "has commas and other separators between its numbers: write decimal points" in steps.problems[1]


@pytest.mark.parametrize(
    "cell", ["1, 2, 3", "1,2,3", "1 2 3", "1,2, 3", "[1 ,2 , 3]", "1;2; 3", "1 ,2 ,3", " 1,2,3 ", "1\n2 3"]
)
def test_separators_of_a_cell(cell):
    steps = read({"x": [cell, None]}, written=True, nullable=True)
    assert (rows(steps)[0], steps.problems.get(0)) == ([[1], [2], [3]], None)


# Wide form


@pytest.mark.parametrize("written", [True, False])
def test_wide_form_ends_at_the_last_value(written):
    columns = {"a": ["1", "", "5", ""], "b": ["2.5", "4", "", ""], "c": ["3", "", "", " "]}
    if not written:
        columns = {name: [float(cell) if cell.strip() else None for cell in cells] for name, cells in columns.items()}
    steps = read(columns, written=written)
    assert steps.rows.lengths.tolist() == [3, 2, 1, 0]
    np.testing.assert_array_equal(steps.rows.values[:, 0], [1, 2.5, 3, NAN, 4, 5])


def test_wide_form_has_bad_cells_and_ids():
    steps = read({"a": ["1", "x"], "b": ["2", "y"]}, written=True)
    assert steps.problems == {1: "'x' in column 'a' is not a number"}
    steps = read({"a": [1, 2, 3.5, None], "b": [4, None, 5, 6]}, whole=True)
    assert (rows(steps)[:2], steps.rows.values.dtype) == ([[1, 4], [2]], torch.int64)
    assert steps.problems == {
        2: "3.5 in column 'a' is not whole, and ids are",
        3: "an id is missing before the last one",
    }


# What does not fit


def test_values_that_are_missing_or_infinite():
    steps = read({"x": [[1.0, NAN], [INF], [1.0], [1e300], [NAN, -INF]]})
    assert unfit(steps, ExamplesConfig()) == {
        0: "step 1 (counted from 0) is missing (NaN): --missing carry, linear or mean fills it",
        1: "step 0 (counted from 0) is infinite, or beyond what float32 holds",
        3: "step 0 (counted from 0) is infinite, or beyond what float32 holds",
        4: "step 0 (counted from 0) is missing (NaN): --missing carry, linear or mean fills it",
    }
    filled = unfit(steps, ExamplesConfig(missing="carry"))
    assert filled.keys() == {1, 3, 4}
    assert "step 1" in filled[4]
    assert unfit(steps, ExamplesConfig(truncate=1)).keys() == {1, 3, 4}


def test_channels_are_named_or_counted():
    steps = read({"x": [[1.0], [1.0]], "y": [[1.0], [INF]]})
    assert unfit(steps, ExamplesConfig())[1].startswith("step 0 of channel 'y' (counted from 0) is infinite")
    steps = read({"x": [[[1.0, 2.0]], [[1.0, 2.0], [3.0, NAN]]]})
    assert unfit(steps, ExamplesConfig())[1].startswith("step 1 of channel 1 (counted from 0) is missing")


def test_rows_that_are_too_long():
    steps = read({"x": [[1, 2, 3], [1, 2], []]}, whole=True)
    problem = "the row has 3 steps, more than max_steps (2): raise the option, or --truncate the rows"
    assert unfit(steps, ExamplesConfig(max_steps=2)) == {0: problem}
    assert unfit(steps, ExamplesConfig(max_steps=2, truncate=5)) == {}
