"""Rows with their answers, as training takes them: made of what a user has, held out, told in a few words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from harken.config import ExamplesConfig
from harken.data.answers import as_labels, match_rows
from harken.data.inputs import Inputs, as_inputs
from harken.data.labels import Labels
from harken.data.ragged import Ragged
from harken.data.splits import Indices, split_by_hash
from harken.errors import DataError, ShapeError, UsageError

TENTH, SMALLEST = 0.1, 40  # what is held out when nobody says, if it is that many rows: fewer would choose by luck
FEW = 60  # characters of a row that is shown
FEWER = 3  # rows of numbers that are shown: of these there is only the size to see


class Labelled(NamedTuple):
    """Inputs, what is to be answered, and how much each row counts (None: all the same)."""

    inputs: Inputs
    labels: Labels
    weights: Sequence[float] | None = None

    def take(self, indices: Iterable[int]) -> Labelled:
        """The rows ``indices``, in that order."""
        chosen = [int(i) for i in indices]
        weights = None if self.weights is None else [self.weights[i] for i in chosen]
        return Labelled(self.inputs.take(chosen), self.labels.take(chosen), weights)

    def fingerprint(self) -> str:
        """The same for the same rows in the same order, and for no others."""
        digest = hashlib.blake2b(self.inputs.fingerprint(), digest_size=16)
        for name, column in self.labels.columns.items():
            digest.update(repr((name, column)).encode("utf-8", "surrogatepass"))
        digest.update(repr(None if self.weights is None else list(self.weights)).encode())
        return digest.hexdigest()

    def check(self, what: str, way_out: str) -> None:
        """Refuse rows that say nothing.

        Args:
            what: these rows are.
            way_out: what to do where there are none.

        Raises:
            DataError: no rows, or all of weight 0.
        """
        if not len(self.inputs):
            raise DataError(f"there are no {what} rows: {way_out}")
        if self.weights is not None and not any(self.weights):
            raise DataError(f"the weights of all {what} rows are zero: give a weight to those that should count")


def label_rows(X: Any, y: Any, sample_weight: Any, config: ExamplesConfig, task: str) -> Labelled:
    """Rows of what a user has, see `as_inputs` and `as_labels`.

    Raises:
        DataError: rows or answers that cannot be used, or not one answer for each row.
        ShapeError: weights that are not one number for each row, 0 or larger.
    """
    if y is None:
        raise DataError(f"{task} requires y to be passed, but the target y is None: give an answer for every row of X")
    inputs = as_inputs(X, config, task)
    labels = match_rows(inputs, as_labels(y, task), task)
    return Labelled(inputs, labels, None if sample_weight is None else _weights(sample_weight, len(inputs)))


def _weights(given: Any, rows: int) -> list[float]:
    try:
        weights = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise ShapeError(f"sample_weight must be {rows} numbers, one for each row") from None
    if weights.shape != (rows,):
        raise ShapeError(f"sample_weight {weights.shape} must be ({rows},), one number for each row")
    wrong = np.flatnonzero(~np.isfinite(weights) | (weights < 0))
    if len(wrong):
        raise ShapeError(f"sample_weight of row {wrong[0]} is {weights[wrong[0]]}, and must be 0 or larger")
    found: list[float] = weights.tolist()
    return found


def share_of(fraction: float | None, rows: int) -> float:
    """The fraction of so many rows to hold out; where none is given a tenth, if that is at least 40 rows, else none."""
    return fraction if fraction is not None else TENTH if TENTH * rows >= SMALLEST else 0


def hold_out(rows: Labelled, fraction: float | None, task: str) -> tuple[Labelled, Labelled | None]:
    """Deal rows by a hash of their input: those to learn from, and those to validate on.

    Every class of a single label is dealt alike. A row with an answer that only held out rows have is learned from.

    Args:
        fraction: to validate on; 0: none; None: a tenth, where that is at least 40 rows, else none.
        task: classify, regress or tag.

    Raises:
        DataError: nothing can be held out.
        UsageError: no fraction.
    """
    if fraction is not None and (not isinstance(fraction, int | float) or not 0 <= fraction < 1):
        raise UsageError(f"validation ({fraction!r}) must be (X, y), or a fraction of the rows from 0 to below 1")
    share = share_of(fraction, len(rows.inputs))
    if not share:
        return rows, None
    keys, columns = rows.inputs.keys(), list(rows.labels.columns.values())
    if fraction is None and len(set(keys)) < 2:
        return rows, None
    single = task == "classify" and len(columns) == 1 and not any(isinstance(answer, list) for answer in columns[0])
    kept, held = split_by_hash(keys, share, columns[0] if single else None)
    if task != "regress":
        back = {keys[row] for row in _only_there(columns, kept, held)}
        learns = np.array([keys[row] in back for row in held])
        kept, held = np.sort(np.concatenate([kept, held[learns]])), held[~learns]
    if not len(held):
        if fraction is None:
            return rows, None
        raise DataError(
            f"validation ({fraction}) would hold out only answers that no other input has: say 0, or give other rows "
            "to validate on"
        )
    return rows.take(kept), rows.take(held)


def _only_there(columns: Sequence[list[Any]], kept: Indices, held: Indices) -> set[int]:
    """The rows of ``held`` that have a class which no row of ``kept`` has."""
    found: set[int] = set()
    for column in columns:
        known = {None}
        for row in kept.tolist():
            known.update(_classes_of(column[row]))
        found |= {row for row in held.tolist() if not known.issuperset(_classes_of(column[row]))}
    return found


def _classes_of(answer: Any) -> Sequence[Any]:
    return answer if isinstance(answer, list) else (answer,)


def _size(content: Tensor, inputs: Inputs) -> str:
    if inputs.kind == "image":
        return "no picture" if not len(content) else f"{len(content)} × {len(content)} pixels"
    if inputs.kind == "audio":
        return f"{len(content) / (inputs.rate or 1):.2f} s"
    return f"{len(content)} steps" + (f" × {content.shape[1]}" if content.dim() == 2 else "")


def in_few_words(inputs: Inputs, most: int) -> list[str]:
    """The first rows, each on a short line: the beginning of a text; of rows of numbers their size, and only three."""
    rows: Any = inputs.rows
    lines = []
    for row in range(min(most, len(inputs), FEWER if isinstance(rows, Ragged) else most)):
        content = rows[row]
        if isinstance(content, Tensor):
            lines.append(f"row {row} ({_size(content, inputs)})")
        else:
            text = " ".join((content if isinstance(content, str) else " ".join(content)).split())
            lines.append(text if len(text) <= FEW else f"{text[: FEW - 1]}…")
    return lines
