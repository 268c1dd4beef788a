"""Columns of a file become answers: a list with a label, a value, several labels or a list of tags for every row."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from harken.config import ExamplesConfig
from harken.data.columns import Table, as_written, floats, is_list, is_text
from harken.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

Answers = list[Any] | np.ndarray


def read_answers(table: Table, name: str, config: ExamplesConfig, task: str, problems: dict[int, str]) -> Answers:
    """One column of labels; None where a row has none.

        a cell that holds            classify                             regress     tag
        a text                       a label, or several of them          a number    tags between white space
                                     between ``label_delimiter``
        a number, a truth value      a label                              a number    —
        a list                       several labels                       k numbers   a tag for each step

    Where cells are as somebody wrote them, labels that all spell numbers are numbers, and an empty cell is none, or
    the empty set of several labels. An array (n, k) of a .npz file stays one.

    Args:
        table: the rows.
        name: the column.
        config: how labels are delimited.
        task: classify, regress or tag.
        problems: of the rows; those of their labels are added: no number, another number of values than most rows
            have, a label that a row names twice.

    Raises:
        DataError: a column that is not there.
    """
    import pyarrow as pa

    column = table.column(name, "label")
    if is_list(column.type):
        rows = column.to_pylist()
        if task == "tag":
            return rows  # type: ignore[no-any-return]
        if pa.types.is_fixed_size_list(column.type):
            return _table(rows, column.type.list_size)
        (_refuse_values if task == "regress" else _refuse_sets)(name, rows, problems)
        return rows  # type: ignore[no-any-return]
    if task == "regress":
        return _values(name, column, problems)
    if not is_text(column.type):
        return column.to_pylist()  # type: ignore[no-any-return]
    cells = column.to_pylist()
    if config.strip:
        cells = [cell and cell.strip() for cell in cells]
    if task == "tag":
        return _split(table, cells, None)
    if config.label_delimiter is not None:
        sets = _split(table, cells, config.label_delimiter)
        _refuse_sets(name, sets, problems)
        return sets
    cells = [cell or None for cell in cells]
    return as_written(cells) if table.written else cells


def refuse_missing(table: Table, answers: dict[str, Answers], problems: dict[int, str]) -> None:
    """A row without a label is bad, where there is but one label; a table without any is refused.

    Raises:
        DataError: no labels at all.
    """
    if not answers:
        raise DataError(f"{table.name} has no labels: name the column that holds them with --label")
    missing = {
        name: [row for row, answer in enumerate(column) if _is_none(answer) and row not in problems]
        for name, column in answers.items()
    }
    if all(len(rows) == len(table) for rows in missing.values()):
        raise DataError(f"{table.name} has no labels: column {next(iter(answers))!r} is empty in every row")
    if len(answers) == 1:
        for name, rows in missing.items():
            for row in rows:
                problems.setdefault(row, f"the label (column {name!r}) is missing")


def match_tags(lengths: Sequence[int], answers: dict[str, Answers], problems: dict[int, str]) -> None:
    """Rows that have another number of tags than of steps are bad."""
    for name, column in answers.items():
        for row, (steps, tags) in enumerate(zip(lengths, column, strict=True)):
            if tags is not None and isinstance(tags, list) and len(tags) != steps:
                problems.setdefault(row, f"there are {len(tags)} tags (column {name!r}) for {steps} steps")


def _is_none(answer: Any) -> bool:
    return answer is None or (isinstance(answer, np.ndarray) and all(cell is None for cell in answer))


def _table(rows: list[Any], width: int) -> np.ndarray:
    """Lists of one length as an array (n, k); where a whole row is missing, it holds None."""
    if None not in rows:
        return np.array(rows)
    return np.array([[None] * width if row is None else row for row in rows], dtype=object).reshape(len(rows), width)


def _refuse_values(name: str, rows: list[Any], problems: dict[int, str]) -> None:
    """Rows with another number of values than most have, or with one that is no finite number."""
    lengths = Counter(len(row) for row in rows if row is not None)
    most = lengths.most_common(1)[0][0] if lengths else 0
    for row, values in enumerate(rows):
        if values is None:
            continue
        if len(values) != most:
            problem = f"there are {len(values)} values (column {name!r}), and most rows have {most}"
            problems.setdefault(row, problem)
        for value in values:
            if value is not None and not _is_finite(value):
                problems.setdefault(row, f"the value {value!r} (column {name!r}) is no number, or infinite")


def _is_finite(value: Any) -> bool:
    try:
        return not math.isinf(float(value))
    except (TypeError, ValueError, OverflowError):
        return False


def _refuse_sets(name: str, rows: Sequence[list[Any] | None], problems: dict[int, str]) -> None:
    """Rows that name a label twice, or none among others."""
    for row, labels in enumerate(rows):
        if labels is not None and (None in labels or len(set(map(str, labels))) < len(labels)):
            shown = ", ".join(map(repr, labels[:10])) + (", …" if len(labels) > 10 else "")
            problems.setdefault(row, f"the labels {shown} (column {name!r}) name one twice, or none: name each once")


def _values(name: str, column: pa.ChunkedArray, problems: dict[int, str]) -> list[float | None]:
    values, bad = floats(column)
    for row in np.flatnonzero(bad).tolist():
        problems.setdefault(row, f"the label {str(column[row])!r} (column {name!r}) is not a number")
    for row in np.flatnonzero(np.isinf(values)).tolist():
        problems.setdefault(row, f"the label (column {name!r}) is infinite")
    return [None if value != value else value for value in values.tolist()]


def _split(table: Table, cells: Sequence[str | None], delimiter: str | None) -> list[list[Any] | None]:
    """Each cell's labels or tags; None: between white space."""
    if delimiter is None:
        rows = [None if cell is None else cell.split() for cell in cells]
    else:
        parts = (None if cell is None else map(str.strip, cell.split(delimiter)) for cell in cells)
        rows = [None if row is None else list(filter(None, row)) for row in parts]
    if not table.written:
        return rows
    labels = iter(as_written(list(chain.from_iterable(row for row in rows if row is not None))))
    return [None if row is None else [next(labels) for _ in row] for row in rows]
