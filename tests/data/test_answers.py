import math

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from harken.config import ExamplesConfig
from harken.data.answers import as_labels, match_rows
from harken.data.inputs import as_inputs
from harken.data.labels import Labels, fit_heads
from harken.errors import DataError, UsageError

NAN = math.nan


def columns(y, task="classify", **options):
    return as_labels(y, task, **options).columns


def holders(values) -> list:
    """A column in everything that may hold it."""
    return [
        values,
        tuple(values),
        np.array(values, dtype=object),
        pa.array(values),
        pd.Series(values),
        pl.Series(values),
    ]


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        *(
            (y, ["a", "b"])
            for y in [*holders(["a", "b"]), np.array(["a", "b"]), pd.Series(["a", "b"], dtype="category")]
        ),
        *((y, [2, 1]) for y in [*holders([2, 1]), np.array([2, 1], dtype=np.uint8), torch.tensor([2, 1])]),
        *((y, [True, False]) for y in [*holders([True, False]), np.array([True, False]), [np.True_, np.False_]]),
        *((y, [2, 1]) for y in [[2.0, 1.0], np.array([2.0, 1]), np.array([[2], [1]]), [np.float32(2), 1]]),
        ([0.5, 1.0], [0.5, 1.0]),
        (pd.Series([1, None, 2]), [1, None, 2]),
        (pd.Series(["a", None, pd.NA]), ["a", None, None]),
        (pd.Series([1, None], dtype="Int64"), [1, None]),
        ([None, NAN, np.float64("nan"), "a"], [None, None, None, "a"]),
        (pd.Categorical(["x", "y"]), ["x", "y"]),
    ],
    ids=str,
)
def test_columns_of_labels(y, expected):
    (found,) = columns(y).values()
    assert found == expected
    assert list(map(type, found)) == list(map(type, expected))


def test_names():
    assert list(columns(["a"])) == ["label"]
    assert list(columns(pd.Series(["a"], name="stars"))) == ["stars"]
    assert list(columns(pd.Series(["a"], name=3))) == ["label"]
    assert list(columns(["a"], names=["stars"])) == ["stars"]
    with pytest.raises(UsageError, match=r"names \(a, b\) must be as many as the columns of labels, which are 1"):
        columns(["a"], names=["a", "b"])


@pytest.mark.parametrize("hold", [dict, pd.DataFrame, pl.DataFrame, pa.table])
def test_several_attributes(hold):
    table = {"color": ["red", "blue"], "size": [1, 2]}
    assert columns(hold(table)) == table
    assert columns(hold(table), names=["c", "s"]) == {"c": ["red", "blue"], "s": [1, 2]}
    assert columns(hold({"size": [1, 2], "weight": [0.5, 2]}), "regress") == {"size": [1, 2], "weight": [0.5, 2]}


@pytest.mark.parametrize("y", [*holders([["b", "a"], [], ["c"]]), [{"b", "a"}, set(), ("c",)]], ids=type)
def test_several_labels(y):
    assert columns(y) == {"label": [["a", "b"], [], ["c"]]}


@pytest.mark.parametrize(
    "y", [np.array([[0, 1], [1, 1]]), torch.tensor([[0.0, 1], [1, 1]]), np.array([[0, 1], [1, 1]]) > 0]
)
def test_a_table_of_0_and_1(y):
    labels = as_labels(y, "classify")
    assert labels.columns == {"label": [[1], [0, 1]]}
    assert labels.classes == {"label": (0, 1)}
    assert as_labels(np.array([[0, 1, 0], [0, 0, 0]]), "classify").classes == {"label": (0, 1, 2)}


def test_a_sparse_table_of_0_and_1():
    sparse = pytest.importorskip("scipy.sparse")
    assert columns(sparse.csr_matrix([[0, 1], [1, 1]])) == {"label": [[1], [0, 1]]}


@pytest.mark.parametrize("y", [*holders([1.5, 2.0]), np.array([[1.5], [2]]), ["1.5", 2]], ids=type)
def test_values(y):
    assert columns(y, "regress") == {"label": [1.5, 2.0]}


