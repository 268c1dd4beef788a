"""Answers as Python holds them → `Labels`: lists, arrays, columns, tables, whatever their numbers are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harken.data.inputs import Inputs
from harken.data.labels import Class, Labels, sorted_classes
from harken.errors import DataError, UsageError

NAME = "label"  # of a column that has none


def as_labels(y: Any, task: str, names: Sequence[str] = ()) -> Labels:
    """Make columns of plain Python values of the answers to training rows.

        task        y                                                          heads
        classify    a column of labels                                         one
                    a column of lists or sets of labels                        one, multi-label
                    an array (n, C) of 0 and 1, dense or sparse                one, multi-label, classes 0 … C - 1
                    a dict or data frame of such columns                       one for each
        regress     a column of numbers                                        one
                    an array (n, k), or a column of k numbers in every row     one, of k values
                    a dict or data frame of such columns                       one for each
        tag         a column of lists of tags                                  one
                    a dict or data frame of such columns                       one for each

    None, NaN and the like are missing. Whole numbers are ints even where they come as floats, which is how data frames
    hold a column of ints with gaps.

    Args:
        y: see above; a column may be a list, an array, a tensor, or a column of pandas, Polars or Arrow.
        task: classify, regress or tag.
        names: of the columns; none: their own, or "label".

    Raises:
        DataError: a label that is no text, number or bool; columns of unequal length; says which row.
        UsageError: something that holds no labels, or other names than columns.
    """
    if isinstance(y, Labels):
        return y
    given = _columns(y)
    if names and len(names) != len(given):
        raise UsageError(f"names ({', '.join(names)}) must be as many as the columns of labels, which are {len(given)}")
    columns: dict[str, list[Any]] = {}
    classes: dict[str, tuple[Class, ...]] = {}
    for name, column in zip(names or given, given.values(), strict=True):
        width = _width(name, column)
        rows = _listed(column)
        if width == 1:
            rows = [row[0] for row in rows]
        elif width is not None and task == "classify":
            rows = _indicated(name, rows)
            classes[name] = tuple(range(width))
        columns[name] = _plain_rows(name, rows, task)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise DataError(f"the columns of labels have unequal numbers of rows ({counts}): give one answer for each row")
    return Labels(columns, classes)


def match_rows(inputs: Inputs, labels: Labels, task: str) -> Labels:
    """The labels, after a check that they belong to these rows; tags are cut where the rows were.

    Raises:
        DataError: another number of labels than of rows, or of tags than of a row's steps.
    """
    if len(labels) != len(inputs):
        raise DataError(f"there are {len(labels)} labels for {len(inputs)} rows: give one answer for each row")
    if task != "tag" or inputs.lengths is None:
        return labels
    lengths: list[int] = inputs.lengths.tolist()
    columns: dict[str, list[Any]] = {}
    for name, column in labels.columns.items():
        columns[name] = [None if tags is None else tags[: inputs.truncate] for tags in column]
        for row, (tags, steps) in enumerate(zip(columns[name], lengths, strict=True)):
            if tags is not None and len(tags) != steps:
                raise DataError(
                    f"row {row} has {len(tags)} tags ({name}) for {steps} steps: give one tag for each step"
                )
    return Labels(columns, labels.classes)


# What holds the labels


def _columns(y: Any) -> dict[str, Any]:
    """Name → column, of a table of them or of a single one."""
    if not hasattr(y, "__len__") and hasattr(y, "__array__"):
        y = np.asarray(y)
    if isinstance(y, str | bytes) or not hasattr(y, "__len__") or getattr(y, "shape", None) == ():
        raise UsageError(f"y is {type(y).__name__}, and must be a list, array or table of labels, one for each row")
    if isinstance(y, Mapping):
        return {str(name): column for name, column in y.items()}
    if hasattr(y, "column_names"):  # an Arrow table
        return {name: y.column(name) for name in y.column_names}
    if hasattr(y, "columns") and hasattr(y, "__getitem__"):  # a data frame
        return {str(name): y[name] for name in y.columns}
    name = getattr(y, "name", None)
    return {name if isinstance(name, str) and name else NAME: y.toarray() if hasattr(y, "toarray") else y}


def _width(name: str, column: Any) -> int | None:
    """Columns of a two-dimensional array; None for everything else."""
    shape: tuple[int, ...] = tuple(getattr(column, "shape", ()))
    if len(shape) > 2:
        raise DataError(f"the labels {name!r} are an array {shape}, and must have one or two dimensions")
    return shape[1] if len(shape) == 2 else None


def _listed(column: Any) -> list[Any]:
    """A column, or a cell that holds several values, as a list; numbers of NumPy and torch become Python's."""
    for method in ("to_pylist", "to_list", "tolist"):  # Arrow; Polars and pandas; NumPy and torch
        if hasattr(column, method):
            return list(getattr(column, method)())
    return list(column)


