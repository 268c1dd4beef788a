"""Answers: what a user calls them ↔ the numbers that a model is trained on. One label column is one head."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harken.data.ragged import Ragged, offsets_from_lengths
from harken.errors import DataError

HeadKind = Literal["binary", "classes", "multi-label", "values", "tags"]
Class = str | int | float | bool

MOST_FRACTIONS = 20  # more classes than these that are numbers with fractions, and few rows of each, are no classes


@dataclass(frozen=True)
class Head:
    """One thing that is answered.

        kind          one answer is                    classes       width, the logits' last axis
        binary        one of two classes               both          1 (of the second class) or 2
        classes       one of C classes                 C             C
        multi-label   any number of C labels           C             C, each one independent
        values        k numbers                        none          k
        tags          one of C classes at every step   C             C

    Attributes:
        name: the label column's name.
        kind: see above.
        width: see above.
        classes: in the order of their indices.
        means, scales: of values, one each: a model is trained on (value - mean) / scale.
    """

    name: str
    kind: HeadKind
    width: int
    classes: tuple[Class, ...] = ()
    means: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, for a bundle's facts."""
        return {
            "name": self.name,
            "kind": self.kind,
            "width": self.width,
            "classes": list(self.classes),
            "means": list(self.means),
            "scales": list(self.scales),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """What `to_json` gave.

        Raises:
            ValueError, KeyError, TypeError: it describes no head.
        """
        lists = (tuple(content[name]) for name in ("classes", "means", "scales"))
        head = cls(content["name"], content["kind"], content["width"], *lists)
        if not head._fits():
            raise ValueError(f"no head is {content}")
        return head

    def _fits(self) -> bool:
        """Do kind, width, classes, means and scales go together?"""
        if not isinstance(self.name, str) or type(self.width) is not int or self.width < 1:
            return False
        if not all(isinstance(name, Class) for name in self.classes) or len(set(self.classes)) < len(self.classes):
            return False
        if self.kind == "values":
            scaled = all(math.isfinite(mean) for mean in self.means) and all(0 < s < math.inf for s in self.scales)
            return not self.classes and scaled and len(self.means) == len(self.scales) == self.width
        many = self.width == len(self.classes) >= (1 if self.kind == "multi-label" else 2)
        fits = {"classes": many, "multi-label": many, "tags": many}
        fits["binary"] = len(self.classes) == 2 and self.width <= 2
        return not self.means and not self.scales and fits.get(self.kind, False)


@dataclass(frozen=True, eq=False)
class Labels:
    """Label columns, as plain Python values.

    Attributes:
        columns: head name → an answer per row; None where it is missing. multi-label: a list of labels; tags: a list
            of tags per row; values: a float, or a tuple of floats.
        classes: head name → all its classes, where their order was given: the columns of a table of 0 and 1.
    """

    columns: dict[str, list[Any]]
    classes: dict[str, tuple[Class, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def take(self, indices: Iterable[int]) -> Labels:
        """The rows ``indices``, in that order."""
        rows = [int(row) for row in indices]
        return Labels({name: [column[row] for row in rows] for name, column in self.columns.items()}, self.classes)


def fit_heads(labels: Labels, task: str, binary: str = "one-logit") -> tuple[Head, ...]:
    """What is to be answered, as training rows show it.

    Args:
        labels: of the training rows.
        task: classify, regress or tag.
        binary: one-logit or two-logits, for heads of two classes.

    Raises:
        DataError: no rows, a column without two classes, an answer that is missing where it is the only one.
    """
    if not labels.columns or not len(labels):
        raise DataError("there are no labels: training needs an answer for every row")
    refuse_missing(labels)
    make: Callable[[Labels, str, str], Head] = _values_head if task == "regress" else _classes_head
    if task == "tag":
        make = _tags_head
    return tuple(make(labels, name, binary) for name in labels.columns)


def refuse_missing(labels: Labels) -> None:
    """A row may lack the answer to one head only where it can still have another's.

    Raises:
        DataError: a row without any answer where there is one head, or a head that no row answers.
    """
    for name, column in labels.columns.items():
        missing = next((row for row, answer in enumerate(column) if answer is None), None)
        if missing is not None and len(labels.columns) == 1:
            raise DataError(f"row {missing} has no label ({name}): leave the row out, or give it one")
        if missing is not None and all(answer is None for answer in column):
            raise DataError(f"label {name!r} is missing in every row: leave the column out")


def encode(head: Head, column: Sequence[Any], *, strict: bool = True) -> Tensor | Ragged:
    """Answers as a model's targets.

    Args:
        head: what is answered.
        column: an answer per row, as in `Labels`.
        strict: refuse labels that training did not have; False: they count as missing.

    Returns:
        binary, classes: (n,) int64, -1 where missing. multi-label: (n, C) float32 of 0 and 1, NaN where missing.
        values: (n, k) float32, standardised, NaN where missing. tags: one int64 per step, -1 where missing.

    Raises:
        DataError: a label unseen in training, a value that is no number or not k of them; says which row.
    """
    if head.kind == "values":
        return _encode_values(head, column)
    index: dict[Any, int] = {name: i for i, name in enumerate(head.classes)}
    index[None] = -1
    if head.kind in ("binary", "classes"):
        return torch.from_numpy(_lookup(head, index, column, np.arange(len(column)), strict))
    counts = torch.tensor([0 if answer is None else len(answer) for answer in column], dtype=torch.int64)
    rows = torch.repeat_interleave(counts).numpy()  # of every single label
    flat = _lookup(head, index, list(chain.from_iterable(a for a in column if a is not None)), rows, strict)
    if head.kind == "tags":
        return Ragged(torch.from_numpy(flat), offsets_from_lengths(counts))
    targets = np.zeros((len(column), head.width), dtype=np.float32)  # (n, C)
    targets[rows[flat >= 0], flat[flat >= 0]] = 1
    targets[[answer is None for answer in column]] = math.nan
    return torch.from_numpy(targets)


def decode(head: Head, answers: Tensor | Ragged) -> list[Any]:
    """A model's answers as the user's labels or values, one per row.

    Args:
        head: what is answered.
        answers: binary, classes: (n,) indices. multi-label: (n, C) bool or 0 and 1. values: (n, k), in the user's
            units already. tags: an index per step.
    """
    if isinstance(answers, Ragged):
        tags = [head.classes[i] for i in answers.values.tolist()]
        return [tags[start:end] for start, end in pairwise(answers.offsets.tolist())]
    if head.kind == "multi-label":
        return [[name for name, on in zip(head.classes, row, strict=True) if on] for row in answers.tolist()]
    if head.kind != "values":
        return [head.classes[i] for i in answers.tolist()]
    return [row[0] if len(row) == 1 else tuple(row) for row in answers.tolist()]


# Heads


def _classes_head(labels: Labels, name: str, binary: str) -> Head:
    column = [answer for answer in labels.columns[name] if answer is not None]
    if name in labels.classes or any(isinstance(answer, list) for answer in column):
        classes = labels.classes.get(name) or tuple(sorted_classes(chain.from_iterable(column)))
        if not any(column):
            raise DataError(f"no row has any label ({name}): there is nothing to learn")
        return Head(name, "multi-label", len(classes), classes)
    classes = _two_or_more(name, column)
    if len(classes) == 2:
        return Head(name, "binary", 1 if binary == "one-logit" else 2, classes)
    return Head(name, "classes", len(classes), classes)


def _tags_head(labels: Labels, name: str, binary: str) -> Head:
    tags = chain.from_iterable(row for row in labels.columns[name] if row is not None)
    classes = _two_or_more(name, (tag for tag in tags if tag is not None))
    return Head(name, "tags", len(classes), classes)


def _values_head(labels: Labels, name: str, binary: str) -> Head:
    values = _table(name, [answer for answer in labels.columns[name] if answer is not None])  # (n, k)
    if np.isnan(values).all(axis=0).any():
        raise DataError(f"label {name!r} has a value that is missing in every row: leave it out")
    means, scales = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    scales[scales <= 1e-12 * np.abs(means)] = 1.0  # a value that is always the same, but for rounding
    return Head(name, "values", values.shape[1], (), tuple(means.tolist()), tuple(scales.tolist()))


def _two_or_more(name: str, answers: Iterable[Any]) -> tuple[Class, ...]:
    answers = list(answers)
    classes = tuple(sorted_classes(answers))
    if len(classes) < 2:
        only = f"only one class, {classes[0]!r}" if classes else "nothing"
        raise DataError(f"label {name!r} holds {only}: training needs rows of at least two classes")
    if len(classes) > MOST_FRACTIONS and 2 * len(classes) > len(answers) and all(type(c) is float for c in classes):
        raise DataError(
            f"Unknown label type: continuous, as label {name!r} holds {len(classes):,} different numbers with "
            "fractions: a regressor (task=regress) learns them; if they are classes, make them texts"
        )
    return classes


def sorted_classes(labels: Iterable[Any]) -> list[Class]:
    """The different ones among labels, numbers before texts."""
    return sorted(set(labels), key=lambda label: (isinstance(label, str), label))


# Targets


def _lookup(
    head: Head, index: dict[Any, int], labels: Sequence[Any], rows: npt.NDArray[np.int64], strict: bool
) -> npt.NDArray[np.int64]:
    """Every label's index, from what is known, which grows; ``rows`` says where each one stands."""
    # One file's labels are numbers and another's are texts that spell them, as where there is a single "?" among them.
    missing, written = -2, _written(head.classes)
    for label in set(labels) - index.keys():
        index[label] = next((written[text] for text in _spellings(label) if text in written), missing)
    found = np.fromiter((index[label] for label in labels), dtype=np.int64, count=len(labels))
    if strict and (found == missing).any():
        place = int((found == missing).argmax())
        known = ", ".join(map(repr, head.classes[:5])) + (", …" if len(head.classes) > 5 else "")
        raise DataError(
            f"row {int(rows[place])} has the label {labels[place]!r} ({head.name}), which no training row had: "
            f"training knew {known}"
        )
    return np.maximum(found, -1)


def _written(classes: Sequence[Class]) -> dict[str, int]:
    """How a file may spell the classes → their indices; what could be either of two is none."""
    written: dict[str, int] = {}
    shared = set()
    for place, name in enumerate(classes):
        for text in _spellings(name):
            if written.setdefault(text, place) != place:
                shared.add(text)
    return {text: place for text, place in written.items() if text not in shared}


def _spellings(label: Class) -> tuple[str, ...]:
    """A label as texts: 1.0 also as 1, True also as true."""
    if isinstance(label, bool):
        return str(label), str(label).lower()
    return (str(label), f"{label:.0f}") if isinstance(label, float) and label.is_integer() else (str(label),)


def _encode_values(head: Head, column: Sequence[Any]) -> Tensor:
    values = _table(
        head.name, [(math.nan,) * head.width if answer is None else answer for answer in column], head.width
    )
    return torch.from_numpy(((values - head.means) / head.scales).astype(np.float32))


def _table(name: str, answers: Sequence[Any], width: int | None = None) -> npt.NDArray[np.float64]:
    """Numbers, or tuples of equally many, as (n, k)."""
    rows = [answer if isinstance(answer, tuple) else (answer,) for answer in answers]
    width = width or len(rows[0])
    wrong = next((row for row, values in enumerate(rows) if len(values) != width), None)
    if wrong is not None:
        raise DataError(f"row {wrong} has {len(rows[wrong])} values ({name}), and must have {width} as the others")
    return np.array(rows, dtype=np.float64).reshape(len(rows), width)
