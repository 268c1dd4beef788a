import numpy as np
import pyarrow as pa
import pytest

from harken.config import ExamplesConfig
from harken.data.columns import Table
from harken.data.label_columns import match_tags, read_answers, refuse_missing
from harken.data.opening import arrow_table
from harken.errors import DataError


def read(cells, task="classify", written=True, problems=None, **options):
    columns = arrow_table({"y": cells})
    table = Table("file", columns, ("y",), np.arange(columns.num_rows), written=written)
    return read_answers(table, "y", ExamplesConfig(**options), task, {} if problems is None else problems)


@pytest.mark.parametrize(
    ("cells", "written", "labels"),
    [
        ([" a ", "b", "", None], True, ["a", "b", None, None]),
        (["1", "2", ""], True, [1, 2, None]),
        (["1", "2"], False, ["1", "2"]),
        ([1, None], False, [1, None]),
        ([True, False], False, [True, False]),
        (pa.array(["a", "b"]).dictionary_encode(), False, ["a", "b"]),
        ([["a", "b"], [], None], False, [["a", "b"], [], None]),
    ],
)
def test_labels(cells, written, labels):
    assert read(cells, written=written) == labels


def test_white_space_may_matter():
    assert read([" a ", "b"], strip=False) == [" a ", "b"]


def test_several_labels_in_a_cell():
    assert read(["a | b", "", None, "c|"], label_delimiter="|") == [["a", "b"], [], None, ["c"]]
    assert read(["1,2", "3"], label_delimiter=",") == [[1, 2], [3]]
    assert read(["1,2", "x"], label_delimiter=",") == [["1", "2"], ["x"]]
    assert read(["1,2", "3"], label_delimiter=",", written=False) == [["1", "2"], ["3"]]


def test_a_table_of_indicators_stays_an_array():
    cells = pa.FixedSizeListArray.from_arrays(pa.array([0, 1, 1, 1]), 2)
    assert read(cells).tolist() == [[0, 1], [1, 1]]
    assert isinstance(read(cells), np.ndarray)
    assert read(cells, "tag") == [[0, 1], [1, 1]]


def test_a_table_of_indicators_may_lack_a_row():
    cells = pa.array([[0, 1], None, [1, 1]], pa.list_(pa.int64(), 2))
    assert read(cells).tolist() == [[0, 1], [None, None], [1, 1]]
    assert read(cells, "tag") == [[0, 1], None, [1, 1]]


def test_labels_that_are_named_twice_and_values_that_are_too_few():
    problems = {}
    read(["a|b|a", "b", "1|1"], label_delimiter="|", problems=problems)
    assert problems.keys() == {0, 2}
    assert problems[0] == "the labels 'a', 'b', 'a' (column 'y') name one twice, or none: name each once"
    problems = {}
    read([["a", "a"], ["a", None], [], None], problems=problems)
    assert problems.keys() == {0, 1}
    problems = {}
    assert read([["a", "a"]], "tag", problems=problems) == [["a", "a"]]
    read([[1.0, 2.0], [3.0, None], [1.0], [np.inf, 1.0], None], "regress", problems=problems)
    assert problems == {
        2: "there are 1 values (column 'y'), and most rows have 2",
        3: "the value inf (column 'y') is no number, or infinite",
    }
    problems = {}
    read([["1", "x"], ["2", "3"]], "regress", problems=problems)
    assert problems == {0: "the value 'x' (column 'y') is no number, or infinite"}


def test_tags():
    assert read(["D N", "V", None], "tag") == [["D", "N"], ["V"], None]
    assert read(["0 1", "1"], "tag") == [[0, 1], [1]]
    assert read([["D", None], []], "tag") == [["D", None], []]


def test_values():
    problems = {}
    cells = ["1.50", "x", "", "inf", "-2"]
    assert read(cells, "regress", problems=problems)[::2] == [1.5, None, -2.0]
    assert problems == {
        1: "the label 'x' (column 'y') is not a number",
        3: "the label (column 'y') is infinite",
    }
    assert read([[1.0, 2.0]], "regress", written=False) == [[1.0, 2.0]]


def test_missing_labels():
    table = Table("file", pa.table({"y": [1, 2, 3]}), ("y",), np.arange(3))
    problems = {}
    refuse_missing(table, {"y": ["a", None, "b"]}, problems)
    assert problems == {1: "the label (column 'y') is missing"}
    problems = {}
    refuse_missing(table, {"y": ["a", None, None], "z": [None, "b", None]}, problems)
    assert problems == {}, "each head learns from the rows that it has"
    with pytest.raises(DataError, match="file has no labels: column 'y' is empty in every row"):
        refuse_missing(table, {"y": [None] * 3}, {})
    with pytest.raises(DataError, match="file has no labels: name the column that holds them with --label"):
        refuse_missing(table, {}, {})


def test_tags_are_as_many_as_steps():
    problems = {}
    match_tags([2, 1, 0, 3], {"y": [["a", "b"], ["c", "d"], [], None]}, problems)
    assert problems == {1: "there are 2 tags (column 'y') for 1 steps"}
