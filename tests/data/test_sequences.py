import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harken.data.ragged import Ragged
from harken.data.sequences import check_steps, cut_rows, ragged_from_array, ragged_from_arrow, ragged_from_rows
from harken.errors import DataError


def lists(ragged: Ragged) -> list:
    return [row.tolist() for row in ragged]


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.arange(6).reshape(2, 3), torch.int64),
        (np.arange(6, dtype=np.uint8).reshape(3, 2), torch.int64),
        (np.ones((2, 3), dtype=bool), torch.int64),
        (np.arange(12.0).reshape(2, 3, 2), torch.float32),
        (np.arange(12.0, dtype=np.float16).reshape(2, 3, 2)[:, ::2], torch.float32),
        (np.zeros((3, 0, 2)), torch.float32),
        (np.zeros((0, 4)), torch.float32),
    ],
)
def test_arrays(array, dtype):
    ragged = ragged_from_array(array)
    assert ragged.values.dtype == dtype
    assert lists(ragged) == array.tolist()


@given(st.lists(st.lists(st.integers(-9, 9), max_size=4), max_size=5))
def test_lists_of_whole_numbers(rows):
    ragged = ragged_from_rows(rows)
    assert ragged.values.dtype == torch.int64
    assert lists(ragged) == rows


@pytest.mark.parametrize(
    "rows",
    [
        [[1, 2], [0.5], []],
        [np.array([1.0, 2.0]), (3, 4), torch.tensor([5.0])],
        [[[1, 2], [3, 4]], [], np.ones((1, 2))],
        [[1.5, None, 2], [None, 3], [pd.NA]],
    ],
)
def test_rows_of_several_types(rows):
    ragged = ragged_from_rows(rows)
    assert ragged.values.dtype == torch.float32
    for row, found in zip(rows, ragged, strict=True):
        wanted = np.array(
            [np.nan if x is None or x is pd.NA else x for x in np.asarray(row, dtype=object).ravel()], dtype=float
        )
        np.testing.assert_array_equal(found.numpy().ravel(), wanted)


def test_bytes_are_numbers_too():
    assert lists(ragged_from_rows([b"ab", b"", bytearray(b"\xff")])) == [[97, 98], [], [255]]


def test_a_users_array_is_not_written_to_through_the_ragged():
    array = np.ones((2, 2), dtype=np.float32)
    array.flags.writeable = False
    ragged_from_array(array).values.fill_(0)
    assert array.sum() == 4


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        (pa.array([[1, 2], [], [3]]), torch.int64),
        (pa.array([[1.5], [2.5, 3]]).slice(1), torch.float32),
        (pa.array([[1, None], [3]]), torch.float32),
        (pa.array([[True], [False, True]]), torch.int64),
        (pa.array([[[1.0, 2], [3, 4]], [], [[5, 6]]]), torch.float32),
        (pa.array([[[1.0, 2], [3, 4]], [], [[5, 6]]], pa.list_(pa.list_(pa.float32(), 2))), torch.float32),
        (pa.array([[[1.0], [3]], [[5]], [[6]]], pa.large_list(pa.list_(pa.float64()))).slice(1), torch.float32),
        (pa.array([[1, 2], [3, 4]], pa.list_(pa.int16(), 2)).slice(1), torch.int64),
        (pa.chunked_array([pa.array([[1.0]]), pa.array([[2.0], []])]), torch.float32),
        (pa.chunked_array([], type=pa.list_(pa.float64())), torch.float32),
        (pa.array([[], []], pa.list_(pa.list_(pa.float32()))), torch.float32),
    ],
    ids=str,
)
def test_arrow_columns(column, dtype):
    ragged = ragged_from_arrow(column)
    assert ragged.values.dtype == dtype
    expected = column.to_pylist()
    for row, found in zip(expected, ragged, strict=True):
        wanted = np.array([[np.nan if x is None else x] for x in row] if row and np.ndim(row[0]) == 0 else row)
        np.testing.assert_array_equal(found.numpy().ravel(), wanted.ravel().astype(float))


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: ragged_from_rows([[1], 5]), r"row 1 is int \(5\)"),
        (lambda: ragged_from_rows([[1], None]), "row 1 is NoneType"),
        (lambda: ragged_from_rows([[1], "ab"]), "row 1 is str"),
        (lambda: ragged_from_rows([[1], ["a", 2]]), "row 1, step 0 holds 'a', which is no number"),
        (lambda: ragged_from_rows([[1], [2, "a", None]]), "row 1, step 1 holds 'a'"),
        (lambda: ragged_from_rows([[1], [1j]]), "row 1 is complex128"),
        (lambda: ragged_from_rows([["1", "2"]]), "row 0, step 0 holds '1'"),
        (lambda: ragged_from_rows([np.array(["2020"], dtype="datetime64")]), "row 0"),
        (
            lambda: ragged_from_rows([[[1, 2]], [[1, 2], [3]]]),
            "row 1, step 1 has 1 channels where the first step has 2",
        ),
        (lambda: ragged_from_rows([[], [[1, 2]], [[1, 2, 3]]]), "row 2 has 3 channels where row 1 has 2"),
        (lambda: ragged_from_rows([[1, 2], [[1, 2]]]), "row 1 has 2 channels where row 0 has single numbers"),
        (lambda: ragged_from_rows([np.ones((1, 1, 1))]), "row 0 is an array of shape"),
        (lambda: ragged_from_array(np.ones(3)), r"the array is \(3,\)"),
        (lambda: ragged_from_array(np.ones((1, 1, 1, 1))), "Reshape your data"),
        (lambda: ragged_from_array(np.ones((1, 1), dtype=complex)), "the array is complex128"),
        (lambda: ragged_from_arrow(pa.array([[1], None])), "row 1 is null"),
        (lambda: ragged_from_arrow(pa.array([["a"]])), "list<.*string>"),
        (lambda: ragged_from_arrow(pa.array([[[1, 2]], [], [[1, 2], [3]]])), "row 2, step 1 has 1 channels"),
    ],
)
def test_rows_that_are_none(make, complaint):
    with pytest.raises(DataError, match=complaint):
        make()


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=5), st.one_of(st.none(), st.integers(1, 7)))
def test_cutting(rows, steps):
    assert lists(cut_rows(ragged_from_rows(rows), steps)) == [row[:steps] for row in rows]


def test_cutting_a_slice_of_values():
    ragged = Ragged(torch.arange(10), torch.tensor([2, 5, 5, 9]))
    assert lists(cut_rows(ragged, 2)) == [[2, 3], [], [5, 6]]


def test_rows_that_are_too_long():
    check_steps(torch.tensor([3, 2]), 3)
    check_steps(torch.tensor([3, 2]), None)
    with pytest.raises(DataError, match=r"row 1 has 1,200 steps, more than max_steps \(1,000\)"):
        check_steps(torch.tensor([3, 1200, 5000]), 1000)
