import json
import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harken.data.labels import Head, Labels, decode, encode, fit_heads, refuse_missing
from harken.data.ragged import Ragged
from harken.errors import DataError

NAN = math.nan


def head(column, task="classify", binary="one-logit", **options) -> Head:
    return fit_heads(Labels({"label": column}, **options), task, binary)[0]


@pytest.mark.parametrize(
    ("column", "task", "expected"),
    [
        (["b", "a", "b"], "classify", Head("label", "binary", 1, ("a", "b"))),
        ([True, False], "classify", Head("label", "binary", 1, (False, True))),
        ([3, 1, 2, 3], "classify", Head("label", "classes", 3, (1, 2, 3))),
        ([1, "a", 0.5], "classify", Head("label", "classes", 3, (0.5, 1, "a"))),
        ([["b", "a"], [], ["c"]], "classify", Head("label", "multi-label", 3, ("a", "b", "c"))),
        ([["b"], ["b"]], "classify", Head("label", "multi-label", 1, ("b",))),
        ([["N", "V"], [], [None, "D"]], "tag", Head("label", "tags", 3, ("D", "N", "V"))),
        ([1.0, 3.0], "regress", Head("label", "values", 1, (), (2.0,), (1.0,))),
        ([(1.0, 5.0), (3.0, 5.0)], "regress", Head("label", "values", 2, (), (2.0, 5.0), (1.0, 1.0))),
        ([(1.0, NAN), (3.0, 5.0)], "regress", Head("label", "values", 2, (), (2.0, 5.0), (1.0, 1.0))),
    ],
)
def test_heads(column, task, expected):
    assert head(column, task) == expected
    assert Head.from_json(json.loads(json.dumps(expected.to_json()))) == expected


def test_two_logits():
    assert head(["a", "b"], binary="two-logits").width == 2
    assert head(["a", "b", "c"], binary="two-logits").width == 3


def test_several_heads_may_miss_answers():
    labels = Labels({"color": ["red", None, "blue"], "shape": [None, 1, 2]})
    color, shape = fit_heads(labels, "classify")
    assert (color.name, color.classes) == ("color", ("blue", "red"))
    assert encode(color, labels.columns["color"]).tolist() == [1, -1, 0]
    assert encode(shape, labels.columns["shape"]).tolist() == [-1, 0, 1]


def test_classes_whose_order_was_given():
    given_head = head([[2], [0]], classes={"label": (0, 1, 2)})
    assert given_head.classes == (0, 1, 2)
    assert encode(given_head, [[2, 0], []]).tolist() == [[1, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    ("columns", "task", "complaint"),
    [
        ({}, "classify", "there are no labels"),
        ({"label": []}, "classify", "there are no labels"),
        ({"label": ["a", None]}, "classify", r"row 1 has no label \(label\)"),
        (
            {"label": ["a", "a"]},
            "classify",
            "'label' holds only one class, 'a': training needs rows of at least two classes",
        ),
        ({"label": [["N"], ["N"]]}, "tag", "holds only one class, 'N'"),
        ({"label": [[], []]}, "tag", "holds nothing"),
        ({"label": [[], []]}, "classify", "no row has any label"),
        ({"label": [1.0, None]}, "regress", "row 1 has no label"),
        ({"x": ["a", "b"], "y": [None, None]}, "classify", "'y' is missing in every row"),
        ({"label": [(1.0, NAN), (2.0, NAN)]}, "regress", "a value that is missing in every row"),
        ({"label": [(1.0, 2.0), (2.0,)]}, "regress", "row 1 has 1 values"),
    ],
)
def test_labels_that_nothing_is_learned_from(columns, task, complaint):
    with pytest.raises(DataError, match=complaint):
        fit_heads(Labels(columns), task)


def test_numbers_that_are_no_classes():
    with pytest.raises(DataError, match="continuous, as label 'label' holds 30 different numbers"):
        head([i / 7 + 0.01 for i in range(30)])
    assert head([i / 2 for i in range(9)] * 9).width == 9  # stars, half ones too


def test_one_class_is_enough_for_answers_that_are_only_compared():
    refuse_missing(Labels({"label": ["a", "a"]}))


labels_of_rows = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=9)


@given(labels_of_rows)
def test_classes_come_back(column):
    known = Head("label", "classes", 3, ("a", "b", "c"))
    targets = encode(known, column)
    assert targets.dtype == torch.int64
    assert decode(known, targets) == column


@given(st.lists(labels_of_rows.map(lambda row: sorted(set(row)) if "c" not in row else []), max_size=6))
def test_sets_of_labels_come_back(column):
    known = Head("label", "multi-label", 3, ("a", "b", "c"))
    targets = encode(known, column)
    assert (targets.dtype, targets.shape) == (torch.float32, (len(column), 3))
    assert decode(known, targets) == decode(known, targets > 0.5) == column


@given(st.lists(st.lists(st.sampled_from(["N", "V"]), max_size=4), max_size=6))
def test_tags_come_back(column):
    known = Head("label", "tags", 2, ("N", "V"))
    targets = encode(known, column)
    assert isinstance(targets, Ragged)
    assert targets.lengths.tolist() == list(map(len, column))
    assert decode(known, targets) == column


