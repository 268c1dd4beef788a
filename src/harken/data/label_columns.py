"""Columns of a file become answers: a list with a label, a value, several labels or a list of tags for every row."""

from __future__ import annotations

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
        problems: of the rows; those of their labels are added.

    Raises:
        DataError: a column that is not there.
    """
    import pyarrow as pa

    column = table.column(name, "label")
    if is_list(column.type):
        rows = column.to_pylist()
        fixed = pa.types.is_fixed_size_list(column.type)
        return np.array(rows) if fixed and task != "tag" else rows
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
        return _split(table, cells, config.label_delimiter)
    cells = [cell or None for cell in cells]
    return as_written(cells) if table.written else cells


def refuse_missing(table: Table, answers: dict[str, Answers], problems: dict[int, str]) -> None:
    """A row without a label is bad, where there is but one label; a table without any is refused.

    Raises:
        DataError: no labels at all.
    """
    if not answers:
        raise DataError(f"{table.name} has no labels: name the column that holds them with --label")
    missing = {name: [row for row, answer in enumerate(column) if answer is None] for name, column in answers.items()}
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
