import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harken.data.ragged import Ragged
from harken.errors import DataError, ShapeError

ROWS = [[5, 6, 7], [], [8], [9, 10], []]
rows_of_numbers = st.lists(st.lists(st.integers(1, 99), max_size=6), max_size=8)


def lists(ragged: Ragged) -> list[list[float]]:
    return [row.tolist() for row in ragged]


def padded_by_hand(rows: list[list[int]], fill: int, reverse: bool) -> list[list[int]]:
    longest = max(map(len, rows), default=0)
    return [(row[::-1] if reverse else row) + [fill] * (longest - len(row)) for row in rows]


@given(rows_of_numbers, st.booleans(), st.integers(-5, 5), st.data())
def test_pad_is_what_a_loop_would_do(rows, reverse, fill, data):
    indices = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10)) if rows else []
    padded, lengths = Ragged.from_lists(rows, torch.int64).pad(torch.tensor(indices, dtype=torch.int64), fill, reverse)
    chosen = [rows[i] for i in indices]
    assert padded.tolist() == padded_by_hand(chosen, fill, reverse)
    assert lengths.tolist() == list(map(len, chosen))
    assert lengths.dtype == torch.int64


@given(rows_of_numbers, st.data())
def test_take_is_what_indexing_would_do(rows, data):
    indices = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10)) if rows else []
    taken = Ragged.from_lists(rows, torch.int64).take(torch.tensor(indices, dtype=torch.int64))
    assert lists(taken) == [rows[i] for i in indices]


def test_pad_vectors_and_all_rows():
    ragged = Ragged.from_lists([[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]], torch.float64)
    padded, lengths = ragged.pad(fill=-1, reverse=True)
    assert padded.tolist() == [[[1, 2], [-1, -1]], [[5, 6], [3, 4]]]
    assert lengths.tolist() == [1, 2]


def test_offsets_need_not_start_at_zero():
    ragged = Ragged(torch.arange(10), torch.tensor([2, 4, 4, 7]))
    assert lists(ragged) == [[2, 3], [], [4, 5, 6]]
    assert ragged.pad()[0].tolist() == [[2, 3, 0], [0, 0, 0], [4, 5, 6]]
    assert lists(ragged.take(torch.tensor([2, 0]))) == [[4, 5, 6], [2, 3]]
    assert ragged.to_arrow().to_pylist() == [[2, 3], [], [4, 5, 6]]


def test_rows_are_counted_from_both_ends():
    ragged = Ragged.from_lists(ROWS, torch.int64)
    assert ragged[-2].tolist() == [9, 10]
    assert ragged.pad(torch.tensor([-2]))[0].tolist() == [[9, 10]]
    with pytest.raises(IndexError):
        ragged[5]
    with pytest.raises(IndexError):
        ragged.pad(torch.tensor([5]))


def test_padding_never_writes_to_the_values():
    values = torch.arange(6)
    Ragged(values, torch.tensor([0, 1, 6])).pad(fill=99, reverse=True)
    assert values.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "offsets",
    [
        torch.tensor([0, 2, 1]),
        torch.tensor([0, 5]),
        torch.tensor([-1, 2]),
        torch.tensor([0.0, 2.0]),
        torch.tensor([], dtype=torch.int64),
        torch.tensor([[0, 1]]),
    ],
)
def test_offsets_that_do_not_cut_the_values(offsets):
    with pytest.raises(ShapeError, match="offsets"):
        Ragged(torch.arange(4), offsets)


def test_steps_of_unequal_width():
    with pytest.raises(ShapeError, match="as long"):
        Ragged.from_lists([[[1.0, 2.0], [3.0]]], torch.float32)


NULL_OVER_VALUES = pa.ListArray.from_arrays(
    pa.array([0, 2, 4, 5], pa.int32()), pa.array([1, 2, 3, 4, 5]), mask=pa.array([False, True, False])
)
LISTS = pa.array([[1, 2], None, [3], [], [4, 5, 6]])
VECTORS = pa.array([[[1, 2]], [], [[3, 4], [5, 6]]], pa.list_(pa.list_(pa.float32(), 2)))


@pytest.mark.parametrize(
    "array",
    [
        pa.array([[1, 2], [], [3]]),
        pa.array([[1, 2], [], [3]]).slice(1),
        pa.array([[1, 2], [], [3], [4]]).slice(1, 2),
        pa.array([[1.5], [2.5, 3.5]], pa.large_list(pa.float64())),
        pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int16(), 2)).slice(1),
        pa.array([[True, False], [True]]),
        LISTS,
        LISTS.slice(1, 3),
        LISTS.slice(2),
        LISTS.slice(5),
        NULL_OVER_VALUES,
        NULL_OVER_VALUES.slice(1),
        VECTORS,
        VECTORS.slice(1),
        pa.chunked_array([LISTS, LISTS.slice(1, 2)]),
        pa.chunked_array([LISTS.slice(2)]),
        pa.chunked_array([], type=LISTS.type),
    ],
    ids=str,
)
def test_arrow_columns_and_their_traps(array):
    expected = [row or [] for row in array.to_pylist()]
    ragged = Ragged.from_arrow(array)
    assert lists(ragged) == expected
    assert ragged.pad()[1].tolist() == list(map(len, expected))
    assert Ragged.from_arrow(ragged.to_arrow()).to_arrow().to_pylist() == expected


def test_a_slice_shares_arrows_memory():
    array = pa.array([[1, 2], [3], [4, 5]], pa.large_list(pa.int64()))
    ragged = Ragged.from_arrow(array.slice(1))
    assert ragged.values.data_ptr() == array.values.buffers()[1].address + 2 * 8


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pa.table])
def test_lists_in_data_frames(frame):
    assert lists(Ragged.from_arrow(pa.table(frame({"x": ROWS})).column("x"))) == ROWS


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        (pa.array([[1, None]]), "null inside"),
        (pa.array([["a"]]), "lists of string"),
        (pa.array([1, 2]), "holds int64"),
        (pa.array([[[1], None]], pa.list_(pa.list_(pa.int64(), 1))), "null inside"),
    ],
)
def test_columns_that_are_no_lists_of_numbers(array, complaint):
    with pytest.raises(DataError, match=complaint):
        Ragged.from_arrow(array)
