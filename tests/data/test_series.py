import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.data.ragged import Ragged
from harken.data.series import fill_missing
from harken.errors import DataError

NAN = math.nan
cells = st.one_of(st.just(NAN), st.integers(-9, 9).map(float))
series_rows = st.lists(st.lists(st.tuples(cells, cells), max_size=6), min_size=1, max_size=5)


def series(rows) -> Ragged:
    lengths = torch.tensor([0, *map(len, rows)])
    values = torch.tensor([step for row in rows for step in row], dtype=torch.float32).view(-1, 2)
    return Ragged(values, lengths.cumsum(0))


def carried(column: list[float]) -> list[float]:
    last, filled = NAN, []
    for value in column:
        last = last if math.isnan(value) else value
        filled.append(last)
    return filled


def drawn(column: list[float]) -> list[float]:
    known = [step for step, value in enumerate(column) if not math.isnan(value)]
    if not known:
        return column
    return np.interp(range(len(column)), known, [column[step] for step in known]).tolist()


@pytest.mark.parametrize(("missing", "rule"), [("carry", carried), ("linear", drawn), ("mean", list)])
@settings(deadline=None)  # the first comparison imports much
@given(rows=series_rows)
def test_filling_is_what_a_loop_would_do(missing, rule, rows):
    filled = fill_missing(series(rows), missing)
    for row, found in zip(rows, filled, strict=True):
        columns = [rule([step[channel] for step in row]) for channel in range(2)]
        expected = torch.tensor(columns, dtype=torch.float32).view(2, -1).T
        torch.testing.assert_close(found, expected, equal_nan=True)


def test_what_lies_beyond_the_rows_stays_out():
    whole = torch.tensor([[7.0], [NAN], [NAN], [3.0], [9.0]])
    cut = Ragged(whole, torch.tensor([1, 3, 4]))
    assert fill_missing(cut, "carry").values.isnan().tolist() == [[True], [True], [False]]
    assert fill_missing(cut, "linear")[1].tolist() == [[3]]


def test_nothing_missing_is_nothing_copied():
    whole = series([[(1.0, 2.0)]])
    assert fill_missing(whole, "refuse") is whole


@pytest.mark.parametrize(
    ("missing", "bad", "complaint"),
    [
        ("refuse", NAN, r"row 2, step 1, channel 1 holds NaN: say --missing carry"),
        ("mean", math.inf, "row 2, step 1, channel 1 holds inf"),
        ("carry", -math.inf, "row 2, step 1, channel 1 holds inf"),
    ],
)
def test_refusals_say_where(missing, bad, complaint):
    rows = series([[(1.0, 2.0)], [], [(0.0, 0.0), (0.0, bad)]])
    with pytest.raises(DataError, match=complaint):
        fill_missing(rows, missing)
    with pytest.raises(DataError, match="channel 'gyro' holds"):
        fill_missing(rows, missing, ["accelerometer", "gyro"])