@pytest.mark.parametrize(
    "y", [np.array([[1, 2], [3, NAN]]), [[1, 2], (3, None)], pl.Series([[1, 2], [3, None]])], ids=type
)
def test_several_values(y):
    (first, second) = columns(y, "regress")["label"]
    assert first == (1.0, 2.0)
    assert second[0] == 3
    assert math.isnan(second[1])


def test_indicators_that_are_missing():
    y = np.array([[0, 1], [None, None], [1, 1]], dtype=object)
    assert as_labels(y, "classify").columns == {"label": [[1], None, [0, 1]]}
    with pytest.raises(DataError, match="row 0 of the labels 'label' holds"):
        as_labels(np.array([[0, None]], dtype=object), "classify")


def test_values_that_are_missing():
    assert columns([1.0, None, NAN], "regress") == {"label": [1.0, None, None]}
    assert columns([(1, 2), (NAN, None)], "regress") == {"label": [(1.0, 2.0), None]}


@pytest.mark.parametrize("y", [*holders([["N", "V"], [], ["D"]]), [np.array(["N", "V"]), (), ["D"]]], ids=type)
def test_tags(y):
    assert columns(y, "tag") == {"label": [["N", "V"], [], ["D"]]}


def test_an_array_of_tags():
    assert columns(np.array([[1, 2], [3, 4]]), "tag") == {"label": [[1, 2], [3, 4]]}
    assert columns([["N", None], None], "tag") == {"label": [["N", None], None]}


@pytest.mark.parametrize(
    ("y", "task", "complaint"),
    [
        ([b"a"], "classify", r"row 0 has the label b'a' \(label\): labels must be texts, numbers or bools"),
        (["a", ("b",)], "classify", r"row 0 has the label 'a' \(label\) where others have a list"),
        ([["a"], ["b", "b"]], "classify", r"row 1 names a label twice, or none, in \['b', 'b'\]"),
        ([["a"], [None]], "classify", "row 1 names a label twice, or none"),
        ([["a"], [object()]], "classify", "row 1 has the label"),
        ([math.inf, 1.0], "classify", "row 0 has the label inf"),
        (
            np.array([[0, 1], [2, 0]]),
            "classify",
            "row 1 of the labels 'label' holds .2, 0.: an array of two dimensions",
        ),
        (np.zeros((2, 2, 2)), "classify", r"an array \(2, 2, 2\)"),
        (["a", "1"], "regress", r"row 0 has the value 'a' \(label\), which is no number"),
        ([1.0, math.inf], "regress", "row 1 has the value inf"),
        (["N V"], "tag", "row 0 has the tags 'N V'"),
        ({"a": [1, 2], "b": [1]}, "classify", r"unequal numbers of rows \(a: 2, b: 1\)"),
    ],
)
def test_what_is_no_label(y, task, complaint):
    with pytest.raises(DataError, match=complaint):
        as_labels(y, task)


@pytest.mark.parametrize("y", ["abc", 5, None, (x for x in "ab")])
def test_what_holds_no_labels(y):
    with pytest.raises(UsageError, match="must be a list, array or table of labels"):
        as_labels(y, "classify")


def test_labels_come_back_as_they_are():
    labels = Labels({"x": ["a"]})
    assert as_labels(labels, "classify") is labels


def test_from_labels_to_heads():
    (head,) = fit_heads(as_labels(pd.Series(["b", "a", None, "b"])[[0, 1, 3]], "classify"), "classify")
    assert head.classes == ("a", "b")


def inputs(rows, **options):
    return as_inputs(rows, ExamplesConfig(**options), "tag")


def test_labels_belong_to_rows():
    labels = Labels({"label": [["N", "V"], ["D"], None]})
    words = [["a", "b"], ["c"], ["d"]]
    assert match_rows(inputs(words), labels, "tag").columns == labels.columns
    assert match_rows(inputs(words, truncate=1), labels, "tag").columns == {"label": [["N"], ["D"], None]}
    with pytest.raises(DataError, match="3 labels for 2 rows"):
        match_rows(inputs(words[:2]), labels, "tag")
    with pytest.raises(DataError, match=r"row 1 has 1 tags \(label\) for 2 steps"):
        match_rows(inputs([["a", "b"], ["c", "d"], ["d"]]), labels, "tag")
    several = Labels({"label": [["a", "b", "c"], []]})
    assert match_rows(inputs([["a"], ["b"]]), several, "classify") is several
