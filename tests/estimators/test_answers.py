"""Tensors become arrays and the user's own labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harken.data.labels import Head
from harken.data.ragged import Ragged
from harken.estimators.answers import as_arrays, class_array, decision, head_answers, predicted

ONE = Head("sense", "binary", 1, ("neg", "pos"))
TWO = Head("sense", "binary", 2, ("neg", "pos"))
CLASSES = Head("color", "classes", 3, ("red", "green", "blue"))
SEVERAL = Head("genre", "multi-label", 2, ("crime", "love"))
VALUE = Head("size", "values", 1, (), (10.0,), (2.0,))
VALUES = Head("sizes", "values", 2, (), (10.0, 0.0), (2.0, 1.0))
TAGS = Head("part", "tags", 2, ("N", "V"))
STEPS = Ragged(torch.tensor([[1.0, 0], [0, 1], [1, 0]]), torch.tensor([0, 2, 2, 3]))


def test_predictions_have_the_form_that_scikit_learn_has() -> None:
    assert predicted(ONE, torch.tensor([[1.0], [-1.0]]), indicator=False).tolist() == ["pos", "neg"]
    assert predicted(TWO, torch.tensor([[1.0, 0], [0, 1]]), indicator=False).tolist() == ["neg", "pos"]
    assert predicted(CLASSES, torch.eye(3), indicator=False).tolist() == ["red", "green", "blue"]
    assert predicted(VALUE, torch.tensor([[1.0], [0.0]]), indicator=False).tolist() == [12, 10]
    assert predicted(VALUES, torch.tensor([[1.0, 1], [0, 0]]), indicator=False).tolist() == [[12, 1], [10, 0]]
    some = torch.tensor([[1.0, -1], [1, 1], [-1, -1]])
    assert predicted(SEVERAL, some, indicator=False) == [["crime"], ["crime", "love"], []]
    table = predicted(SEVERAL, some, indicator=True)
    assert (table.dtype, table.tolist()) == (np.int64, [[1, 0], [1, 1], [0, 0]])
    assert predicted(TAGS, STEPS, indicator=False) == [["N", "V"], [], ["N"]]


def test_logits_probabilities_and_labels_are_three_things() -> None:
    logits, chances, labels = head_answers(ONE, torch.tensor([[2.0], [-2.0]]))
    assert logits.tolist() == [[2], [-2]]
    assert np.allclose(chances, [[0.1192, 0.8808], [0.8808, 0.1192]], atol=1e-4)
    assert labels == ["pos", "neg"]
    assert head_answers(VALUE, torch.tensor([[1.0]])) == (np.array([[1]]), None, [12.0])
    steps = head_answers(TAGS, STEPS)
    assert (
        [each.shape for each in steps.logits]
        == [each.shape for each in steps.probabilities]
        == [(2, 2), (0, 2), (1, 2)]
    )
    assert steps.labels == [["N", "V"], [], ["N"]]
    assert [each.tolist() for each in as_arrays(STEPS)] == [[[1, 0], [0, 1]], [], [[1, 0]]]


@pytest.mark.parametrize("head", [ONE, TWO])
def test_two_classes_are_decided_by_one_number(head: Head) -> None:
    logits = torch.randn(9, head.width, generator=torch.Generator().manual_seed(0))
    decided = decision(head, logits)
    assert decided.shape == (9,)
    assert ((decided > 0).numpy() == (predicted(head, logits, indicator=False) == "pos")).all()
    assert torch.allclose(torch.sigmoid(decided), torch.from_numpy(head_answers(head, logits).probabilities[:, 1]))
    assert decision(CLASSES, torch.eye(3)) is not None
    assert torch.equal(decision(CLASSES, torch.eye(3)), torch.eye(3))


@pytest.mark.parametrize(
    ("classes", "dtype"),
    [(("a", "b"), "U"), ((1, 2), "i"), ((False, True), "b"), ((0.5, 1.0), "f"), ((1, "a"), "O"), (("a", "a\0"), "O")],
)
def test_classes_keep_their_types(classes: tuple[object, ...], dtype: str) -> None:
    array = class_array(Head("a", "classes", 2, classes))  # type: ignore[arg-type]
    assert array.dtype.kind == dtype
    assert [(type(each), each) for each in array.tolist()] == [(type(each), each) for each in classes]
