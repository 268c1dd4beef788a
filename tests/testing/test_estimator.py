"""Estimators: what is right passes, and whoever answers by the company that a row keeps is caught."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from harken.errors import UsageError
from harken.testing import check_estimator_padding

Rows = Sequence[Any]
Floats = np.ndarray[Any, np.dtype[np.float64]]


def series(sizes: Sequence[int] = (6, 2, 1, 4), width: int = 2) -> list[Floats]:
    draw = np.random.default_rng(0)
    return [draw.normal(size=(size, width)) for size in sizes]


def pad(rows: Rows, value: float = 0.0) -> tuple[Floats, Floats]:
    """(B, T, D) and (B,), as estimators do it."""
    lengths = np.array([len(row) for row in rows])
    padded = np.full((len(rows), max(lengths.max(initial=0), 1), rows[0].shape[1]), value)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    return padded, lengths


class Mean:
    """Right: squashed means over real steps."""

    classes = np.array(["low", "high"])

    def means(self, X: Rows) -> Floats:
        padded, lengths = pad(X)
        return padded.sum(1) / np.maximum(lengths, 1)[:, None]

    def predict_proba(self, X: Rows) -> Any:
        high = 1 / (1 + np.exp(-self.means(X).sum(1)))
        return np.stack([1 - high, high], 1)  # (n, 2)

    def predict(self, X: Rows) -> Any:
        return self.classes[(self.means(X).sum(1) > 0).astype(int)]


class OverPadding(Mean):
    def means(self, X: Rows) -> Floats:
        padded, _ = pad(X)
        return padded.mean(1)


class LastColumn(Mean):
    def means(self, X: Rows) -> Floats:
        return np.tanh(pad(X, 0.3)[0][:, -1])


class Normalised(Mean):
    def means(self, X: Rows) -> Floats:
        means = super().means(X)
        return means - means.mean(0)


class Sorted(Mean):
    """Answers in the order of length."""

    def means(self, X: Rows) -> Floats:
        return super().means(X)[np.argsort([len(row) for row in X])]


class Remembers(Mean):
    calls = 0

    def means(self, X: Rows) -> Floats:
        self.calls += 1
        return super().means(X) + self.calls


class Dropped(Mean):
    draw = np.random.default_rng(1)

    def means(self, X: Rows) -> Floats:
        means = super().means(X)
        return means * (self.draw.random(means.shape) < 0.5)


class EmptyIsNaN(Mean):
    def means(self, X: Rows) -> Floats:
        padded, lengths = pad(X)
        return padded.sum(1) / np.where(lengths, lengths, np.nan)[:, None]


class RefusesEmpty(Mean):
    def means(self, X: Rows) -> Floats:
        if not all(map(len, X)):
            raise ValueError("a row of no length")
        return super().means(X)


class LosesARow(Mean):
    """A squeeze of a batch of one."""

    def predict_proba(self, X: Rows) -> Any:
        return super().predict_proba(X).squeeze()


FAULTS: dict[str, Mean] = {
    "mean over padding": OverPadding(),
    "last column": LastColumn(),
    "normalised over the batch": Normalised(),
    "answers sorted by length": Sorted(),
    "state kept": Remembers(),
    "dropout left on": Dropped(),
    "NaN from an empty row": EmptyIsNaN(),
    "refuses empty rows": RefusesEmpty(),
    "squeeze of a batch of one": LosesARow(),
}


def test_a_right_one_passes() -> None:
    report = check_estimator_padding(Mean(), series())
    report.raise_if_failed()
    assert {row.tensor for row in report.rows} == {"predict_proba", "predict"}
    assert [row.case for row in report.rows if row.tensor == "predict"] == [
        "batch", "another order", "other batch mates", "a longer batch mate", "empty rows", "only empty rows",
        "the batch again",
    ]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_caught(fault: str) -> None:
    report = check_estimator_padding(FAULTS[fault], series())
    assert not report.passed
    with pytest.raises(AssertionError, match="FAILED"):
        report.raise_if_failed()


@pytest.mark.parametrize(
    ("fault", "cases"),
    [
        ("NaN from an empty row", {"empty rows", "only empty rows"}),
        ("refuses empty rows", {"empty rows", "only empty rows"}),
        ("squeeze of a batch of one", {"alone"}),
    ],
)
def test_a_fault_is_found_where_it_is(fault: str, cases: set[str]) -> None:
    failures = [row for row in check_estimator_padding(FAULTS[fault], series()).failures if row.tensor != "predict"]
    assert {row.case for row in failures} == cases


def test_empty_rows_may_be_left_out() -> None:
    for fault in ("NaN from an empty row", "refuses empty rows"):
        report = check_estimator_padding(FAULTS[fault], series(), empty_rows=False)
        report.raise_if_failed()
        assert "empty" not in str(report)


def test_only_a_longer_mate_shows_it_when_all_rows_are_equally_long() -> None:
    failures = check_estimator_padding(LastColumn(), series((3, 3, 3)), empty_rows=False).failures
    assert {row.case for row in failures} == {"a longer batch mate"}


def test_it_says_how_much_and_which_row() -> None:
    X = series((6, 1))
    rows = check_estimator_padding(OverPadding(), X).failures
    (batch,) = (row for row in rows if (row.case, row.tensor) == ("batch", "predict_proba"))
    alone, beside = Mean().predict_proba(X[1:])[0], OverPadding().predict_proba(X)[1]
    assert batch.row == 1
    assert batch.error == pytest.approx(np.linalg.norm(beside - alone) / np.linalg.norm(alone))


class Says(Mean):
    """Whatever the test wants it to say of (rows, means)."""

    def __init__(self, says: Callable[[Rows, Floats], Any]) -> None:
        self.says = says

    def predict(self, X: Rows) -> Any:
        return self.says(X, self.means(X))

    predict_proba = None  # type: ignore[assignment]


SAYINGS: dict[str, Callable[[Rows, Floats], Any]] = {
    "array": lambda X, means: means,
    "one number": lambda X, means: means[:, 0],
    "tensor": lambda X, means: torch.tensor(means),
    "list of floats": lambda X, means: means[:, 0].tolist(),
    "series": lambda X, means: pd.Series(means[:, 0], index=range(5, 5 + len(X))),
    "data frame": lambda X, means: pd.DataFrame({"a": means[:, 0], "b": ["x"] * len(X)}),
    "a list of outputs": lambda X, means: [means, means[:, :1], means[:, 1]],
    "one output in a list": lambda X, means: [means],
    "attributes": lambda X, means: {"size": means[:, 0], "color": ["red" if m > 0 else "blue" for m in means[:, 0]]},
    "sets": lambda X, means: [{"a", "b"} if m > 0 else set() for m in means[:, 0]],
    "a label per step": lambda X, means: [["up" if step[0] > 0 else "down" for step in row] for row in X],
    "numbers per step": lambda X, means: [row.cumsum(0) for row in X],
    "labels and a number": lambda X, means: [("up", float(m)) for m in means[:, 0]],
    "nothing of some": lambda X, means: [None if m > 0 else "low" for m in means[:, 0]],
}


@pytest.mark.parametrize("saying", SAYINGS)
@pytest.mark.parametrize("sizes", [(6, 2, 1, 4), (3,), (2, 2)])
def test_answers_of_all_kinds(saying: str, sizes: tuple[int, ...]) -> None:
    say = SAYINGS[saying]
    X = series(sizes)
    check_estimator_padding(Says(say), X).raise_if_failed()

    def turned(rows: Rows, means: Floats) -> Any:
        return say([-row for row in rows], -means) if len(rows) == len(X) + 2 else say(rows, means)

    failures = check_estimator_padding(Says(turned), X).failures
    assert {"a longer batch mate", "empty rows"} <= {row.case for row in failures}


def test_names_of_the_parts() -> None:
    report = check_estimator_padding(Says(SAYINGS["attributes"]), series())
    assert {row.tensor for row in report.rows} == {"predict.size", "predict.color"}
    report = check_estimator_padding(Says(SAYINGS["a list of outputs"]), series())
    assert {row.tensor for row in report.rows} == {"predict.0", "predict.1", "predict.2"}


def test_labels_count_by_the_share_that_changed() -> None:
    def tags(X: Rows, means: Floats) -> Any:
        longest = max(map(len, X))
        return [["x"] * (len(row) - 1) + ["end" if len(row) == longest else "x"] for row in X]

    (batch,) = (row for row in check_estimator_padding(Says(tags), series()).failures if row.case == "batch")
    assert (batch.row, batch.error, batch.note) == (2, 1.0, "'x', alone 'end'")


def test_a_wrong_number_of_labels_is_said() -> None:
    def tags(X: Rows, means: Floats) -> Any:
        return [["x"] * max(map(len, X)) for _ in X]

    (batch,) = (row for row in check_estimator_padding(Says(tags), series()).failures if row.case == "batch")
    assert batch.note == "has 6 values, alone 2"


TEXTS = ["a good film", "bad", "good good", "a bad and bad film", "film"]
LABELS = ["pos", "neg", "pos", "neg", "pos"]


@pytest.mark.parametrize("last", [LogisticRegression(), MultinomialNB()])
@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series])
def test_scikit_learn_on_texts(last: Any, kind: Callable[[list[str]], Any]) -> None:
    model = make_pipeline(CountVectorizer(), last).fit(TEXTS, LABELS)
    report = check_estimator_padding(model, kind(TEXTS))
    report.raise_if_failed()
    assert "a longer batch mate" in str(report)
    assert ("decision_function" in str(report)) is isinstance(last, LogisticRegression)


@pytest.mark.parametrize("frame", [False, True])
def test_rows_of_an_array_or_a_frame_keep_their_length(frame: bool) -> None:
    X = np.random.default_rng(0).normal(size=(6, 3))
    X = pd.DataFrame(X, columns=["a", "b", "c"]) if frame else X
    y = [0, 1, 0, 1, 0, 1]
    report = check_estimator_padding(LogisticRegression().fit(X, y), X)
    report.raise_if_failed()
    assert {row.case for row in report.rows} == {"batch", "another order", "other batch mates", "the batch again"}

    def centred(X: Any) -> Any:
        return X - X.mean(axis=0)

    wrong = make_pipeline(FunctionTransformer(centred), LogisticRegression()).fit(X, y)
    assert not check_estimator_padding(wrong, X).passed


@pytest.mark.parametrize("join", [list, np.array, torch.tensor, "".join])
def test_rows_of_all_kinds_can_be_longer_and_empty(join: Callable[[Any], Any]) -> None:
    class Counts:
        def predict(self, X: Rows) -> list[float]:
            return [float(len(row)) for row in X]

    X = [join(row) for row in (["ab", "abc", "a"] if join == "".join else [[1, 2], [1, 2, 3], [1]])]
    report = check_estimator_padding(Counts(), X)
    report.raise_if_failed()
    assert {"a longer batch mate", "only empty rows"} <= {row.case for row in report.rows}


def test_whatever_it_raises_is_a_row_of_the_report() -> None:
    class Raises(Mean):
        def predict(self, X: Rows) -> Any:
            raise ZeroDivisionError("not today")

    (row,) = check_estimator_padding(Raises(), series()).failures
    assert (row.case, row.tensor, row.note) == ("batch", "predict", "raised ZeroDivisionError: not today")

    class OneByOne(Mean):
        def predict(self, X: Rows) -> Any:
            if len(X) > 5:
                raise ValueError("too many")
            return super().predict(X)

    failures = check_estimator_padding(OneByOne(), series()).failures
    assert {row.case for row in failures} == {"a longer batch mate", "empty rows"}


def test_refusals() -> None:
    with pytest.raises(UsageError, match="CountVectorizer must have predict_proba"):
        check_estimator_padding(CountVectorizer(), TEXTS)
    with pytest.raises(UsageError, match="at least one"):
        check_estimator_padding(Mean(), [])
    with pytest.raises(UsageError, match="predict must return something that has a row for each row of X"):
        check_estimator_padding(Says(lambda X, means: "yes"), series())