def test_values_are_standardised():
    column = [1e6, 1e6 + 2, 1e6 + 4]
    known = head(column, "regress")
    targets = encode(known, column)
    assert targets.dtype == torch.float32
    torch.testing.assert_close(targets, torch.tensor([[-(1.5**0.5)], [0.0], [1.5**0.5]]))
    back = targets.double() * torch.tensor(known.scales) + torch.tensor(known.means)
    assert decode(known, back) == pytest.approx(column)
    several = head([(0.0, 1.0), (2.0, 5.0)], "regress")
    assert encode(several, [(2.0, 1.0)]).tolist() == [[1, -1]]
    assert decode(several, torch.tensor([[2.0, 1.0]])) == [(2.0, 1.0)]


def test_a_value_that_never_changes():
    assert encode(head([0.1] * 7, "regress"), [0.1, 1.1]).flatten().tolist() == pytest.approx([0, 1])


def test_what_is_missing():
    assert encode(Head("x", "multi-label", 2, ("a", "b")), [None, ["b"]]).isnan().tolist() == [[True] * 2, [False] * 2]
    assert encode(Head("x", "values", 2, (), (0, 0), (1, 1)), [None, (1.0, NAN)]).isnan().sum() == 3
    tags = encode(Head("x", "tags", 2, ("N", "V")), [None, ["V", None], []])
    assert [row.tolist() for row in tags] == [[], [1, -1], []]


@pytest.mark.parametrize(
    ("known", "column", "complaint", "lenient"),
    [
        (Head("x", "binary", 1, ("a", "b")), ["a", "c"], r"row 1 has the label 'c' \(x\), which no training row had: "
         "training knew 'a', 'b'$", [0, -1]),
        (Head("x", "classes", 9, tuple(range(9))), [7, 9], "knew 0, 1, 2, 3, 4, …$", [7, -1]),
        (Head("x", "multi-label", 2, ("a", "b")), [["a"], [], ["b", "c"]], "row 2 has the label 'c'",
         [[1, 0], [0, 0], [0, 1]]),
        (Head("x", "tags", 2, ("N", "V")), [["N"], ["V", "X"]], "row 1 has the label 'X'", [0, 1, -1]),
    ],
)  # fmt: skip
def test_labels_that_training_had_not(known, column, complaint, lenient):
    with pytest.raises(DataError, match=complaint):
        encode(known, column)
    found = encode(known, column, strict=False)
    assert (found.values if isinstance(found, Ragged) else found).tolist() == lenient


def test_another_number_of_values():
    with pytest.raises(DataError, match=r"row 1 has 1 values \(x\), and must have 2"):
        encode(Head("x", "values", 2, (), (0, 0), (1, 1)), [(1.0, 2.0), 3.0])


def test_equal_numbers_are_one_label():
    assert encode(head([1.0, 2.0]), [1, 2.0, np.int64(1)]).tolist() == [0, 1, 0]


def test_ten_thousand_classes():
    column = [f"class {i % 10_000}" for i in range(100_000)]
    began = time.perf_counter()
    known = head(column)
    assert encode(known, column).max() == known.width - 1 == 9999
    assert time.perf_counter() - began < 5


def test_taking_rows():
    taken = Labels({"x": ["a", "b", "c"], "y": [1, 2, 3]}, {"x": ("a",)}).take(torch.tensor([2, 0]))
    assert (taken.columns, taken.classes, len(taken)) == ({"x": ["c", "a"], "y": [3, 1]}, {"x": ("a",)}, 2)
    assert len(Labels({})) == 0


@pytest.mark.parametrize(
    ("classes", "column", "indices"),
    [
        ((1, 2), ["2", "1", 2, True], [1, 0, 1, 0]),
        ((False, True), ["True", "true", "false", "False", True, 0], [1, 1, 0, 0, 1, 0]),
        (("false", "true"), [True, False], [1, 0]),
        ((0.5, 1.0, 2.0), ["1", "1.0", "0.5", 2], [1, 1, 0, 2]),
        ((1, "1", "x"), [1, "1", "x"], [0, 1, 2]),
        (("1", "1.0"), [1.0, 1, "1"], [1, 1, 0]),
        ((True, "true", 2), ["True", "true", "2"], [0, 1, 2]),
    ],
)
def test_labels_in_other_spellings(classes, column, indices):
    assert encode(Head("x", "classes", len(classes), classes), column).tolist() == indices


def test_one_text_among_numbers_is_what_is_blamed():
    known = Head("x", "classes", 2, (1, 2))
    with pytest.raises(DataError, match=r"row 1 has the label '\?'"):
        encode(known, ["1", "?", "2"])
    assert encode(known, ["1", "?", "2", None], strict=False).tolist() == [0, -1, 1, -1]
    either = Head("x", "classes", 2, (1.0, "1.0"))
    assert encode(either, [1.0, "1.0", "1"], strict=False).tolist() == [0, 1, 0]
    assert encode(Head("x", "classes", 2, (True, "True")), ["True", "true"], strict=False).tolist() == [1, 0]


def test_labels_that_a_file_spells_as_numbers_are_found_among_texts():
    """A file whose labels all read as numbers gives numbers, where the training file had a text among them."""
    head = Head("x", "classes", 3, ("1", "2", "x"))
    assert encode(head, [2, "x", 1]).tolist() == [1, 2, 0]
    with pytest.raises(DataError, match="row 0 has the label 3"):
        encode(head, [3])