# Cells


def _plain_rows(name: str, rows: list[Any], task: str) -> list[Any]:
    """The answers of one column as `Labels` has them."""
    if task == "regress":
        return [_value(name, row, cell) for row, cell in enumerate(rows)]
    several = [_is_list(cell) for cell in rows]
    if task == "tag":
        tags = [None if _is_missing(cell) else cell for cell in rows]
        wrong = next((row for row, cell in enumerate(tags) if cell is not None and not several[row]), None)
        if wrong is not None:
            raise DataError(
                f"row {wrong} has the tags {rows[wrong]!r} ({name}): tags must be a list, one for each step"
            )
        return _of_one_type([None if cell is None else _labels(name, row, cell) for row, cell in enumerate(tags)])
    if not any(several):
        return _of_one_type(_labels(name, None, rows))
    sets: list[Any] = []
    for row, cell in enumerate(rows):
        if not several[row] and not _is_missing(cell):
            raise DataError(f"row {row} has the label {cell!r} ({name}) where others have a list of them: make it one")
        labels = _labels(name, row, cell) if several[row] else None
        if labels is not None and (len(set(labels)) < len(labels) or None in labels):
            raise DataError(
                f"row {row} names a label twice, or none, in {labels!r} ({name}): "
                "give each row its labels once, or a table of 0 and 1 as an array"
            )
        sets.append(None if labels is None else sorted_classes(labels))
    return _of_one_type(sets)


def _labels(name: str, row: int | None, given: Any) -> list[Class | None]:
    """Plain labels; ``row`` is where they all stand, None: one a row."""
    cells = _listed(given)
    if set(map(type, cells)) <= {str, int, bool}:
        return cells
    labels: list[Class | None] = []
    for place, cell in enumerate(cells):
        label = cell.item() if hasattr(cell, "item") and getattr(cell, "shape", None) == () else cell
        if _is_missing(label):
            labels.append(None)
            continue
        if not isinstance(label, str | int | float | bool) or (isinstance(label, float) and math.isinf(label)):
            raise DataError(
                f"row {place if row is None else row} has the label {label!r} ({name}): "
                "labels must be texts, numbers or bools"
            )
        labels.append(str(label) if isinstance(label, str) else label)
    return labels


def _of_one_type(rows: list[Any]) -> list[Any]:
    """Floats as ints where all of a column's are whole."""
    cells = [cell for row in rows for cell in (row if isinstance(row, list) else (row,))]
    if float not in set(map(type, cells)) or any(isinstance(cell, float) and not cell.is_integer() for cell in cells):
        return rows

    def whole(cell: Any) -> Any:
        return int(cell) if isinstance(cell, float) else cell

    return [list(map(whole, row)) if isinstance(row, list) else whole(row) for row in rows]


def _value(name: str, row: int, cell: Any) -> float | tuple[float, ...] | None:
    """A number, or a tuple of numbers; None where there is none."""
    several = _is_list(cell)
    values = []
    for part in _listed(cell) if several else [cell]:
        try:
            values.append(math.nan if _is_missing(part) else float(part))
        except (TypeError, ValueError):
            raise DataError(
                f"row {row} has the value {part!r} ({name}), which is no number: leave the row out"
            ) from None
        if math.isinf(values[-1]):
            raise DataError(f"row {row} has the value {part!r} ({name}): values must be finite, leave the row out")
    if all(map(math.isnan, values)):
        return None
    return tuple(values) if several else values[0]


def _indicated(name: str, rows: list[Any]) -> list[list[Class] | None]:
    """Rows of 0 and 1 as lists of the columns that are 1; None for rows that are missing altogether."""
    rows = [None if len(cells) and all(map(_is_missing, cells)) else cells for cells in rows]
    for row, cells in enumerate(rows):
        if cells is not None and any(cell not in (0, 1) for cell in cells):
            raise DataError(
                f"row {row} of the labels {name!r} holds {cells!r}: an array of two dimensions must hold 0 and 1, "
                "several attributes are given as a dict or a data frame"
            )
    return [None if cells is None else [place for place, cell in enumerate(cells) if cell] for cells in rows]


def _is_list(cell: Any) -> bool:
    return isinstance(cell, list | tuple | set | frozenset) or len(getattr(cell, "shape", ())) == 1


def _is_missing(cell: Any) -> bool:
    """None, NaN, and what pandas has for them."""
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(cell, float) and math.isnan(cell)
