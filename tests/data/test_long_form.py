import numpy as np
import pytest

from harken.data.columns import Table
from harken.data.long_form import gather
from harken.data.opening import arrow_table
from harken.errors import DataError

RNG = np.random.default_rng(0)
COLUMNS = {
    "id": ["b", "a", "b", "a", "c"],
    "time": [10, 1, 9, 0, 5],
    "x": [0.5, 1.5, 2.5, 3.5, 4.5],
    "y": [1, 2, 3, 4, 5],
    "label": ["u", "v", "u", "v", None],
}


def table(columns, written=False) -> Table:
    columns = arrow_table(columns)
    n = columns.num_rows
    return Table("file", columns, tuple(columns.column_names), np.arange(n), np.arange(n) + 2, written=written)


def gathered(columns, *, written=False, time="time", skip=False, numbers=("x", "y"), steps=(), constant=("label",)):
    found = table(columns, written)
    return gather(found, "id", time, numbers=numbers, steps=steps, constant=constant, skip_bad_rows=skip)


def cells(table):
    return table.columns.to_pydict()


def test_rows_with_one_id_become_a_row_in_order_of_time():
    found = gathered(COLUMNS)
    assert cells(found) == {
        "id": ["b", "a", "c"],
        "x": [[2.5, 0.5], [3.5, 1.5], [4.5]],
        "y": [[3, 1], [4, 2], [5]],
        "label": ["u", "v", None],
    }
    assert (found.numbers.tolist(), found.lines.tolist(), found.ids) == ([0, 1, 2], [2, 3, 6], ["b", "a", "c"])
    assert found.described == ("order of the steps: by column 'time', as numbers",)
    assert found.place(1) == "id 'a' (it begins in line 3)"


def test_without_a_time_the_rows_stay_in_order():
    found = gathered(COLUMNS, time=None)
    assert cells(found)["x"] == [[0.5, 2.5], [1.5, 3.5], [4.5]]
    assert found.described == ("order of the steps: as the rows stand",)


@pytest.mark.parametrize(
    ("times", "how", "order"),
    [
        (["10", "1", "9", "0", "5"], "numbers", [2.5, 0.5]),
        (["2020-01-10", "", "2020-01-09T00", "2020", "2020"], "dates and times", [2.5, 0.5]),
        (["12:30", "09:00", "12:29:59.5", "08:00", "08:00"], "dates and times", [2.5, 0.5]),
        (["2020-05-01T10:00+02:00", "2020", "2020-05-01T09:00Z", "2021", "2020"], "dates and times", [0.5, 2.5]),
        (["2020-05", "2020", "2020-04-30 23:59:59.123456789", "2021", "2020"], "dates and times", [2.5, 0.5]),
        (
            np.array(["2020-01-10", "2020-01-01", "2020-01-09", "2020-01-01T01", "2020-01-01"], "M8[s]"),
            "dates and times",
            [2.5, 0.5],
        ),
    ],
)
def test_times_are_numbers_or_dates(times, how, order):
    columns = COLUMNS | {"time": times}
    if "" in list(times):
        columns = {name: [cell for i, cell in enumerate(cells) if i != 1] for name, cells in columns.items()}
    found = gathered(columns, written=True)
    assert found.described == (f"order of the steps: by column 'time', as {how}",)
    assert cells(found)["x"][0] == order


def test_times_of_another_kind_are_refused():
    complaint = r"file: column 'time' holds 't10', and no cell is a number or an ISO date.* give --id without --time"
    for skip in (False, True):
        with pytest.raises(DataError, match=complaint):
            gathered(COLUMNS | {"time": ["t10", "t1", "t9", "t0", "t5"]}, written=True, skip=skip)


def test_steps_may_be_texts_and_labels_for_each_step():
    found = gathered(COLUMNS, steps=("label",), constant=(), numbers=("x",))
    assert cells(found)["label"] == [["u", "u"], ["v", "v"], [None]]


def test_numbers_are_read_from_texts_and_missing_is_nan():
    columns = COLUMNS | {"x": ["1", "2", "", "4", "5"], "y": ["1", "2", "3", " 4 ", "5"]}
    found = cells(gathered(columns, written=True))
    assert np.isnan(found["x"][0][0])
    assert found["y"] == [[3, 1], [4, 2], [5]]
    assert all(isinstance(value, int) for row in found["y"] for value in row)


def test_a_value_that_only_some_rows_have_is_the_series(tmp_path):
    found = gathered(COLUMNS | {"label": [None, "v", "u", None, None]})
    assert cells(found)["label"] == ["u", "v", None]


BAD = [
    ({"id": ["b", "a", "", "a", "c"]}, r"line 4: the id \(column 'id'\) is missing", ["b", "a", "c"]),
    ({"time": ["10", "1", "9", "", "5"]}, r"line 5: the time \(column 'time'\) is missing", ["b", "c"]),
    ({"time": ["10", "1", "t9", "0", "5"]}, r"line 4: the time 't9' \(column 'time'\) is not a number", ["a", "c"]),
    (
        {"time": ["2020-01-02", "2020-01-01", "2020-01-01", "2020-13-01", "2020-01-01"]},
        r"line 5: the time '2020-13-01' \(column 'time'\) is not a number or an ISO date or time",
        ["b", "c"],
    ),
    ({"time": ["9", "1", "9", "0", "5"]}, "line 4: id 'b' has a second row with the time of line 2", ["a", "c"]),
    ({"x": ["1", "2", "3", "x", "5"]}, "line 5: 'x' in column 'x' is not a number", ["b", "c"]),
    (
        {"label": ["u", "v", "w", "v", ""]},
        r"line 4: column 'label' is 'w', and 'u' in line 2: rows with one id",
        ["a", "c"],
    ),
]


@pytest.mark.parametrize(("change", "complaint", "left"), BAD)
def test_a_bad_row_is_named_or_its_series_skipped(change, complaint, left):
    with pytest.raises(DataError, match=complaint):
        gathered(COLUMNS | change, written=True)
    found = gathered(COLUMNS | change, written=True, skip=True)
    assert cells(found)["id"] == left
    assert found.skipped == 1
    assert found.numbers.tolist() == [["b", "a", "c"].index(id) for id in left]
    assert sum(map(len, cells(found)["x"])) == {3: 4, 2: 3}[len(left)]


def test_nothing_but_bad_rows():
    with pytest.raises(DataError, match="all 5 of them are bad, such as line 2: 'p' in column 'x'"):
        gathered(COLUMNS | {"x": ["p", "q", "r", "s", "t"]}, written=True, skip=True)
    with pytest.raises(DataError, match="has no column 'who'"):
        gather(table(COLUMNS), "who", None, numbers=(), steps=(), constant=(), skip_bad_rows=False)


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_rows_give_the_same_series(seed):
    rng = np.random.default_rng(seed)
    ids, times = zip(*[(i, t) for i in range(6) for t in range(rng.integers(1, 7))], strict=True)
    order = rng.permutation(len(ids))
    ids, times = np.array(ids)[order], np.array(times)[order]
    found = gathered({"id": ids, "time": times, "x": ids * 100.5 + times}, numbers=("x",), constant=())
    series = dict(zip(cells(found)["id"], cells(found)["x"], strict=True))
    for i in range(6):
        assert series[i] == [i * 100.5 + t for t in range(len(series[i]))]
    assert cells(found)["id"] == list(dict.fromkeys(ids.tolist()))
