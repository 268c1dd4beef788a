"""Does what a fitted estimator answers about a row depend on the rows that it is asked about together with it?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from harken.errors import UsageError
from harken.testing.distance import NEAR_ZERO, TOLERANCE, Worst, distance, norm
from harken.testing.report import PaddingReport, PaddingRow

METHODS = ("predict_proba", "decision_function", "predict")


def check_estimator_padding(
    estimator: Any, X: Any, *, tolerance: float = TOLERANCE[torch.float32], empty_rows: bool = True
) -> PaddingReport:
    """Check that a fitted estimator answers about every row as if it were alone.

    Every row is first asked about alone: that is the truth. Then the rows come back: all together, in another order,
    among other batch mates, beside a longer one (the longest of them, twice over, so that more must be padded), beside
    empty rows, and the first batch once more (nothing may be kept between calls; dropout must be off). Numbers are
    compared by ‖difference‖ / ‖value‖, labels by the share of them that changed; NaN equals nothing.

    Longer and empty rows are made where they can be: of texts, lists and arrays in a list. Where X is one array or a
    data frame, all rows are equally long and stay so.

    Args:
        estimator: anything fitted that has some of `predict_proba`, `decision_function` and `predict`; all that are
            there are checked. They may return arrays, lists, or dicts or lists of these (one for each answer).
        X: n ≥ 1 rows, as the estimator takes them: a list of texts, of lists or of arrays (T, ...), which says that
            rows may be of any length; an array whose first axis is the rows; a pandas data frame; or any other
            sequence, which is made a list.
        tolerance: the largest ‖difference‖ / ‖value‖ that is rounding; 1e-5 suits float32.
        empty_rows: whether rows of no length must be answered too; False leaves them out.

    Returns:
        A report; `report.raise_if_failed()` in a test.

    Raises:
        UsageError: X without rows, or an estimator without any of the three methods.
    """
    methods = [name for name in METHODS if callable(getattr(estimator, name, None))]
    if not methods:
        raise UsageError(
            f"{type(estimator).__name__} must have predict_proba, decision_function or predict: "
            "there is nothing else to compare"
        )
    rows = _read(X)
    if rows.size < 1:
        raise UsageError("X holds no rows but must hold at least one: give some that the estimator can answer")
    found: list[PaddingRow] = []
    for name in methods:
        found += _Check(name, getattr(estimator, name), rows, tolerance, empty_rows).rows()
    return PaddingReport(tuple(found))


class _Rows(NamedTuple):
    """The rows of X, then those that were made of them; all by their place."""

    take: Callable[[Sequence[int]], Any]  # places → as much of X, in the form that X came in
    size: int  # n
    longer: int | None  # place of a row that is longer than all of X
    empty: int | None  # place of a row of no length


def _read(X: Any) -> _Rows:
    if hasattr(X, "iloc") and getattr(X, "ndim", 1) == 2:  # a data frame
        return _Rows(lambda places: X.iloc[list(places)], len(X), None, None)
    if isinstance(X, np.ndarray | Tensor) and (X.ndim > 1 or not _is_row(X[0] if len(X) else None)):
        return _Rows(lambda places: X[list(places)], len(X), None, None)
    rows = list(X)
    size, longer, empty = len(rows), None, None
    if rows and all(map(_is_row, rows)):
        longest = max(rows, key=len)
        longer, empty = size, size + 1
        rows += [_twice(longest), longest[:0]]
    return _Rows(lambda places: [rows[place] for place in places], size, longer, empty)


def _is_row(row: Any) -> bool:
    """Whether it has a length that may differ from row to row."""
    return isinstance(row, str | list | tuple) or (isinstance(row, np.ndarray | Tensor) and row.ndim > 0)


def _twice(row: Any) -> Any:
    if isinstance(row, str):
        return f"{row} {row}"
    if isinstance(row, Tensor):
        return torch.cat([row, row])
    return np.concatenate([row, row]) if isinstance(row, np.ndarray) else row + row


class _Answer(NamedTuple):
    """What was said about one row: its numbers, and its labels (all that is no float), each in order."""

    numbers: Tensor
    labels: tuple[object, ...]


Answers = dict[str, list[_Answer]]


@dataclass
class _Check:
    """One method of an estimator, over all cases."""

    name: str
    method: Callable[[Any], Any]
    X: _Rows
    tolerance: float
    empty_rows: bool
    paths: list[tuple[Any, ...]] = field(init=False)
    truths: dict[int, dict[str, _Answer]] = field(default_factory=dict)

    def rows(self) -> Iterator[PaddingRow]:
        everyone = list(range(self.X.size))
        try:
            more = [*everyone, 0]
            self.paths = list(_paths(self.method(self.X.take(everyone)), self.method(self.X.take(more)), len(everyone)))
        except Exception as error:  # whatever the estimator raises is the finding
            yield self._raised("batch", None, error)
            return
        if not self.paths:
            raise UsageError(f"{self.name} must return something that has a row for each row of X")
        for place in everyone:
            try:
                self._ask_alone(place)
            except Exception as error:
                yield self._raised("alone", place, error)
                return  # nothing to compare with
        for case, batches in self._cases(everyone):
            try:
                yield from self._compare(case, batches)
            except Exception as error:
                yield self._raised(case, None, error)

    def _raised(self, case: str, row: int | None, error: Exception) -> PaddingRow:
        note = f"raised {type(error).__name__}: {' '.join(str(error).split())[:120]}"
        return PaddingRow(case, self.name, row, float("inf"), self.tolerance, note)

    def _cases(self, everyone: list[int]) -> Iterator[tuple[str, list[list[int]]]]:
        """(name, batches of places)."""
        yield "batch", [everyone]
        yield "another order", [everyone[::-1]]
        yield "other batch mates", [everyone[::2], everyone[1::2] or everyone]
        if self.X.longer is not None:
            yield "a longer batch mate", [[self.X.longer, *everyone, self.X.longer]]
        if self.empty_rows and self.X.empty is not None:
            yield "empty rows", [[self.X.empty, *everyone, self.X.empty]]
            yield "only empty rows", [[self.X.empty] * 2]
        yield "the batch again", [everyone]

    def _ask_alone(self, place: int) -> None:
        self.truths[place] = {name: answers[0] for name, answers in self._ask([place]).items()}

    def _ask(self, places: Sequence[int]) -> Answers:
        whole = self.method(self.X.take(places))
        answers = {}
        for path in self.paths:
            part, name = whole, ".".join(map(str, (self.name, *path)))
            for key in path:
                part = part[key]
            part = part if isinstance(part, list | tuple | Tensor) else np.asarray(part)
            if len(part) != len(places):
                raise ValueError(f"{name} has {len(part)} answers to {len(places)} rows")
            answers[name] = [_answer(row) for row in part]
        return answers

    def _compare(self, case: str, batches: list[list[int]]) -> Iterator[PaddingRow]:
        worst: dict[str, Worst] = {}
        for places in batches:
            for place in set(places) - {self.X.longer} - set(self.truths):
                self._ask_alone(place)  # the empty row, for the first time
            for name, answers in self._ask(places).items():
                floor = NEAR_ZERO * max(norm(truth[name].numbers) for truth in self.truths.values())
                for place, answer in zip(places, answers, strict=True):
                    if place != self.X.longer:
                        shown = place if place < self.X.size else None
                        error, note = _apart(answer, self.truths[place][name], floor)
                        worst.setdefault(name, Worst()).add(shown, error, note)
        for name, found in worst.items():
            yield PaddingRow(case, name, found.row, found.error, self.tolerance, found.note)


def _paths(found: Any, more: Any, size: int, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in an answer there is something for each row: what grows when a row is added."""
    if isinstance(found, Mapping):
        for key in found:
            yield from _paths(found[key], more[key], size, (*path, key))
    elif hasattr(found, "__len__") and not isinstance(found, str):
        if (len(found), len(more)) == (size, size + 1):
            yield path
        elif isinstance(found, list | tuple):
            for place, part in enumerate(found):
                yield from _paths(part, more[place], size, (*path, place))


def _answer(row: Any) -> _Answer:
    leaves = list(_leaves(row))
    numbers = [leaf for leaf in leaves if isinstance(leaf, float)]
    labels = tuple(leaf for leaf in leaves if not isinstance(leaf, float))
    return _Answer(torch.tensor(numbers, dtype=torch.float64), labels)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, np.ndarray | np.generic | Tensor):
        value = value.tolist()
    if isinstance(value, list | tuple):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _apart(answer: _Answer, truth: _Answer, floor: float) -> tuple[float, str]:
    """How far an answer is from the truth, and in words where it is not a matter of degree."""
    sizes = [len(part) for part in (*answer, *truth)]
    if sizes[:2] != sizes[2:]:
        return float("inf"), f"has {sum(sizes[:2])} values, alone {sum(sizes[2:])}"
    changed = [pair for pair in zip(answer.labels, truth.labels, strict=True) if pair[0] != pair[1]]
    if changed:
        return len(changed) / len(truth.labels), "{!r}, alone {!r}".format(*changed[0])
    return (distance(answer.numbers, truth.numbers, floor), "") if len(truth.numbers) else (0.0, "")
