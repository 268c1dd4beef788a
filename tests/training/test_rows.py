"""Rows with their answers: which are held out, what they are told apart by, how they are shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harken.config import ExamplesConfig
from harken.data.inputs import as_inputs
from harken.errors import DataError
from harken.training.rows import FEW, FEWER, Labelled, hold_out, in_few_words, label_rows


def rows(y: Any, task: str = "classify", X: Any = None, weights: Any = None) -> Labelled:
    if X is None:
        X = [f"text {i}" for i in range(len(next(iter(y.values()))) if isinstance(y, dict) else len(y))]
    return label_rows(X, y, weights, ExamplesConfig(), task)


def held(labelled: Labelled, fraction: float | None, task: str = "classify") -> tuple[set[Any], set[Any]]:
    """The inputs to learn from, and those held out."""
    learned, out = hold_out(labelled, fraction, task)
    return set(learned.inputs.keys()), set() if out is None else set(out.inputs.keys())


def test_every_class_is_dealt_alike_and_none_is_missed_in_training() -> None:
    labelled = rows([("a", "b")[i >= 60] for i in range(80)] + ["rare"])
    kept, out = hold_out(labelled, 0.25, "classify")
    assert out is not None
    counts = {name: out.labels.columns["label"].count(name) for name in ("a", "b", "rare")}
    assert counts == {"a": 15, "b": 5, "rare": 0}
    assert len(kept.inputs) + len(out.inputs) == 81


@pytest.mark.parametrize(
    ("task", "y"),
    [
        ("classify", [["common", "rare"] if i % 3 else ["common", f"own {i}"] for i in range(40)]),
        ("classify", {"color": ["red", "blue"] * 20, "shape": [f"own {i}" if i % 3 == 0 else None for i in range(40)]}),
        ("tag", [["N", "N" if i % 3 else f"own {i}"] for i in range(40)]),
    ],
    ids=["several labels", "attributes", "tags"],
)
def test_a_row_with_an_answer_of_its_own_is_learned_from(task: str, y: Any) -> None:
    X = [f"text {i}" for i in range(40)]
    kept, out = hold_out(rows(y, task, X), 0.5, task)
    assert out is not None
    assert 5 < len(out.inputs) < 20
    assert not any("own" in str(column) for column in out.labels.columns.values())
    assert len(kept.inputs) + len(out.inputs) == 40
    order = [X.index(str(row) if isinstance(row, str) else " ".join(row)) for row in kept.inputs.rows]
    assert order == sorted(order), "rows stay in their order"


def test_equal_inputs_stay_on_one_side() -> None:
    X = [f"text {i % 10}" for i in range(40)]
    y = [[f"own {i}"] if i == 7 else ["a"] if i % 2 else ["b"] for i in range(40)]
    for fraction in (0.1, 0.3, 0.5, 0.7):
        kept, out = held(rows(y, X=X), fraction)
        assert not kept & out
        assert "text 7" in kept


def test_values_are_no_classes() -> None:
    kept, out = held(rows([0.5 * i for i in range(40)], "regress"), 0.25, "regress")
    assert (len(kept), len(out)) == (30, 10)


def test_the_fraction_and_the_rule() -> None:
    small, large = rows(["a", "b"] * 199), rows(["a", "b"] * 200)
    assert held(small, None)[1] == set()
    assert len(held(large, None)[1]) == 40
    assert held(large, 0)[1] == held(large, 0.0)[1] == set()
    weighted = rows(["a", "b"] * 20, weights=range(40))
    kept, out = hold_out(weighted, 0.25, "classify")
    assert out is not None
    assert kept.weights is not None
    for part in (kept, out):
        assert part.weights == [float(str(text).split()[1]) for text in part.inputs.rows]
    unique = rows([f"own {i}" for i in range(500)])
    assert hold_out(unique, None, "classify") == (unique, None)
    same = rows(["a", "b"] * 250, X=["same"] * 500)
    assert hold_out(same, None, "classify") == (same, None)
    with pytest.raises(DataError, match="1 distinct inputs cannot be split"):
        hold_out(rows(["a", "b"], X=["same", "same"]), 0.5, "classify")


def test_a_fingerprint_is_of_these_rows_in_this_order() -> None:
    labelled = rows(["a", "b", "a"], weights=[1, 2, 3])
    others = [
        rows(["a", "b", "b"], weights=[1, 2, 3]),
        rows(["a", "b", "a"], weights=[1, 2, 4]),
        rows(["a", "b", "a"]),
        rows({"other": ["a", "b", "a"]}, weights=[1, 2, 3]),
        rows(["a", "b", "a"], X=["text 0", "text 1", "text 3"], weights=[1, 2, 3]),
        labelled.take([1, 0, 2]),
    ]
    assert labelled.fingerprint() == rows(["a", "b", "a"], weights=[1, 2, 3]).fingerprint()
    assert len({labelled.fingerprint(), *(other.fingerprint() for other in others)}) == 7
    assert labelled.take([1, 0, 2]).take([1, 0, 2]).fingerprint() == labelled.fingerprint()


def test_rows_that_say_nothing() -> None:
    with pytest.raises(DataError, match="there are no test rows: give some"):
        rows([]).check("test", "give some")
    with pytest.raises(DataError, match="the weights of all test rows are zero"):
        rows(["a", "b"], weights=[0, 0]).check("test", "give some")
    rows(["a", "b"], weights=[0, 1]).check("test", "give some")


def test_rows_in_few_words() -> None:
    config = ExamplesConfig()
    texts = as_inputs(["one\ttwo\n three", "x" * 200, "last"], config, "classify")
    assert in_few_words(texts, 2) == ["one two three", "x" * (FEW - 1) + "…"]
    assert in_few_words(texts, 0) == []
    words = as_inputs([["dogs", "bark"]], config, "tag")
    assert in_few_words(words, 9) == ["dogs bark"]
    series = as_inputs([np.zeros((3, 2)), np.zeros((0, 2))], config, "classify")
    assert in_few_words(series, 9) == ["row 0 (3 steps × 2)", "row 1 (0 steps × 2)"]
    assert len(in_few_words(as_inputs(np.zeros((9, 5)), config, "classify"), 8)) == FEWER
    assert len(in_few_words(as_inputs(["text"] * 9, config, "classify"), 8)) == 8
    ids = as_inputs([[1, 2]], config, "classify")
    assert in_few_words(ids, 9) == ["row 0 (2 steps)"]
